package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	apiclient "gatewayd/gateway/api/client"
)

// api asks the gateway over its socket, as any program may.
type api struct{ *apiclient.Client }

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

// The demo's client is known to the gateway by its address.
const clientPath = "/devices/" + clientIP

func (a *api) sell(ctx context.Context, p plan) (s session, err error) {
	err = a.Ask(ctx, http.MethodPost, clientPath+"/sessions", p, &s)
	return s, err
}

func (a *api) connect(ctx context.Context) error {
	return a.Ask(ctx, http.MethodPost, clientPath+"/connect", nil, nil)
}

func (a *api) disconnect(ctx context.Context) error {
	return a.Ask(ctx, http.MethodPost, clientPath+"/disconnect", nil, nil)
}

func (a *api) device(ctx context.Context) (d device, err error) {
	err = a.Ask(ctx, http.MethodGet, clientPath, nil, &d)
	return d, err
}

func (a *api) session(ctx context.Context, id int64) (s session, err error) {
	err = a.Ask(ctx, http.MethodGet, fmt.Sprintf("/sessions/%d", id), nil, &s)
	return s, err
}

// sessions lists those of every device.
func (a *api) sessions(ctx context.Context) ([]session, error) {
	var page struct{ Items []session }
	err := a.Ask(ctx, http.MethodGet, "/sessions?limit=1000", nil, &page)
	return page.Items, err
}

func (a *api) delete(ctx context.Context, id int64) error {
	return a.Ask(ctx, http.MethodDelete, fmt.Sprintf("/sessions/%d", id), nil, nil)
}

func (a *api) status(ctx context.Context) (s status, err error) {
	err = a.Ask(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}
