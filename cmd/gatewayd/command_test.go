package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeDaemon answers every call on a unix socket with what stands in answers
// under "METHOD path?query", and remembers the calls and their bodies.
type fakeDaemon struct {
	socket  string
	answers map[string]answered
	calls   []string
	bodies  []string
}

type answered struct {
	status int
	body   string
}

func newFakeDaemon(t *testing.T, answers map[string]answered) *fakeDaemon {
	t.Helper()
	f := &fakeDaemon{socket: filepath.Join(t.TempDir(), "api.sock"), answers: answers}
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(f.answer))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return f
}

func (f *fakeDaemon) answer(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/api/v1")
	body, _ := io.ReadAll(r.Body)
	f.calls, f.bodies = append(f.calls, call), append(f.bodies, string(body))
	a, ok := f.answers[call]
	if !ok {
		a = answered{404, `{"title":"Not Found","status":404,"detail":"nobody knows ` + call + `; ask otherwise"}`}
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// command runs one command line against f.
func (f *fakeDaemon) command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), append(args, "--socket", f.socket), &out, &errs)
	return code, out.String(), errs.String()
}

const (
	session7 = `{"id":7,"device_id":1,"provider":"local","type":"time_or_data","state":"running","time_secs":3600,"data_mb":100,` +
		`"time_cons":12,"data_cons":3.25,"remaining_time":3588,"remaining_data":96.75,"up_bytes":1000000,"down_bytes":2250000,` +
		`"started_at":"2026-11-21T10:00:00Z","expires_at":"2026-12-21T11:00:00Z","exp_days":30,"down_mbits":5,"up_mbits":3,` +
		`"use_global_speed":false,"weight":1,"throttle_down_bits":0,"throttle_up_bits":0,"throttled":false,"created_at":"2026-11-21T10:00:00Z"}`
	throttled7 = `{"id":7,"device_id":1,"provider":"local","type":"data","state":"running","data_mb":100,"throttle_down_bits":512000,"throttle_up_bits":1500000,"throttled":true,"down_mbits":5,"up_mbits":3}`
	device1    = `{"id":1,"mac":"02:00:00:00:00:0c","ip":"10.10.0.2","hostname":"","connected":true,` +
		`"first_seen":"2026-11-21T10:00:00Z","last_seen":"2026-11-21T10:00:00Z","session":` + session7 + `}`
	device2 = `{"id":2,"mac":"02:00:00:00:00:0d","ip":"","hostname":"till\u001b[31m","connected":false,` +
		`"first_seen":"2026-11-21T10:00:00Z","last_seen":"0001-01-01T00:00:00Z","session":null}`
)

const ledger7 = `{"items":[` +
	`{"n":0,"at":"2026-11-21T10:00:00Z","kind":"create","why":"for device 1","changed":[],"used":{"time_ms":0,"up_bytes":0,"down_bytes":0},` +
	`"total":{"time_ms":0,"up_bytes":0,"down_bytes":0},"corrected_ms":0,"corrected_bytes":0,"remaining_ms":null,"remaining_bytes":100000000},` +
	`{"n":1,"at":"2026-11-21T10:01:00Z","kind":"start","why":"connected","changed":[],"used":{"time_ms":0,"up_bytes":0,"down_bytes":0},` +
	`"total":{"time_ms":0,"up_bytes":0,"down_bytes":0},"corrected_ms":0,"corrected_bytes":0,"remaining_ms":2400000,"remaining_bytes":100000000},` +
	`{"n":2,"at":"2026-11-21T10:01:12Z","kind":"pause","why":"disconnected: bye\u001b[31m","changed":[],"used":{"time_ms":12600,"up_bytes":1000000,"down_bytes":2250000},` +
	`"total":{"time_ms":12600,"up_bytes":1000000,"down_bytes":2250000},"corrected_ms":0,"corrected_bytes":0,"remaining_ms":2387400,"remaining_bytes":96750000},` +
	`{"n":3,"at":"2026-11-21T10:02:00Z","kind":"top-up","why":"","changed":[{"field":"time_secs","old":"2400","new":"3600"},{"field":"down_mbits","old":"5","new":"8"}],` +
	`"used":{"time_ms":600,"up_bytes":1,"down_bytes":0},"total":{"time_ms":13200,"up_bytes":1000001,"down_bytes":2250000},"corrected_ms":2000,"corrected_bytes":-1000000,` +
	`"remaining_ms":3584800,"remaining_bytes":97749999}],"next":""}`

