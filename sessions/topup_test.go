package sessions

import "testing"

// A top-up whose session ends while the disk has not taken it yet is all the
// customer's, however small; one that did not come is not.
func TestToppedUpAsItEnds(t *testing.T) {
	for _, more := range []int64{0, 3000} {
		w := newWorld(t).boots().runs()
		id := w.add(macA, "10.10.0.2").ID
		s := w.create(id, dataPlan(0.002))
		w.connect(id)
		w.m.mu.Lock()
		d := w.m.byID[id]
		w.m.mu.Unlock()
		if err := d.turn.take(bg()); err != nil {
			t.Fatal(err)
		}
		w.pass(macA, 1500, 0)
		if n := w.pass(macA, 1000, 0); n != 0 {
			t.Fatalf("%d bytes passed that were not sold", n)
		}
		w.m.mu.Lock()
		d.sessions[0].dataLimit += more
		w.m.follow(d)
		w.m.mu.Unlock()
		w.m.finish(d)
		v := w.session(s.ID)
		if more == 0 && (v.State != Consumed || v.RemainingData != 0) || more > 0 && (v.State != Running || v.RemainingData != 0.0035) {
			t.Errorf("with %d bytes more it is %v with %v MB left", more, v.State, v.RemainingData)
		}
	}
}
