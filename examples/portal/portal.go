package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"gatewayd/gateway"
	"gatewayd/gateway/config"
	"gatewayd/sessions"
)

//go:embed page.html portal.css portal.js portal.svg
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page.html"))

// portal is what clients see. The gateway does the work; nothing is kept here.
type portal struct {
	title   string
	host    string // as a browser names this server
	demo    bool
	global  config.Speed // what a session without a speed of its own gets
	api     gateway.API
	core    *sessions.Manager // for what API does not have
	shop    *shop             // nil: none
	turns   turns
	closing chan struct{} // closed when open pages have to end
	log     *slog.Logger
}

func newPortal(gw *gateway.Gateway, cfg *config.Config, o options, host string, shop *shop) *portal {
	return &portal{
		title: o.title, host: host, demo: o.demo, global: cfg.Bandwidth.Global,
		api: gw.API(), core: gw.Sessions(), shop: shop, closing: make(chan struct{}), log: slog.Default(),
	}
}

// server is the HTTP server of the pages. Who says or reads nothing is
// dropped; live lifts the bounds for itself.
func (p *portal) server() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.page)
	mux.HandleFunc("GET /live", p.live)
	mux.HandleFunc("POST /connect", p.action(p.connect))
	mux.HandleFunc("POST /disconnect", p.action(p.disconnect))
	mux.HandleFunc("POST /pause", p.action(p.pause))
	mux.HandleFunc("POST /resume", p.action(p.resume))
	if p.demo {
		mux.HandleFunc("POST /demo", p.action(p.give))
	}
	for _, name := range []string{"portal.css", "portal.js", "portal.svg"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	s := &http.Server{
		Handler: p.guard(mux), MaxHeaderBytes: mostBody, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 30 * time.Second,
	}
	s.RegisterOnShutdown(func() { close(p.closing) })
	return s
}

// stranger is for who reaches this server but is no client of the gateway.
const stranger = "The gateway does not know this device. Is it on the hotspot's own network?"

// page serves the whole page. It works without script, too; it is then as of
// when it was loaded.
func (p *portal) page(w http.ResponseWriter, r *http.Request) { p.show(w, r, "", http.StatusOK) }

func (p *portal) show(w http.ResponseWriter, r *http.Request, notice string, code int) {
	clnt, err := p.api.Http().GetClientDevice(r)
	if err != nil {
		http.Error(w, stranger, http.StatusForbidden)
		return
	}
	c, err := p.look(r, clnt)
	if err != nil {
		notice, code = p.excuse(clnt, err)
	}
	v := p.words(c)
	v.Notice = notice
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "page", v); err != nil {
		p.log.Error("page", "error", err)
		http.Error(w, "this page does not work", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // who is gone does not read it
}

// action makes a button's handler. The page's script takes the answer as text;
// a form without script goes back to the page.
func (p *portal) action(do func(context.Context, sessions.ClientDevice) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		clnt, err := p.api.Http().GetClientDevice(r)
		if err != nil {
			http.Error(w, stranger, http.StatusForbidden)
			return
		}
		if err = p.turns.wait(r.Context(), clnt.Id()); err == nil {
			err = do(r.Context(), clnt)
		}
		script := r.Header.Get("Accept") == "text/plain"
		switch {
		case err == nil && script:
			w.WriteHeader(http.StatusNoContent)
		case err == nil:
			http.Redirect(w, r, "/", http.StatusSeeOther)
		default:
			said, code := p.excuse(clnt, err)
			if script {
				http.Error(w, said, code)
			} else {
				p.show(w, r, said, code)
			}
		}
	}
}

func (p *portal) connect(ctx context.Context, clnt sessions.ClientDevice) error {
	return p.api.SessionsMgr().Connect(ctx, clnt, "You are now connected to the internet.")
}

// disconnect ends the connection. What is left of the session stays, for the
// next Connect.
func (p *portal) disconnect(ctx context.Context, clnt sessions.ClientDevice) error {
	return p.api.SessionsMgr().Disconnect(ctx, clnt, "You are now disconnected from the internet.")
}

// pause stops the clock: the client is connected, but nothing passes. API has no
// such call; the core beside it has.
func (p *portal) pause(ctx context.Context, clnt sessions.ClientDevice) error {
	_, err := p.core.PauseDevice(ctx, clnt.Id(), "Your session is paused.")
	return err
}

func (p *portal) resume(ctx context.Context, clnt sessions.ClientDevice) error {
	_, err := p.core.ResumeDevice(ctx, clnt.Id(), "Your session goes on.")
	return err
}

var errEnough = errors.New("you have a session")

// give makes a present of a session to who has none.
func (p *portal) give(ctx context.Context, clnt sessions.ClientDevice) error {
	_, err := p.api.SessionsMgr().GetSession(ctx, clnt)
	if err == nil {
		return errEnough
	}
	if !errors.Is(err, sessions.ErrNoSession) {
		return err
	}
	const (
		sessionType = 0 // 0 = time, 1 = data, 2 = time_or_data
		secs        = 5 * 60
		downMbits   = 5
		upMbits     = 3
	)
	expireDays := uint(1)
	return p.api.SessionsMgr().CreateSession(ctx, clnt.Id(), sessionType, secs, 0, &expireDays, downMbits, upMbits, false)
}

// excuse says to a person what did not work, and to the log why.
func (p *portal) excuse(clnt sessions.ClientDevice, err error) (said string, code int) {
	for _, known := range []struct {
		err  error
		said string
		code int
	}{
		{sessions.ErrNoSession, "You have no session with anything left.", http.StatusConflict},
		{sessions.ErrAlreadyConnected, "You are connected already.", http.StatusConflict},
		{sessions.ErrNotConnected, "You are not connected.", http.StatusConflict},
		{sessions.ErrPaused, "Your session is paused already.", http.StatusConflict},
		{sessions.ErrNotPaused, "Your session is not paused.", http.StatusConflict},
		{errEnough, "You have a session already.", http.StatusConflict},
		{errHasty, "That was too fast. Wait a moment and try again.", http.StatusTooManyRequests},
		{context.Canceled, "You went away before it was done.", http.StatusServiceUnavailable},
	} {
		if errors.Is(err, known.err) {
			return known.said, known.code
		}
	}
	p.log.Warn("portal", "client", clnt.MacAddr(), "error", err)
	return "This does not work at the moment. Try again in a minute.", http.StatusServiceUnavailable
}
