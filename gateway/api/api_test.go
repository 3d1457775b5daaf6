package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/gateway/api"
	"gatewayd/sessions"
)

// call asks the API over core and returns the answer with its body read.
func call(core api.Core, method, path, body string, header ...string) (*http.Response, string) {
	handler := api.New(core, func(context.Context) api.Status { return api.Status{Ready: true, Version: "1.2.3"} }, whyNot, healthy, nil, nil)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Result().Body)
	return w.Result(), string(text)
}

// whyNot is asked why a device is offline.
func whyNot(ctx context.Context, key string) (api.Why, error) {
	if key == "kitchen" {
		return api.Why{}, fmt.Errorf("standing of %q: %w", key, sessions.ErrNoDevice)
	}
	return api.Why{Now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), Verdict: "no " + key, Steps: []api.WhyStep{}}, nil
}

// healthy is asked what the verdict is.
func healthy() (bool, []string) { return true, nil }

const (
	session7 = `{"id":7,"device_id":1,"provider":"local","type":"time_or_data","state":"running","time_secs":60,"data_mb":100,` +
		`"time_cons":12,"data_cons":3.25,"remaining_time":48,"remaining_data":96.75,"up_bytes":1000000,"down_bytes":2250000,` +
		`"started_at":"2026-11-21T10:00:00Z","expires_at":"2026-12-21T10:01:00Z","exp_days":30,"down_mbits":5,"up_mbits":3,` +
		`"use_global_speed":false,"weight":1,"throttle_down_bits":0,"throttle_up_bits":0,"throttled":false,"created_at":"2026-11-21T10:00:00Z"}`
	device1 = `{"id":1,"mac":"02:00:00:00:00:0c","ip":"10.10.0.2","hostname":"","connected":true,` +
		`"first_seen":"2026-11-21T10:00:00Z","last_seen":"2026-11-21T10:00:00Z","session":` + session7 + `}`
	noFlow   = `{"bits_per_second":0,"packets_per_second":0,"limit_bits_per_second":0,"waiting_bytes":0,"delay_ms":0}`
	timePlan = `{"type":"time","time_secs":60,"use_global_speed":true}`
)

