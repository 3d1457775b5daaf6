package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// api asks the gateway over its socket, as any program may.
type api struct{ http *http.Client }

func newAPI(socket string) *api {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &api{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: patience}}
}

// plan is what a session is sold with.
type plan struct {
	Type      string  `json:"type"`
	TimeSecs  uint    `json:"time_secs,omitempty"`
	DataMB    float64 `json:"data_mb,omitempty"`
	DownMbits int     `json:"down_mbits"`
	UpMbits   int     `json:"up_mbits"`
}

// session is what the demo reads of one.
type session struct {
	ID        int64      `json:"id"`
	State     string     `json:"state"`
	UpBytes   uint64     `json:"up_bytes"`
	DownBytes uint64     `json:"down_bytes"`
	StartedAt *time.Time `json:"started_at"`
}

type device struct {
	MAC       string   `json:"mac"`
	Connected bool     `json:"connected"`
	Session   *session `json:"session"`
}

type status struct {
	Ready     bool `json:"ready"`
	Processes []struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
	} `json:"processes"`
}

// call makes one call. in and out may be nil.
func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://gatewayd/api/v1"+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := a.http.Do(r)
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("ask the gateway: %s %s: %w", method, path, err)
	}
	if answer.StatusCode >= 300 {
		var problem struct{ Detail string }
		if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
			problem.Detail = answer.Status
		}
		return fmt.Errorf("the gateway refuses %s %s: %w", method, path, errors.New(problem.Detail))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("read the gateway's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// The demo's client is known to the gateway by its address.
const clientPath = "/devices/" + clientIP

func (a *api) sell(ctx context.Context, p plan) (s session, err error) {
	err = a.call(ctx, http.MethodPost, clientPath+"/sessions", p, &s)
	return s, err
}

func (a *api) connect(ctx context.Context) error {
	return a.call(ctx, http.MethodPost, clientPath+"/connect", nil, nil)
}

func (a *api) disconnect(ctx context.Context) error {
	return a.call(ctx, http.MethodPost, clientPath+"/disconnect", nil, nil)
}

func (a *api) device(ctx context.Context) (d device, err error) {
	err = a.call(ctx, http.MethodGet, clientPath, nil, &d)
	return d, err
}

func (a *api) session(ctx context.Context, id int64) (s session, err error) {
	err = a.call(ctx, http.MethodGet, fmt.Sprintf("/sessions/%d", id), nil, &s)
	return s, err
}

// sessions lists those of every device.
func (a *api) sessions(ctx context.Context) ([]session, error) {
	var page struct{ Items []session }
	err := a.call(ctx, http.MethodGet, "/sessions?limit=1000", nil, &page)
	return page.Items, err
}

func (a *api) delete(ctx context.Context, id int64) error {
	return a.call(ctx, http.MethodDelete, fmt.Sprintf("/sessions/%d", id), nil, nil)
}

func (a *api) status(ctx context.Context) (s status, err error) {
	err = a.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}