func TestCommands(t *testing.T) {
	create := []string{"sessions", "create", "--device", "1", "--type"}
	for _, row := range []struct {
		name string
		args []string
		call string // the daemon's first call
		body string // and its body
		give string // answered
		say  []string
	}{
		{"devices list is a table", []string{"devices", "list"}, "GET /devices?", "", `{"items":[` + device1 + `,` + device2 + `],"next":""}`,
			[]string{"ID  MAC                IP         HOSTNAME   CONNECTED  SESSION  LEFT                 SEEN\n",
				"1   02:00:00:00:00:0c  10.10.0.2  -          yes        7        59m 48s or 96.75 MB",
				"2   02:00:00:00:00:0d  -          till?[31m  no         -        -                    never\n"}},
		{"an empty list says how to fill it", []string{"devices", "list"}, "GET /devices?", "", `{"items":[],"next":""}`, []string{"gatewayd devices add"}},
		{"one page says how to see the next", []string{"devices", "list", "--limit", "1"}, "GET /devices?limit=1", "", `{"items":[` + device1 + `],"next":"c1"}`,
			[]string{"more with --limit 1 --cursor c1"}},
		{"a device is shown with its session", []string{"devices", "show", "10.10.0.2"}, "GET /devices/10.10.0.2", "", device1,
			[]string{"connected   yes\n", "used     12s, 1 MB up, 2.25 MB down\n", "speed    5/3 Mbit\n"}},
		{"a device is shown with its IPv6 addresses", []string{"devices", "show", "2"}, "GET /devices/2", "",
			strings.Replace(device2, `"hostname"`, `"ipv6":["2001:db8::c","fe80::c"],"hostname"`, 1), []string{"IP          -\nIPv6        2001:db8::c\n            fe80::c\nhostname    "}},
		{"a device without session says where they are", []string{"devices", "show", "2"}, "GET /devices/2", "", device2, []string{"gatewayd sessions list --device 2"}},
		{"a device is added", []string{"devices", "add", "--mac", "02:00:00:00:00:0c", "--ip", "10.10.0.2"}, "POST /devices",
			`{"mac":"02:00:00:00:00:0c","ip":"10.10.0.2"}`, device1, []string{"device 1: 02:00:00:00:00:0c at 10.10.0.2\n"}},
		{"a summary says what is left in all", []string{"devices", "summary", "1"}, "GET /devices/1/summary", "",
			`{"device_id":1,"sessions":{"running":1,"consumed":2},"time":{"sessions":0},"data":{"sessions":1,"data_mb":96.75},"time_or_data":{"sessions":1,"time_secs":3588,"data_mb":96.75},` +
				`"next_expiry":null,"left":[` + session7 + `],"more":true}`,
			[]string{"data          96.75 MB in 1 session\n", "time or data  at most 59m 48s and 96.75 MB in 1 session: each ends", "running       1\nconsumed      2\n", "time_or_data", "--device 1 --state available"}},
		{"an empty summary says what to do", []string{"devices", "summary", "1"}, "GET /devices/1/summary", "", `{"device_id":1,"left":[]}`, []string{"gatewayd sessions create --device 1"}},
		{"sessions are chosen", []string{"sessions", "list", "--type", "data", "--provider", "local", "--created-after", "2026-11-01T00:00:00Z", "--expires-before", "2026-12-01T00:00:00+01:00"},
			"GET /sessions?created_after=2026-11-01T00%3A00%3A00Z&expires_before=2026-12-01T00%3A00%3A00%2B01%3A00&provider=local&type=data", "", `{"items":[],"next":""}`, nil},
		{"several sessions are created at once", append(create, "time", "--time", "10m", "--global", "--count", "2"), "POST /devices/1/sessions/batch",
			`{"items":[{"time_secs":600,"type":"time","use_global_speed":true},{"time_secs":600,"type":"time","use_global_speed":true}]}`, `{"items":[` + session7 + `,` + session7 + `],"next":""}`,
			[]string{"session 7 for device 1: time_or_data, 1h or 100 MB, 5/3 Mbit; start it with gatewayd connect 1\nsession 7 "}},
		{"connect says on what", []string{"connect", "1"}, "POST /devices/1/connect", `{}`, device1,
			[]string{"device 1 (02:00:00:00:00:0c, 10.10.0.2) is connected: session 7, 59m 48s or 96.75 MB left, 5/3 Mbit\n"}},
		{"pause passes its message on", []string{"pause", "1", "--notify", "tea"}, "POST /devices/1/pause", `{"notify":"tea"}`, device1, []string{"is paused: session 7", "gatewayd resume 1"}},
		{"resume passes its message on", []string{"resume", "1", "--notify", "on"}, "POST /devices/1/resume", `{"notify":"on"}`, device1, []string{"goes on: session 7"}},
		{"disconnect passes its message on", []string{"disconnect", "1", "--notify", "bye"}, "POST /devices/1/disconnect", `{"notify":"bye"}`, device1, []string{"is disconnected"}},
		{"why says its verdict first and what mends it", []string{"why", "1"}, "GET /devices/1/why", "",
			`{"now":"2026-11-21T10:00:05Z","verdict":"device 1 is NOT online: it has bought no session","online":false,"do":"sell it one","device":null,"steps":[` +
				`{"step":"link","path":["decode"],"state":"ok","seen":"LAN port eth1 is up","at":null,"do":"","drops":[]},` +
				`{"step":"admit","path":["admit"],"state":"stops","seen":"it has bought no session","at":null,"do":"sell it one","drops":[` +
				`{"reason":"no_grant","words":"no session let it pass","packets":3,"last":"2026-11-21T10:00:00Z"}]},` +
				`{"step":"limit","path":["pace"],"state":"unasked","seen":"","at":null,"do":"","drops":[]}]}`,
			[]string{"device 1 is NOT online: it has bought no session\n  do: sell it one\n\n", "link   ok     LAN port eth1 is up\n",
				"admit  STOPS  it has bought no session\n              3 dropped as no_grant: no session let it pass; the last 5s ago\n", "limit  -      -\n"}},
		{"reload says what is in force and what is not", []string{"reload"}, "POST /reload", "",
			`{"file":"gw.yaml","applied":["bandwidth.total.up","log.level"],"needs_restart":["workers"],"warnings":["host.ports: all"]}`,
			[]string{"warning: host.ports: all\nin force now: bandwidth.total.up, log.level\nafter a restart: workers; run: systemctl restart gatewayd\n"}},
		{"reload says that nothing has changed", []string{"reload"}, "POST /reload", "", `{"file":"gw.yaml","applied":[],"needs_restart":[],"warnings":[]}`,
			[]string{"nothing has changed: what gw.yaml says is in force\n"}},
		{"reload of what needs a restart only", []string{"reload"}, "POST /reload", "", `{"file":"gw.yaml","applied":[],"needs_restart":["workers"],"warnings":[]}`,
			[]string{"after a restart: workers; run: systemctl restart gatewayd\n"}},
		{"sessions are filtered", []string{"sessions", "list", "--device", "02:00:00:00:00:0c", "--state", "running"},
			"GET /sessions?device=02%3A00%3A00%3A00%3A00%3A0c&state=running", "", `{"items":[` + session7 + `],"next":""}`,
			[]string{"7   1       time_or_data  running  1h or 100 MB  59m 48s or 96.75 MB  5/3 Mbit  20"}},
		{"a session is created in the units of the API", append(create, "time_or_data", "--time", "1h", "--data", "1.5 GB", "--expire-days", "30", "--down", "5Mbit", "--up", "3 Mbit"),
			"POST /devices/1/sessions", `{"data_mb":1500,"down_mbits":5,"exp_days":30,"time_secs":3600,"type":"time_or_data","up_mbits":3,"use_global_speed":false}`,
			session7, []string{"session 7 for device 1: time_or_data, 1h or 100 MB, 5/3 Mbit; start it with gatewayd connect 1\n"}},
		{"a session at global speed", append(create, "data", "--data", "100MB", "--global"),
			"POST /devices/1/sessions", `{"data_mb":100,"type":"data","use_global_speed":true}`, session7, nil},
		{"a session that never expires", append(create, "time", "--time", "90s", "--expire-days", "never", "--global"),
			"POST /devices/1/sessions", `{"exp_days":null,"time_secs":90,"type":"time","use_global_speed":true}`, session7, nil},
		{"a session is shown", []string{"sessions", "show", "7"}, "GET /sessions/7", "", session7, []string{"session  7 of device 1, from local\n", "left     59m 48s or 96.75 MB\n"}},
		{"a ledger is read to a customer", []string{"sessions", "show", "7", "--ledger"}, "GET /sessions/7/ledger?", "", ledger7, []string{
			"2026-11-21 1", ":00  bought     -     -            100 MB                   for device 1\n",
			"  started    -     -            40m 0s or 100 MB         connected\n",
			"  paused     12s   3.25 MB      39m 48s or 96.75 MB      disconnected: bye?[31m\n",
			"  topped up  1s    0.000001 MB  59m 45s or 97.749999 MB  time from 40m 0s to 1h 0m 0s; down from 5 Mbit to 8 Mbit\n",
			"\nused: 13s, 3.250001 MB (1.000001 MB up, 2.25 MB down)\nset by hand: +2s, -1 MB; so it has consumed 15s, 2.250001 MB\n",
		}},
		{"only what was named is changed", []string{"sessions", "set", "7", "--time", "2h"}, "PATCH /sessions/7", `{"time_secs":7200}`, session7, []string{"session  7"}},
		{"a speed of its own ends the global one", []string{"sessions", "set", "7", "--down", "8Mbit"}, "PATCH /sessions/7", `{"down_mbits":8,"use_global_speed":false}`, session7, nil},
		{"a session that is throttled", append(create, "data", "--data", "10GB", "--global", "--throttle", "512kbit"),
			"POST /devices/1/sessions", `{"data_mb":10000,"throttle_down_bits":512000,"throttle_up_bits":512000,"type":"data","use_global_speed":true}`, session7, nil},
		{"a throttle each way", []string{"sessions", "set", "7", "--throttle-down", "1.5 Mbit", "--throttle-up", "256kbit"},
			"PATCH /sessions/7", `{"throttle_down_bits":1500000,"throttle_up_bits":256000}`, session7, []string{"used up  cut off\n"}},
		{"no throttle", []string{"sessions", "set", "7", "--throttle", "none"}, "PATCH /sessions/7", `{"throttle_down_bits":0,"throttle_up_bits":0}`, session7, nil},
		{"a throttled session is shown", []string{"sessions", "show", "7"}, "GET /sessions/7", "", throttled7,
			[]string{"state    running, throttled: it is used up and goes on at 512 kbit down, 1.5 Mbit up\n", "speed    512 kbit/1.5 Mbit\n", "used up  512 kbit down, 1.5 Mbit up\n"}},
		{"a throttled session is listed", []string{"sessions", "list"}, "GET /sessions?", "", `{"items":[` + throttled7 + `],"next":""}`, []string{"running, throttled"}},
		{"a session that weighs more", append(create, "time", "--time", "90s", "--global", "--weight", "3"),
			"POST /devices/1/sessions", `{"time_secs":90,"type":"time","use_global_speed":true,"weight":3}`, session7, nil},
		{"its weight is changed", []string{"sessions", "set", "7", "--weight", "50"}, "PATCH /sessions/7", `{"weight":50}`, session7, []string{"weight   1\n"}},
		{"a session is deleted", []string{"sessions", "delete", "7"}, "DELETE /sessions/7", "", "", []string{"session 7 is deleted\n"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			daemon := newFakeDaemon(t, map[string]answered{row.call: {200, row.give}})
			code, out, errs := daemon.command(t, row.args...)
			if code != 0 || errs != "" {
				t.Fatalf("exit %d: %s", code, errs)
			}
			if daemon.bodies[0] != row.body {
				t.Errorf("sent %s, want %s", daemon.bodies[0], row.body)
			}
			for _, part := range row.say {
				if !strings.Contains(out, part) {
					t.Errorf("printed\n%swhich has no\n%s", out, part)
				}
			}
			code, raw, _ := daemon.command(t, append(row.args, "--json")...)
			if code != 0 || raw != row.give {
				t.Errorf("--json: exit %d, printed %q, want %q", code, raw, row.give)
			}
		})
	}
}