func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		want                     string // JSON, compared as values
	}{
		{"a device by its id", "GET", "/devices/1", "", 200, device1},
		{"a device by its MAC", "GET", "/devices/02:00:00:00:00:0c", "", 200, device1},
		{"a device by its address", "GET", "/devices/10.10.0.2", "", 200, device1},
		{"all devices, with a cursor for the rest", "GET", "/devices", "", 200, `{"items":[` + device1 + `],"next":"2"}`},
		{"a new device is created", "POST", "/devices", `{"mac":"02:00:00:00:00:0d"}`, 201, device1},
		{"a known device is just answered", "POST", "/devices", `{"mac":"02:00:00:00:00:0c","ip":"10.10.0.2"}`, 200, device1},
		{"connect needs no body", "POST", "/devices/1/connect", "", 200, device1},
		{"connect takes a message", "POST", "/devices/1/connect", `{"notify":"welcome"}`, 200, device1},
		{"disconnect needs no body", "POST", "/devices/1/disconnect", "", 200, device1},
		{"the running session", "GET", "/devices/1/session", "", 200, session7},
		{"a device's sessions", "GET", "/devices/1/sessions", "", 200, `{"items":[` + session7 + `],"next":""}`},
		{"a session is created", "POST", "/devices/1/sessions", timePlan, 201, session7},
		{"several sessions are created", "POST", "/devices/1/sessions/batch", `{"items":[` + timePlan + `,` + timePlan + `]}`, 201, `{"items":[` + session7 + `],"next":""}`},
		{"what a device has left", "GET", "/devices/1/summary", "", 200, `{"device_id":1,"sessions":{},"time":{"sessions":0,"time_secs":0,"data_mb":0},` +
			`"data":{"sessions":0,"time_secs":0,"data_mb":0},"time_or_data":{"sessions":0,"time_secs":0,"data_mb":0},"next_expiry":null,"left":[` + session7 + `],"more":false}`},
		{"all sessions", "GET", "/sessions", "", 200, `{"items":[` + session7 + `],"next":""}`},
		{"one session", "GET", "/sessions/7", "", 200, session7},
		{"a session's ledger", "GET", "/sessions/7/ledger", "", 200, `{"items":[{"n":2,"at":"2026-11-21T10:00:00Z","kind":"pause","why":"bye","changed":[],` +
			`"used":{"time_ms":12000,"up_bytes":1000000,"down_bytes":0},"total":{"time_ms":12000,"up_bytes":1000000,"down_bytes":0},` +
			`"corrected_ms":0,"corrected_bytes":0,"remaining_ms":48000,"remaining_bytes":null}],"next":""}`},
		{"who receives most", "GET", "/top", "", 200, `{"ready":true,"degraded":[],"traffic":{"now":"2026-11-21T10:00:00Z","over_ms":1000,"clients":{"bound":3,"connected":1,"paused":0},` +
			`"down":` + noFlow + `,"up":` + noFlow + `,"drops_per_second":0.5,"other_drops_per_second":0,` +
			`"items":[{"device_id":1,"mac":"02:00:00:00:00:0c","ip":"10.10.0.2","hostname":"","session":` + session7 + `,` +
			`"down":{"bits_per_second":4900000,"packets_per_second":410,"limit_bits_per_second":5000000,"waiting_bytes":3000,"delay_ms":12.5},` +
			`"up":{"bits_per_second":0,"packets_per_second":0,"limit_bits_per_second":3000000,"waiting_bytes":0,"delay_ms":0},` +
			`"drops":3,"drops_per_second":0.5,"marked":2,"marked_per_second":0}]}}`},
		{"why a device is offline", "GET", "/devices/1/why", "", 200, `{"now":"2026-11-21T10:00:00Z","verdict":"no 1","online":false,"do":"","device":null,"steps":[]}`},
		{"a session is changed", "PATCH", "/sessions/7", `{"time_secs":120}`, 200, session7},
	} {
		t.Run(row.name, func(t *testing.T) {
			core := newFake()
			answer, body := call(core, row.method, api.Base+row.path, row.body)
			if answer.StatusCode != row.status {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, row.status, body)
			}
			if got := answer.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("content type %q", got)
			}
			sameJSON(t, body, row.want)
			if !core.deadline {
				t.Error("a call reached the core without a deadline")
			}
		})
	}
}

// A list without the store is of what is in memory, and says so.
func TestAListWithoutTheStoreSaysSo(t *testing.T) {
	core := newFake()
	core.fail = fmt.Errorf("list: %w", sessions.ErrUnavailable)
	for path, want := range map[string]string{
		"/devices":            `{"items":[` + device1 + `],"next":"2","partial":true}`,
		"/sessions":           `{"items":[` + session7 + `],"next":"","partial":true}`,
		"/devices/1/sessions": `{"items":[` + session7 + `],"next":"","partial":true}`,
	} {
		answer, body := call(core, "GET", api.Base+path, "")
		if answer.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, answer.StatusCode, body)
			continue
		}
		sameJSON(t, body, want)
	}
	core.empty = true // it has none at all
	if answer, body := call(core, "GET", api.Base+"/devices", ""); answer.StatusCode != 503 {
		t.Errorf("%d %s, want 503", answer.StatusCode, body)
	}
}

func TestDeletedSessionHasNoAnswer(t *testing.T) {
	answer, body := call(newFake(), "DELETE", api.Base+"/sessions/7", "")
	if answer.StatusCode != 204 || body != "" {
		t.Errorf("%d %q, want 204 and nothing", answer.StatusCode, body)
	}
}

