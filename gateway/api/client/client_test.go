package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve answers at a new socket and returns its path.
func serve(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: answer}}
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

func TestAsk(t *testing.T) {
	for _, row := range []struct {
		name   string
		code   int
		answer string
		out    string // what Ask finds, or
		err    string // its error has
	}{
		{"found", 200, `{"name":"till"}`, "till", ""},
		{"nothing to say", 204, "", "before", ""},
		{"a problem", 409, `{"status":500,"detail":"it runs; stop it"}`, "before", "it runs; stop it"},
		{"a problem without words", 500, `{}`, "before", "answered 500"},
		{"somebody else's socket", 404, "<html>", "before", "is it the socket of a gatewayd of this version?"},
		{"another version", 200, `{"name":7}`, "before", "did not answer as a gatewayd of this version"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var call, sent string
			c := New(serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				call, sent = r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type"), string(body)
				w.WriteHeader(row.code)
				io.WriteString(w, row.answer)
			}), time.Minute)
			got := struct{ Name string }{"before"}
			err := c.Ask(t.Context(), "POST", "/devices", map[string]int{"x": 1}, &got)
			if call != "POST /api/v1/devices application/json" || sent != `{"x":1}` {
				t.Errorf("asked %q, %q", call, sent)
			}
			if got.Name != row.out || (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Errorf("%q, %v", got.Name, err)
			}
			var p *Problem
			if errors.As(err, &p) != (row.code >= 300) || p != nil && p.Status != row.code {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "{")
	})
	for _, row := range []struct{ name, method, socket, say string }{
		{"nobody there", "GET", filepath.Join(t.TempDir(), "none"), "no such file or directory; is the daemon running?"},
		{"broken off, asked", "GET", broken, "unexpected EOF; the daemon broke off"},
		{"broken off, told", "POST", broken, "unexpected EOF; whether it was done is open"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := New(row.socket, time.Minute).Call(t.Context(), row.method, "/status", nil)
			var u *Unreachable
			if !errors.As(err, &u) || u.Socket != row.socket || !strings.Contains(err.Error(), row.say) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestStream: a file goes and comes past the limit of the other calls.
func TestStream(t *testing.T) {
	const limit = 50 * time.Millisecond
	c := New(serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		time.Sleep(4 * limit)
		if string(body) == "bad" {
			w.WriteHeader(422)
			io.WriteString(w, `{"detail":"cut"}`)
			return
		}
		w.Write(body)
	}), limit)
	answer, err := c.Stream(t.Context(), "POST", "/restore", strings.NewReader("file"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(answer); string(text) != "file" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	answer.Close()
	var p *Problem
	if _, err := c.Stream(t.Context(), "POST", "/restore", strings.NewReader("bad")); !errors.As(err, &p) || p.Detail != "cut" {
		t.Errorf("%v", err)
	}
	if _, err := c.Call(t.Context(), "GET", "/status", nil); !errors.As(err, new(*Unreachable)) {
		t.Errorf("past the limit: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Stream(gone, "GET", "/backup", nil); !errors.As(err, new(*Unreachable)) {
		t.Errorf("given up: %v", err)
	}
}
