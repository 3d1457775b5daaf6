package sessions

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOnlyWhoIsSilentIsPaused: one of 4,096 clients sends all the time. The others
// are paused in one look, and their clocks stand still; it never is, and nothing that
// it sends meanwhile is lost.
func TestOnlyWhoIsSilentIsPaused(t *testing.T) {
	t.Parallel()
	silent := 4095
	if testing.Short() {
		silent = 255
	}
	w := &world{t: t, slots: silent + 101, still: true, skip: time.Minute}
	w.boots()
	defer w.stopsForwarder()
	w.m = New(Options{Table: w.table, Now: w.now, Boot: w.boot, IdlePause: time.Minute})
	w.m.houses(t, silent+1, timePlan(36_000))
	for _, d := range w.m.byID {
		d.admitted = w.boot()
		w.m.changed(d)
	}
	takenIn := func() bool {
		for _, d := range w.m.byID {
			if !w.m.acked(d.slot, w.table.Policy(d.slot)) {
				return false
			}
		}
		return true
	}
	w.until("all are let in", takenIn)

	sender := w.m.byMAC[0x020000000000+uint64(silent/2)]
	var sent, lost atomic.Uint64
	ended := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Microsecond):
			}
			if w.fake.pass(sender.mac, 100, 0) != 100 {
				lost.Add(1)
			}
			sent.Add(1)
		}
	})
	elapses := func(d time.Duration, paused int, each uint) {
		t.Helper()
		w.advance(d)
		before := sent.Load()
		w.until("the one sends", func() bool { return sent.Load() > before+1 }) // the first may have begun earlier
		w.m.round(bg())
		w.until("the forwarder has taken in who is paused", takenIn)
		w.m.round(bg())
		n := 0
		for _, s := range w.m.sessions {
			v := w.session(s.id)
			switch is := s.device != sender.id && paused > 0; {
			case !is && v.State == Running:
			case is && v.State == Paused && v.PauseReason == PausedIdle && v.TimeCons == each:
				n++
			default:
				t.Fatalf("%+v", v)
			}
		}
		if n != paused {
			t.Fatalf("%d are paused, want %d", n, paused)
		}
	}
	for range 11 {
		elapses(5*time.Second, 0, 0)
	}
	elapses(5*time.Second, silent, 60)
	elapses(time.Hour, silent, 60)
	elapses(time.Hour, silent, 60)
	close(ended)
	sending.Wait()
	v := w.session(sender.sessions[0].id)
	if lost.Load() != 0 || v.TimeCons != 7260 || v.UpBytes != 100*sent.Load() {
		t.Errorf("%d datagrams of %d are lost: %+v", lost.Load(), sent.Load(), v)
	}
	if n := w.table.Slot(sender.slot).Published.Load(); n != 1 {
		t.Errorf("it was given %d grants: it was paused meanwhile", n)
	}
}
