package main

import (
	"strings"
	"testing"
)

// What the daemon refuses in a list is refused here too.
func TestAPageOfNoItemsIsRefused(t *testing.T) {
	const detail = "query.limit: expected number >= 1"
	for call, args := range map[string][]string{
		"GET /sessions?limit=0":           {"sessions", "list", "--limit", "0"},
		"GET /sessions?limit=-1":          {"sessions", "list", "--limit", "-1"},
		"GET /devices?limit=0":            {"devices", "list", "--limit=0"},
		"GET /sessions/7/ledger?limit=-5": {"sessions", "show", "7", "--ledger", "--limit", "-5"},
	} {
		daemon := newFakeDaemon(t, map[string]answered{call: {422, `{"title":"Unprocessable Entity","status":422,"detail":"` + detail + `"}`}})
		code, out, errs := daemon.command(t, args...)
		if code == 0 || out != "" || !strings.Contains(errs, detail) {
			t.Errorf("%v: exit %d, printed %q, said %q", args, code, out, errs)
		}
	}
}

func TestAListSaysThatSomeMayBeMissing(t *testing.T) {
	daemon := newFakeDaemon(t, map[string]answered{
		"GET /sessions?":             {200, `{"items":[` + session7 + `],"next":"c1","partial":true}`},
		"GET /sessions?cursor=c1":    {200, `{"items":[],"next":""}`},
		"GET /sessions?state=paused": {200, `{"items":[],"next":""}`},
	})
	if code, out, errs := daemon.command(t, "sessions", "list"); code != 0 || !strings.Contains(out, "some may be missing") {
		t.Errorf("exit %d, printed %q, said %q", code, out, errs)
	}
	if _, out, _ := daemon.command(t, "sessions", "list", "--state", "paused"); strings.Contains(out, "missing") {
		t.Errorf("printed %q", out)
	}
	if _, out, _ := daemon.command(t, "sessions", "list", "--json"); !strings.Contains(out, `"partial":true`) {
		t.Errorf("printed %q", out)
	}
}
