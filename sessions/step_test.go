package sessions

import (
	"testing"
	"time"
)

// Whatever the wall clock does, running, paused or over a restart: no session
// expires, revives or gains time.
func TestAStepOfTheWallClockChangesNoSession(t *testing.T) {
	const year = 365 * 24 * time.Hour
	steps := []struct {
		name string
		by   time.Duration
	}{{"to 1970", -56 * year}, {"50 years ahead", 50 * year}, {"an hour back", -time.Hour}}
	moments := []struct {
		name string
		step func(w *world, device int64, step func())
	}{
		{"while it runs", func(_ *world, _ int64, step func()) { step() }},
		{"while it is paused", func(w *world, device int64, step func()) { w.disconnect(device); step() }},
		{"while control is away", func(w *world, _ int64, step func()) { w.kills(); step(); w.runs() }},
		{"after a power cut", func(w *world, _ int64, step func()) { w.kills(); step(); w.boots().runs() }},
		{"after a power cut, and back after another", func(w *world, _ int64, step func()) {
			w.kills()
			before := w.step
			step()
			by := w.step - before
			w.boots().runs()
			w.kills()
			w.stepClock(-by)
			w.boots().runs()
		}},
	}
	for _, s := range steps {
		for _, moment := range moments {
			t.Run(s.name+" "+moment.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t).boots().runs()
				none, one := uint(0), uint(1)
				expires := timePlan(600)
				expires.ExpDays = &none
				short, day, later := timePlan(1), timePlan(600), dataPlan(1)
				day.ExpDays, later.ExpDays = &one, &one

				b := w.add(macB, "10.10.0.3")
				expired := w.create(b.ID, expires)
				w.connect(b.ID)
				w.disconnect(b.ID)
				w.advance(11 * time.Minute)
				c := w.add(macC, "10.10.0.4")
				consumed, fresh := w.create(c.ID, short), w.create(c.ID, later)
				w.connect(c.ID)
				w.advance(2 * time.Second)
				w.until("the next session runs", func() bool { return w.session(fresh.ID).State == Running })
				w.disconnect(c.ID)
				a := w.add(macA, "10.10.0.2")
				running := w.create(a.ID, day)
				w.connect(a.ID)
				w.advance(100 * time.Second)
				if _, err := w.m.checkpoint(bg(), false); err != nil {
					t.Fatal(err)
				}
				w.until("all is on disk", w.clean)

				look := func(when string, left uint) {
					t.Helper()
					for _, row := range []struct {
						id     int64
						states []State
					}{{expired.ID, []State{Expired}}, {consumed.ID, []State{Consumed}}, {fresh.ID, []State{Available}}, {running.ID, []State{Running, Available}}} {
						v := w.session(row.id)
						if v.State != row.states[0] && v.State != row.states[len(row.states)-1] {
							t.Errorf("%s: session %d is %s, want %v", when, row.id, v.State, row.states)
						}
					}
					if v := w.session(running.ID); v.RemainingTime > left || v.RemainingTime+60 < left { // real time passes too
						t.Errorf("%s: %d s left, want %d", when, v.RemainingTime, left)
					}
				}
				look("before", 500)
				moment.step(w, a.ID, func() { w.stepClock(s.by) })
				look("after", 500)
				if !w.device(macA).Connected {
					w.connect(a.ID)
				}
				w.advance(100 * time.Second)
				look("100 s later", 400)
				_, err := w.m.ConnectDevice(bg(), b.ID, "")
				w.wants(err, ErrNoSession)
				w.advance(400 * time.Second)
				w.until("its time is used up", func() bool { return w.session(running.ID).State == Consumed })
				w.advance(25 * time.Hour)
				if v := w.session(fresh.ID); v.State != Expired {
					t.Errorf("after its day the other one is %s", v.State)
				}
			})
		}
	}
}
