package sessions

import (
	"sync"
	"testing"
)

// A session that two take back at once is taken back once, and the device goes on
// being served.
func TestDeletedByTwoAtOnce(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	for range 20 {
		s := w.create(d.ID, timePlan(60))
		var both sync.WaitGroup
		var errs [2]error
		for i := range errs {
			both.Go(func() { errs[i] = w.m.Delete(bg(), s.ID) })
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("one was to be done: %v, %v", errs[0], errs[1])
		}
		for _, err := range errs {
			if err != nil {
				w.wants(err, ErrUnknownSession)
			}
		}
	}
	w.create(d.ID, timePlan(60))
}