func TestNothingIsEmptyOrNull(t *testing.T) {
	core := newFake()
	core.empty = true
	for path, want := range map[string]string{
		"/devices":           `{"items":[],"next":""}`,
		"/devices/1/session": `null`,
		"/sessions":          `{"items":[],"next":""}`,
		"/top": `{"ready":true,"degraded":[],"traffic":{"now":"0001-01-01T00:00:00Z","over_ms":0,"clients":{"bound":0,"connected":0,"paused":0},` +
			`"down":` + noFlow + `,"up":` + noFlow + `,"drops_per_second":0,"other_drops_per_second":0,"items":[]}}`,
	} {
		if _, body := call(core, "GET", api.Base+path, ""); strings.TrimSpace(body) != want {
			t.Errorf("%s: %s, want %s", path, body, want)
		}
	}
}

func TestStatusHasEveryKey(t *testing.T) {
	_, body := call(newFake(), "GET", api.Base+"/status", "")
	port := `{"name":"","mac":"","up":false,"mtu":0,"rx_packets":0,"rx_bytes":0,"tx_packets":0,"tx_bytes":0,"refused":0,"overflow":0}`
	sameJSON(t, body, `{"ready":true,"degraded":[],"ports":{"lan":`+port+`,"wan":`+port+`,"host":`+port+`},"sessions":{},`+
		`"clients":{"bound":0,"connected":0},"nat":{"mappings":0,"flows":0,"addresses":[]},"drops":{},"billed_bytes":0,"exempt_bytes":0,`+
		`"version":"1.2.3","uptime_secs":0,"processes":[],"config":{"file":"","read_at":"0001-01-01T00:00:00Z","needs_restart":[],"refused":""}}`)
}

