package sessions

import (
	"slices"
	"testing"
	"time"
)

func TestWhatIsPausedExpiresWithoutASlotToo(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(w *world)
	}{
		{"its slot was needed", func(w *world) {
			w.until("on disk", w.clean)
			w.m.mu.Lock()
			w.m.vacate(1, anyWorker)
			w.m.mu.Unlock()
		}},
		{"after a power cut", func(w *world) {
			w.until("on disk", w.clean)
			w.kills()
			w.boots().runs()
		}},
		{"after a restart", func(w *world) {
			w.end()
			w.boots().runs()
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			days := uint(0)
			w.create(d.ID, Plan{Type: TypeTime, TimeSecs: 1000, ExpDays: &days, DownMbits: 5, UpMbits: 3})
			n := w.create(d.ID, timePlan(50))
			w.connect(d.ID)
			w.advance(10 * time.Second)
			w.pause(d.ID)
			row.do(w)
			w.advance(900 * time.Second)
			since := func() []string {
				w.m.hub.mu.Lock()
				defer w.m.hub.mu.Unlock()
				return slices.DeleteFunc(w.told(d.ID), func(text string) bool { return kindOf(text) != kindSession })
			}
			before := since()
			w.advance(200 * time.Second)
			w.until("its end and what follows are told", func() bool { return len(since()) >= len(before)+2 })
			want := append(before, "session:expired: the session has expired (1)",
				"session:changed: session 2, paused, goes on after session 1 (2)")
			w.m.round(bg())
			if told := since(); !slices.Equal(told, want) {
				t.Errorf("told %q\nwant %q", told, want)
			}
			if v := w.session(n.ID); v.State != Paused {
				t.Errorf("%+v", v)
			}
			if v := w.device(macA); !v.Connected || v.Session == nil || v.Session.ID != n.ID {
				t.Errorf("%+v", v)
			}
		})
	}
}