func TestListIsPrintedToItsEnd(t *testing.T) {
	daemon := newFakeDaemon(t, map[string]answered{
		"GET /devices?":          {200, `{"items":[` + device1 + `],"next":"c1"}`},
		"GET /devices?cursor=c1": {200, `{"items":[` + device2 + `],"next":""}`},
	})
	code, out, _ := daemon.command(t, "devices", "list")
	if code != 0 || len(daemon.calls) != 2 || !strings.Contains(out, "02:00:00:00:00:0c") || !strings.Contains(out, "02:00:00:00:00:0d") {
		t.Errorf("exit %d after %v:\n%s", code, daemon.calls, out)
	}
}

func TestStatusScreen(t *testing.T) {
	const good = `{"ready":true,"degraded":[],"ports":{"lan":{"name":"eth1","mac":"02:00:00:00:00:01","up":true,"mtu":1500,"rx_bytes":1500000,"tx_bytes":2,"refused":3,"overflow":4},
		"wan":{"name":"eth0","mac":"02:00:00:00:00:02","up":false,"mtu":1500},"host":{"name":"","mac":"","up":false,"mtu":0}},
		"sessions":{"running":9,"available":3,"consumed":0},"clients":{"bound":12,"connected":9},"nat":{"mappings":120,"flows":480},
		"drops":{"over_rate":1200,"no_grant":3},"billed_bytes":1250000000,"exempt_bytes":30000000,"version":"1.2.3","uptime_secs":11520,
		"processes":[{"name":"keeper","pid":10,"restarts":0},{"name":"forward","pid":11,"restarts":2},{"name":"store","pid":0,"restarts":1}],
		"config":{"file":"/etc/gw.yaml","read_at":"2026-11-21T10:00:00Z","needs_restart":[],"refused":""}}`
	read := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC).Local().Format(time.DateTime)
	want := `ready  (gatewayd 1.2.3, up 3h 12m)

PORT  NAME  LINK  MAC                MTU   RX      TX    REFUSED  OVERFLOW
lan   eth1  up    02:00:00:00:00:01  1500  1.5 MB  2 B   3        4
wan   eth0  down  02:00:00:00:00:02  1500  0 MB    0 MB  0        0
host  -     down  -                  0     0 MB    0 MB  0        0

clients    12 bound, 9 connected
sessions   9 running, 3 available
NAT        120 mappings, 480 flows
billed     1.25 GB, and 30 MB exempt
dropped    1200 over_rate, 3 no_grant
processes  keeper 10, forward 11 (restarted 2 times), store away (restarted 1 times)
config     /etc/gw.yaml, read ` + read + `
`
	for _, row := range []struct{ name, answer, want string }{
		{"all is well", good, want},
		{"a reason stands under the verdict", strings.Replace(good, `"degraded":[]`, `"degraded":["store: away"]`, 1),
			strings.Replace(want, "ready  (gatewayd 1.2.3, up 3h 12m)\n", "ready, but DEGRADED  (gatewayd 1.2.3, up 3h 12m)\n  ! store: away\n", 1)},
		{"what needs a restart is said, and why the last reload was refused",
			strings.Replace(good, `[],"refused":""`, `["workers","limits.clients"],"refused":"gw.yaml:1:1: lan: no\n  1 |\n"`, 1),
			strings.Replace(want, read, read+"; after a restart: workers, limits.clients; refused since: gw.yaml:1:1: lan: no", 1)},
		{"not ready is said first", strings.Replace(good, `"ready":true`, `"ready":false`, 1), strings.Replace(want, "ready  ", "NOT READY: nothing is forwarded  ", 1)},
	} {
		t.Run(row.name, func(t *testing.T) {
			daemon := newFakeDaemon(t, map[string]answered{"GET /status": {200, row.answer}})
			if code, out, _ := daemon.command(t, "status"); code != 0 || out != row.want {
				t.Errorf("exit %d\n%s\nwant\n%s", code, out, row.want)
			}
		})
	}
}

