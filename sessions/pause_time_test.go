package sessions

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// roundDone waits until the forwarder has gone round now, and has taken in what
// was decided.
func (w *world) roundDone() {
	at := w.boot()
	w.until("the forwarder goes round", func() bool {
		w.fake.mu.Lock() // not in the middle of it
		defer w.fake.mu.Unlock()
		for i := 1; i < w.table.Slots(); i++ {
			if w.table.Acked(i) < w.table.Policy(i) {
				return false
			}
		}
		return time.Duration(w.table.Header().Worker[0].Beat.Load()) >= at
	})
}

// TestPausesCostNothing: hundreds of short stretches of use, ended and begun
// again in every way, add up to the nanosecond: what is billed is the time
// between, by the test's own clock.
func TestPausesCostNothing(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 7))
			w := newWorld(t).stands()
			w.opt.IdlePause, w.opt.PauseOnCarrierLoss = time.Hour, true
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			const sold, each = 3, 20 * time.Second
			for range sold {
				w.create(d.ID, timePlan(uint(each/time.Second)))
			}
			passes := func(most time.Duration) time.Duration {
				by := time.Duration(random.Int64N(int64(most)))
				w.advance(by)
				return by
			}
			used := func() (sum time.Duration) {
				w.m.mu.Lock()
				defer w.m.mu.Unlock()
				for id := int64(1); id <= sold; id++ {
					s := w.m.sessions[id]
					sum += w.m.used(w.m.byID[s.device], s).time
				}
				return sum
			}
			var ran time.Duration
			w.connect(d.ID)
			for cycle := range 200 {
				if ran += passes(200 * time.Millisecond); ran >= sold*each {
					t.Fatal("too much was used")
				}
				w.roundDone()
				switch random.IntN(4) {
				case 0:
					w.disconnect(d.ID)
					passes(time.Hour)
					w.connect(d.ID)
				case 1:
					w.loses(pauseNoCarrier)
					w.until("it stands still", func() bool { w.m.round(bg()); return w.device(macA).Session.State == Paused })
					passes(time.Hour)
					w.regains()
					w.until("it goes on", func() bool { w.m.round(bg()); return w.device(macA).Session.State == Running })
				case 2:
					w.pause(d.ID)
					passes(time.Hour)
					if random.IntN(8) == 0 {
						w.kills()
						w.runs()
					}
					w.resume(d.ID)
				case 3:
					w.pause(d.ID)
					w.resume(d.ID)
				}
				w.roundDone()
				if got := used(); got != ran {
					t.Fatalf("cycle %d: %v are billed of %v", cycle, got, ran)
				}
			}
			w.pause(d.ID)
			w.until("on disk", w.clean)
			w.kills()
			w.boots().runs()
			w.device(macA) // read from the disk
			secs := uint(0)
			for id := int64(1); id <= sold; id++ {
				v := w.session(id)
				secs += v.TimeCons
			}
			if got := used(); got != ran || secs > uint(ran/time.Second) || secs+sold <= uint(ran/time.Second) {
				t.Errorf("on disk are %v, shown %d s, of %v", got, secs, ran)
			}
		})
	}
}
