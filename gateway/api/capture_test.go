package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/gateway/api"
	"gatewayd/sessions"
)

// fakeCapture is a capture that writes a text and waits for its end.
type fakeCapture struct {
	key        string
	most       int
	size       int64
	time       time.Duration
	text       string
	fail       error
	ended      chan struct{}
	done       api.Captured
	terminates bool // by itself
}

func (f *fakeCapture) begin(ctx context.Context, key string, most int) (api.Capture, error) {
	f.key, f.most = key, most
	return f, f.fail
}

func (f *fakeCapture) Write(ctx context.Context, to io.Writer, size int64, most time.Duration) (api.Captured, error) {
	f.size, f.time = size, most
	if _, err := io.WriteString(to, f.text); err != nil {
		return f.done, err
	}
	if !f.terminates {
		<-ctx.Done()
		if cause := context.Cause(ctx); cause != ctx.Err() {
			f.done.Why = cause.Error()
		}
	}
	return f.done, nil
}

func (f *fakeCapture) End() { close(f.ended) }

// serveCapture serves it on a socket.
func serveCapture(t *testing.T, f *fakeCapture) (server *http.Server, socket string) {
	t.Helper()
	f.ended = make(chan struct{})
	socket = filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server = api.NewServer(api.New(newFake(), nil, nil, healthy, nil, f.begin), slog.New(slog.DiscardHandler))
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return server, socket
}

// ask sends a call and returns the connection.
func askCapture(t *testing.T, socket, query string) *net.UnixConn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s/devices/1/capture%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", api.Base, query)
	return conn.(*net.UnixConn)
}

// Who closes its half of the connection gets the end of the file and what came of it; who
// is gone ends it, too.
func TestACaptureEndsWithItsReader(t *testing.T) {
	f := &fakeCapture{text: "frames", done: api.Captured{Why: "it was ended", Packets: 12, Lost: 3}}
	_, socket := serveCapture(t, f)
	conn := askCapture(t, socket, "?snaplen=128&size=5000&for=60")
	start := make([]byte, 4096)
	n := 0
	for !strings.Contains(string(start[:n]), "frames") {
		m, err := conn.Read(start[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if f.most != 128 || f.size != 5000 || f.time != time.Minute || f.key != "1" {
		t.Errorf("%+v", f)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Content-Type: application/x-pcapng\r\n", "Trailer: ", "Capture-Ended: it was ended\r\n", "Capture-Packets: 12\r\n", "Capture-Lost: 3\r\n"} {
		if !strings.Contains(string(start[:n])+string(rest), part) {
			t.Errorf("no %q in %s%s", part, start[:n], rest)
		}
	}
	<-f.ended
	f.ended = make(chan struct{})
	askCapture(t, socket, "").Close()
	select {
	case <-f.ended:
	case <-time.After(10 * time.Second):
		t.Error("it goes on without a reader")
	}
}

func TestACaptureEndsWithTheServer(t *testing.T) {
	f := &fakeCapture{text: "frames"}
	server, socket := serveCapture(t, f)
	conn := askCapture(t, socket, "")
	if _, err := io.ReadFull(conn, make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || !strings.Contains(string(rest), "Capture-Ended: gatewayd's control ends") {
		t.Errorf("%v %s", err, rest)
	}
}

func TestCapturesThatAreRefused(t *testing.T) {
	for _, row := range []struct {
		query  string
		fail   error
		status int
		parts  []string
	}{
		{"", fmt.Errorf("capture: %w", sessions.ErrNoDevice), 404, []string{"gatewayd devices list"}},
		{"", fmt.Errorf("capture: %w", api.ErrCaptures), 409, []string{"end one of them"}},
		{"", fmt.Errorf("capture: %w", api.ErrAway), 409, []string{"gatewayd why 1"}},
		{"", fmt.Errorf("capture: %w", sessions.ErrForwarder), 503, []string{"gatewayd status"}},
		{"", errors.New("no"), 500, []string{"log"}},
		{"?snaplen=13", nil, 422, []string{"query.snaplen", "from 14 to 262144", "openapi.json"}},
		{"?size=4095", nil, 422, []string{"query.size", "from 4096"}},
		{"?for=0", nil, 422, []string{"query.for", "from 1"}},
		{"?for=1h", nil, 422, []string{"query.for", "whole number"}},
		{"?for=1&for=2", nil, 422, []string{"2 times"}},
		{"?filter=x", nil, 422, []string{"query.filter: unexpected"}},
	} {
		f := &fakeCapture{fail: row.fail, terminates: true, ended: make(chan struct{})}
		w := httptest.NewRecorder()
		api.New(newFake(), nil, nil, healthy, nil, f.begin).ServeHTTP(w, httptest.NewRequest("GET", api.Base+"/devices/1/capture"+row.query, nil))
		if w.Code != row.status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q %v: %d %s", row.query, row.fail, w.Code, w.Body)
		}
		for _, part := range row.parts {
			if !strings.Contains(w.Body.String(), part) {
				t.Errorf("%q %v: no %q in %s", row.query, row.fail, part, w.Body)
			}
		}
	}
}
