package sessions

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestWhatFollowsAPausedSessionOfAProvider: the provider's session "a" is paused
// and comes to its end. What the provider has next is paused in its place.
func TestWhatFollowsAPausedSessionOfAProvider(t *testing.T) {
	none := uint(0)
	expiring := timePlan(3600)
	expiring.ExpDays = &none
	restarts := func(cut bool) func(w *world, p *shop) {
		return func(w *world, p *shop) {
			w.until("on disk", w.clean)
			w.kills()
			if cut {
				w.boots()
			}
			w.advance(2 * time.Hour) // it expires meanwhile
			w.providers = append(w.providers, p)
			w.runs()
		}
	}
	expires := func(w *world, p *shop) { w.advance(2 * time.Hour); w.m.Wake() }
	sellsMore := func(w *world, p *shop) { p.sells("b", timePlan(3600)) }
	for _, row := range []struct {
		name  string
		steps []func(w *world, p *shop)
		held  string // of the provider's; empty: the device is disconnected
	}{
		{"another one was sold before", []func(*world, *shop){expires}, "b"},
		{"one is sold meanwhile", []func(*world, *shop){sellsMore, expires}, "b"},
		{"one is sold, control is replaced meanwhile", []func(*world, *shop){sellsMore, restarts(false)}, "b"},
		{"one is sold, the power fails meanwhile", []func(*world, *shop){sellsMore, restarts(true)}, "b"},
		{"it is given more days there", []func(*world, *shop){func(w *world, p *shop) {
			days := uint(5)
			p.change(func() { p.wares["a"].data.ExpDays = &days })
		}, expires}, "a"},
		{"another one was sold before, the provider fails since a restart", []func(*world, *shop){func(w *world, p *shop) {
			p.change(func() { p.asking = func(context.Context) error { return errTest } })
		}, restarts(false)}, "b"},
		{"none is left", []func(*world, *shop){expires}, ""},
		{"none is left, the power fails meanwhile", []func(*world, *shop){restarts(true)}, ""},
		{"the provider has failed since", []func(*world, *shop){func(w *world, p *shop) {
			p.change(func() { p.asking = func(context.Context) error { return errTest } })
		}, expires}, ""},
		{"one is sold, and somebody connects it just then", []func(*world, *shop){sellsMore, expires, func(w *world, p *shop) {
			p.change(func() { p.get = func() (SessionSource, bool) { return p.wares["b"].source(), true } })
			_, err := w.m.ConnectDevice(bg(), 1, "")
			w.wants(err, ErrAlreadyConnected)
		}}, "b"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			p := newShop("acme")
			p.sells("a", expiring)
			if strings.HasPrefix(row.name, "another") {
				p.sells("b", timePlan(3600))
			}
			w.registers(p)
			w.connect(d.ID)
			w.until("it was asked what follows", func() bool { return w.askedAhead() })
			w.pause(d.ID)
			for _, step := range row.steps {
				step(w, p)
			}
			if row.held == "" {
				w.device(macA) // it is read
				w.until("it is disconnected", func() bool { return w.hasTold(d.ID, SessionDisconnected) && !w.m.isPaused(d.ID) })
				if w.device(macA).Connected {
					t.Error("connected")
				}
				return
			}
			w.until(row.held+" is paused", func() bool {
				v := w.device(macA)
				return v.Connected && v.Session != nil && v.Session.State == Paused && w.keyOf(v.Session.ID) == "id "+row.held
			})
			if row.held != "a" { // it is told when it is on disk
				w.until("the end of a is told", func() bool { return w.hasTold(d.ID, SessionExpired) })
			}
			if w.hasTold(d.ID, SessionDisconnected) || w.hasTold(d.ID, SessionExpired) == (row.held == "a") {
				t.Errorf("told %q", w.told(d.ID))
			}
			if n := w.pass(macA, 100, 0); n != 0 {
				t.Errorf("%d bytes passed", n)
			}
			if v := w.resume(d.ID); v.Session == nil || w.keyOf(v.Session.ID) != "id "+row.held {
				t.Errorf("%+v", v.Session)
			}
			w.until("it passes", func() bool { return w.pass(macA, 100, 0) == 100 })
		})
	}
}

// A provider is asked again what follows a paused session when its expiry comes
// near, and not because little is left of what stands still.
func TestThePausedAreNotAskedAboutForNothing(t *testing.T) {
	none := uint(0)
	for _, row := range []struct {
		name  string
		plan  Plan
		again bool
	}{
		{"little time is left", timePlan(30), false},
		{"it expires soon", Plan{Type: TypeTime, TimeSecs: 100, ExpDays: &none, DownMbits: 5, UpMbits: 3}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			p := newShop("acme")
			p.sells("a", row.plan)
			w.registers(p)
			w.connect(d.ID)
			w.until("it was asked what follows", w.askedAhead)
			w.pause(d.ID)
			w.until("nobody asks", func() bool { return w.askedAhead() && !w.asking() })
			lists := p.listed()
			w.advance(50 * time.Second)
			if row.again {
				w.until("it is asked again", func() bool { w.m.Wake(); return p.listed() > lists })
				return
			}
			for range 5 {
				w.skips(20 * time.Second)
				_, err := w.m.PauseDevice(bg(), d.ID, "") // it is looked at
				w.wants(err, ErrPaused)
				if w.until("nobody asks", func() bool { return w.askedAhead() && !w.asking() }); p.listed() != lists {
					t.Fatal("it was asked for nothing")
				}
			}
		})
	}
}

// askedAhead says whether the first device's providers were asked what follows,
// and have answered.
func (w *world) askedAhead() bool {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	d := w.m.byID[1]
	return d != nil && d.ahead.again != 0 && !d.ahead.asking
}

// asking says whether a question to a provider is under way.
func (w *world) asking() bool {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return len(w.m.desk.asking) > 0
}

// listed is how often a list was asked for.
func (p *shop) listed() (n int) {
	p.change(func() { n = p.lists })
	return n
}

// keyOf is the key of a session at its provider.
func (w *world) keyOf(id int64) string {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if s := w.m.sessions[id]; s != nil && s.origin != nil {
		return s.origin.Key
	}
	return ""
}
