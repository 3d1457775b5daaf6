package sessions

import (
	"testing"
	"time"
)

// A box without a clock chip was off for 100 days and boots in 1970. A session
// of a day that is started before the clock is set has its day, whatever
// happens in between.
func TestAStartByAnUntrustedClockIsMovedWithIt(t *testing.T) {
	const behind = -56 * 365 * 24 * time.Hour
	cold := func(w *world) { w.boots().runs() }
	rows := []struct {
		name string
		then func(w *world)
	}{
		{"the clock is set", func(w *world) { w.sets() }},
		{"control is killed and the clock is set", func(w *world) { w.kills(); w.runs(); w.sets() }},
		{"control is killed, the clock is set meanwhile", func(w *world) { w.kills(); w.sets(); w.runs() }},
		{"the power is cut and the clock is set", func(w *world) { w.kills(); cold(w); w.sets() }},
		{"the power is cut and the clock is right from then on", func(w *world) { w.kills(); w.sets(); cold(w) }},
		{"the clock is set and the power is cut", func(w *world) { w.sets(); w.settles(); w.kills(); cold(w) }},
		{"the clock is set and control is killed", func(w *world) { w.sets(); w.settles(); w.kills(); w.runs() }},
		{"power cuts before and after", func(w *world) {
			w.kills()
			cold(w)
			w.sets()
			w.settles()
			w.kills()
			cold(w)
			w.kills()
			cold(w)
		}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			days := uint(1)
			p := dataPlan(1)
			p.ExpDays = &days
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, p)
			w.kills()
			w.stepClock(behind)
			cold(w)
			w.connect(d.ID)
			w.disconnect(d.ID)
			r.then(w)
			w.settles()
			v := w.session(s.ID)
			if age := w.now().Sub(*v.StartedAt); v.State != Available || age < 0 || age > time.Minute {
				t.Errorf("%s, started %v ago", v.State, age)
			}
			w.advance(25 * time.Hour)
			if v := w.session(s.ID); v.State != Expired {
				t.Errorf("after its day: %s", v.State)
			}
		})
	}
}

// sets sets the wall clock right.
func (w *world) sets() { w.stepClock((56*365 + 100) * 24 * time.Hour) }

// settles waits until the clock is trusted and all is on disk.
func (w *world) settles() {
	w.t.Helper()
	w.until("the clock is trusted", func() bool {
		w.m.Wake()
		by, trusted := w.m.clock.off()
		return trusted && by.Abs() < time.Minute && w.clean()
	})
}

// A round in which the clock is set forward, and then stands still, is followed by
// others.
func TestRoundsGoOnByAClockThatStandsStill(t *testing.T) {
	t.Parallel()
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	w.m.mu.Lock()
	w.m.Wake()
	time.Sleep(20 * time.Millisecond) // for a round to begin, and wait; one that does not shows nothing
	w.advance(50 * time.Second)
	w.m.mu.Unlock()
	w.advance(50 * time.Second)
	w.until("the session has come to its end", func() bool { return !w.device(macA).Connected })
}
