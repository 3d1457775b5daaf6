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
