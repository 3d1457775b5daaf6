package sessions

import (
	"bytes"
	"context"
	"testing"
)

// owing is a gateway that has used 0.1 MB of a provider's session and delivered
// none of it, and a backup of then.
func owing(t *testing.T, sequences bool) (w *world, d Device, p *shop, a *ware, backup *bytes.Buffer) {
	w = newWorld(t)
	d, p, a, backup = w.owes(sequences)
	return w, d, p, a, backup
}

// owes makes it of a world.
func (w *world) owes(sequences bool) (d Device, p *shop, a *ware, backup *bytes.Buffer) {
	w.t.Helper()
	w.boots().runs()
	d = w.add(macA, "10.10.0.2")
	p = newShop("acme")
	p.exact = sequences
	a = p.sells("a", dataPlan(1))
	w.registers(p)
	w.connect(d.ID)
	w.until("the source has the start", func() bool { return a.now().StartedAt != nil && w.clean() && w.delivers() == 0 })
	p.change(func() { a.loading = func(context.Context, *SessionData) error { return errTest } })
	w.pass(macA, 100_000, 0)
	w.disconnect(d.ID)
	backup = new(bytes.Buffer)
	if err := w.m.Backup(bg(), backup); err != nil {
		w.t.Fatal(err)
	}
	return d, p, a, backup
}

// delivers returns how many visits of sources are under way.
func (w *world) delivers() (n int) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	for _, e := range w.m.desk.errands {
		if e.busy {
			n++
		}
	}
	return n
}

// TestDeathsAfterARestore kills the manager in each moment from the restore of a
// backup to the delivery of what it owes. Whether that was delivered before the
// restore or was not, the source has it once, and what was used since.
func TestDeathsAfterARestore(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		set  func(a *ware, at stop) // nil: nobody is visited before
		use  bool                   // the session runs between
	}{
		{"when the disk has it and nothing more", nil, false},
		{"when the session has run since", nil, true},
		{"before the source was read", func(a *ware, at stop) {
			a.loading = func(context.Context, *SessionData) error { at.here(); return errTest }
		}, false},
		{"before the source has the start of what comes", func(a *ware, at stop) {
			a.saving = func(context.Context, *SessionData) error { at.here(); return errTest }
		}, true},
		{"when the source has it and has not answered", func(a *ware, at stop) {
			a.saved = func() error { at.here(); return nil }
		}, true},
	}
	for _, row := range rows {
		yesAndNo(t, row.name, "delivered before", "by a power cut", func(t *testing.T, delivered, cut bool) {
			w, d, p, a, backup := owing(t, false)
			if delivered {
				p.change(func() { a.loading = nil })
				w.until("it is delivered", func() bool { w.due(); return w.delivered() })
			}
			want := uint64(100_000)
			if row.set == nil && !row.use {
				w.restoresOnly(backup)
			} else if err := w.m.Restore(bg(), backup); err != nil {
				t.Fatal(err)
			}
			if row.use {
				p.change(func() { a.loading = func(context.Context, *SessionData) error { return errTest } })
				w.connect(d.ID)
				if n := w.pass(macA, 50_000, 0); n != 50_000 {
					t.Fatalf("%d bytes passed", n)
				}
				w.disconnect(d.ID)
				want += 50_000
			}
			at := newStop()
			if row.set != nil {
				p.change(func() { a.loading = nil; row.set(a, at) })
				w.until("it is visited", func() bool {
					w.due()
					select {
					case <-at.reached:
						return true
					default:
						return false
					}
				})
			}
			w.diesAt(at, p, a, cut)
			if v := a.now(); consumption(v).Bytes != want {
				t.Fatalf("the source holds %v MB, want %v bytes", v.DataCons, want)
			}
			w.connect(d.ID)
			w.pass(macA, 25_000, 0)
			w.disconnect(d.ID)
			w.until("it is delivered", func() bool { w.due(); return w.delivered() })
			if v := a.now(); consumption(v).Bytes != want+25_000 {
				t.Errorf("the source holds %v MB, want %v bytes", v.DataCons, want+25_000)
			}
		})
	}
}

// restoresOnly has a backup in the place of all on disk, and nothing after it.
func (w *world) restoresOnly(backup *bytes.Buffer) {
	w.t.Helper()
	if err := w.m.store.Stage(bg(), backup); err != nil {
		w.t.Fatal(err)
	}
	w.m.gate.Lock()
	defer w.m.gate.Unlock()
	if err := w.m.disconnectAll(bg()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.m.replaceAll(bg()); err != nil {
		w.t.Fatal(err)
	}
}

// TestARestoreDuringAVisit: the source is read, or written, as everything is
// replaced by a backup in which the session is older, is a local one, or is not.
func TestARestoreDuringAVisit(t *testing.T) {
	t.Parallel()
	for _, during := range []string{"Reload", "Save", "the search for it", "GetSession"} {
		for _, then := range []string{"older", "local", "gone"} {
			t.Run(during+", "+then, func(t *testing.T) {
				t.Parallel()
				w, d, p, a, backup := owing(t, false)
				if then != "older" {
					backup = otherBox(t, then == "local")
				}
				if during == "the search for it" {
					w.kills()
					w.runs()
				}
				reached, release := make(chan struct{}), make(chan struct{})
				slow := func() {
					p.change(func() { a.loading, a.saving, p.asking = nil, nil, nil })
					close(reached)
					<-release
				}
				p.change(func() {
					a.loading = nil
					switch during {
					case "Reload":
						a.loading = func(context.Context, *SessionData) error { slow(); return nil }
					case "Save":
						a.saving = func(context.Context, *SessionData) error { slow(); return nil }
					default:
						p.asking = func(context.Context) error { slow(); return nil }
					}
				})
				if during == "the search for it" {
					w.registers(p)
				}
				asked := make(chan error, 1)
				if during == "GetSession" {
					go func() {
						q := w.m.inquire(question{by: w.m.providers()[0], device: d.ID})
						<-q.done
						asked <- q.err
					}()
				}
				w.until("the source is slow", func() bool {
					if during != "GetSession" {
						w.due()
					}
					select {
					case <-reached:
						return true
					default:
						return false
					}
				})
				if err := w.m.Restore(bg(), backup); err != nil {
					t.Fatal(err)
				}
				close(release)
				if during == "GetSession" {
					w.wants(<-asked, ErrUnavailable)
				}
				w.until("nothing is under way", func() bool { return w.delivers() == 0 && w.m.quiet() })
				if then == "older" {
					w.until("it is delivered", func() bool { w.due(); return w.delivered() })
					if v := a.now(); v.DataCons != 0.1 {
						t.Errorf("the source holds %v MB, want 0.1", v.DataCons)
					}
					return
				}
				for _, s := range list(w, w.device(macA)) {
					if s.Provider != Local || s.DataCons != 0 {
						t.Errorf("after the restore: %+v", s)
					}
				}
			})
		}
	}
}

// otherBox returns a backup of another gateway, where other devices and sessions
// have the same ids.
func otherBox(t *testing.T, many bool) *bytes.Buffer {
	w := newWorld(t).boots().runs()
	w.add(macB, "10.10.0.3")
	d := w.add(macA, "10.10.0.2")
	n := 1
	if many {
		n = 2 * smallBlock
	}
	for range n {
		w.create(d.ID, dataPlan(1))
	}
	b := new(bytes.Buffer)
	if err := w.m.Backup(bg(), b); err != nil {
		t.Fatal(err)
	}
	return b
}
