//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// paused waits until a session is paused for a reason.
func (d *daemon) paused(id int64, reason string) (v session) {
	d.t.Helper()
	eventually(d.t, 4*soon, fmt.Sprintf("session %d is paused: %s", id, reason), func() error {
		if v = d.session(id); v.State != "paused" || v.PauseReason != reason {
			return fmt.Errorf("%+v", v)
		}
		return nil
	})
	return v
}

// While the way out is away the clock of a session with time stands still, and
// goes on by itself. One with data runs on, one that somebody paused stays so.
func TestClocksStandStillWhileTheWANIsAway(t *testing.T) {
	for _, row := range []struct {
		name, reason, why string
		lose, regain      []string // at the router
	}{
		{"the cable is pulled", "no_carrier", "the WAN port has no carrier",
			[]string{"ip", "link", "set", "eth0", "down"}, []string{"ip", "link", "set", "eth0", "up"}},
		{"the router is silent", "silent_gateway", "the next router is silent",
			[]string{"ip", "link", "set", "eth0", "arp", "off"}, []string{"ip", "link", "set", "eth0", "arp", "on"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			const dataMAC, askedMAC, lateMAC = "02:00:00:00:00:0d", "02:00:00:00:00:0e", "02:00:00:00:00:0f"
			l := newLab(t, "sessions: {pause_on_silent_gateway: 5s}")
			d := l.start()
			began := time.Now()
			timed := d.admit(anHour)
			data := d.sellTo(dataMAC, "10.10.0.3", fmt.Sprintf(megabyte, 1))
			asked := d.sellTo(askedMAC, "10.10.0.4", anHour)
			late := d.sellTo(lateMAC, "10.10.0.5", anHour)
			d.must("POST", "/devices/"+dataMAC+"/connect", "", nil)
			d.must("POST", "/devices/"+askedMAC+"/connect", "", nil)
			d.must("POST", "/devices/"+askedMAC+"/pause", "", nil)
			s := l.stream(5*time.Millisecond, 200)
			s.flows()

			lost := time.Now()
			l.server.run(row.lose[0], row.lose[1:]...)
			d.paused(timed.ID, row.reason)
			stood := time.Now() // at the latest
			figureOf(t, row.name+": until the clock stands still", stood.Sub(lost))
			d.degradedBy(row.why, "the clocks of 1 sessions with time stand still")
			if v := d.session(data.ID); v.State != "running" {
				t.Errorf("the session with data is %s", v.State)
			}
			var v device
			if d.must("POST", "/devices/"+lateMAC+"/connect", "", &v); !v.Connected || v.Session == nil || v.Session.State != "paused" || v.Session.StartedAt != nil {
				t.Errorf("connected meanwhile: %+v %+v", v, v.Session)
			}
			before := d.session(timed.ID)
			s.quiet(d, before)
			d.replaceControl()
			s.quiet(d, before)
			still := time.Since(stood)

			back := time.Now()
			l.server.run(row.regain[0], row.regain[1:]...)
			d.becomes(timed.ID, "running")
			figureOf(t, row.name+": until it goes on", time.Since(back))
			s.flows()
			d.becomes(late.ID, "running")
			d.paused(asked.ID, "asked")
			d.sound()
			used := time.Duration(d.session(timed.ID).TimeCons) * time.Second
			if most := time.Since(began) - still; used > most {
				t.Errorf("%v are billed, %v of %v at most", used, most, time.Since(began))
			}
			told := d.tellsOf(timed.ID)
			for _, part := range []string{"pause paused: " + row.why, "resume resumed: the WAN is back"} {
				if !strings.Contains(told, part) {
					t.Errorf("the ledger does not say %q: %s", part, told)
				}
			}
		})
	}
}

// replaceControl kills control and waits for the next one, whether or not the
// gateway is sound.
func (d *daemon) replaceControl() {
	d.t.Helper()
	pid := d.kill("control")
	eventually(d.t, 2*soon, "control is back", func() error {
		if now := d.children()["control"]; now == 0 || now == pid {
			return fmt.Errorf("it is process %d", now)
		}
		_, err := d.ask("GET", "/status", "", nil)
		return err
	})
}

// tellsOf is what a session's ledger says, kinds and reasons.
func (d *daemon) tellsOf(id int64) string {
	d.t.Helper()
	var page struct {
		Items []struct{ Kind, Why string }
	}
	d.must("GET", fmt.Sprintf("/sessions/%d/ledger?limit=100", id), "", &page)
	var told []string
	for _, x := range page.Items {
		told = append(told, x.Kind+" "+x.Why)
	}
	return strings.Join(told, "; ")
}

// An idle client's session is paused until its next packet.
func TestAnIdleClientPaysNothingUntilItsNextPacket(t *testing.T) {
	t.Parallel()
	l := newLab(t, "sessions: {idle_pause: 2s}")
	d := l.start()
	began := time.Now()
	sold := d.admit(anHour)
	first := l.stream(time.Millisecond, 200)
	first.flows()
	if v := d.session(sold.ID); v.State != "running" {
		t.Errorf("it is %s", v.State)
	}
	first.end()
	var still time.Duration
	for _, dies := range []string{"", "control", "forward"} {
		before := d.paused(sold.ID, "idle")
		since := time.Now()
		if dies != "" {
			d.replaced(dies, d.kill(dies))
		}
		time.Sleep(silentFor)
		if v := d.session(sold.ID); v.State != "paused" || v.RemainingTime != before.RemainingTime {
			t.Errorf("after %v %+v, before %+v", time.Since(since), v, before)
		}
		if v := d.device(clientMAC); !v.Connected {
			t.Errorf("%+v", v)
		}
		still += time.Since(since)
		sent := time.Now()
		s := l.stream(time.Millisecond, 200)
		s.flows()
		arrived, _, _ := s.span()
		figureOf(t, "from an idle client's packet until its packets pass", arrived.Sub(sent))
		if v := d.session(sold.ID); v.State != "running" {
			t.Errorf("it is %s", v.State)
		}
		s.end()
	}
	used := time.Duration(d.session(sold.ID).TimeCons) * time.Second
	if most := time.Since(began) - still; used > most {
		t.Errorf("%v are billed, %v of %v at most", used, most, time.Since(began))
	}
	told := d.tellsOf(sold.ID)
	for _, part := range []string{"pause paused: the client sends nothing", "resume resumed: the client sent a packet"} {
		if strings.Count(told, part) < 3 {
			t.Errorf("the ledger does not say %q three times: %s", part, told)
		}
	}
}
