package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/sessions"
)

func TestWhichEventsAreAskedFor(t *testing.T) {
	for _, row := range []struct {
		name, query, last string
		status            int
		after             uint64
		filter            sessions.EventFilter
		detail            string
	}{
		{"from now on", "", "", 200, sessions.FromNow, sessions.EventFilter{}, ""},
		{"after an id", "?after=17", "", 200, 17, sessions.EventFilter{}, ""},
		{"all that are kept", "?after=0", "", 200, 0, sessions.EventFilter{}, ""},
		{"a browser that comes back", "?after=17", "21", 200, 21, sessions.EventFilter{}, ""},
		{"of one device", "?device=10.10.0.2", "", 200, sessions.FromNow, sessions.EventFilter{DeviceID: 1}, ""},
		{"of two names", "?event=session:connected&event=portal%3Ax", "", 200, sessions.FromNow, sessions.EventFilter{Names: []string{"session:connected", "portal:x"}}, ""},
		{"of a device that is unknown", "?device=9", "", 404, 0, sessions.EventFilter{}, "gatewayd devices list"},
		{"after what is no id", "?after=x", "", 422, 0, sessions.EventFilter{}, "is no event's id"},
		{"after less than nothing", "?after=-1", "", 422, 0, sessions.EventFilter{}, "query.after"},
		{"after more than any", "?after=9223372036854775808", "", 422, 0, sessions.EventFilter{}, "query.after"},
		{"a header that is no id", "", "x", 422, 0, sessions.EventFilter{}, "Last-Event-ID"},
		{"twice", "?after=1&after=2", "", 422, 0, sessions.EventFilter{}, "2 times"},
		{"a filter that does not exist", "?colour=red", "", 422, 0, sessions.EventFilter{}, "query.colour: unexpected"},
		{"too many names", "?" + strings.Repeat("event=x&", 17), "", 422, 0, sessions.EventFilter{}, "at most 16"},
	} {
		t.Run(row.name, func(t *testing.T) {
			core := newFake()
			answer, body := call(core, "HEAD", api.Base+"/events"+row.query, "", "Last-Event-ID", row.last)
			if answer.StatusCode != row.status || !strings.Contains(body, row.detail) {
				t.Fatalf("%d %s, want %d with %q", answer.StatusCode, body, row.status, row.detail)
			}
			if row.status == 200 && (core.after != row.after || !reflect.DeepEqual(core.events.Names, row.filter.Names) || core.events.DeviceID != row.filter.DeviceID) {
				t.Errorf("asked for %d %+v", core.after, core.events)
			}
			if kind := answer.Header.Get("Content-Type"); row.status == 200 && kind != "text/event-stream" || row.status != 200 && kind != "application/problem+json" {
				t.Errorf("content type %q", kind)
			}
		})
	}
}

// served is the real API over the real sessions room, at a socket.
type served struct {
	t      *testing.T
	m      *sessions.Manager
	server *http.Server
	socket string
	ended  chan error
}

func serve(t *testing.T) *served {
	s := &served{t: t, m: newManager(t), socket: filepath.Join(t.TempDir(), "sock"), ended: make(chan error, 1)}
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	s.server = api.NewServer(api.New(s.m, func(context.Context) api.Status { return api.Status{} }, nil, healthy, nil, nil), slog.New(slog.DiscardHandler))
	go func() { s.ended <- s.server.Serve(api.Limit(l)) }()
	t.Cleanup(func() { s.server.Close(); <-s.ended })
	return s
}

// dial connects and asks, and does not read.
func (s *served) dial(path string, header ...string) net.Conn {
	s.t.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET %s%s HTTP/1.1\r\nHost: x\r\n%s\r\n", api.Base, path, strings.Join(header, ""))
	return c
}

// stream is an answer without an end.
type stream struct {
	t *testing.T
	*http.Response
	lines *bufio.Scanner
}

func (s *served) follow(path string, header ...string) *stream {
	s.t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(s.dial(path, header...)), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return &stream{s.t, answer, lines}
}

// next returns the lines up to the next empty one.
func (s *stream) next() (block []string) {
	s.t.Helper()
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			return block
		}
		block = append(block, s.lines.Text())
	}
	return block
}

func TestEventsAreFollowed(t *testing.T) {
	s := serve(t)
	first := s.follow("/events")
	if kind := first.Header.Get("Content-Type"); first.StatusCode != 200 || kind != "text/event-stream" || first.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %q", first.StatusCode, kind)
	}
	begin := first.next()
	if len(begin) != 2 || !strings.HasPrefix(begin[0], "retry: ") || !strings.HasPrefix(begin[1], "id: ") {
		t.Errorf("it begins with %q", begin)
	}
	d, _, err := s.m.AddDevice(t.Context(), "02:00:00:00:00:0c", "10.10.0.2", "")
	if err != nil {
		t.Fatal(err)
	}
	dev := s.m.ClientDevice(d)
	dev.Emit("portal:\r\nid: 9", "two\nlines")
	dev.Emit("session:connected", map[string]string{"message": "hello"})
	var ids []string
	for _, want := range []string{"client:created", "portal:  id: 9", "session:connected"} {
		block := first.next()
		if len(block) != 3 || !strings.HasPrefix(block[0], "id: ") || block[1] != "event: "+want {
			t.Fatalf("got %q, want %s", block, want)
		}
		var e sessions.Event
		if err := json.Unmarshal([]byte(strings.TrimPrefix(block[2], "data: ")), &e); err != nil || fmt.Sprint("id: ", e.ID) != block[0] || e.DeviceID != d.ID || time.Since(e.Time) > time.Hour {
			t.Errorf("%v: %q", err, block)
		}
		ids = append(ids, strings.TrimPrefix(block[0], "id: "))
	}
	for name, again := range map[string]*stream{
		"a header":  s.follow("/events?after=0", "Last-Event-ID: "+ids[1]+"\r\n"),
		"a query":   s.follow("/events?after=" + ids[1]),
		"a name":    s.follow("/events?after=0&event=session:connected"),
		"a device":  s.follow("/events?device=1&after=" + ids[1]),
		"all of it": s.follow("/events?after=0&event=session:connected&device=10.10.0.2"),
	} {
		again.next()
		if block := again.next(); len(block) != 3 || block[0] != "id: "+ids[2] {
			t.Errorf("%s: %q", name, block)
		}
	}
	old := s.follow("/events?event=lost", "Last-Event-ID: 9007199254740991\r\n")
	old.next()
	if block := old.next(); len(block) != 3 || block[1] != "event: lost" || !strings.Contains(block[2], `"lost":`) || !strings.Contains(block[2], `"restarted":true`) || strings.Contains(block[2], `"data"`) {
		t.Errorf("of an id nobody gave: %q", block)
	}
}

