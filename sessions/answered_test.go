package sessions

import (
	"context"
	"testing"
	"time"
)

// Whatever a call waits for, its deadlines add up to the 5 s in which it is answered, and
// those of one that only reads to 0.7 s.
func TestCallsHaveTheirDeadlines(t *testing.T) {
	w := newWorld(t).boots().runs()
	for name, row := range map[string]struct {
		prepare func(context.Context) (context.Context, context.CancelFunc, error)
		most    time.Duration
	}{
		"a change": {w.m.call, 5*time.Second - ackTime},
		"a look":   {w.m.reading, 700 * time.Millisecond},
	} {
		ctx, cancel, err := row.prepare(bg())
		if err != nil {
			t.Fatal(err)
		}
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > row.most {
			t.Errorf("%s may wait %v, want %v", name, time.Until(end), row.most)
		}
		cancel()
	}
}

// A forwarder that takes nothing in is waited for 2 s by the clock.
func TestAForwarderIsWaitedForTwoSeconds(t *testing.T) {
	w := newWorld(t)
	w.still, w.skip = true, time.Hour
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(1))
	w.stalls(true)
	answered := make(chan error, 1)
	go func() {
		_, err := w.m.ConnectDevice(bg(), d.ID, "")
		answered <- err
	}()
	w.until("it waits", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		return w.m.byID[d.ID].connected
	})
	w.advance(2 * time.Second)
	select {
	case err := <-answered:
		t.Errorf("after 2 s and no more: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	w.until("it is answered", func() bool {
		w.advance(10 * time.Millisecond)
		return len(answered) > 0 || w.boot() > time.Hour+10*time.Second // it may have begun to wait later
	})
	if len(answered) == 0 {
		t.Error("it is not answered")
		w.stalls(false)
	}
	w.wants(<-answered, ErrForwarder)
}
