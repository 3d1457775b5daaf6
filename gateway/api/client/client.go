// Package client asks a running gatewayd over its socket, as its commands, its demo
// and its bench do, and as other programs on the box may. The calls are those of
// /api/v1/openapi.json.
//
// The package imports no other of gatewayd.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"
)

const maxAnswer = 64 << 20 // bytes, of an answer that is read whole

// Client makes calls, each over a connection of its own. It may be used by many at once.
type Client struct {
	socket  string
	patient *http.Client
	http    *http.Client
}

// New returns a client of the daemon at a Unix socket's path. A call that takes
// longer than limit is broken off; 0 means none. The daemon answers every call but
// backup and restore within 20 s.
func New(socket string, limit time.Duration) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &Client{socket, &http.Client{Transport: transport}, &http.Client{Transport: transport, Timeout: limit}}
}

// Problem is the daemon's refusal (RFC 9457).
type Problem struct {
	Status int    // of HTTP
	Detail string // what was refused, why, and what to do
}

func (p *Problem) Error() string { return p.Detail }

// Unreachable means that no answer came, or not all of it.
type Unreachable struct {
	Socket string // its path, as New was told
	Err    error  // what went wrong
	next   string
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("cannot reach the daemon at %s: %v; %s", u.Socket, u.Err, u.next)
}

func (u *Unreachable) Unwrap() error { return u.Err }

// Call sends in as JSON, unless it is nil, and returns the answer's body, also
// that of a *Problem; it is the caller's. path is what follows /api/v1. It waits for
// New's limit at most, or until ctx ends. Errors: *Problem, *Unreachable, and what
// encoding/json says of in.
func (c *Client) Call(ctx context.Context, method, path string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	answer, err := c.send(ctx, c.http, method, path, "application/json", body)
	if err != nil {
		return nil, err
	}
	return c.read(method, answer)
}

// Ask is Call with the answer decoded into out, unless that is nil. An empty answer
// leaves out as it is. Errors are Call's and Decode's.
func (c *Client) Ask(ctx context.Context, method, path string, in, out any) error {
	text, err := c.Call(ctx, method, path, in)
	if err != nil || out == nil {
		return err
	}
	return c.Decode(text, out)
}

// Decode takes apart what Call returned. Its error names the socket.
func (c *Client) Decode(text []byte, out any) error {
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s did not answer as a gatewayd of this version: %w; see gatewayd version", c.socket, err)
	}
	return nil
}

// Stream makes a call whose body or answer is a file, with no limit of time but
// ctx's. body may be nil; the caller closes the answer. Errors: *Problem, *Unreachable.
func (c *Client) Stream(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	answer, err := c.send(ctx, c.patient, method, path, "application/octet-stream", body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		return answer.Body, nil
	}
	_, err = c.read(method, answer)
	return nil, err
}

func (c *Client) send(ctx context.Context, by *http.Client, method, path, kind string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://gatewayd/api/v1"+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", kind)
	answer, err := by.Do(r)
	if err != nil {
		return nil, c.unreachable(method, err)
	}
	return answer, nil
}

func (c *Client) read(method string, answer *http.Response) ([]byte, error) {
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, c.unreachable(method, err)
	case answer.StatusCode >= 300:
		return text, c.problem(answer, text)
	}
	return text, nil
}

func (c *Client) problem(answer *http.Response, text []byte) error {
	p := &Problem{Status: answer.StatusCode}
	if json.Unmarshal(text, p) != nil || p.Detail == "" {
		p.Detail = fmt.Sprintf("%s answered %s; is it the socket of a gatewayd of this version? see gatewayd version", c.socket, answer.Status)
	}
	p.Status = answer.StatusCode
	return p
}

// unreachable says what to do. A call that was already sent may have been done.
func (c *Client) unreachable(method string, err error) error {
	var dial *net.OpError
	next := "the daemon broke off: see its log, then gatewayd status"
	switch {
	case errors.Is(err, fs.ErrPermission):
		next = "who may open the socket may administer: run this as root"
	case errors.As(err, &dial) && dial.Op == "dial":
		next = "is the daemon running? start it with gatewayd run, or name its socket with --socket"
	case method != http.MethodGet:
		next = "whether it was done is open: look before repeating it, with gatewayd status"
	}
	return &Unreachable{c.socket, root(err), next}
}

// root returns the innermost error: what went wrong, without the URL.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
