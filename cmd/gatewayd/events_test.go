package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"gatewayd/gateway/api"
	"gatewayd/sessions"
)

func TestEventNames(t *testing.T) {
	if !slices.Equal(eventNames, sessions.EventNames()) {
		t.Errorf("the command knows %q, the gateway emits %q", eventNames, sessions.EventNames())
	}
}

func TestEventsAreLines(t *testing.T) {
	const line = `{"id":7,"event":"session:connected","data":{}}`
	const stream = "id: 5\n\nid: 7\nevent: session:connected\ndata: " + line + "\n\nid: 9\nevent: lost\ndata: {\"id\":9,\"event\":\"lost\",\"lost\":2}\n\n: keep-alive\nid: 12\n\n"
	for _, row := range []struct {
		name, args, call string
		answer           answered
		code             int
		out              string
		say              []string
	}{
		{"all of them", "events", "GET /events?", answered{200, stream}, 3, line + "\n" + `{"id":9,"event":"lost","lost":2}` + "\n",
			[]string{"the answer has ended", "; go on with gatewayd events --socket ", " --after 12\n"}},
		{"those asked for", "events --device 10.10.0.2 --event session:consumed --event portal:x --after 3",
			"GET /events?after=3&device=10.10.0.2&event=session%3Aconsumed&event=portal%3Ax", answered{200, "id: 4\n\n"}, 3, "",
			[]string{"portal:x is none of gatewayd's own", " --device 10.10.0.2 --event session:consumed --event portal:x --after 4\n"}},
		{"the same with --json, as the help says", "events --after 0 --json", "GET /events?after=0", answered{200, stream}, 3, line + "\n" + `{"id":9,"event":"lost","lost":2}` + "\n", nil},
		{"a device nobody knows", "events --device 9", "GET /events?device=9", answered{404, `{"detail":"device 9: no such device"}`}, 1, "", []string{"no such device"}},
		{"a daemon that ends at once", "events", "GET /events?", answered{200, ""}, 3, "", []string{"see its log"}},
		{"an id that is none", "events --after x", "", answered{}, 2, "", []string{"--after"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			daemon := newFakeDaemon(t, map[string]answered{row.call: row.answer})
			code, out, errs := daemon.command(t, strings.Fields(row.args)...)
			if code != row.code || out != row.out {
				t.Errorf("%d %q, want %d %q; %s", code, out, row.code, row.out, errs)
			}
			for _, part := range row.say {
				if !strings.Contains(errs, part) {
					t.Errorf("%q does not say %q", errs, part)
				}
			}
			if row.call != "" && !slices.Equal(daemon.calls, []string{row.call}) {
				t.Errorf("called %q, want %q", daemon.calls, row.call)
			}
		})
	}
}

// interrupting cancels when the first line was written, as Ctrl-C does.
type interrupting struct {
	bytes.Buffer
	interrupt func()
}

func (i *interrupting) Write(b []byte) (int, error) {
	defer i.interrupt()
	return i.Buffer.Write(b)
}

func TestEventsEndWithCtrlC(t *testing.T) {
	socket := serveDaemon(t, api.Status{})
	daemon := &fakeDaemon{socket: socket}
	if code, _, errs := daemon.command(t, "devices", "add", "--mac", "02:00:00:00:00:0c", "--ip", "10.10.0.2"); code != 0 {
		t.Fatal(errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errs := interrupting{interrupt: cancel}, bytes.Buffer{}
	code := execute(ctx, []string{"events", "--after", "0", "--socket", socket}, &out, &errs)
	if got := out.String(); code != exitDone || errs.Len() > 0 || !strings.Contains(got, `"event":"client:created","device_id":1,"data":{"id":1,"mac":"02:00:00:00:00:0c","ip":"10.10.0.2"`) {
		t.Errorf("%d %q %q", code, got, errs.String())
	}
}