// TestReadersKeepNobodyOut: who comes when there are as many as there may be is
// refused, other calls are served, and a place is free when one goes.
func TestReadersKeepNobodyOut(t *testing.T) {
	s := serve(t)
	var first net.Conn
	for range api.MaxReaders {
		c := s.dial("/events")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != 200 {
			t.Fatal(answer, err)
		}
		first = c
	}
	late := s.follow("/events")
	body, _ := io.ReadAll(io.LimitReader(late.Body, late.ContentLength))
	if late.StatusCode != 503 || late.Header.Get("Retry-After") == "" || !late.Close || !strings.Contains(string(body), "256 readers do already; end one of them") {
		t.Errorf("one too many: %d %s", late.StatusCode, body)
	}
	if list := s.follow("/devices"); list.StatusCode != 200 {
		t.Errorf("another call: %d", list.StatusCode)
	}
	first.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if again := s.follow("/events"); again.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no place is free a minute after a reader went")
		}
	}
}

// TestTheServersEndIsTheReaders: shutting down does not wait for them.
func TestTheServersEndIsTheReaders(t *testing.T) {
	s := serve(t)
	reader := s.follow("/events")
	reader.next()
	if err := s.server.Shutdown(context.Background()); err != nil { // as long as it takes: for ever, if it waits for them
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(reader.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v: want the answer's end", rest, err)
	}
}

// eventCore is a fake whose events are a manager's of its own.
type eventCore struct {
	*fakeCore
	m *sessions.Manager
}

func (c eventCore) Events(after uint64, f sessions.EventFilter) *sessions.EventReader {
	return c.m.Events(after, f)
}

// bubble serves events over a pipe, in the time of a synctest bubble, and
// returns its far end after the call.
func bubble(t *testing.T, path string) (dev sessions.ClientDevice, far net.Conn) {
	table, file, err := clients.Create(clients.Shape{Slots: 16})
	if err != nil {
		t.Fatal(err)
	}
	table.Header().Events.Store(5)
	core := eventCore{newFake(), sessions.New(sessions.Options{Table: table, Now: time.Now, Boot: clients.NewClock().Now})}
	server := api.NewServer(api.New(core, func(context.Context) api.Status { return api.Status{} }, nil, healthy, nil, nil), slog.New(slog.DiscardHandler))
	far, near := net.Pipe()
	listener := oneConn{make(chan net.Conn, 1)}
	listener.conns <- near
	close(listener.conns)
	go server.Serve(listener)
	t.Cleanup(func() { far.Close(); server.Close(); table.Close(); file.Close() })
	fmt.Fprintf(far, "GET %s%s HTTP/1.1\r\nHost: x\r\n\r\n", api.Base, path)
	return core.m.ClientDevice(sessions.Device{ID: 1}), far
}

func TestAReaderThatStandsStillIsHungUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev, far := bubble(t, "/events")
		answer, err := http.ReadResponse(bufio.NewReader(far), nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		dev.Emit("portal:x", 1)
		synctest.Wait()
		time.Sleep(time.Minute) // it takes nothing
		if _, err := io.ReadAll(answer.Body); err == nil {
			t.Error("the answer ended well, though its reader stood still")
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("hung up after %v", took)
		}
	})
}

// TestAQuietReaderIsToldHowFarItIs: no limit of time ends the answer, and who
// asked for what seldom happens comes back after what it had seen by.
func TestAQuietReaderIsToldHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev, far := bubble(t, "/events?event=seldom")
		answer, err := http.ReadResponse(bufio.NewReader(far), nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &stream{t, answer, bufio.NewScanner(answer.Body)}
		if got := s.next(); !slices.Equal(got, []string{"retry: 1000", "id: 6"}) {
			t.Errorf("%q", got)
		}
		began := time.Now()
		for i := range 100 {
			dev.Emit("often", 1)
			if got := s.next(); !slices.Equal(got, []string{": keep-alive", fmt.Sprint("id: ", 7+i)}) {
				t.Fatalf("after %v: %q", time.Since(began), got)
			}
		}
		if took := time.Since(began); took < 20*time.Minute || took > 30*time.Minute {
			t.Errorf("100 comments in %v, want one every 15 s", took)
		}
	})
}