func TestWhatIsSentArrives(t *testing.T) {
	core := newFake()
	ask := func(method, path, body string) {
		t.Helper()
		if answer, text := call(core, method, api.Base+path, body); answer.StatusCode >= 300 {
			t.Fatalf("%s %s: %s", method, path, text)
		}
	}
	ask("POST", "/devices", `{"mac":"02:00:00:00:00:0d","ip":"10.10.0.9","hostname":"till"}`)
	if core.mac != "02:00:00:00:00:0d" || core.ip != "10.10.0.9" || core.hostname != "till" {
		t.Errorf("device %q %q %q", core.mac, core.ip, core.hostname)
	}
	ask("POST", "/devices/1/disconnect", `{"notify":"bye"}`)
	if core.notify != "bye" {
		t.Errorf("notify %q", core.notify)
	}
	ask("POST", "/devices/1/sessions", `{"type":"time_or_data","time_secs":60,"data_mb":1.5,"exp_days":3,"down_mbits":5,"up_mbits":3}`)
	days := uint(3)
	if want := (sessions.Plan{Type: sessions.TypeTimeOrData, TimeSecs: 60, DataMB: 1.5, ExpDays: &days, DownMbits: 5, UpMbits: 3, Weight: 1}); !reflect.DeepEqual(core.plan, want) {
		t.Errorf("plan %+v", core.plan)
	}
	ask("PATCH", "/sessions/7", `{"data_mb":0,"exp_days":3,"use_global_speed":false}`)
	if c := core.change; c.DataMB == nil || *c.DataMB != 0 || c.ExpDays == nil || *c.ExpDays != 3 || c.NeverExpires ||
		c.UseGlobalSpeed == nil || c.TimeSecs != nil || c.DownMbits != nil {
		t.Errorf("change %+v", c)
	}
	ask("POST", "/devices/1/sessions", `{"type":"time","time_secs":60,"use_global_speed":true,"weight":100}`)
	if core.plan.Weight != 100 {
		t.Errorf("plan %+v", core.plan)
	}
	ask("POST", "/devices/1/sessions", `{"type":"data","data_mb":5,"use_global_speed":true,"throttle_down_bits":512000,"throttle_up_bits":256000}`)
	if core.plan.ThrottleDown != 512_000 || core.plan.ThrottleUp != 256_000 {
		t.Errorf("plan %+v", core.plan)
	}
	ask("PATCH", "/sessions/7", `{"throttle_down_bits":0,"throttle_up_bits":0}`)
	if c := core.change; c.ThrottleDown == nil || *c.ThrottleDown != 0 || c.ThrottleUp == nil || *c.ThrottleUp != 0 {
		t.Errorf("throttle: %+v", c)
	}
	ask("PATCH", "/sessions/7", `{"weight":3}`)
	if c := core.change; c.Weight == nil || *c.Weight != 3 {
		t.Errorf("weight: %+v", c)
	}
	ask("PATCH", "/sessions/7", `{"exp_days":null}`)
	if c := core.change; c.ExpDays != nil || !c.NeverExpires {
		t.Errorf("exp_days null: %+v", c)
	}
	ask("PATCH", "/sessions/7", `{}`)
	if !reflect.DeepEqual(core.change, sessions.Change{}) {
		t.Errorf("an empty change changes %+v", core.change)
	}
	ask("GET", "/sessions?device=10.10.0.2&state=consumed&cursor=abc&limit=5", "")
	if core.filter.DeviceID != 1 || core.filter.State != sessions.Consumed || core.cursor != "abc" || core.limit != 5 {
		t.Errorf("filter %+v cursor %q limit %d", core.filter, core.cursor, core.limit)
	}
	ask("GET", "/sessions?type=data&provider=acme&created_after=2026-11-01T00:00:00Z&created_before=2026-11-02T00:00:00%2B01:00&expires_after=2026-12-01T00:00:00Z&expires_before=2026-12-02T00:00:00Z", "")
	day := func(m time.Month, d, hour int) time.Time { return time.Date(2026, m, d, hour, 0, 0, 0, time.UTC) }
	if f := core.filter; f.Type == nil || *f.Type != sessions.TypeData || f.Provider != "acme" || !f.CreatedAfter.Equal(day(11, 1, 0)) || !f.CreatedBefore.Equal(day(11, 1, 23)) ||
		!f.ExpiresAfter.Equal(day(12, 1, 0)) || !f.ExpiresBefore.Equal(day(12, 2, 0)) {
		t.Errorf("filter %+v", f)
	}
	ask("POST", "/devices/1/sessions/batch", `{"items":[`+timePlan+`,{"type":"data","data_mb":5,"use_global_speed":true}]}`)
	if len(core.plans) != 2 || core.plans[0].TimeSecs != 60 || core.plans[1].DataMB != 5 {
		t.Errorf("plans %+v", core.plans)
	}
	ask("GET", "/top?sort=remaining&limit=7", "")
	if core.order != sessions.ByRemaining || core.limit != 7 {
		t.Errorf("order %q limit %d", core.order, core.limit)
	}
	ask("GET", "/top", "")
	if core.order != sessions.ByDown || core.limit != 20 {
		t.Errorf("order %q limit %d", core.order, core.limit)
	}
	ask("GET", "/devices/1/sessions", "")
	if core.filter.DeviceID != 1 || core.filter.State != "" || core.limit != 100 {
		t.Errorf("filter %+v limit %d", core.filter, core.limit)
	}
}

