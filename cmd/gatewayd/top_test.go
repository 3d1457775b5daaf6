package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
)

// topAnswer is what the daemon says of clients that are called so.
func topAnswer(names ...string) string {
	items := []string{}
	for i, name := range names {
		quoted, _ := json.Marshal(name)
		items = append(items, fmt.Sprintf(`{"device_id":%d,"mac":"02:00:00:00:00:0c","ip":"10.10.0.%[1]d","hostname":%s,"session":%s,`+
			`"down":{"bits_per_second":4912345,"packets_per_second":410,"limit_bits_per_second":5000000,"waiting_bytes":30000,"delay_ms":12.4},`+
			`"up":{"bits_per_second":98765,"packets_per_second":200,"limit_bits_per_second":3000000,"waiting_bytes":0,"delay_ms":0},`+
			`"drops":1234,"drops_per_second":0.5,"marked":7,"marked_per_second":0}`, i+2, quoted, session7))
	}
	return `{"ready":true,"degraded":[],"traffic":{"now":"2026-11-21T10:00:00Z","over_ms":1000,"clients":{"bound":40,"connected":12,"paused":2},` +
		`"down":{"bits_per_second":84200000,"packets_per_second":10200,"limit_bits_per_second":100000000,"waiting_bytes":30000,"delay_ms":12.4},` +
		`"up":{"bits_per_second":950,"packets_per_second":3,"limit_bits_per_second":0,"waiting_bytes":0,"delay_ms":0},` +
		`"drops_per_second":12.3,"other_drops_per_second":3,"items":[` + strings.Join(items, ",") + `]}}` + "\n"
}

func decodedTop(t *testing.T, text string) (v top) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTopPrintsATable(t *testing.T) {
	const two = "GET /top?limit=20&sort=down"
	daemon := newFakeDaemon(t, map[string]answered{two: {200, topAnswer("till", "")}})
	code, out, errs := daemon.command(t, "top")
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC).Local().Format(time.TimeOnly)
	want := `ready  (` + at + `, over 1 s)
12 clients online, 2 paused, 40 known; drops/s: 12 for the rate, 3 other
down  84.2 Mbit/s, 84 % of 100 Mbit/s, 10200 packets/s, longest delay 12 ms
up    950 bit/s, 3 packets/s, longest delay 0 ms

CLIENT           DOWN    UP   USED%   DELAY DROP/S   DROPS   MARKS TIME-LEFT DATA-LEFT STATE     PLAN      SESSION TYPE         IP              MAC
till            4.91M 98.8k    98/3    12/0    0.5   1.23k       7   59m 48s  96.75 MB running   5M/3M           7 time_or_data 10.10.0.2       02:00:00:00:00:0c
10.10.0.3       4.91M 98.8k    98/3    12/0    0.5   1.23k       7   59m 48s  96.75 MB running   5M/3M           7 time_or_data 10.10.0.3       02:00:00:00:00:0c
`
	if code != 0 || errs != "" || out != want {
		t.Errorf("exit %d %s, printed\n%s, want\n%s", code, errs, out, want)
	}
	if code, out, _ = daemon.command(t, "top", "--json"); code != 0 || out != topAnswer("till", "") {
		t.Errorf("--json: exit %d, %q", code, out)
	}
	began := time.Now()
	code, out, _ = daemon.command(t, "top", "--count", "2", "--interval", "500ms")
	if took := time.Since(began); code != 0 || out != want+"\n"+want || took < topFastest {
		t.Errorf("--count 2: exit %d after %v\n%s", code, took, out)
	}
	if code, out, _ = daemon.command(t, "top", "--count", "2", "--interval", "500ms", "--json"); code != 0 || out != strings.Repeat(topAnswer("till", ""), 2) {
		t.Errorf("--count 2 --json: exit %d, %q", code, out)
	}
}

func TestTopAsksForWhatItIsTold(t *testing.T) {
	for _, row := range []struct{ line, call string }{
		{"top --sort delay --lines 5", "GET /top?limit=5&sort=delay"},
		{"top --sort x", "GET /top?limit=20&sort=drops"},
		{"top --sort r --lines 1000 --count 1", "GET /top?limit=1000&sort=remaining"},
	} {
		daemon := newFakeDaemon(t, map[string]answered{row.call: {200, topAnswer()}})
		code, out, errs := daemon.command(t, strings.Fields(row.line)...)
		if code != 0 || !strings.Contains(out, "nobody is connected") {
			t.Errorf("%s: exit %d, %s%s", row.line, code, out, errs)
		}
	}
	nobody := &fakeDaemon{socket: filepath.Join(t.TempDir(), "none.sock")}
	if code, out, errs := nobody.command(t, "top", "--count", "0"); code != 3 || out != "" || !strings.Contains(errs, "gatewayd run") {
		t.Errorf("without a daemon: exit %d, %q, %q", code, out, errs)
	}
}

func TestTopSaysWhatDoesNotWork(t *testing.T) {
	v := decodedTop(t, topAnswer())
	v.Degraded = []string{"the store is away\x1b[2J", "and more"}
	if first := v.lines(0)[0]; !strings.HasPrefix(first, "ready, but DEGRADED  (") || !strings.HasSuffix(first, "): the store is away?[2J (and 1 more: gatewayd status)") {
		t.Errorf("%q", first)
	}
	v.Ready = false
	if first := v.lines(0)[0]; !strings.HasPrefix(first, "NOT READY") {
		t.Errorf("%q", first)
	}
}

