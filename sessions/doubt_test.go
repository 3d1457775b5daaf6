package sessions

import (
	"net/netip"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestAConnectThatFailedStartsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	days := uint(1)
	p := dataPlan(1)
	p.ExpDays = &days
	s := w.create(d.ID, p)
	w.stalls(true)
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrForwarder)
	w.stalls(false)
	w.until("the attempt is forgotten", func() bool {
		v := w.session(s.ID)
		return v.StartedAt == nil && v.State == Available && !w.device(macA).Connected && w.clean()
	})
	w.kills()
	w.boots().runs()
	if v := w.session(s.ID); v.StartedAt != nil {
		t.Errorf("after a power cut: %+v", v)
	}
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("it has its address", func() bool { return w.fake.addressOf(hwA) == ip2 })
	w.connect(d.ID) // it was not connected again by itself
	if n := w.pass(macA, 1500, 0); n != 1500 {
		t.Errorf("%d bytes pass", n)
	}
}

func TestADeviceIsAdmittedAgainOnceTheForwarderAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.pass(macA, 1000, 0)
	if _, err := w.m.checkpoint(bg(), false); err != nil {
		t.Fatal(err)
	}
	w.kills()
	w.boots().runs()
	w.stalls(true)
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("it was tried", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		d := w.m.byID[d.ID]
		return d != nil && len(d.grants) > 0 && d.grants[0].revoked
	})
	w.stalls(false)
	w.until("it is admitted", func() bool { return w.pass(macA, 100, 0) == 100 })
	if v := w.session(s.ID); v.State != Running || v.UpBytes != 1100 {
		t.Errorf("%+v", v)
	}
}

// stalls has the forwarder take nothing in any more, or again.
func (w *world) stalls(on bool) {
	w.fake.mu.Lock()
	w.fake.stalled = on
	w.fake.mu.Unlock()
}

func TestTheNextOneIsReplacedWhenItExpires(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	days := uint(1)
	p := dataPlan(1)
	p.ExpDays = &days
	soon := w.create(d.ID, p)
	w.connect(d.ID)
	w.disconnect(d.ID) // started: it expires in a day
	start, long := epoch.Add(-time.Hour), uint(300)
	running := w.create(d.ID, dataPlan(1))
	if _, err := w.m.Update(bg(), soon.ID, Change{ExpDays: &long}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.update(bg(), running.ID, edit{setStarted: true, startedAt: &start, Change: Change{ExpDays: &days}}); err != nil {
		t.Fatal(err)
	}
	w.connect(d.ID)
	two := uint(2)
	if _, err := w.m.Update(bg(), running.ID, Change{NeverExpires: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.Update(bg(), soon.ID, Change{ExpDays: &two}); err != nil {
		t.Fatal(err)
	}
	last := w.create(d.ID, dataPlan(1))
	next := func() int64 {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if g := w.m.byID[d.ID].next(); g != nil {
			return g.session.id
		}
		return 0
	}
	if next() != soon.ID {
		t.Fatalf("session %d is next, want %d", next(), soon.ID)
	}
	w.advance(49 * time.Hour)
	w.m.Wake()
	w.until("the one after it is next", func() bool { return next() == last.ID })
	w.until("the forwarder has it", func() bool {
		s := w.table.Slot(w.slotOf(hwA))
		return s.Record(s.Published.Load()).Taken.Load() == s.Published.Load()
	})
	if n := w.pass(macA, 1_200_000, 0); n != 1_200_000 {
		t.Errorf("%d bytes pass, want 1200000: no packet is lost", n)
	}
}

func TestWhatHasToBeUndoneIsNotedWhileTheDiskStalls(t *testing.T) {
	w := newWorld(t).boots().runs()
	w.m.books.owing <- struct{}{} // somebody waits for the disk
	w.m.owe(remove(sessionKey(1, 7)))
	if w.clean() {
		t.Error("nothing is noted")
	}
	w.m.books.owing.done()
	w.until("it is undone", w.clean)
}

func TestAnAddressOutlivesItsSlot(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.m.mu.Lock()
	w.m.unbind(w.m.byID[d.ID])
	w.m.mu.Unlock()
	if err := w.m.ClientDevice(d).Update(bg(), "", "", "phone"); err != nil {
		t.Fatal(err)
	}
	w.kills()
	w.boots().runs()
	if v := w.device(macA); v.IP != "10.10.0.2" || v.Hostname != "phone" {
		t.Errorf("%+v", v)
	}
	w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	if w.fake.addressOf(hwA) != ip2 {
		t.Errorf("bound to %x", w.fake.addressOf(hwA))
	}
}

func TestNoIsNoErrorWithoutTheStore(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.kills()
	w.boots().runs() // it is on disk and not in memory
	w.away()
	on, err := w.m.API().IsConnected(w.m.ClientDevice(d))
	if on || err != nil {
		t.Errorf("connected %v, %v", on, err)
	}
}

func TestADeviceThatIsNobody(t *testing.T) {
	w := newWorld(t).boots().runs()
	c, err := w.m.DeviceAt(bg(), netip.MustParseAddr("10.10.0.77"))
	w.wants(err, ErrNoBinding)
	if c == nil {
		t.Fatal("a program that ignores the error holds nil")
	}
	if c.Id() != 0 || c.IpAddr() != "10.10.0.77" || c.MacAddr() != "" || c.Hostname() != "" {
		t.Errorf("%d %q %q %q", c.Id(), c.IpAddr(), c.MacAddr(), c.Hostname())
	}
	api := w.m.API()
	w.wants(api.Connect(bg(), c, ""), ErrNoDevice)
	w.wants(api.Disconnect(bg(), c, ""), ErrNoDevice)
	w.wants(api.CreateSession(bg(), c.Id(), 0, 60, 0, nil, 1, 1, false), ErrNoDevice)
	w.wants(c.Update(bg(), macA, "", ""), ErrNoDevice)
	if _, err := api.IsConnected(c); err == nil {
		t.Error("no error: is it connected?")
	}
	if _, ok := api.CurrSession(c); ok {
		t.Error("a session of nobody")
	}
	_, err = api.GetSession(bg(), c)
	w.wants(err, ErrNoDevice)
	c.Emit("x", 1)
	c.Unsubscribe("x", c.Subscribe("x"))
}