func TestProblems(t *testing.T) {
	connect := []string{"POST", "/devices/1/connect", ""}
	for _, row := range []struct {
		name   string
		fail   error
		call   []string
		status int
		detail []string // parts of it
	}{
		{"an unknown device is not found", nil, []string{"GET", "/devices/9", ""}, 404, []string{"device 9", "gatewayd devices list"}},
		{"why is not asked of a name", nil, []string{"GET", "/devices/kitchen/why", ""}, 404, []string{"kitchen", "gatewayd devices list"}},
		{"an unknown device cannot be connected", nil, []string{"POST", "/devices/9/connect", ""}, 404, []string{"device 9"}},
		{"an unknown device has no sessions", nil, []string{"GET", "/sessions?device=9", ""}, 404, []string{"device 9"}},
		{"an unknown session is not found", nil, []string{"GET", "/sessions/8", ""}, 404, []string{"session 8", "gatewayd sessions list"}},
		{"an unknown session has no ledger", nil, []string{"GET", "/sessions/8/ledger", ""}, 404, []string{"session 8", "gatewayd sessions list"}},
		{"an unknown session cannot be deleted", nil, []string{"DELETE", "/sessions/8", ""}, 404, []string{"session 8"}},
		{"nothing left to connect is a conflict", sessions.ErrNoSession, connect, 409, []string{"no more available sessions", "gatewayd sessions create --device 1"}},
		{"connected twice is a conflict", sessions.ErrAlreadyConnected, connect, 409, []string{"gatewayd devices show 1"}},
		{"paused is a conflict", sessions.ErrPaused, []string{"POST", "/devices/1/pause", ""}, 409, []string{"gatewayd resume 1"}},
		{"not paused is a conflict", sessions.ErrNotPaused, []string{"POST", "/devices/1/resume", ""}, 409, []string{"gatewayd devices show 1"}},
		{"not connected is a conflict", sessions.ErrNotConnected, []string{"POST", "/devices/1/disconnect", ""}, 409, []string{"gatewayd connect 1"}},
		{"a held address is a conflict", sessions.ErrConflict, []string{"POST", "/devices", `{"mac":"02:00:00:00:00:0d","ip":"10.10.0.9"}`}, 409, []string{"another address"}},
		{"a bad plan is refused", sessions.ErrBadPlan, []string{"POST", "/devices/1/sessions", timePlan}, 422, []string{"gatewayd sessions create --help"}},
		{"a bad change is refused", sessions.ErrBadPlan, []string{"PATCH", "/sessions/7", `{"time_secs":1}`}, 422, []string{"gatewayd sessions set --help"}},
		{"a bad MAC is refused", sessions.ErrBadDevice, []string{"POST", "/devices", `{"mac":"x"}`}, 422, []string{"gatewayd devices add --help"}},
		{"a cursor of no page is refused", sessions.ErrBadCursor, []string{"GET", "/devices?cursor=x", ""}, 422, []string{"without cursor"}},
		{"a store that is away is a 503", sessions.ErrUnavailable, connect, 503, []string{"gatewayd status"}},
		{"a forwarder that does not answer is a 503", sessions.ErrForwarder, connect, 503, []string{"gatewayd status"}},
		{"a full table is a 503", sessions.ErrTableFull, connect, 503, []string{"limits.clients"}},
		{"an error nobody named is a 500", fmt.Errorf("bus fault"), connect, 500, []string{"bus fault", "log"}},
		{"a field that does not exist", nil, []string{"POST", "/devices", `{"mac":"02:00:00:00:00:0d","colour":"red"}`}, 422, []string{"body.colour", "unexpected property"}},
		{"a field that does not exist in a message", nil, []string{"POST", "/devices/1/connect", `{"text":"x"}`}, 422, []string{"body.text"}},
		{"a field that does not exist in a change", nil, []string{"PATCH", "/sessions/7", `{"id":9}`}, 422, []string{"body.id"}},
		{"a type that does not exist", nil, []string{"POST", "/devices/1/sessions", `{"type":"forever"}`}, 422, []string{"body.type", "time_or_data"}},
		{"a moment that says nothing", nil, []string{"GET", "/sessions?expires_before=0001-01-01T00:00:00Z", ""}, 422, []string{"query.expires_before", "year 1"}},
		{"a moment of a device that says nothing", nil, []string{"GET", "/devices/1/sessions?created_after=0001-01-01T00:00:00Z", ""}, 422, []string{"query.created_after"}},
		{"two states", nil, []string{"GET", "/sessions?state=running&state=paused", ""}, 422, []string{"query.state: 2 times, want it once", "openapi.json"}},
		{"two limits and two devices", nil, []string{"GET", "/sessions?limit=1&limit=2&device=1&device=1", ""}, 422, []string{"query.device: 2 times", "query.limit: 2 times"}},
		{"a name that stands there twice", nil, []string{"POST", "/devices/1/sessions", `{"type":"time","time_secs":60,"use_global_speed":true,"type":"data"}`}, 400, []string{`"type" stands there twice`}},
		{"likewise, further in", nil, []string{"POST", "/devices/1/sessions/batch", `{"items":[{"type":"time","time_secs":60,"time_secs":6,"use_global_speed":true}]}`}, 400, []string{`"time_secs" stands there twice`}},
		{"a moment that is none", nil, []string{"GET", "/sessions?created_after=soon", ""}, 422, []string{"query.created_after"}},
		{"none at once", nil, []string{"POST", "/devices/1/sessions/batch", `{"items":[]}`}, 422, []string{"body.items"}},
		{"more than a hundred at once", nil, []string{"POST", "/devices/1/sessions/batch", `{"items":[` + strings.Repeat(timePlan+",", 100) + timePlan + `]}`}, 422, []string{"body.items"}},
		{"several for an unknown device", nil, []string{"POST", "/devices/9/sessions/batch", `{"items":[` + timePlan + `]}`}, 404, []string{"device 9"}},
		{"an unknown device has nothing left", nil, []string{"GET", "/devices/9/summary", ""}, 404, []string{"device 9"}},
		{"a negative time", nil, []string{"POST", "/devices/1/sessions", `{"type":"time","time_secs":-1}`}, 422, []string{"body.time_secs"}},
		{"a throttle below nothing", nil, []string{"PATCH", "/sessions/7", `{"throttle_up_bits":-1}`}, 422, []string{"body.throttle_up_bits"}},
		{"a weight of nothing", nil, []string{"PATCH", "/sessions/7", `{"weight":0}`}, 422, []string{"body.weight"}},
		{"a weight of too much", nil, []string{"POST", "/devices/1/sessions", `{"type":"time","time_secs":60,"use_global_speed":true,"weight":101}`}, 422, []string{"body.weight"}},
		{"an order that does not exist", nil, []string{"GET", "/top?sort=colour", ""}, 422, []string{"query.sort", "remaining"}},
		{"more clients than fit in an answer", nil, []string{"GET", "/top?limit=1001", ""}, 422, []string{"query.limit"}},
		{"traffic while a backup is restored is a 503", sessions.ErrUnavailable, []string{"GET", "/top", ""}, 503, []string{"try again"}},
		{"days that are no number", nil, []string{"PATCH", "/sessions/7", `{"exp_days":"soon"}`}, 422, []string{"body.exp_days"}},
		{"a body that is missing", nil, []string{"POST", "/devices", ""}, 400, []string{"body"}},
		{"a body that is not JSON", nil, []string{"POST", "/devices", "{"}, 400, []string{"body"}},
		{"a body without end", nil, []string{"POST", "/devices/1/connect", `{"notify":"` + strings.Repeat("x", 70000) + `"}`}, 413, []string{"too large"}},
		{"a message that is too long", nil, []string{"POST", "/devices/1/connect", `{"notify":"` + strings.Repeat("x", 1025) + `"}`}, 422, []string{"body.notify"}},
		{"a state that does not exist", nil, []string{"GET", "/sessions?state=asleep", ""}, 422, []string{"query.state"}},
		{"a filter that does not exist", nil, []string{"GET", "/sessions?colour=red", ""}, 422, []string{"query.colour"}},
		{"a page that is too long", nil, []string{"GET", "/devices?limit=100000", ""}, 422, []string{"query.limit"}},
		{"a page of no items", nil, []string{"GET", "/devices?limit=0", ""}, 422, []string{"query.limit", ">= 1"}},
		{"a page of less than none", nil, []string{"GET", "/sessions/7/ledger?limit=-1", ""}, 422, []string{"query.limit"}},
		{"a session id that is no number", nil, []string{"GET", "/sessions/seven", ""}, 422, []string{"path.id"}},
		{"a path that does not exist", nil, []string{"GET", "/coffee", ""}, 404, []string{"no such path", "openapi.json"}},
		{"a method that does not exist", nil, []string{"PUT", "/devices/1", ""}, 405, []string{"GET"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			core := newFake()
			if row.fail != nil {
				core.fail = fmt.Errorf("what was asked: %w", row.fail)
			}
			answer, body := call(core, row.call[0], api.Base+row.call[1], row.call[2])
			if answer.StatusCode != row.status {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, row.status, body)
			}
			if got := answer.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type %q", got)
			}
			var problem struct {
				Title, Detail string
				Status        int
			}
			if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Status != row.status || problem.Title == "" {
				t.Errorf("not a problem of RFC 9457 (%v): %s", err, body)
			}
			for _, part := range row.detail {
				if !strings.Contains(problem.Detail, part) {
					t.Errorf("detail %q does not say %q", problem.Detail, part)
				}
			}
			if retry := answer.Header.Get("Retry-After"); (retry != "") != (row.status == 503) {
				t.Errorf("Retry-After %q", retry)
			}
		})
	}
}

