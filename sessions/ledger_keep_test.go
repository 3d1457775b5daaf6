package sessions

import (
	"strings"
	"testing"
	"time"
)

const month = 30 * 24 * time.Hour

func TestOldLedgersGo(t *testing.T) {
	days := uint(40)
	expiring := dataPlan(1)
	expiring.ExpDays = &days
	rows := []struct {
		name string
		plan Plan
		do   func(w *world, d Device, s Session) // a month before the end
		age  time.Duration                       // since then
		want string                              // empty: the ledger is gone
	}{
		{"of a session that was consumed long ago", dataPlan(0.003), consumes, 4 * month, ""},
		{"not of one that was consumed a month ago", dataPlan(0.003), consumes, month, "create start end"},
		{"not of one that can still be used", dataPlan(1), pauses, 40 * month, "create start pause"},
		{"of one that was deleted long ago", dataPlan(1), func(w *world, d Device, s Session) {
			if err := w.m.Delete(bg(), s.ID); err != nil {
				w.t.Error(err)
			}
		}, 4 * month, ""},
		{"not of one that was deleted a month ago", dataPlan(1), func(w *world, d Device, s Session) {
			if err := w.m.Delete(bg(), s.ID); err != nil {
				w.t.Error(err)
			}
		}, month, "create delete"},
		{"of one that expired long ago", expiring, pauses, 6 * month, ""},
		{"not of one that expired a month ago and was used last before", expiring, pauses, 4 * month, "create start pause"},
		{"not of one that runs, but for what was used meanwhile", timePlan(maxTimeSecs), func(w *world, d Device, s Session) {
			w.connect(d.ID)
			for range 3 {
				w.pass(macA, 100, 0)
				w.usesOn()
			}
		}, 4 * month, "create start now"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			other := w.create(d.ID, timePlan(60))
			s := w.create(d.ID, r.plan)
			w.change(other.ID, Change{TimeCons: new(uint(60))}) // consumed, so that s is used
			r.do(w, d, s)
			w.advance(r.age)
			w.until("it is settled", w.clean)
			if r.want != "" && strings.Contains(r.want, "now") {
				w.usesOn() // of today
				r.want = strings.Replace(r.want, "now", "use now", 1)
			}
			for _, size := range []int{sweepSize, 1, 2} {
				w.sweeps(size)
			}
			if r.want != "" {
				w.tells(s.ID, r.want)
				return
			}
			if left, _, err := w.m.Ledger(bg(), s.ID, "", 0); err == nil && len(left) > 0 && left[0].Kind != LineNow {
				t.Errorf("left of it: %+v", left)
			}
		})
	}
}

func consumes(w *world, d Device, s Session) {
	w.connect(d.ID)
	w.pass(macA, 5000, 0)
	w.until("it is consumed", func() bool { return w.session(s.ID).State == Consumed })
}

func pauses(w *world, d Device, s Session) {
	w.connect(d.ID)
	w.disconnect(d.ID)
}

// usesOn lets as much time pass as a consumption line needs, and writes it.
func (w *world) usesOn() {
	w.t.Helper()
	w.until("all is on disk", w.clean)
	w.advance(useTime)
	if wrote, err := w.m.checkpoint(bg(), false); err != nil || !wrote {
		w.t.Errorf("checkpoint: %v, %v", wrote, err)
	}
}

// sweeps removes what is old, in parts of a size.
func (w *world) sweeps(size int) {
	w.t.Helper()
	var part walk
	for i := 0; i == 0 || part.after != nil; i++ {
		if err := w.m.sweep(bg(), &part, size); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestConsumptionIsToldNowAndThen(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(10))
	w.connect(d.ID)
	check := func() {
		t.Helper()
		if _, err := w.m.checkpoint(bg(), false); err != nil {
			t.Error(err)
		}
	}
	for range 3 { // the checkpoints between have none
		w.usesOn()
		w.pass(macA, 1500, 0)
		w.advance(useTime / 2)
		check()
	}
	w.tells(s.ID, "create start use use use now")

	w.away() // what could not be written is brought up to date, not added to
	for range 5 {
		w.advance(useTime)
		if _, err := w.m.checkpoint(bg(), false); err == nil {
			t.Error("a checkpoint without a store")
		}
		w.pass(macA, 1500, 0)
	}
	w.back()
	w.until("the store answers", func() bool { _, err := w.m.checkpoint(bg(), false); return err == nil })
	w.tells(s.ID, "create start use use use use now")

	w.kills() // the record knows of none of these lines
	w.boots().runs()
	w.tells(s.ID, "create start use use use use pause")
	w.comesBack()
	w.tells(s.ID, "create start use use use use pause resume now")
}

func TestALedgerWaitsForTheStoreInBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(10))
	w.connect(d.ID)
	w.away()
	w.m.mu.Lock()
	for range 1000 {
		w.m.post(w.m.sessions[s.ID], LinePause, "away")
		w.m.post(w.m.sessions[s.ID], LineResume, "back")
	}
	waits := len(w.m.sessions[s.ID].ledger.waits)
	w.m.mu.Unlock()
	if waits != maxWaiting {
		t.Errorf("%d lines wait", waits)
	}
	w.back()
	w.until("all is on disk", func() bool { return len(w.m.Degraded()) == 0 && w.clean() })
	if got := len(w.ledger(s.ID)); got != 2+maxWaiting+1 {
		t.Errorf("%d lines", got)
	}
}
