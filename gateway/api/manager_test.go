package api_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/sessions"
	"gatewayd/store"
)

var _ api.Core = (*sessions.Manager)(nil)

// newManager runs the real sessions room over a store in memory, without a
// forwarder.
func newManager(t *testing.T) *sessions.Manager {
	t.Helper()
	table, file, err := clients.Create(clients.Shape{Slots: 16, NATBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	stored, closeStore, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	m := sessions.New(sessions.Options{Table: table, Store: stored, Now: time.Now, Boot: clients.NewClock().Now,
		LAN: netip.MustParsePrefix("10.10.0.0/16"), Gateway: netip.MustParseAddr("10.10.0.1")})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		closeStore()
		table.Close()
		file.Close()
	})
	<-m.Ready()
	return m
}

// TestDeviceFromFirstToLastCall walks a device and a session through their
// lives, with the real sessions room behind the API.
func TestDeviceFromFirstToLastCall(t *testing.T) {
	const mac = "02:00:00:00:00:0c"
	m := newManager(t)
	plan := `{"type":"time_or_data","time_secs":60,"data_mb":100,"exp_days":30,"down_mbits":5,"up_mbits":3}`
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		part                     string // of the answer
	}{
		{"nobody is there", "GET", "/devices", "", 200, `{"items":[],"next":""}`},
		{"a device is added", "POST", "/devices", `{"mac":"` + mac + `","ip":"10.10.0.2"}`, 201, `"id":1,"mac":"` + mac + `","ip":"10.10.0.2","hostname":"","connected":false`},
		{"adding it again is done", "POST", "/devices", `{"mac":"` + mac + `","ip":"10.10.0.2"}`, 200, `"id":1,`},
		{"a MAC that is none is refused", "POST", "/devices", `{"mac":"02:00"}`, 422, "bad device"},
		{"an address outside the LAN is refused", "POST", "/devices", `{"mac":"02:00:00:00:00:0d","ip":"192.0.2.1"}`, 422, "10.10.0.0/16"},
		{"it has no session", "GET", "/devices/1", "", 200, `"session":null`},
		{"it runs none", "GET", "/devices/1/session", "", 200, "null"},
		{"it cannot connect without one", "POST", "/devices/1/connect", "", 409, "no more available sessions; sell it one: gatewayd sessions create --device 1"},
		{"a plan without speed is refused", "POST", "/devices/1/sessions", `{"type":"time","time_secs":60}`, 422, "bad plan"},
		{"it gets a session, by its MAC", "POST", "/devices/" + mac + "/sessions", plan, 201, `"state":"available","time_secs":60,"data_mb":100,"time_cons":0,"data_cons":0,"remaining_time":60,"remaining_data":100,"up_bytes":0,"down_bytes":0,"started_at":null,"expires_at":null,"exp_days":30,"down_mbits":5,"up_mbits":3,"use_global_speed":false`},
		{"it connects, by its address", "POST", "/devices/10.10.0.2/connect", `{"notify":"welcome"}`, 200, `"connected":true`},
		{"twice is a conflict", "POST", "/devices/1/connect", "", 409, "already connected; see its session: gatewayd devices show 1"},
		{"its session runs", "GET", "/devices/1/session", "", 200, `"state":"running"`},
		{"it is listed as running", "GET", "/sessions?device=1&state=running", "", 200, `"device_id":1,"provider":"local","type":"time_or_data"`},
		{"no other is", "GET", "/sessions?state=expired", "", 200, `{"items":[],"next":""}`},
		{"it is topped up while it runs", "PATCH", "/sessions/1", `{"time_secs":120,"exp_days":null}`, 200, `"time_secs":120`},
		{"it never expires now", "GET", "/sessions/1", "", 200, `"exp_days":null`},
		{"it is paused", "POST", "/devices/1/pause", `{"notify":"tea"}`, 200, `"connected":true`},
		{"its session says so", "GET", "/devices/1/session", "", 200, `"state":"paused","pause_reason":"asked","time_secs":120`},
		{"it is listed as paused", "GET", "/sessions?state=paused", "", 200, `"device_id":1,"provider":"local"`},
		{"and not as running", "GET", "/sessions?state=running", "", 200, `{"items":[],"next":""}`},
		{"pausing it again is a conflict", "POST", "/devices/1/pause", "", 409, "session 1 is paused; let it go on: gatewayd resume 1"},
		{"connecting it too, and says what to do", "POST", "/devices/1/connect", "", 409, "already connected: session 1 is paused; let it go on: gatewayd resume 1"},
		{"it goes on", "POST", "/devices/1/resume", "", 200, `"state":"running","time_secs":120`},
		{"twice is a conflict", "POST", "/devices/1/resume", "", 409, "not paused; see what it does: gatewayd devices show 1"},
		{"it disconnects", "POST", "/devices/1/disconnect", "", 200, `"connected":false`},
		{"twice is a conflict too", "POST", "/devices/1/disconnect", "", 409, "not connected"},
		{"the rest is available", "GET", "/devices/1/sessions", "", 200, `"state":"available"`},
		{"the session is deleted", "DELETE", "/sessions/1", "", 204, ""},
		{"and gone", "GET", "/sessions/1", "", 404, "gatewayd sessions list"},
		{"a cursor nobody gave is refused", "GET", "/devices?cursor=x", "", 422, "without cursor"},
		{"an unknown device is not found", "GET", "/devices/10.10.9.9", "", 404, "gatewayd devices list"},
	} {
		answer, body := call(m, step.method, api.Base+step.path, step.body)
		if answer.StatusCode != step.status || !strings.Contains(body, step.part) {
			t.Fatalf("%s: %d %s\nwant %d with %s", step.name, answer.StatusCode, body, step.status, step.part)
		}
	}
}

// TestObjectsHaveTheContractsKeys: no key more, none less.
func TestObjectsHaveTheContractsKeys(t *testing.T) {
	m := newManager(t)
	call(m, "POST", api.Base+"/devices", `{"mac":"02:00:00:00:00:0c","ip":"10.10.0.2"}`)
	call(m, "POST", api.Base+"/devices/1/sessions", timePlan)
	_, body := call(m, "POST", api.Base+"/devices/1/connect", "")
	var device map[string]any
	if err := json.Unmarshal([]byte(body), &device); err != nil {
		t.Fatal(err)
	}
	session, _ := device["session"].(map[string]any)
	for name, row := range map[string]struct {
		object map[string]any
		want   string
	}{
		"device": {device, "connected first_seen hostname id ip last_seen mac session"},
		"session": {session, "created_at data_cons data_mb device_id down_bytes down_mbits exp_days expires_at id provider remaining_data " +
			"remaining_time started_at state throttle_down_bits throttle_up_bits throttled time_cons time_secs type up_bytes up_mbits use_global_speed weight"},
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(row.object)), " "); got != row.want {
			t.Errorf("a %s has %s\nwant %s", name, got, row.want)
		}
	}
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	m := newManager(t)
	for _, last := range []string{"a", "b", "c", "d", "e"} {
		call(m, "POST", api.Base+"/devices", `{"mac":"02:00:00:00:00:0`+last+`"}`)
	}
	seen, cursor := map[string]bool{}, ""
	for range 5 {
		_, body := call(m, "GET", api.Base+"/devices?limit=2&cursor="+cursor, "")
		var page struct {
			Items []struct{ MAC string }
			Next  string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Items) > 2 {
			t.Fatalf("%v: %s", err, body)
		}
		for _, d := range page.Items {
			seen[d.MAC] = true
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(seen) != 5 || cursor != "" {
		t.Errorf("saw %d devices of 5, next %q", len(seen), cursor)
	}
}
