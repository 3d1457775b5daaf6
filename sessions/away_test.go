package sessions

import (
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestWithoutTheStore(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	e := w.add(macB, "10.10.0.3")
	s := w.create(d.ID, dataPlan(0.01))
	next := w.create(d.ID, dataPlan(1))
	other := w.create(e.ID, dataPlan(1))
	w.connect(d.ID)
	w.away()

	_, err := w.m.Create(bg(), d.ID, dataPlan(1))
	w.wants(err, ErrUnavailable)
	_, err = w.m.ConnectDevice(bg(), e.ID, "")
	w.wants(err, ErrUnavailable)
	more := 500.0
	_, err = w.m.Update(bg(), s.ID, Change{DataMB: &more})
	w.wants(err, ErrUnavailable)
	w.wants(w.m.Delete(bg(), next.ID), ErrUnavailable)
	if v := w.session(other.ID); v.State != Available || v.StartedAt != nil {
		t.Errorf("a refused connect left a trace: %+v", v)
	}
	if n := w.pass(macB, 100, 0); n != 0 {
		t.Error("a refused connect lets pass")
	}
	if n := w.pass(macA, 12000, 0); n != 12000 {
		t.Errorf("%d bytes passed, want 12000: chaining needs no disk", n)
	}
	w.until("the next one runs", func() bool { return w.session(next.ID).State == Running })
	if why := strings.Join(w.m.Degraded(), "; "); !strings.Contains(why, "store") {
		t.Errorf("degraded: %q", why)
	}
	_, err = w.m.DisconnectDevice(bg(), d.ID, "")
	w.wants(err, ErrUnavailable)
	if n := w.pass(macA, 100, 0); n != 0 {
		t.Error("passes after disconnect")
	}
	if w.device(macA).Connected {
		t.Error("connected after disconnect")
	}
	all, _, err := w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 1)
	if err != nil || len(all) != 1 || all[0].UpBytes != 10000 {
		t.Errorf("list from memory: %+v, %v", all, err)
	}

	w.back()
	w.until("all is on disk", func() bool { return len(w.m.Degraded()) == 0 && w.clean() })
	w.kills()
	w.boots().runs()
	first, second := w.session(s.ID), w.session(next.ID)
	if first.State != Consumed || first.UpBytes != 10000 || second.UpBytes != 2000 || second.State != Available || second.StartedAt == nil {
		t.Errorf("after it is back\n%+v\n%+v", first, second)
	}
	all, _, err = w.m.Sessions(bg(), Filter{}, "", 0)
	if err != nil || len(all) != 3 {
		t.Errorf("%d sessions, want 3: %v", len(all), err)
	}
}

// clean reports that nothing in memory is ahead of the disk, and that what ran before it
// was revoked has been settled.
func (w *world) clean() bool {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	for _, d := range w.m.slots {
		if d != nil && len(d.grants) > 0 && d.grants[0].revoked {
			return false
		}
	}
	w.m.books.mu.Lock()
	defer w.m.books.mu.Unlock()
	return len(w.m.dirty) == 0 && len(w.m.books.owed) == 0
}

func TestASaveInDoubtIsUndone(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	kept := w.create(d.ID, dataPlan(3))
	w.wants(w.inDoubt(func() error { _, err := w.m.ConnectDevice(bg(), d.ID, ""); return err }), ErrUnavailable)
	if v := w.session(s.ID); v.StartedAt != nil || v.State != Available {
		t.Errorf("%+v", v)
	}
	w.back()
	w.until("it is undone", w.clean)
	w.wants(w.inDoubt(func() error { _, err := w.m.Create(bg(), d.ID, dataPlan(2)); return err }), ErrUnavailable)
	w.back()
	w.until("it is undone", w.clean)
	w.wants(w.inDoubt(func() error { return w.m.Delete(bg(), kept.ID) }), ErrUnavailable)
	w.back()
	w.until("it is undone", w.clean)
	w.kills()
	w.boots().runs()
	all, _, err := w.m.Sessions(bg(), Filter{}, "", 0)
	if err != nil || len(all) != 2 || w.session(s.ID).StartedAt != nil || w.session(kept.ID).DataMB != 3 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWhatPassesBeforeARevocationIsTakenInIsBilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.fake.mu.Lock()
	w.fake.stalled = true
	w.fake.mu.Unlock()
	done := make(chan error)
	go func() {
		_, err := w.m.DisconnectDevice(bg(), d.ID, "")
		done <- err
	}()
	w.wants(<-done, ErrForwarder)
	w.table.Slot(w.slotOf(hwA)).Record(1).Up.Add(777) // it had read the slot before
	w.fake.mu.Lock()
	w.fake.stalled = false
	w.fake.mu.Unlock()
	w.until("it is settled", func() bool {
		v := w.session(s.ID)
		return v.UpBytes == 777 && v.State == Available && w.clean()
	})
	w.kills()
	w.boots().runs()
	if v := w.session(s.ID); v.UpBytes != 777 {
		t.Errorf("%+v", v)
	}
}

func TestControlStartsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(0.01))
	w.connect(d.ID)
	w.pass(macA, 3000, 0)
	w.kills()

	opt := w.opt
	opt.Table, opt.Store = w.table, w.client // closed
	m := New(opt)
	if v, err := m.Device(bg(), "10.10.0.2"); err != nil || v.ID != d.ID || !v.Connected {
		t.Errorf("from the table alone: %+v, %v", v, err)
	}
	_, err := m.Create(bg(), d.ID, dataPlan(1))
	w.wants(err, ErrUnavailable)
	w.pass(macA, 1500, 0)
	w.runs()
	if v := w.session(s.ID); v.UpBytes != 4500 || v.State != Running {
		t.Errorf("%+v", v)
	}
}

func TestForwarderThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.fake.mu.Lock()
	w.fake.stalled = true
	w.fake.mu.Unlock()
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrForwarder)
	w.table.Header().Alive.Store(0)
	w.until("the attempt is forgotten", func() bool { _, err = w.m.ConnectDevice(bg(), d.ID, ""); return err == nil })
	w.table.Header().Alive.Store(2)
	w.fake.mu.Lock()
	w.fake.stalled = false
	w.fake.mu.Unlock()
	w.until("the next forwarder lets it pass", func() bool { return w.pass(macA, 100, 0) == 100 })
	if v := w.session(s.ID); v.UpBytes != 100 || v.State != Running {
		t.Errorf("%+v", v)
	}
}

func TestClockThatIsNotTrusted(t *testing.T) {
	w := newWorld(t).boots().runs()
	days := uint(1)
	p := dataPlan(1)
	p.ExpDays = &days
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, p)
	w.connect(d.ID)
	before := w.session(s.ID)
	w.kills()
	w.stepClock(-56 * 365 * 24 * time.Hour) // no clock chip
	w.boots().runs()
	if why := strings.Join(w.m.Degraded(), "; "); !strings.Contains(why, "set the clock") {
		t.Errorf("degraded: %q", why)
	}
	if v := w.session(s.ID); v.State != Available || !v.StartedAt.Equal(*before.StartedAt) {
		t.Errorf("with the clock in 1970: %+v", v)
	}
	n := w.create(d.ID, p)
	if n.CreatedAt.Before(before.CreatedAt) {
		t.Errorf("created at %v, before %v", n.CreatedAt, before.CreatedAt)
	}
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("it is admitted again", func() bool { return w.device(macA).Connected })
	w.disconnect(d.ID)
	if err := w.m.Delete(bg(), s.ID); err != nil {
		t.Fatal(err)
	}
	w.connect(d.ID) // starts by the wrong clock
	w.advance(time.Hour)
	w.stepClock(56*365*24*time.Hour + 100*24*time.Hour) // set, after 100 days off
	w.until("the clock is trusted", func() bool { return len(w.m.Degraded()) == 0 })
	v := w.session(n.ID)
	if v.State != Running || v.StartedAt.Sub(w.now()) > -time.Hour || v.StartedAt.Sub(w.now()) < -61*time.Minute {
		t.Errorf("started %v by the clock that was set, at %v", v.StartedAt, w.now())
	}
	w.disconnect(d.ID)
	if v := w.session(n.ID); v.State != Available {
		t.Errorf("expired by the step: %+v", v)
	}
}
