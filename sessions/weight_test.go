package sessions

import "testing"

// A session weighs what it was sold with or what was set, in its grant with the same
// call, over restarts, and says so in its ledger.
func TestWeight(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	heavy := timePlan(600)
	heavy.Weight = 7
	s, plain := w.create(d.ID, heavy), w.create(d.ID, timePlan(600))
	if s.Weight != 7 || plain.Weight != 1 {
		t.Errorf("weights %d and %d, want 7 and 1", s.Weight, plain.Weight)
	}
	w.connect(d.ID)
	weighs := func(when string, want uint64) {
		t.Helper()
		if got := w.grant(macA).Weight.Load(); got != want {
			t.Errorf("%s: its grant weighs %d, want %d", when, got, want)
		}
	}
	weighs("connected", 7)
	more := 100
	if v, err := w.m.Update(bg(), s.ID, Change{Weight: &more}); err != nil || v.Weight != 100 {
		t.Errorf("%+v, %v", v, err)
	}
	weighs("changed", 100)
	w.tells(s.ID, "create start change now")
	w.kills()
	w.runs()
	speed := 9
	if v, err := w.m.Update(bg(), s.ID, Change{DownMbits: &speed}); err != nil || v.Weight != 100 {
		t.Errorf("after another change: %+v, %v", v, err)
	}
	weighs("another change", 100)
	for _, bad := range []int{-1, 0, 101} {
		_, err := w.m.Update(bg(), s.ID, Change{Weight: &bad})
		w.wants(err, ErrBadPlan)
	}
	for _, bad := range []int{-1, 101} {
		heavy.Weight = bad
		_, err := w.m.Create(bg(), d.ID, heavy)
		w.wants(err, ErrBadPlan)
	}
}
