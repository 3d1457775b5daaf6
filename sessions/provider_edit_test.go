package sessions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAHandleOfAProvidersSession(t *testing.T) {
	for _, sequences := range []bool{false, true} {
		w := newWorld(t).boots().runs()
		d := w.add(macA, "10.10.0.2")
		p := newShop("acme")
		p.exact = sequences
		a := p.sells("a", dataPlan(1))
		w.registers(p)
		w.connect(d.ID)
		w.pass(macA, 200_000, 0)
		s, ok := w.m.API().CurrSession(w.m.ClientDevice(d))
		if !ok {
			t.Fatal("no session runs")
		}
		days := uint(3)
		s.SetDataMb(2)
		s.SetDownMbits(9)
		s.SetExpDays(&days)
		s.IncDataCons(0.5)
		if s.DataMb() != 2 || s.RemainingData() != 1.3 {
			t.Errorf("before Save: %v MB, %v left", s.DataMb(), s.RemainingData())
		}
		if v := a.now(); v.DataMb != 1 || v.DownMbits != 5 {
			t.Errorf("the source was told before Save: %+v", v)
		}
		if err := s.Save(bg()); err != nil {
			t.Fatal(err)
		}
		if v := a.now(); v.DataMb != 2 || v.DownMbits != 9 || *v.ExpDays != 3 || v.DataCons != 0.7 || v.StartedAt == nil {
			t.Errorf("after Save the source holds %+v", v)
		}
		if v := w.device(macA).Session; v.DataMB != 2 || v.DownMbits != 9 || v.DataCons != 0.7 || v.UpBytes != 200_000 {
			t.Errorf("after Save %+v", v)
		}
		if n := w.pass(macA, 1_400_000, 0); n > 1_300_000 || n < 1_298_500 {
			t.Errorf("%d bytes passed of 1300000", n)
		}
		w.until("the source has the end", func() bool { w.due(); return a.now().DataCons > 1.998 && w.delivered() })

		p.change(func() { a.data.DataMb, a.data.DataCons = 3, 0.5 })
		if err := s.Reload(bg()); err != nil {
			t.Fatal(err)
		}
		if s.DataMb() != 3 || s.RemainingData() != 2.5 {
			t.Errorf("after Reload: %v MB, %v left", s.DataMb(), s.RemainingData())
		}
		heavy := 5
		if _, err := w.m.Update(bg(), w.idOf(s), Change{Weight: &heavy}); !errors.Is(err, ErrBadPlan) {
			t.Errorf("a weight that its provider cannot keep: %v", err)
		}
		s.SetDownMbits(-4)
		w.wants(s.Save(bg()), ErrBadPlan)
		if v := a.now(); v.DownMbits != 9 {
			t.Errorf("a bad speed reached the source: %+v", v)
		}
		_, err := w.m.Update(bg(), w.idOf(s), Change{TimeCons: new(uint)})
		if err != nil {
			t.Error(err)
		}
		w.wants(w.m.Delete(bg(), w.idOf(s)), ErrNotLocal)
		w.kills()
		w.runs() // the provider is not there any more
		if _, err := w.m.Update(bg(), w.idOf(s), Change{TimeCons: new(uint)}); err == nil || !strings.Contains(err.Error(), "registered") {
			t.Errorf("changed without its provider: %v", err)
		}
		if err := w.m.Delete(bg(), w.idOf(s)); err != nil {
			t.Error(err)
		}
	}
}

func (w *world) idOf(s ClientSession) int64 { return s.(*handle).read().ID }

// TestASaveThatFails leaves the source as it was, or is found to have arrived.
func TestASaveThatFails(t *testing.T) {
	w, _, p, a, s := sold(t)
	p.change(func() { a.saving = func(context.Context, *SessionData) error { return errTest } })
	s.IncDataCons(0.25)
	err := s.Save(bg())
	w.wants(err, ErrProvider)
	w.wants(err, errTest)
	if v := a.now(); v.DataCons != 0 {
		t.Errorf("%+v", v)
	}
	p.change(func() { a.saving, a.saved = nil, func() error { return errTest } })
	if err := s.Save(bg()); err != nil {
		t.Errorf("it has arrived: %v", err)
	}
	p.change(func() { a.saved = nil })
	if err := s.Save(bg()); err != nil { // nothing more to save
		t.Error(err)
	}
	if v := a.now(); v.DataCons != 0.25 || s.DataConsumption() != 0.25 {
		t.Errorf("%+v, here %v", v, s.DataConsumption())
	}
}