func TestWrongMethodSaysWhichFit(t *testing.T) {
	answer, _ := call(newFake(), "PUT", api.Base+"/sessions/7", "")
	if got := answer.Header.Get("Allow"); got != "DELETE, GET, HEAD, PATCH" {
		t.Errorf("Allow: %q", got)
	}
}

func TestFormIsNotJSON(t *testing.T) {
	answer, body := call(newFake(), "POST", api.Base+"/devices", "mac=02:00:00:00:00:0d", "Content-Type", "application/x-www-form-urlencoded")
	if answer.StatusCode != 415 {
		t.Errorf("%d %s, want 415", answer.StatusCode, body)
	}
}

func TestSlowCallEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := newFake()
		core.slow = true
		answer, body := call(core, "GET", api.Base+"/sessions/7", "")
		if answer.StatusCode != 503 || !strings.Contains(body, "look before asking again") {
			t.Errorf("%d %s, want 503", answer.StatusCode, body)
		}
	})
}

func TestDocumentListsWhatExists(t *testing.T) {
	answer, body := call(newFake(), "GET", api.Base+"/openapi.json", "")
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	var document struct {
		Paths      map[string]map[string]any
		Components struct {
			Schemas map[string]struct{ Properties map[string]map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	var got []string
	for path, methods := range document.Paths {
		for method := range methods {
			got = append(got, strings.ToUpper(method)+" "+strings.TrimPrefix(path, api.Base))
		}
	}
	slices.Sort(got)
	want := []string{
		"DELETE /sessions/{id}", "GET /backup", "GET /devices", "GET /devices/{D}", "GET /devices/{D}/capture", "GET /devices/{D}/session", "GET /devices/{D}/sessions", "GET /devices/{D}/summary", "GET /devices/{D}/why", "GET /events",
		"GET /sessions", "GET /sessions/{id}", "GET /sessions/{id}/ledger", "GET /status", "GET /top", "PATCH /sessions/{id}", "POST /devices",
		"POST /devices/{D}/connect", "POST /devices/{D}/disconnect", "POST /devices/{D}/pause", "POST /devices/{D}/resume", "POST /devices/{D}/sessions", "POST /devices/{D}/sessions/batch", "POST /reload", "POST /restore",
	}
	if !slices.Equal(got, want) {
		t.Errorf("document lists\n%v, want\n%v", got, want)
	}
	schemas := document.Components.Schemas
	for name, field := range map[string]string{"Device": "session", "Why": "device"} {
		if _, ok := schemas[name].Properties[field]["anyOf"]; !ok {
			t.Errorf("%s's %s is not said to be null at times", name, field)
		}
	}
	for _, field := range []string{"type", "state"} {
		if p := schemas["Session"].Properties[field]; p["type"] != "string" || p["enum"] == nil {
			t.Errorf("a session's %s is described as %v", field, p)
		}
	}
	for name, schema := range schemas {
		if _, ok := schema.Properties["$schema"]; ok {
			t.Errorf("%s has a $schema member", name)
		}
	}
}

// sameJSON compares two documents as values and says which keys differ.
func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(g, w) {
		return
	}
	t.Errorf("got  %s\nwant %s", strings.TrimSpace(got), want)
	gotKeys, ok := g.(map[string]any)
	wantKeys, ok2 := w.(map[string]any)
	if ok && ok2 {
		t.Errorf("keys %v\nwant %v", slices.Sorted(maps.Keys(gotKeys)), slices.Sorted(maps.Keys(wantKeys)))
	}
}
