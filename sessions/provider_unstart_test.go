package sessions

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestAStartThatIsTakenAway by a handle is gone at the source and here, whatever became
// of the Save and of the gateway, and no later Save brings it back.
func TestAStartThatIsTakenAway(t *testing.T) {
	type fault struct {
		name    string
		set     func(p *shop, a *ware)
		dies    bool // the gateway does as the source has the Save and has not answered
		refused bool // the Save is not taken
	}
	faults := []fault{
		{"it is answered", func(*shop, *ware) {}, false, false},
		{"its answer is lost", func(p *shop, a *ware) {
			a.saved = func() error { p.change(func() { a.saved = nil }); return errTest }
		}, false, false},
		{"the gateway dies", nil, true, false},
		{"it is refused", func(p *shop, a *ware) {
			a.saving = func(context.Context, *SessionData) error {
				p.change(func() { a.saving = nil })
				return ErrNotSaved
			}
		}, false, false},
		{"it is not taken", func(p *shop, a *ware) {
			a.saving = func(context.Context, *SessionData) error { return fmt.Errorf("no: %w", ErrNotSaved) }
		}, false, true},
	}
	for _, f := range faults {
		for _, sequences := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sequences %v", f.name, sequences), func(t *testing.T) {
				t.Parallel()
				w, d, p, a, s := sold(t)
				p.change(func() { p.exact = sequences; a.data.ExpDays = new(uint); *a.data.ExpDays = 3 })
				w.connect(d.ID)
				w.pass(macA, 100_000, 0)
				w.disconnect(d.ID)
				w.until("it is delivered", func() bool { w.due(); return w.delivered() && a.now().StartedAt != nil })
				first := *a.now().StartedAt
				w.advance(time.Hour)
				w.unstarts(s, p, a, f.dies, f.set)
				if f.refused {
					here, there := list(w, d)[0].StartedAt, a.now().StartedAt
					if there == nil || here == nil || !here.Equal(first) {
						t.Errorf("not taken, and the start is %v at the source and %v here", there, here)
					}
					return
				}
				id := list(w, d)[0].ID
				gone := func(when string) {
					t.Helper()
					if v, there := w.session(id), a.now(); v.StartedAt != nil || v.ExpiresAt != nil || there.StartedAt != nil || there.DataCons != 0.1 {
						t.Errorf("%s: started %v here, expires %v; at the source %v, %v MB", when, v.StartedAt, v.ExpiresAt, there.StartedAt, there.DataCons)
					}
				}
				gone("after Save")
				if _, err := w.m.Update(bg(), id, Change{DownMbits: new(7)}); err != nil {
					t.Fatal(err)
				}
				gone("after the next Save")
				if _, err := w.m.reload(bg(), id); err != nil {
					t.Fatal(err)
				}
				gone("after Reload")
				w.until("it is on disk", w.clean)
				w.kills()
				w.boots().runs()
				w.registers(p)
				gone("after a restart")
				w.sight()
				w.connect(d.ID)
				w.until("the source has the new start", func() bool { w.due(); return a.now().StartedAt != nil })
				if at := *a.now().StartedAt; at.Before(first.Add(time.Hour)) {
					t.Errorf("it starts anew at %v, the first time at %v", at, first)
				}
			})
		}
	}
}

// unstarts takes the start of a session away while set does something to the source.
func (w *world) unstarts(s ClientSession, p *shop, a *ware, dies bool, set func(*shop, *ware)) {
	w.t.Helper()
	s.SetStartedAt(nil)
	if !dies {
		p.change(func() { set(p, a) })
		if err := s.Save(bg()); (err != nil) != (a.now().StartedAt != nil) {
			w.t.Fatalf("Save: %v", err)
		}
		return
	}
	at := newStop()
	p.change(func() { a.saved = func() error { at.here(); return nil } })
	ended := make(chan struct{})
	go func() { s.Save(bg()); close(ended) }()
	<-at.reached
	w.diesAt(at, p, a, true)
	<-ended
}

// TestARunningSessionWhoseStartIsTakenAway starts as its grant began, here and at the
// source, and goes on.
func TestARunningSessionWhoseStartIsTakenAway(t *testing.T) {
	w, d, _, a, s := sold(t)
	w.connect(d.ID)
	w.disconnect(d.ID)
	w.until("the source has the start", func() bool { w.due(); return a.now().StartedAt != nil && w.delivered() })
	first := *a.now().StartedAt
	w.advance(time.Hour)
	w.connect(d.ID)
	s.SetStartedAt(new(time.Time)) // which says the same
	if err := s.Save(bg()); err != nil {
		t.Fatal(err)
	}
	w.until("the source has the new start", func() bool { w.due(); v := a.now(); return v.StartedAt != nil && v.StartedAt.After(first) })
	if here, there := s.StartedAt(), a.now().StartedAt; here == nil || !here.Equal(*there) || here.Before(first.Add(time.Hour)) {
		t.Errorf("started at %v here, at %v at the source; the first time at %v", here, there, first)
	}
	if n := w.pass(macA, 100_000, 0); n != 100_000 {
		t.Errorf("%d bytes passed", n)
	}
}
