package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"gatewayd/gateway/api"
)

// oneConn is a listener that accepts the connections in conns.
type oneConn struct{ conns chan net.Conn }

func (l oneConn) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l oneConn) Close() error   { return nil }
func (l oneConn) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

func TestSilentClientIsHungUpOn(t *testing.T) {
	for name, sent := range map[string]string{
		"in the middle of its header": "GET /api/v1/status HTTP/1.1\r\nHost: ",
		"in the middle of its body":   "POST /api/v1/devices HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
		"between two calls":           "GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := api.New(newFake(), func(context.Context) api.Status { return api.Status{} }, nil, healthy, nil, nil)
				server := api.NewServer(handler, slog.New(slog.DiscardHandler))
				client, far := net.Pipe()
				listener := oneConn{make(chan net.Conn, 1)}
				listener.conns <- far
				close(listener.conns)
				go server.Serve(listener)
				go io.WriteString(client, sent)
				if _, err := io.ReadAll(client); err != nil { // until the server hangs up, in the bubble's time
					t.Errorf("read: %v", err)
				}
				client.Close()
				server.Close()
			})
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many, accepted := oneConn{make(chan net.Conn, 2*api.MaxConns)}, make(chan net.Conn, 2*api.MaxConns)
		for range cap(many.conns) {
			c, _ := net.Pipe()
			many.conns <- c
		}
		close(many.conns)
		limited := api.Limit(many)
		go func() {
			for {
				c, err := limited.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		}()
		synctest.Wait()
		if n := len(accepted); n != api.MaxConns {
			t.Errorf("%d connections at once, want %d", n, api.MaxConns)
		}
		(<-accepted).Close()
		synctest.Wait()
		if n := len(accepted); n != api.MaxConns {
			t.Errorf("%d connections after one ended, want %d", n, api.MaxConns)
		}
		limited.Close()
		synctest.Wait()
	})
}

// FuzzCalls: whatever is sent, the answer is one of the API's, and a refusal is
// a problem that says why.
func FuzzCalls(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "/devices", `{"mac":"02:00:00:00:00:0d","ip":"10.10.0.9"}`},
		{"POST", "/devices/1/connect", `{"notify":null}`},
		{"POST", "/devices/1/sessions", `{"type":"time_or_data","time_secs":60,"data_mb":1e300,"exp_days":null,"down_mbits":-5}`},
		{"POST", "/devices/1/sessions", `{"type":1,"time_secs":18446744073709551616}`},
		{"PATCH", "/sessions/7", `{"exp_days":null,"time_cons":0.5}`},
		{"PATCH", "/sessions/7", `{"EXP_DAYS":1,"exp_days":[1]}`},
		{"PATCH", "/sessions/7", `[[[[`},
		{"DELETE", "/sessions/-1", ``},
		{"GET", "/sessions?limit=-1&state=&device=%00", ``},
		{"GET", "/devices/..%2f..", ``},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	handler := api.New(newFake(), func(context.Context) api.Status { return api.Status{} }, nil, healthy, nil, nil)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, err := http.NewRequest(method, "http://gatewayd"+api.Base+path, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(r.URL.Path, "/") {
			return
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
		}
		var problem struct{ Detail string }
		if w.Code >= 400 && (json.Unmarshal(w.Body.Bytes(), &problem) != nil || problem.Detail == "") {
			t.Fatalf("%s %s %q: %d is no problem: %s", method, path, body, w.Code, w.Body)
		}
	})
}