// The less room there is the fewer columns there are, the least important go first, and
// no line is longer than the screen is wide.
func TestTopFitsTheScreen(t *testing.T) {
	v := decodedTop(t, topAnswer("till", "a name of more than twenty-four characters"))
	for width, want := range map[int]string{
		10:  "CLIENT",
		22:  "CLIENT DOWN",
		28:  "CLIENT DOWN UP",
		60:  "CLIENT DOWN UP USED% DELAY DROP/S TIME-LEFT",
		80:  "CLIENT DOWN UP USED% DELAY DROP/S TIME-LEFT DATA-LEFT STATE",
		120: "CLIENT DOWN UP USED% DELAY DROP/S DROPS MARKS TIME-LEFT DATA-LEFT STATE PLAN",
		300: "CLIENT DOWN UP USED% DELAY DROP/S DROPS MARKS TIME-LEFT DATA-LEFT STATE PLAN SESSION TYPE IP MAC",
		0:   "CLIENT DOWN UP USED% DELAY DROP/S DROPS MARKS TIME-LEFT DATA-LEFT STATE PLAN SESSION TYPE IP MAC",
	} {
		lines := v.lines(width)
		if got := strings.Join(strings.Fields(lines[v.titleLine()]), " "); got != want {
			t.Errorf("%d wide: %s, want %s", width, got, want)
		}
		for _, line := range lines[v.titleLine():] {
			if w := uniseg.StringWidth(line); width >= 15 && w > width || w != uniseg.StringWidth(lines[v.titleLine()]) {
				t.Errorf("%d wide: %d in %q", width, w, line)
			}
		}
	}
	if lines := v.lines(300); !strings.HasPrefix(lines[len(lines)-1], "a name of more than twe+ ") {
		t.Errorf("%q", lines[len(lines)-1])
	}
	if lines := v.lines(80); !strings.HasPrefix(lines[len(lines)-1], "a name of more+ ") {
		t.Errorf("%q", lines[len(lines)-1])
	}
}

// Whatever a client calls itself: nothing commands the terminal, and the columns stay
// where they are.
func TestTopOfHostileNames(t *testing.T) {
	for _, name := range []string{
		"\x1b[2J\x1b[H\x1b]0;owned\x07", "two\r\nlines", "tab\tand\x00null", "\u202egnp.exe", "\u200b\u2060\ufeff", "\xff\xfe\x80", "\u009b31m",
		"你好世界你好世界你好世界", "👩‍👩‍👧‍👦👩‍👩‍👧‍👦", strings.Repeat("a\u0301\u0302\u0303", 40), strings.Repeat("x", 255), " ", "\u3000",
	} {
		v, short := decodedTop(t, topAnswer("till", name)), decodedTop(t, topAnswer("till"))
		wide := max(15, uniseg.StringWidth(v.Traffic.Items[1].name()))
		if lines := v.lines(0); uniseg.StringWidth(lines[v.titleLine()]) != uniseg.StringWidth(short.lines(0)[v.titleLine()])-15+wide ||
			!strings.HasPrefix(lines[len(lines)-1], v.Traffic.Items[1].name()+" ") {
			t.Errorf("%q of %d places is written as %q", name, wide, lines[len(lines)-1])
		}
		for _, width := range []int{0, 20, 80, 200} {
			lines := v.lines(width)
			title := uniseg.StringWidth(lines[v.titleLine()])
			if len(lines) != v.titleLine()+3 {
				t.Errorf("%q: %d lines", name, len(lines))
			}
			for _, line := range lines[v.titleLine():] {
				if w := uniseg.StringWidth(line); w != title {
					t.Errorf("%q %d wide: %d in place of %d in %q", name, width, w, title, line)
				}
				for _, r := range line {
					if !unicode.IsPrint(r) {
						t.Errorf("%q: %q is printed", name, r)
					}
				}
			}
		}
	}
}

func TestTopOfPlansOfAllKinds(t *testing.T) {
	v := decodedTop(t, topAnswer("till"))
	c := &v.Traffic.Items[0]
	for _, row := range []struct {
		name   string
		change func()
		column string
		want   string
	}{
		{"without a limit", func() { c.Down.Limit, c.Up.Limit = 0, 0 }, "PLAN", "unlimited"},
		{"without a limit nothing is used", func() {}, "USED%", "-/-"},
		{"with one limit", func() { c.Up.Limit = 2e6 }, "PLAN", "-/2M"},
		{"of time only", func() { c.Session.Type = "time" }, "DATA-LEFT", "-"},
		{"of data only", func() { c.Session.Type = "data" }, "TIME-LEFT", "-"},
		{"paused", func() { c.Session.State = "paused" }, "STATE", "paused"},
		{"throttled", func() { c.Session.State, c.Session.Throttled = "running", true }, "STATE", "throttled"},
	} {
		row.change()
		i := slices.IndexFunc(columns, func(col column) bool { return col.name == row.column })
		if got := columns[i].text(c); got != row.want {
			t.Errorf("%s: %s is %q, want %q", row.name, row.column, got, row.want)
		}
	}
}

func TestShortNumbers(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 7: "7", 999: "999", 1000: "1k", 1234: "1.23k", 9994: "9.99k", 9996: "10k", 12_345: "12.3k", 99_960: "100k", 999_499: "999k", 999_500: "1M",
		4_980_000: "4.98M", 1_000_000_000: "1G", 1<<64 - 1: "18.4E",
	} {
		if got := short(n); got != want || len(got) > 5 {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.04: "<0.1", 0.5: "0.5", 3: "3", 9.94: "9.9", 9.96: "10", 1234.5: "1234", 1e300: "1000000000"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