// TestOneVoucherOnTwoDevices: each device has its shadow, and the source gets
// what both used.
func TestOneVoucherOnTwoDevices(t *testing.T) {
	w := newWorld(t).boots().runs()
	d, e := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3")
	p := newShop("acme")
	a := p.sells("a", dataPlan(1))
	p.change(func() { // so slow that they would meet
		a.loading = func(context.Context, *SessionData) error { time.Sleep(5 * time.Millisecond); return nil }
		a.saving = func(context.Context, *SessionData) error { time.Sleep(5 * time.Millisecond); return nil }
	})
	w.registers(p)
	w.connect(d.ID)
	w.connect(e.ID)
	for range 5 {
		w.pass(macA, 10_000, 0)
		w.pass(macB, 20_000, 0)
		w.due()
		time.Sleep(2 * time.Millisecond)
	}
	w.disconnect(d.ID)
	w.disconnect(e.ID)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	if v := a.now(); v.DataCons != 0.15 {
		t.Errorf("the source holds %v MB, want 0.15", v.DataCons)
	}
}

// TestASourceThatFlaps is away every other time, in ways that leave open
// whether a Save was taken.
func TestASourceThatFlaps(t *testing.T) {
	for _, sequences := range []bool{false, true} {
		w := newWorld(t).boots().runs()
		d := w.add(macA, "10.10.0.2")
		p := newShop("acme")
		p.exact = sequences
		a := p.sells("a", dataPlan(1))
		w.registers(p)
		calls := 0
		flap := func() (err error) {
			p.change(func() {
				if calls++; calls%3 == 1 {
					err = errTest
				}
			})
			return err
		}
		p.change(func() {
			p.asking = func(context.Context) error { return flap() }
			a.loading = func(context.Context, *SessionData) error { return flap() }
			a.saving = func(context.Context, *SessionData) error { return flap() }
			a.saved = flap
		})
		used := 0.0
		for range 5 {
			w.until("it is connected", func() bool { _, err := w.m.ConnectDevice(bg(), d.ID, ""); return err == nil })
			w.pass(macA, 20_000, 0)
			used += 0.02
			w.due()
			w.disconnect(d.ID)
		}
		w.until("it is delivered", func() bool { w.due(); return w.delivered() })
		if v := a.now(); v.DataCons != 0.1 {
			t.Errorf("sequences %v: the source holds %v MB, want 0.1", sequences, v.DataCons)
		}
	}
}

// TestAProviderCallsTheGateway from inside its own calls.
func TestAProviderCallsTheGateway(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	p.sells("a", dataPlan(1))
	c := w.m.ClientDevice(d)
	api := w.m.API()
	p.asking = func(ctx context.Context) error {
		if _, err := api.IsConnected(c); err != nil {
			return err
		}
		api.CurrSession(c)
		return api.CreateSession(ctx, c.Id(), 1, 0, 1, nil, 5, 3, false)
	}
	w.registers(p)
	if s, err := w.gets(d); err != nil || s.Provider() != "acme" {
		t.Errorf("%v %v", s, err)
	}
	all, _, err := w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 0)
	if err != nil || len(all) != 2 {
		t.Errorf("%d sessions, %v", len(all), err)
	}
}

// TestKeysThatAlwaysChange do not fill the store.
func TestKeysThatAlwaysChange(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(1))
	n := 0
	p.get = func() (SessionSource, bool) {
		n++
		v := *a
		v.id = strings.Repeat("x", n) + "\xff"
		return v.source(), true
	}
	w.registers(p)
	for range 3 * maxUnused {
		if _, err := w.gets(d); err != nil {
			t.Fatal(err)
		}
	}
	all, _, err := w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 0)
	if err != nil || len(all) != maxUnused {
		t.Errorf("%d sessions, %v", len(all), err)
	}
}

// TestASourceThatSaysItSavedNothing: somebody else changed the session between
// Reload and Save. Both changes are kept.
func TestASourceThatSaysItSavedNothing(t *testing.T) {
	for _, sequences := range []bool{false, true} {
		w := newWorld(t).boots().runs()
		d := w.add(macA, "10.10.0.2")
		p := newShop("acme")
		p.exact = sequences
		a := p.sells("a", dataPlan(1))
		w.registers(p)
		w.connect(d.ID)
		w.until("the source has the start", func() bool { return a.now().StartedAt != nil && w.clean() })
		p.change(func() {
			a.saving = func(context.Context, *SessionData) (err error) {
				p.change(func() {
					a.saving = nil
					a.data.DataCons, a.data.DataMb = 0.05, 2 // another gateway, and a top-up
				})
				return fmt.Errorf("version: %w", ErrNotSaved)
			}
		})
		w.pass(macA, 100_000, 0)
		w.disconnect(d.ID)
		w.until("it is delivered", w.delivered)
		if v := a.now(); v.DataCons != 0.15 || v.DataMb != 2 {
			t.Errorf("sequences %v: the source holds %v MB of %v, want 0.15 of 2", sequences, v.DataCons, v.DataMb)
		}
	}
}

