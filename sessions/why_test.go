package sessions

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func (w *world) standing(key string) Standing {
	w.t.Helper()
	v, err := w.m.Standing(bg(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func TestStandingOfWhoIsUnknown(t *testing.T) {
	w := newWorld(t).boots().runs()
	for _, r := range []struct {
		name, key, mac, ip string
		err                error
	}{
		{"a MAC", macA, macA, "", nil},
		{"an address", "10.10.0.9", "", "10.10.0.9", nil},
		{"an id", "99", "", "", nil},
		{"a name", "kitchen", "", "", ErrNoDevice},
		{"a group MAC", "01:00:5e:00:00:01", "", "", ErrBadDevice},
		{"an address outside", "192.168.1.1", "", "", ErrBadDevice},
		{"the gateway's address", "10.10.0.1", "", "", ErrBadDevice},
	} {
		v, err := w.m.Standing(bg(), r.key)
		w.wants(err, r.err)
		if err == nil && (v.Device != nil || v.Slot != 0 || v.MAC != r.mac || v.IP != r.ip || v.Now.IsZero()) {
			t.Errorf("%s: %+v", r.name, v)
		}
	}
}

// A device's standing through its life.
func TestStanding(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	v := w.standing(macA)
	if v.Device == nil || v.Device.ID != d.ID || v.Slot == 0 || v.Address != "10.10.0.2" || v.Next != nil || v.Last != nil || v.Passing != nil || v.Unknown != nil {
		t.Errorf("of one that bought nothing: %+v", v)
	}
	one := w.create(d.ID, dataPlan(0.001))
	if v = w.standing("10.10.0.2"); v.Next == nil || v.Next.ID != one.ID || v.Passing != nil {
		t.Errorf("of one that never connected: %+v", v)
	}
	w.connect(d.ID)
	w.until("it is acknowledged", func() bool { return w.standing(macA).Acked })
	if v = w.standing(macA); v.Passing == nil || v.Passing.Session.ID != one.ID || v.Passing.Down != 625_000 || v.Passing.Up != 375_000 || v.Passing.Started.IsZero() {
		t.Errorf("of a connected one: %+v", v.Passing)
	}
	w.pass(macA, 500, 0)
	if v = w.standing(macA); v.Passing.Use.Up != 500 || v.Sent.IsZero() {
		t.Errorf("of one that sent: %+v", v.Passing)
	}
	w.disconnect(d.ID)
	if v = w.standing(macA); v.Passing != nil || v.Next == nil || v.Next.StartedAt == nil || v.Ended.IsZero() {
		t.Errorf("of a disconnected one: %+v", v)
	}
	w.connect(d.ID)
	w.pass(macA, 1500, 0)
	w.until("it is used up", func() bool { return w.session(one.ID).State == Consumed })
	if v = w.standing(macA); v.Passing != nil || v.Next != nil || v.Last == nil || v.Last.ID != one.ID {
		t.Errorf("of one that used all up: %+v", v)
	}
	more := w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	if _, err := w.m.PauseDevice(bg(), d.ID, ""); err != nil {
		t.Fatal(err)
	}
	if v = w.standing(macA); v.Device.Session == nil || v.Device.Session.ID != more.ID || v.Device.Session.State != Paused || v.Passing != nil {
		t.Errorf("of a paused one: %+v", v)
	}
	if err := w.m.Delete(bg(), more.ID); err != nil {
		t.Fatal(err)
	}
	days := uint(1)
	two := w.create(d.ID, Plan{Type: TypeTime, TimeSecs: 60, ExpDays: &days, UseGlobalSpeed: true})
	w.connect(d.ID)
	w.disconnect(d.ID)
	w.advance(49 * time.Hour)
	if v = w.standing(macA); v.Next != nil || v.Last == nil || v.Last.ID != two.ID || v.Last.State != Expired {
		t.Errorf("of an expired one: %+v, last %+v", v, v.Last)
	}
}

func TestStandingAgainstTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	w.fake.answers[hwA] = true
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(60))
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip2})
	w.until("its address is refused", func() bool { return w.standing(macB).Refused == "10.10.0.2" })
	if v := w.standing(macB); v.Holder != macA || v.Address != "" || v.RefusedAt.IsZero() || v.Contested != "" {
		t.Errorf("of one that wants another one's address: %+v", v)
	}
	if v := w.standing(macA); v.Refused != "" || v.Address != "10.10.0.2" {
		t.Errorf("of one whose address another one wants: %+v", v)
	}

	i := w.slotOf(hwA)
	slot := w.table.Slot(i)
	w.table.Losses(i).Count(7, 3, w.boot())
	slot.Foreign.Store(ip3)
	slot.WaitedDown.Store(int64(w.boot()))
	if v := w.standing(macA); v.Losses[7].Packets != 3 || v.Losses[7].Last.After(v.Now) || v.Foreign != "10.10.0.3" || v.Waited[WaitedDown].IsZero() || !v.Waited[WaitedUp].IsZero() {
		t.Errorf("what the forwarder noted reads %+v", v)
	}
	slot.Served.Store(slot.Generation.Load() - 1)
	if v := w.standing(macA); v.Losses != nil || v.Foreign != "" {
		t.Errorf("what it noted of the client before is this one's: %+v", v)
	}

	w.fake.mu.Lock()
	w.fake.stalled = true
	w.fake.mu.Unlock()
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrForwarder)
	if v := w.standing(macA); v.Acked {
		t.Errorf("a forwarder that takes nothing in has acknowledged: %+v", v)
	}
}

func TestStandingWithoutTheStore(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	w.until("all is on disk", w.clean)
	w.kills()
	w.runs()
	if v := w.standing(macA); v.Passing == nil || v.Passing.Session.ID != s.ID {
		t.Errorf("of one that a new control took over: %+v", v)
	}
	w.away()
	if v := w.standing(macA); v.Passing == nil {
		t.Errorf("of a connected one: %+v", v)
	}
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip3})
	w.until("it is bound", func() bool { return w.fake.addressOf(hwB) == ip3 })
	w.until("nobody knows what it bought", func() bool {
		v, err := w.m.Standing(bg(), macB)
		return err == nil && v.Slot != 0 && v.Unknown != nil && v.Next == nil
	})
	w.back()
	w.until("it bought nothing", func() bool { v, err := w.m.Standing(bg(), macB); return err == nil && v.Unknown == nil })
	w.kills()

	w.boots().runs() // as after a power cut: it is admitted with its next packet
	if v := w.standing(macA); v.Passing != nil || v.Waits == "" {
		t.Errorf("of one that was connected before: %+v", v)
	}
}
