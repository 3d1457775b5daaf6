package sessions

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAGrantEndsAsItIsPaused: that is told once, and is the ledger's last line,
// in whatever order the forwarder, control and its successor come to see it.
func TestAGrantEndsAsItIsPaused(t *testing.T) {
	t.Parallel()
	none := uint(0)
	expiring := timePlan(60)
	expiring.ExpDays = &none
	both := Plan{Type: TypeTimeOrData, TimeSecs: 60, DataMB: 0.003, DownMbits: 5, UpMbits: 3}
	const time60, data, expired = "session:consumed: the time is used up (1)", "session:consumed: the data is used up (1)", "session:expired: the session has expired (1)"
	waits := func(w *world) { w.advance(2 * time.Hour); w.goesRound() }
	sends := func(w *world) { w.pass(macA, 6000, 0) }
	fills := func(w *world) { w.pass(macA, 3000, 0) }
	deaf := func(w *world) { w.stalls(true) }
	hears := func(w *world) { w.stalls(false) }
	halts := func(w *world) { // as a round does it that looked before
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		d := w.m.byID[1]
		w.m.halt(d, d.current().session, pauseAsked, "paused")
	}
	looks := func(w *world) {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		w.m.follow(w.m.byID[1])
	}
	saves := func(w *world) {
		looks(w)
		w.m.mu.Lock()
		d := w.m.byID[1]
		records := w.m.pending(d, nil)
		w.m.mu.Unlock()
		err := w.m.save(bg(), records)
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if w.m.written(d, err); err != nil {
			w.t.Error(err)
		}
	}
	dies := func(w *world) { w.kills(); w.runs() }
	for _, row := range []struct {
		name  string
		plan  Plan
		steps []func(w *world)
		event string
	}{
		{"its time is used up, it is paused", timePlan(60), []func(*world){waits, halts}, time60},
		{"its data is used up, it is paused", dataPlan(0.003), []func(*world){sends, halts}, data},
		{"its data and its time are used up, it is paused", both, []func(*world){sends, waits, halts}, data},
		{"it is used up and expires, it is paused", expiring, []func(*world){waits, halts}, expired},
		{"it is used up to the byte, it is paused", dataPlan(0.003), []func(*world){fills, halts}, data},
		{"it is paused, it expires", expiring, []func(*world){halts, waits}, expired},
		{"it is paused, it expires before that is settled", expiring, []func(*world){deaf, halts, waits, looks, hears}, expired},
		{"nobody sees that it is used up, it is paused", expiring, []func(*world){deaf, waits, halts, looks, hears}, expired},
		{"it is used up, it is paused, control dies", timePlan(60), []func(*world){waits, halts, dies}, time60},
		{"it is used up, it is paused, two controls die", timePlan(60), []func(*world){waits, halts, dies, dies}, time60},
		{"it is used up, it is paused and seen, control dies", timePlan(60), []func(*world){waits, halts, looks, dies}, time60},
		{"it is paused, control dies, it expires", expiring, []func(*world){halts, dies, waits}, expired},
		{"it is paused and on disk, it expires and is seen, control dies", expiring, []func(*world){halts, (*world).goesRound, saves, waits, looks, dies}, expired},
	} {
		for _, next := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, and there is another one: %v", row.name, next), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t).boots().runs()
				d := w.add(macA, "10.10.0.2")
				w.create(d.ID, row.plan)
				w.connect(d.ID)
				if next {
					w.create(d.ID, timePlan(36000))
				}
				w.until("on disk", w.clean)
				alone := func() func() { // nobody looks but the steps
					w.m.mu.Lock()
					dev := w.m.byID[d.ID]
					w.m.mu.Unlock()
					if err := dev.turn.take(bg()); err != nil {
						t.Fatal(err)
					}
					m := w.m
					return func() { m.finish(dev) }
				}
				var told []string
				leave := alone()
				for _, step := range row.steps {
					before := w.m
					step(w)
					if w.m != before {
						leave()
						told = append(told, tellings(w, before)...)
						w.meets()
						leave = alone()
					}
				}
				leave()
				over := func() bool { v := w.session(1); return v.State != Paused && v.State != Running && w.clean() }
				w.until("it is over", over)
				w.settlesRound()
				w.until("it is over", over)
				told = append(told, tellings(w, w.m)...)
				count := func(event string) (n int) {
					for _, x := range told {
						if strings.HasPrefix(x, event) {
							n++
						}
					}
					return n
				}
				gone := 1
				if next {
					gone = 0
				}
				if count(row.event) != 1 || count(SessionConsumed)+count(SessionExpired) != 1 || count(SessionDisconnected) != gone {
					t.Errorf("told %q", told)
				}
				var kinds []string
				for _, l := range w.ledger(1) {
					kinds = append(kinds, string(l.Kind))
				}
				if text := strings.Join(kinds, " "); strings.Count(text, "end") != 1 || kinds[len(kinds)-1] != "end" {
					t.Errorf("the ledger says %s", text)
				}
				if v := w.device(macA); v.Connected != next || next && (v.Session == nil || v.Session.ID != 2 || v.Session.State != Paused) {
					t.Errorf("%+v %+v", v, v.Session)
				}
			})
		}
	}
}

// tellings are the events of sessions of the first device that a manager told.
func tellings(w *world, m *Manager) (got []string) {
	now := w.m
	w.m = m
	defer func() { w.m = now }()
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	for _, text := range w.told(1) {
		if kindOf(text) == kindSession {
			got = append(got, text)
		}
	}
	return got
}

// goesRound waits until the forwarder has gone round now, unless it is stalled.
func (w *world) goesRound() {
	w.fake.mu.Lock()
	stalled := w.fake.stalled
	w.fake.mu.Unlock()
	at := w.boot()
	w.until("the forwarder goes round", func() bool {
		return stalled || time.Duration(w.table.Header().Worker[0].Beat.Load()) >= at
	})
}