// TestAnAnswerThatIsOvertaken was read at the source before a Save and arrives
// after it: it does not give back what was used.
func TestAnAnswerThatIsOvertaken(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(1))
	w.registers(p)
	w.connect(d.ID)
	w.pass(macA, 300_000, 0)
	s, _ := w.m.API().CurrSession(w.m.ClientDevice(d))
	var old SessionSource
	p.change(func() { old = a.source() })
	asked, answer := make(chan struct{}), make(chan struct{})
	p.change(func() {
		p.asking = func(context.Context) error { close(asked); <-answer; return nil }
		p.get = func() (SessionSource, bool) { return old, true }
	})
	q := w.m.inquire(question{by: w.m.providers()[0], device: d.ID})
	<-asked
	w.disconnect(d.ID)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	close(answer)
	<-q.done
	if s.DataConsumption() != 0.3 || s.RemainingData() != 0.7 {
		t.Errorf("%v MB consumed, %v left, want 0.3 and 0.7", s.DataConsumption(), s.RemainingData())
	}
}

// TestTheNextOneIsLookedForAheadOfTheEnd: what is bought at the provider while
// the last minute of a session runs goes on after it.
func TestTheNextOneIsLookedForAheadOfTheEnd(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	p.sells("a", timePlan(600))
	w.registers(p)
	w.connect(d.ID)
	lists := func() (n int) { p.change(func() { n = p.lists }); return n }
	w.until("it was asked what comes next", func() bool { return lists() == 1 && w.m.quiet() })
	p.sells("b", timePlan(600))
	w.advance(500 * time.Second)
	w.m.Wake()
	w.until("the source has been read in between", func() bool { return w.m.quiet() })
	if n := lists(); n != 1 {
		t.Errorf("asked %d times with 100 s left, want once", n)
	}
	w.advance(45 * time.Second)
	w.m.Wake()
	w.until("the next one is with the forwarder", func() bool { return w.nextIs("acme") })
	w.advance(60 * time.Second)
	w.until("it runs", func() bool { s := w.device(macA).Session; return s != nil && s.TimeCons < 300 && s.StartedAt != nil })
}

// quiet reports that a round has been made since it was last asked for, and no
// provider is being asked.
func (m *Manager) quiet() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.bell) == 0 && len(m.desk.asking) == 0
}

// TestWhatTheSourceDoesNotHaveAnyMore can be deleted, and is said until then.
func TestWhatTheSourceDoesNotHaveAnyMore(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(1))
	w.registers(p)
	w.connect(d.ID)
	w.until("the source has the start", func() bool { return a.now().StartedAt != nil && w.clean() })
	id := w.device(macA).Session.ID
	p.change(func() { a.saving = func(context.Context, *SessionData) error { return errTest } })
	w.pass(macA, 100_000, 0)
	w.disconnect(d.ID)
	w.kills()
	w.runs()
	p.change(func() { p.wares, p.order = nil, nil })
	w.registers(p)
	w.until("it is said", func() bool {
		return strings.Contains(strings.Join(w.m.Degraded(), "; "), "does not have it any more")
	})
	if err := w.m.Delete(bg(), id); err != nil {
		t.Fatal(err)
	}
	w.until("nothing is left of it", func() bool { return len(w.m.Degraded()) == 0 && w.delivered() })
}

// A change that the source has taken, though its answer and the look after it
// failed, is found without anybody asking.
func TestAChangeInDoubtIsFound(t *testing.T) {
	w, d, p, a, s := sold(t)
	a.saved = func() error {
		p.change(func() { a.loading = func(context.Context, *SessionData) error { return errTest } })
		return errTest
	}
	s.SetDataMb(2)
	w.wants(s.Save(bg()), ErrProvider)
	p.change(func() { a.saved, a.loading = nil, nil })
	id := list(w, d)[0].ID
	w.until("it is found", func() bool { w.advance(100 * time.Millisecond); return w.session(id).DataMB == 2 })
}

// list returns the sessions of a device.
func list(w *world, d Device) []Session {
	w.t.Helper()
	all, _, err := w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 0)
	if err != nil || len(all) == 0 {
		w.t.Fatalf("%d sessions, %v", len(all), err)
	}
	return all
}
