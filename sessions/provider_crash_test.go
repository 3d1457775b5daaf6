package sessions

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

var errTest = errors.New("said by a test")

// sight has the forwarder see a packet of the first device.
func (w *world) sight() {
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("it has its address", func() bool { return w.fake.addressOf(hwA) == ip2 })
}

// stop is where a test stops a source: it says that it is reached, and waits.
type stop struct{ reached, release chan struct{} }

func newStop() stop { return stop{make(chan struct{}), make(chan struct{})} }

func (at stop) here() { close(at.reached); <-at.release }

// yesAndNo runs a test for each yes and no of two conditions, in parallel, named by
// those that hold.
func yesAndNo(t *testing.T, name, first, second string, f func(t *testing.T, first, second bool)) {
	for _, a := range []bool{false, true} {
		for _, b := range []bool{false, true} {
			name := name
			if a {
				name += ", " + first
			}
			if b {
				name += ", " + second
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t, a, b)
			})
		}
	}
}

// diesAt kills the manager while a source is stopped, or right away, and has the next
// one deliver before the source goes on.
func (w *world) diesAt(at stop, p *shop, a *ware, cut bool) {
	w.t.Helper()
	w.kills()
	p.change(func() { a.loading, a.saving, a.saved = nil, nil, nil })
	if cut {
		w.boots()
	}
	w.runs()
	w.registers(p)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	close(at.release)
	w.until("the late one has come", func() (done bool) { p.change(func() { done = a.under == 0 }); return done })
}

// TestDeliveriesOverDeaths kills the manager in each moment of a delivery, and
// counts at the source.
func TestDeliveriesOverDeaths(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		set  func(a *ware, at stop)
	}{
		{"before the source was read", func(a *ware, at stop) {
			a.loading = func(ctx context.Context, _ *SessionData) error { at.here(); return errTest }
		}},
		{"before the source has it", func(a *ware, at stop) {
			a.saving = func(context.Context, *SessionData) error { at.here(); return errTest }
		}},
		{"when the source has it and has not answered", func(a *ware, at stop) {
			a.saved = func() error { at.here(); return nil }
		}},
		{"when the source gets it after all, later", func(a *ware, at stop) {
			a.saving = func(context.Context, *SessionData) error { at.here(); return nil }
		}},
	}
	for _, row := range rows {
		yesAndNo(t, row.name, "with sequences", "by a power cut", func(t *testing.T, sequences, cut bool) {
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			p := newShop("acme")
			a := p.sells("a", dataPlan(1))
			p.exact = sequences
			w.registers(p)
			w.connect(d.ID)
			w.until("the source has the start", func() bool { return a.now().StartedAt != nil && w.clean() })
			at := newStop()
			p.change(func() { row.set(a, at) })
			if n := w.pass(macA, 300_000, 0); n != 300_000 {
				t.Fatalf("%d bytes passed", n)
			}
			w.disconnect(d.ID)
			<-at.reached
			w.diesAt(at, p, a, cut)
			if v := a.now(); v.DataCons != 0.3 || v.StartedAt == nil {
				t.Fatalf("the source holds %+v, want 0.3 MB", v)
			}
			w.connect(d.ID)
			if n := w.pass(macA, 100_000, 0); n != 100_000 {
				t.Fatalf("%d bytes passed", n)
			}
			w.disconnect(d.ID)
			w.until("it is delivered", func() bool { w.due(); return w.delivered() })
			if v := a.now(); v.DataCons != 0.4 {
				t.Errorf("the source holds %v, want 0.4", v.DataCons)
			}
		})
	}
}

