package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestReadEvents: the rows are those of the standard's text, and what servers and
// enemies send besides.
func TestReadEvents(t *testing.T) {
	for _, row := range []struct {
		name, stream string
		want         []string // "id name data"
		last         string
	}{
		{"one", "id: 1\nevent: x\ndata: {}\n\n", []string{"1 x {}"}, "1"},
		{"its fields in any order", "data: {}\nevent: x\nid: 1\n\n", []string{"1 x {}"}, "1"},
		{"data of two lines", "data: YHOO\ndata: +2\n\n", []string{"  YHOO\n+2"}, ""},
		{"the standard's second example", ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
			[]string{"1  first event", "  second event", "   third event"}, ""},
		{"the standard's third example", "data\n\ndata\ndata\n\ndata:", []string{"  ", "  \n"}, ""},
		{"one space is no part of the data", "data:test\n\ndata: test\n\n", []string{"  test", "  test"}, ""},
		{"an id stays until the next", "id: 1\ndata: a\n\ndata: b\n\n", []string{"1  a", "1  b"}, "1"},
		{"an id without data", "id: 7\n\n: keep-alive\nid: 8\n\n", nil, "8"},
		{"an id with a NUL is none", "id: 1\n\nid: 2\x00\n\n", nil, "1"},
		{"a name without data is forgotten", "event: x\n\ndata: a\n\n", []string{"  a"}, ""},
		{"an unknown field", "colour: red\nretry: 10\ndata: a\n\n", []string{"  a"}, ""},
		{"the end within an event", "id: 1\ndata: a\n", nil, "1"},
		{"lines that end with CR", "id: 1\rdata: a\r\rdata: b\r\r", []string{"1  a", "1  b"}, "1"},
		{"lines that end with CR and LF", "id: 1\r\ndata: a\r\n\r\ndata: b\r\n\r\n", []string{"1  a", "1  b"}, "1"},
		{"each line its own end", "id: 1\rdata: a\n\r\ndata: b\r\n\n", []string{"1  a", "1  b"}, "1"},
		{"a mark of byte order", "\uFEFFdata: a\n\n", []string{"  a"}, ""},
		{"a second one is part of a field", "\uFEFF\uFEFFdata: a\n\n", nil, ""},
		{"nothing", "", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{"at once": strings.NewReader(row.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(row.stream))} {
				var got []string
				last, _, err := readEvents(r, func(e StreamEvent) error {
					got = append(got, fmt.Sprintf("%s %s %s", e.ID, e.Name, e.Data))
					return nil
				})
				if !slices.Equal(got, row.want) || last != row.last || err != nil {
					t.Errorf("%s: %q last %q, %v; want %q last %q", how, got, last, err, row.want, row.last)
				}
			}
		})
	}
}

func TestLongEventsAreRefused(t *testing.T) {
	for name, stream := range map[string]string{
		"a line":       strings.Repeat("x", maxEvent+1),
		"an id":        "id: " + strings.Repeat("x", maxEvent),
		"data of many": strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 1+maxEvent/1000) + "\n",
	} {
		got := 0
		_, _, err := readEvents(strings.NewReader(stream), func(StreamEvent) error { got++; return nil })
		if !errors.Is(err, errLongEvent) || got != 0 {
			t.Errorf("%s: %d events, %v", name, got, err)
		}
	}
}

func TestEventsEnd(t *testing.T) {
	const one = "id: 7\ndata: a\n\nid: 9\n\n"
	own := errors.New("own")
	for _, row := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		each   error
		last   string
		err    func(err error) bool
	}{
		{"by the daemon", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, one) }, nil, "9", func(err error) bool {
			var u *Unreachable
			return errors.As(err, &u) && strings.Contains(err.Error(), "the answer has ended; the daemon broke off")
		}},
		{"by its death", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, one)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, nil, "9", func(err error) bool { var u *Unreachable; return errors.As(err, &u) }},
		{"by its refusal", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			io.WriteString(w, `{"detail":"too many"}`)
		}, nil, "", func(err error) bool { var p *Problem; return errors.As(err, &p) && err.Error() == "too many" }},
		{"by who reads", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, one) }, own, "7", func(err error) bool { return err == own }},
		{"by the context", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "id: 7\ndata: a\n\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, nil, "7", func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := make(chan string, 10)
			go func() {
				if <-got; row.name == "by the context" {
					cancel()
				}
			}()
			last, err := New(serve(t, row.answer), time.Nanosecond).Events(ctx, "/events?after=3", func(e StreamEvent) error {
				got <- string(e.Data)
				return row.each
			})
			if last != row.last || !row.err(err) {
				t.Errorf("last %q, %v", last, err)
			}
		})
	}
}

// FuzzReadEvents: whatever comes, it ends, no event is longer than may be, and
// what an event says survives being written and read again.
func FuzzReadEvents(f *testing.F) {
	f.Add([]byte("id: 1\nevent: x\ndata: {}\n\n: keep-alive\nid: 2\n\n"))
	f.Add([]byte("\uFEFFdata\r\rdata:\r\n\ndata: \x00\n\n"))
	f.Add([]byte("id: 1\x00\nid\ndata:a\ndata:b\n\n\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		_, _, _ = readEvents(strings.NewReader(string(stream)), func(e StreamEvent) error {
			if len(e.Data) > 2*maxEvent || len(e.Name) > maxEvent || strings.ContainsAny(e.ID+e.Name, "\r\n") || strings.ContainsRune(e.ID, 0) {
				t.Fatalf("%+v", e)
			}
			again := fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Name, strings.ReplaceAll(string(e.Data), "\n", "\ndata: "))
			n := 0
			_, _, err := readEvents(strings.NewReader(again), func(b StreamEvent) error {
				if n++; b.ID != e.ID || b.Name != e.Name || string(b.Data) != string(e.Data) {
					t.Fatalf("%+v, again %+v", e, b)
				}
				return nil
			})
			if n != 1 || err != nil {
				t.Fatalf("%+v: %d events, %v", e, n, err)
			}
			return nil
		})
	})
}
