package sessions

import (
	"testing"
	"time"
)

// editing is a handle of a session of 100 s and 1 MB that expires a day after its
// start and TimeSecs.
func editing(t *testing.T) ClientSession {
	t.Helper()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	day := uint(1)
	w.create(d.ID, Plan{Type: TypeTimeOrData, TimeSecs: 100, DataMB: 1, ExpDays: &day, DownMbits: 1, UpMbits: 1})
	h, err := w.m.API().GetSession(bg(), w.m.ClientDevice(d))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Inc is a delta on what Inc and Set said before; Set says all of it anew. Both are
// seen before Save, and so after it.
func TestIncAddsAndSetReplaces(t *testing.T) {
	h := editing(t)
	for _, row := range []struct {
		name   string
		do     func()
		time   uint
		data   float64
		left   uint
		leftMB float64
	}{
		{"two deltas add up", func() { h.IncTimeCons(5); h.IncTimeCons(7); h.IncDataCons(0.25); h.IncDataCons(0.125) }, 12, 0.375, 88, 0.625},
		{"less than nothing is none", func() { h.IncDataCons(-1) }, 12, 0.375, 88, 0.625},
		{"what is set replaces them", func() { h.SetTimeCons(20); h.SetDataCons(0.5) }, 20, 0.5, 80, 0.5},
		{"a delta goes on top", func() { h.IncTimeCons(1); h.IncDataCons(0.25) }, 21, 0.75, 79, 0.25},
		{"what remains is never below zero", func() { h.IncTimeCons(1000); h.IncDataCons(9) }, 1021, 9.75, 0, 0},
		{"nor is it when less is sold", func() { h.SetTimeCons(50); h.SetDataCons(0.5); h.SetTimeSecs(10); h.SetDataMb(0.25) }, 50, 0.5, 0, 0},
	} {
		row.do()
		for _, saved := range []bool{false, true} {
			if saved {
				if err := h.Save(bg()); err != nil {
					t.Fatalf("%s: %v", row.name, err)
				}
			}
			if h.TimeConsumption() != row.time || h.DataConsumption() != row.data || h.RemainingTime() != row.left || h.RemainingData() != row.leftMB {
				t.Errorf("%s, saved %v: consumed %d s, %v MB, left %d s, %v MB; want %d, %v, %d, %v", row.name, saved,
					h.TimeConsumption(), h.DataConsumption(), h.RemainingTime(), h.RemainingData(), row.time, row.data, row.left, row.leftMB)
			}
		}
	}
}

// Unsaved edits show when the session would expire, as Save then has it.
func TestEditsShowWhenItExpires(t *testing.T) {
	h := editing(t)
	if at := h.ExpiresAt(); at != nil {
		t.Errorf("it expires at %v before it has started", at)
	}
	start, days := epoch, uint(2)
	h.SetStartedAt(&start)
	h.SetTimeSecs(3600)
	h.SetExpDays(&days)
	start, days = epoch.Add(time.Minute), 9 // they are the caller's
	*h.ExpDays() = 5
	*h.StartedAt() = epoch.Add(time.Hour)
	want := epoch.Add(49 * time.Hour)
	for _, saved := range []bool{false, true} {
		if saved {
			if err := h.Save(bg()); err != nil {
				t.Fatal(err)
			}
		}
		if at := h.ExpiresAt(); at == nil || !at.Equal(want) {
			t.Errorf("saved %v: it expires at %v, want %v", saved, at, want)
		}
	}
	h.SetExpDays(nil)
	if at := h.ExpiresAt(); at != nil {
		t.Errorf("without days it expires at %v", at)
	}
}
