package sessions

import (
	"context"
	"testing"
	"time"
)

// ofTheHandle is in the context of what a handle asks of a source.
const ofTheHandle handleKey = "a handle's Save"

type handleKey string

// TestAChangeInDoubtAndAClerk: a handle's Save carries what was used and a change, its
// end is not known, and somebody else changes the session at the source meanwhile. With
// sequences all is there once; without, nothing is there twice.
func TestAChangeInDoubtAndAClerk(t *testing.T) {
	rows := []struct {
		name      string
		sequences bool
		arrives   bool // the Save was taken
		blind     bool // the Reload after it fails too
		err       error
		bytes     uint64 // consumed, as the source has it in the end; the clerk's are 50000 of it
		mb        float64
	}{
		{"sequences, it was not taken", true, false, false, nil, 150_000, 2},
		{"sequences, it was taken", true, true, false, nil, 150_000, 2},
		{"sequences, it was not taken, nobody looks", true, false, true, ErrProvider, 150_000, 1},
		{"sequences, it was taken, nobody looks", true, true, true, ErrProvider, 150_000, 2},
		{"it was not taken", false, false, false, ErrProvider, 50_000, 1},
		{"it was taken", false, true, false, nil, 150_000, 2},
		{"it was not taken, nobody looks", false, false, true, ErrProvider, 50_000, 1},
		{"it was taken, nobody looks", false, true, true, ErrProvider, 150_000, 2},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w, _, p, a, _ := owing(t, row.sequences)
			s, err := w.gets(w.device(macA))
			if err != nil {
				t.Fatal(err)
			}
			clerk := func() {
				p.change(func() {
					a.saving, a.saved = nil, nil
					a.data.DataCons += 0.05
					a.data.UpMbits = 4
					if row.blind {
						a.loading = func(context.Context, *SessionData) error { return errTest }
					}
				})
			}
			p.change(func() {
				a.loading = func(ctx context.Context, _ *SessionData) error {
					if ctx.Value(ofTheHandle) == nil { // a visit meanwhile
						return errTest
					}
					return nil
				}
				if row.arrives {
					a.saved = func() error { clerk(); return errTest }
				} else {
					a.saving = func(context.Context, *SessionData) error { clerk(); return errTest }
				}
			})
			s.SetDataMb(2)
			w.wants(s.Save(context.WithValue(bg(), ofTheHandle, true)), row.err)
			p.change(func() { a.loading = nil })
			w.until("it is delivered", func() bool { w.due(); return w.delivered() })
			v := a.now()
			if consumption(v).Bytes != row.bytes || v.DataMb != row.mb || v.UpMbits != 4 || v.StartedAt == nil {
				t.Errorf("the source holds %v MB of %v, %d Mbit up; want %d bytes of %v MB, 4 Mbit",
					v.DataCons, v.DataMb, v.UpMbits, row.bytes, row.mb)
			}
			w.until("it is so here", func() bool {
				return uint64(megabytes(s.DataConsumption())) == row.bytes && s.UpMbits() == 4
			})
		})
	}
}

// TestASaveThatIsMadeAgain after its end was not known does not add twice.
func TestASaveThatIsMadeAgain(t *testing.T) {
	for _, sequences := range []bool{false, true} {
		for _, arrives := range []bool{false, true} {
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			p := newShop("acme")
			p.exact = sequences
			a := p.sells("a", dataPlan(1))
			w.registers(p)
			s, err := w.gets(d)
			if err != nil {
				t.Fatal(err)
			}
			fail := func() error {
				p.change(func() { a.loading = func(context.Context, *SessionData) error { return errTest } })
				return errTest
			}
			if arrives {
				a.saved = fail
			} else {
				a.saving = func(context.Context, *SessionData) error { return fail() }
			}
			s.IncDataCons(0.25)
			w.wants(s.Save(bg()), ErrProvider)
			p.change(func() { a.saving, a.saved, a.loading = nil, nil, nil })
			if err := s.Save(bg()); err != nil {
				t.Fatal(err)
			}
			if v := a.now(); v.DataCons != 0.25 || s.DataConsumption() != 0.25 {
				t.Errorf("sequences %v, arrived %v: the source holds %v MB, here %v", sequences, arrives, v.DataCons, s.DataConsumption())
			}
			s.IncDataCons(0.25) // another one
			if err := s.Save(bg()); err != nil {
				t.Fatal(err)
			}
			if v := a.now(); v.DataCons != 0.5 {
				t.Errorf("sequences %v, arrived %v: the source holds %v MB", sequences, arrives, v.DataCons)
			}
		}
	}
}

// asked is a context that says when its deadline is asked for, as by who adds one.
type asked struct {
	context.Context
	asked chan struct{}
}

func (a asked) Deadline() (time.Time, bool) {
	select {
	case a.asked <- struct{}{}:
	default:
	}
	return a.Context.Deadline()
}

// TestOneDeadlineForASave: what a Save waits for here is not added to what it may
// take at the source.
func TestOneDeadlineForASave(t *testing.T) {
	w, d, p, a, s := sold(t)
	var end time.Time
	p.change(func() {
		a.loading = func(ctx context.Context, _ *SessionData) error { end, _ = ctx.Deadline(); return nil }
	})
	w.m.mu.Lock()
	dev := w.m.byID[d.ID]
	w.m.mu.Unlock()
	if err := dev.turn.take(bg()); err != nil {
		t.Fatal(err)
	}
	s.IncDataCons(0.1)
	ctx, done := asked{bg(), make(chan struct{}, 1)}, make(chan error)
	go func() { done <- s.Save(ctx) }()
	<-ctx.asked
	time.Sleep(time.Millisecond)
	released := time.Now()
	dev.turn.done()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if late := end.Sub(released); late >= callTime {
		t.Errorf("the source has %v from when the device was free, want less than %v", late, callTime)
	}
}
