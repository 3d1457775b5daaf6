package sessions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAStoreThatGoesBackBillsNothingTwice: the database is damaged after what the store's
// last snapshot owes was delivered, and the journal is lost with it. The store makes the
// database anew from that snapshot, and what it owed is not told again.
func TestAStoreThatGoesBackBillsNothingTwice(t *testing.T) {
	t.Parallel()
	for _, sequences := range []bool{false, true} {
		yesAndNo(t, map[bool]string{false: "without sequences", true: "with sequences"}[sequences], "control dies too", "by a power cut", func(t *testing.T, dies, cut bool) {
			w := onDisk(t)
			d, p, a, _ := w.owes(sequences)
			w.until("it is on disk", w.clean)
			w.store()
			then := w.snapshots()
			w.servesStore()
			w.back()
			p.change(func() { a.loading = nil })
			w.until("it is delivered", func() bool { w.due(); return w.delivered() })
			if dies {
				w.kills()
			}
			w.goesBack(then)
			switch {
			case !dies:
				w.back()
				w.until("control knows", func() bool { return strings.Contains(strings.Join(w.m.Degraded(), "; "), "is LOST") })
				w.until("it is on disk again", w.clean)
				w.kills()
				fallthrough
			default:
				if cut {
					w.boots()
				}
				w.runs()
				w.registers(p)
			}
			w.until("it is settled", func() bool { w.due(); return w.delivered() })
			if v := a.now(); v.DataCons != 0.1 {
				t.Fatalf("the source holds %v MB, want 0.1", v.DataCons)
			}
			if cut {
				w.sight()
			}
			w.connect(d.ID)
			if n := w.pass(macA, 50_000, 0); n != 50_000 {
				t.Fatalf("%d bytes passed", n)
			}
			w.disconnect(d.ID)
			w.until("it is delivered", func() bool { w.due(); return w.delivered() })
			if v := a.now(); v.DataCons != 0.15 {
				t.Errorf("the source holds %v MB, want 0.15", v.DataCons)
			}
		})
	}
}

// snapshots returns the store's snapshots by name.
func (w *world) snapshots() map[string][]byte {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.dir, "snapshot*"))
	if err != nil || len(names) == 0 {
		w.t.Fatalf("%d snapshots, %v", len(names), err)
	}
	all := make(map[string][]byte)
	for _, name := range names {
		if all[name], err = os.ReadFile(name); err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

// goesBack ends the store and starts it with what it had then, after a damage.
func (w *world) goesBack(then map[string][]byte) {
	w.t.Helper()
	w.store()
	files, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "MANIFEST" {
			if err := os.RemoveAll(filepath.Join(w.dir, f.Name())); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	then[filepath.Join(w.dir, "MANIFEST")] = []byte("not a manifest")
	for name, text := range then {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.servesStore()
}

// TestADamageWhileControlRunsTakesNothingFromMemory: what was used since the snapshot
// that the store goes back to is on disk again.
func TestADamageWhileControlRunsTakesNothingFromMemory(t *testing.T) {
	t.Parallel()
	w := onDisk(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.store()
	then := w.snapshots()
	w.servesStore()
	w.back()
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.pass(macA, 300_000, 0)
	w.disconnect(d.ID)
	w.goesBack(then)
	w.back()
	w.until("control knows", func() bool { return strings.Contains(strings.Join(w.m.Degraded(), "; "), "is LOST") })
	w.until("it is on disk again", w.clean)
	w.kills()
	w.boots().runs()
	if v := w.session(s.ID); v.UpBytes != 300_000 {
		t.Errorf("%+v", v)
	}
	if v := w.device(macA); v.ID != d.ID || v.IP != "10.10.0.2" {
		t.Errorf("%+v", v)
	}
}
