package sessions

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// When Disconnect returns, what was used is on disk, whatever else is to be written.
func TestWhatWasUsedIsOnDiskWhenDisconnectReturns(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	for n := uint64(1); n <= 20; n++ {
		w.connect(d.ID)
		w.pass(macA, 700, 300)
		w.disconnect(d.ID)
		stored, err := w.m.readStored(bg(), s.ID)
		if err != nil || stored.settled.up != n*700 || stored.settled.down != n*300 || stored.running {
			t.Fatalf("after %d times the disk has %+v, %v", n, stored, err)
		}
	}
}

// GetSession returns the session in use, running or paused, also when another one
// would be used before it.
func TestGetSessionReturnsTheOneInUse(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	used := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	other := w.create(d.ID, dataPlan(1))
	day, start := uint(1), epoch
	if _, err := w.m.update(bg(), other.ID, edit{setStarted: true, startedAt: &start, Change: Change{ExpDays: &day}}); err != nil {
		t.Fatal(err)
	}
	gets := func(when string, want int64) {
		t.Helper()
		s, err := w.m.API().GetSession(bg(), w.m.ClientDevice(d))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.(*handle).last.ID; got != want {
			t.Errorf("%s: session %d, want %d", when, got, want)
		}
	}
	gets("running", used.ID)
	w.pause(d.ID)
	gets("paused", used.ID)
	w.disconnect(d.ID)
	gets("disconnected: the one that expires first", other.ID)
}

// Who is paused counts as connected also when the store is away and nothing of it is
// in memory.
func TestThePausedAreConnectedWithoutTheStore(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.pause(d.ID)
	w.until("on disk", w.clean)
	w.kills()
	w.boots().runs()
	w.away()
	if on, err := w.m.API().IsConnected(w.m.ClientDevice(d)); !on || err != nil {
		t.Errorf("connected %v, %v", on, err)
	}
}

// A session expires ExpDays × 24 h after its start, and TimeSecs later if it has time:
// of a data session, what somebody wrote there does not count.
func TestWhenASessionExpires(t *testing.T) {
	day := uint(1)
	for kind, want := range map[Type]time.Duration{TypeTime: 25 * time.Hour, TypeData: 24 * time.Hour, TypeTimeOrData: 25 * time.Hour} {
		p := Plan{Type: kind, TimeSecs: 3600, DataMB: 1, ExpDays: &day, UseGlobalSpeed: true}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		s := newSession(1, 1, p, epoch)
		if at := s.expiresAt(); !at.IsZero() {
			t.Errorf("%v expires at %v before it has started", kind, at)
		}
		s.startedAt = epoch
		if at := s.expiresAt(); !at.Equal(epoch.Add(want)) {
			t.Errorf("%v expires at %v, want %v after its start", kind, at, want)
		}
		if s.isExpired(epoch.Add(want-1)) || !s.isExpired(epoch.Add(want)) {
			t.Errorf("%v does not expire at that moment", kind)
		}
		s.expDays = nil
		if at := s.expiresAt(); !at.IsZero() {
			t.Errorf("%v without days expires at %v", kind, at)
		}
	}
}

// Counts has those paused of all devices, also of who is not in memory.
func TestThePausedAreCountedOnce(t *testing.T) {
	w := newWorld(t).boots().runs()
	for _, mac := range []string{macA, macB} {
		d := w.add(mac, "")
		w.create(d.ID, dataPlan(1))
	}
	w.m.ClientDevice(w.device(macA)).Update(bg(), "", "10.10.0.2", "")
	w.m.ClientDevice(w.device(macB)).Update(bg(), "", "10.10.0.3", "")
	for id := range 2 {
		w.connect(int64(id + 1))
		w.pause(int64(id + 1))
	}
	w.until("on disk", w.clean)
	w.kills()
	w.boots().runs()
	for _, who := range []string{"nobody", macA, macB} {
		if who != "nobody" {
			w.device(who) // has it in memory
		}
		if n := w.m.Counts()[Paused]; n != 2 {
			t.Errorf("with %s in memory %d are paused, want 2", who, n)
		}
	}
}

// A pause that comes as the last session ends by itself finds nobody connected.
func TestAPauseOfWhatEndsAtThatMoment(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	w.until("on disk", w.clean)
	w.stalls(true)
	w.advance(70 * time.Second)
	paused := make(chan error)
	go func() {
		_, err := w.m.PauseDevice(bg(), d.ID, "")
		paused <- err
	}()
	w.until("it is under way", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		return w.m.byID[d.ID].paused != nil
	})
	w.stalls(false)
	w.wants(<-paused, ErrNotConnected)
	if v := w.session(s.ID); v.State != Consumed || w.device(macA).Connected {
		t.Errorf("%+v", v)
	}
}

// A session whose grant was revoked is not granted again before it is known what that
// one used.
func TestWhatIsNotSettledIsNotGrantedAgain(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(1))
	next := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.m.mu.Lock()
	dev := w.m.byID[d.ID]
	w.m.mu.Unlock()
	if err := dev.turn.take(bg()); err != nil {
		t.Fatal(err)
	}
	w.stalls(true)
	w.m.mu.Lock()
	w.m.revoke(dev, dev.next())
	w.m.changed(dev)
	w.m.fetch(dev)
	if n := dev.next(); n != nil {
		t.Errorf("session %d is granted twice", n.session.id)
	}
	w.m.mu.Unlock()
	w.m.finish(dev)
	w.stalls(false)
	w.until("it is next again", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		n := dev.next()
		return n != nil && n.session.id == next.ID
	})
}

// A device that was connected goes on with its next packet, however often the power
// fails before that comes.
func TestWhatGoesOnDoesSoAfterTwoPowerCuts(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	for range 2 {
		w.until("on disk", w.clean)
		w.kills()
		w.boots().runs()
		w.add(macA, "10.10.0.2")
		w.create(d.ID, dataPlan(1)) // whatever is looked at or written meanwhile
		if v := w.session(1); v.State != Available {
			t.Errorf("before its packet: %+v", v)
		}
	}
	w.see(clients.Sighting{Kind: clients.NoGrant, Slot: w.slotOf(hwA), MAC: hwA, IP: ip2})
	w.until("it goes on", func() bool { return w.pass(macA, 100, 0) == 100 })
}
