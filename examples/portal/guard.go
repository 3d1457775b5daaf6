package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of what clients may take. A browser opens 6 connections to a server.
const (
	connsOfOne = 16                     // connections of one client at once
	connsOfAll = 1024                   // of all
	mostBody   = 4096                   // bytes of a request's body, and of its headers
	betweenTwo = 300 * time.Millisecond // actions of one client: each is written to the disk
	mayWait    = 3 * time.Second        // actions that come faster, before they are refused
)

// policy lets the page load what this server sends, and nothing else: also
// markup that got through as markup would do nothing.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard lets through what a client's own browser asks of this very page. There
// is no cookie and no login that another site could use: the gateway knows a
// client by its MAC and address. What is left to another site is to have a
// visitor's browser press a button here, and the checks of Host and Origin stop
// that; the Host check also when the site gives its own name our address.
func (p *portal) guard(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(next, mostBody))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // it is one client's own
		switch {
		case r.ContentLength > mostBody:
			http.Error(w, "that is too long", http.StatusRequestEntityTooLarge)
		case r.Host == p.host:
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			// A name that the client's DNS server leads here, as for a browser's
			// test whether it is behind a portal.
			http.Redirect(w, r, "http://"+p.host+"/", http.StatusFound)
		default:
			http.Error(w, "this server is http://"+p.host, http.StatusMisdirectedRequest)
		}
	})
}

// turns spaces the actions of each client.
type turns struct {
	mu   sync.Mutex
	next map[int64]time.Time // when the next one of a device may begin
}

var errHasty = errors.New("too many requests at once; wait a moment")

// wait returns when the next action of a device may begin.
func (t *turns) wait(ctx context.Context, device int64) error {
	now := time.Now()
	t.mu.Lock()
	if t.next == nil || len(t.next) > 10_000 {
		t.next = map[int64]time.Time{}
	}
	at := t.next[device]
	if at.Before(now) {
		at = now
	}
	if at.Sub(now) > mayWait {
		t.mu.Unlock()
		return errHasty
	}
	t.next[device] = at.Add(betweenTwo)
	t.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(at.Sub(now)):
		return nil
	}
}

// fair is a listener that one client cannot take from the others.
type fair struct {
	net.Listener

	mu   sync.Mutex
	all  int
	open map[netip.Addr]int
}

func fairly(l net.Listener) *fair { return &fair{Listener: l, open: map[netip.Addr]int{}} }

// Accept returns the next connection of a client that has not too many.
func (f *fair) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err == nil && f.take(from.Addr()) {
			return &counted{c, sync.OnceFunc(func() { f.give(from.Addr()) })}, nil
		}
		c.Close()
	}
}

func (f *fair) take(from netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all >= connsOfAll || f.open[from] >= connsOfOne {
		return false
	}
	f.all++
	f.open[from]++
	return true
}

func (f *fair) give(from netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.open[from]--; f.open[from] == 0 {
		delete(f.open, from)
	}
}

// counted is a connection that says when it is closed.
type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}