func TestRefusalIsPrintedAsTheDaemonSaidIt(t *testing.T) {
	const problem = `{"title":"Conflict","status":409,"detail":"connect device 1: no more available sessions; sell it one"}`
	daemon := newFakeDaemon(t, map[string]answered{"POST /devices/1/connect": {409, problem}})
	code, out, errs := daemon.command(t, "connect", "1")
	if code != 1 || out != "" || errs != "gatewayd connect: connect device 1: no more available sessions; sell it one\n" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	code, out, errs = daemon.command(t, "connect", "1", "--json")
	if code != 1 || out != problem || !strings.Contains(errs, "no more available sessions") {
		t.Errorf("--json: exit %d, %q, %q", code, out, errs)
	}
}

func TestAnotherServerIsRefused(t *testing.T) {
	for name, a := range map[string]answered{"an answer that is no JSON": {200, "<html>"}, "a problem that is no JSON": {502, "<html>"}} {
		daemon := newFakeDaemon(t, map[string]answered{"GET /status": a})
		if code, _, errs := daemon.command(t, "status"); code != 1 || !strings.Contains(errs, "gatewayd version") {
			t.Errorf("%s: exit %d, %s", name, code, errs)
		}
	}
}

func TestUnreachableDaemonIsExit3(t *testing.T) {
	nobody := &fakeDaemon{socket: filepath.Join(t.TempDir(), "none.sock")}
	for _, args := range [][]string{{"status"}, {"devices", "list"}, {"sessions", "delete", "7"}, {"connect", "1", "--json"}} {
		code, out, errs := nobody.command(t, args...)
		if code != 3 || out != "" || !strings.Contains(errs, nobody.socket) || !strings.Contains(errs, "start it with gatewayd run") {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
}

func TestBrokenCallSaysThatItsEndIsOpen(t *testing.T) {
	daemon := newFakeDaemon(t, nil)
	daemon.answers = nil
	listener, err := net.Listen("unix", daemon.socket+"2")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1))
			c.Close()
		}
	}()
	daemon.socket += "2"
	if code, _, errs := daemon.command(t, "sessions", "delete", "7"); code != 3 || !strings.Contains(errs, "whether it was done is open") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func TestMisuseIsExit2AndSaysHow(t *testing.T) {
	create := []string{"sessions", "create", "--device", "1"}
	for _, row := range []struct {
		name string
		args []string
		say  string
	}{
		{"an unknown command", []string{"devcies"}, "devices"},
		{"an unknown command in a group", []string{"sessions", "creat"}, "did you mean create?"},
		{"a group without command", []string{"devices"}, "say what to do: add, list, show"},
		{"an unknown flag", []string{"devices", "list", "--jsn"}, "did you mean --json?"},
		{"a missing argument", []string{"connect"}, "D is missing\nusage: gatewayd connect D [--notify TEXT]"},
		{"an argument too many", []string{"status", "now"}, `unexpected argument "now"`},
		{"a device without MAC", []string{"devices", "add"}, `"mac"`},
		{"a session without type", append(create, "--time", "1h", "--global"), `"type"`},
		{"a session without speed", append(create, "--type", "time", "--time", "1h"), "[down global]"},
		{"a session with one speed", append(create, "--type", "time", "--time", "1h", "--down", "5Mbit"), "missing [up]"},
		{"a session with two kinds of speed", append(create, "--type", "time", "--time", "1h", "--down", "5Mbit", "--up", "5Mbit", "--global"), "none of the others can be"},
		{"a time session without time", append(create, "--type", "time", "--global"), "needs --time"},
		{"a time session with data", append(create, "--type", "time", "--time", "1h", "--data", "1MB", "--global"), "did you mean --type time_or_data?"},
		{"a data session without data", append(create, "--type", "data", "--global"), "needs --data"},
		{"an unknown type", append(create, "--type", "forever"), "time, data, time_or_data"},
		{"half a megabit", append(create, "--type", "time", "--time", "1h", "--down", "0.5Mbit"), "whole megabits"},
		{"two throttles", append(create, "--type", "time", "--time", "1h", "--global", "--throttle", "1Mbit", "--throttle-up", "1Mbit"), "none of the others can be"},
		{"a throttle without unit", append(create, "--type", "time", "--time", "1h", "--global", "--throttle", "5"), "5 Mbit"},
		{"a throttle of nothing", append(create, "--type", "time", "--time", "1h", "--global", "--throttle", "0kbit"), "or none"},
		{"a speed without unit", append(create, "--type", "time", "--time", "1h", "--down", "5"), "5 Mbit"},
		{"no time at all", append(create, "--type", "time", "--time", "0"), "at least 1"},
		{"half a second", append(create, "--type", "time", "--time", "500ms"), "whole seconds"},
		{"no data at all", append(create, "--type", "data", "--data", "0"), "at least 1 B"},
		{"days that are no number", append(create, "--type", "time", "--expire-days", "soon"), "or never"},
		{"a page of nothing", []string{"sessions", "show", "7", "--limit", "3"}, "go with --ledger"},
		{"an id that is no number", []string{"sessions", "show", "seven"}, "gatewayd sessions list"},
		{"a change of nothing", []string{"sessions", "set", "7"}, "say what to change"},
		{"an unknown state", []string{"sessions", "list", "--state", "asleep"}, "available, running"},
		{"an order that does not exist", []string{"top", "--sort", "colour"}, "one of down, up, delay, drops, remaining, name"},
		{"a look too soon", []string{"top", "--interval", "100ms"}, "from 500ms to 24h"},
		{"fewer looks than none", []string{"top", "--count", "-1"}, "0 or more"},
		{"no lines", []string{"top", "--lines", "0"}, "1 to 1000"},
		{"too many lines", []string{"top", "--lines", "1001"}, "1 to 1000"},
		{"a socket for run", []string{"run"}, "api.socket"},
		{"a child's word", []string{"forward"}, "cannot be run by hand"},
		{"another child's word with a flag", []string{"store", "--path", "x"}, "cannot be run by hand"},
	} {
		t.Run(row.name, func(t *testing.T) {
			daemon := newFakeDaemon(t, nil)
			code, out, errs := daemon.command(t, row.args...)
			if code != 2 || out != "" {
				t.Errorf("exit %d, printed %q", code, out)
			}
			if !strings.Contains(errs, row.say) || !strings.Contains(errs, "\nusage: gatewayd ") {
				t.Errorf("said\n%swhich has no usage or no\n%s", errs, row.say)
			}
			if len(daemon.calls) > 0 {
				t.Errorf("the daemon was asked %v", daemon.calls)
			}
		})
	}
}
