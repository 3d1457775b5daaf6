package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatewayd/sessions"
)

// shop is a sessions.SessionProvider: sessions that an HTTP server sells. It
// need not be quick or always there: the gateway calls it from goroutines of
// their own, with a deadline in ctx, and uses what it knew last meanwhile.
type shop struct {
	url, secret string
	http        *http.Client
}

// shopName is what clients are shown and the gateway's records say: whose a
// session is. It must stay.
const shopName = "shop"

// openShop returns the shop at a base URL; nil when there is none.
func openShop(base, secretFile string) (*shop, error) {
	if base == "" {
		return nil, nil
	}
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("-shop %q: want a URL such as https://shop.example", base)
	}
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return nil, fmt.Errorf("read the shop's secret: %w; -shop-secret names its file", err)
	}
	return &shop{strings.TrimSuffix(base, "/"), strings.TrimSpace(string(secret)), &http.Client{Timeout: 8 * time.Second}}, nil
}

// GetSession returns what the device is to use next.
func (s *shop) GetSession(ctx context.Context, clnt sessions.ClientDevice) (sessions.SessionSource, bool) {
	r, err := s.FetchSessions(ctx, clnt, 1, 1)
	if err != nil || len(r.Sessions) == 0 {
		return nil, false
	}
	return r.Sessions[0], true
}

// FetchSessions returns a page of what the device has at the shop.
func (s *shop) FetchSessions(ctx context.Context, clnt sessions.ClientDevice, page, perPage int) (sessions.FetchSessionsResult, error) {
	var answer struct {
		Sessions []bought `json:"sessions"`
		Pages    uint     `json:"pages"`
		Count    uint     `json:"count"`
	}
	path := fmt.Sprintf("/devices/%s/sessions?page=%d&per_page=%d", url.PathEscape(clnt.MacAddr()), page, perPage)
	if err := s.ask(ctx, http.MethodGet, path, nil, nil, &answer); err != nil {
		return sessions.FetchSessionsResult{}, err
	}
	r := sessions.FetchSessionsResult{Pages: answer.Pages, Count: answer.Count}
	for _, b := range answer.Sessions {
		r.Sessions = append(r.Sessions, &source{shop: s, last: b})
	}
	return r, nil
}

// bought is a session as the shop says it.
type bought struct {
	ID             string     `json:"id"`
	Device         string     `json:"device"`
	Type           uint8      `json:"type"`
	TimeSecs       uint       `json:"time_secs"`
	DataMB         float64    `json:"data_mb"`
	TimeCons       uint       `json:"time_cons"`
	DataCons       float64    `json:"data_cons"`
	StartedAt      *time.Time `json:"started_at"`
	ExpDays        *uint      `json:"exp_days"`
	DownMbits      int        `json:"down_mbits"`
	UpMbits        int        `json:"up_mbits"`
	UseGlobalSpeed bool       `json:"use_global_speed"`
	CreatedAt      time.Time  `json:"created_at"`
	Version        uint64     `json:"version"`
	Sequence       uint64     `json:"sequence"`
}

func (b bought) data() sessions.SessionData {
	return sessions.SessionData{
		Provider: shopName, Type: b.Type, TimeSecs: b.TimeSecs, DataMb: b.DataMB, TimeCons: b.TimeCons, DataCons: b.DataCons,
		StartedAt: b.StartedAt, ExpDays: b.ExpDays, DownMbits: b.DownMbits, UpMbits: b.UpMbits,
		UseGlobalSpeed: b.UseGlobalSpeed, CreatedAt: b.CreatedAt,
	}
}

// source is a sessions.SessionSource: one session at the shop.
type source struct {
	shop *shop

	mu   sync.Mutex
	last bought // as the shop said it last
}

// ID is the session's key at the shop.
func (s *source) ID() string { return s.now().ID }

func (s *source) now() bought {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Data returns what the shop said last.
func (s *source) Data() sessions.SessionData { return s.now().data() }

// Reload asks the shop.
func (s *source) Reload(ctx context.Context) (sessions.SessionData, error) {
	err := s.ask(ctx, http.MethodGet, nil, nil)
	return s.Data(), err
}

// SaveSeq has the shop keep what the gateway has counted, exactly once: the
// shop knows by seq what it has done already, and by the version that is saved
// upon whether somebody else has changed the session since it was read. Then
// this fails, and the gateway reads it anew, adds, and saves again.
func (s *source) SaveSeq(ctx context.Context, d sessions.SessionData, seq uint64) error {
	b := s.now()
	b.TimeSecs, b.DataMB, b.TimeCons, b.DataCons = d.TimeSecs, d.DataMb, d.TimeCons, d.DataCons
	b.StartedAt, b.ExpDays = d.StartedAt, d.ExpDays
	b.DownMbits, b.UpMbits, b.UseGlobalSpeed = d.DownMbits, d.UpMbits, d.UseGlobalSpeed
	return s.ask(ctx, http.MethodPut, b, http.Header{
		"If-Match": {fmt.Sprintf(`"%d"`, b.Version)}, "Sequence": {strconv.FormatUint(seq, 10)},
	})
}

// Save is for who does not number what is saved; the gateway calls SaveSeq.
func (s *source) Save(ctx context.Context, d sessions.SessionData) error {
	return s.SaveSeq(ctx, d, s.now().Sequence+1)
}

// ask asks the shop about the session, and keeps its answer.
func (s *source) ask(ctx context.Context, method string, body any, with http.Header) error {
	var b bought
	if err := s.shop.ask(ctx, method, "/sessions/"+url.PathEscape(s.ID()), body, with, &b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = b
	return nil
}

// ask asks the shop. An error says what it answered.
func (s *shop) ask(ctx context.Context, method, path string, body any, with http.Header, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	for name, values := range with {
		r.Header[name] = values
	}
	r.Header.Set("Authorization", "Bearer "+s.secret)
	answer, err := s.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && answer.StatusCode >= 300 {
		err = errors.New(answer.Status + ": " + string(text[:min(len(text), 200)]))
	}
	if answer.StatusCode == http.StatusPreconditionFailed {
		err = fmt.Errorf("%w: %w", sessions.ErrNotSaved, err)
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("shop: %s %s: %w", method, path, err)
	}
	return nil
}