func TestWhatRanAtAPowerCutIsBilledOnceAtTheSource(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", Plan{Type: TypeTimeOrData, TimeSecs: 3600, DataMB: 1, DownMbits: 5, UpMbits: 3})
	w.registers(p)
	w.connect(d.ID)
	w.pass(macA, 300_000, 0)
	w.advance(100 * time.Second)
	w.until("it is delivered while it runs", func() bool { w.due(); v := a.now(); return v.DataCons == 0.3 && v.TimeCons >= 100 })
	before := a.now()
	w.pass(macA, 5_000, 0) // not in any checkpoint: lost by the cut
	w.kills()
	w.boots().runs() // the provider is not registered yet
	w.sight()
	w.until("it passes again", func() bool { return w.pass(macA, 100_000, 0) == 100_000 })
	if v := w.device(macA).Session; v.Provider != "acme" || v.DataCons < 0.399 {
		t.Errorf("%+v", v)
	}
	w.registers(p)
	w.disconnect(d.ID)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	if v := a.now(); v.DataCons != 0.4 || v.TimeCons < before.TimeCons || v.TimeCons > before.TimeCons+60 {
		t.Errorf("the source holds %v MB, %d s; before the cut %d s", v.DataCons, v.TimeCons, before.TimeCons)
	}
}

func TestWhatRunsGoesOnOverARestartWithoutItsProvider(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(0.3))
	w.registers(p)
	w.connect(d.ID)
	w.pass(macA, 100_000, 0)
	w.kills()
	w.runs()
	if n := w.pass(macA, 150_000, 0); n != 150_000 {
		t.Fatalf("%d bytes passed", n)
	}
	w.pass(macA, 60_000, 0)
	w.until("it has run to its end", func() bool { return !w.device(macA).Connected })
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNoSession)
	w.registers(p)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	if v := a.now(); v.DataCons < 0.2985 || v.DataCons > 0.3 {
		t.Errorf("%+v", v)
	}
}

// TestARestoredBackupBillsNothingTwice: what was not delivered when the backup
// was made has been since.
func TestARestoredBackupBillsNothingTwice(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	p.exact = true
	a := p.sells("a", dataPlan(1))
	w.registers(p)
	w.connect(d.ID)
	w.until("the source has the start", func() bool { return a.now().StartedAt != nil && w.clean() })
	p.change(func() { a.loading = func(context.Context, *SessionData) error { return errTest } })
	w.pass(macA, 100_000, 0)
	w.disconnect(d.ID)
	var backup bytes.Buffer
	if err := w.m.Backup(bg(), &backup); err != nil {
		t.Fatal(err)
	}
	p.change(func() { a.loading = nil })
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	if err := w.m.Restore(bg(), &backup); err != nil {
		t.Fatal(err)
	}
	w.until("it is settled", func() bool { w.due(); return w.delivered() })
	if v := a.now(); v.DataCons != 0.1 {
		t.Fatalf("after the restore the source holds %v MB, want 0.1", v.DataCons)
	}
	w.connect(d.ID)
	w.pass(macA, 50_000, 0)
	w.disconnect(d.ID)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	if v := a.now(); v.DataCons != 0.15 {
		t.Errorf("the source holds %v MB, want 0.15", v.DataCons)
	}
}

// The backup holds a Save of the start, whose end was not known then; what was used
// since was delivered by the one after it.
func TestARestoredLetterBillsNothingTwice(t *testing.T) {
	for _, exact := range []bool{true, false} {
		w := newWorld(t).boots().runs()
		d := w.add(macA, "10.10.0.2")
		p := newShop("acme")
		p.exact = exact
		a := p.sells("a", dataPlan(1))
		goOn := make(chan struct{})
		a.saved = func() error { <-goOn; return nil }
		w.registers(p)
		w.connect(d.ID)
		w.until("the source has the start", func() bool { return a.now().StartedAt != nil })
		w.pass(macA, 100_000, 0)
		w.disconnect(d.ID)
		var backup bytes.Buffer
		if err := w.m.Backup(bg(), &backup); err != nil {
			t.Fatal(err)
		}
		p.change(func() { a.saved = nil })
		close(goOn)
		w.until("it is delivered", func() bool { w.due(); return w.delivered() })
		if err := w.m.Restore(bg(), &backup); err != nil {
			t.Fatal(err)
		}
		w.until("it is settled", func() bool { w.due(); return w.delivered() })
		if v := a.now(); v.DataCons != 0.1 {
			t.Errorf("exact %v: the source holds %v MB, want 0.1", exact, v.DataCons)
		}
	}
}
