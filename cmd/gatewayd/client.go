package main

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

	"github.com/spf13/cobra"
)

const (
	answerTime = 25 * time.Second // longer than the daemon lets a call take
	maxAnswer  = 64 << 20         // bytes
)

// daemon is the gatewayd that answers at a socket.
type daemon struct {
	socket string
	http   *http.Client
}

func newDaemon(socket string) *daemon {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &daemon{socket, &http.Client{Timeout: answerTime, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// ask makes one call and returns the body of its answer, also of a problem. in
// is sent as JSON unless nil. The error is a failure with its exit code.
func (d *daemon) ask(ctx context.Context, method, path string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, refused(err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://gatewayd/api/v1"+path, body)
	if err != nil {
		return nil, refused(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := d.http.Do(r)
	if err != nil {
		return nil, d.unreachable(method, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, d.unreachable(method, err)
	}
	if answer.StatusCode < 300 {
		return text, nil
	}
	return text, refused(d.problem(answer, text))
}

// problem is what an answer that is no good end says.
func (d *daemon) problem(answer *http.Response, text []byte) error {
	var problem struct{ Detail string }
	if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
		problem.Detail = fmt.Sprintf("%s answered %s; is it the socket of a gatewayd of this version? see gatewayd version", d.socket, answer.Status)
	}
	return errors.New(problem.Detail)
}

// unreachable says why no answer came. A call that was already sent may have
// been done.
func (d *daemon) unreachable(method string, err error) error {
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
	return &failure{exitUnreachable, fmt.Errorf("cannot reach the daemon at %s: %w; %s", d.socket, root(err), next)}
}

// root returns the innermost error, which is what went wrong without the URL.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// answer makes one call and prints it: unchanged with --json, else by show,
// which gets the answer decoded.
func answer[T any](cmd *cobra.Command, opt *options, method, path string, in any, show func(w io.Writer, out T)) error {
	text, err := newDaemon(opt.socket).ask(cmd.Context(), method, path, in)
	if opt.json {
		cmd.OutOrStdout().Write(text)
	}
	if err != nil || opt.json {
		return err
	}
	var out T
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			return refused(fmt.Errorf("%s did not answer as a gatewayd of this version: %w; see gatewayd version", opt.socket, err))
		}
	}
	show(cmd.OutOrStdout(), out)
	return nil
}
