package sessions

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestChainingLosesNoPacket(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	var ids []int64
	for range 6 {
		ids = append(ids, w.create(d.ID, dataPlan(0.01)).ID)
	}
	dev := w.m.ClientDevice(d)
	gone := dev.Subscribe(SessionDisconnected)
	consumed := dev.Subscribe(SessionConsumed)
	w.connect(d.ID)
	for i := range ids { // over each end, with time for control to fetch the next
		if n := w.pass(macA, 9000, 0); n != 9000 {
			t.Fatalf("session %d: %d bytes passed, want 9000", i, n)
		}
		w.until("the next one is with the forwarder", func() bool {
			w.m.mu.Lock()
			defer w.m.mu.Unlock()
			s := w.table.Slot(w.m.byID[d.ID].slot)
			next := s.Active.Load() + 1
			return s.Record(next).Taken.Load() == next || i == 5
		})
	}
	if len(gone) != 0 {
		t.Errorf("disconnected in between: %s", <-gone)
	}
	total := uint64(0)
	for _, id := range ids {
		total += w.session(id).UpBytes
	}
	if total != 54000 {
		t.Errorf("%d bytes billed, want 54000", total)
	}
	w.pass(macA, 9000, 0)
	w.until("the device is disconnected", func() bool { return !w.device(macA).Connected })
	var m message
	if err := json.Unmarshal(<-gone, &m); err != nil || !strings.Contains(m.Message, "data is used up") {
		t.Errorf("message %+v, %v", m, err)
	}
	if len(consumed) != 6 {
		t.Errorf("%d sessions told consumed, want 6", len(consumed))
	}
}

func TestANewSessionIsNextWhileOneRuns(t *testing.T) {
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	first := w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	second := w.create(d.ID, timePlan(100))
	w.advance(90 * time.Second)
	w.until("the second runs", func() bool {
		v := w.session(second.ID)
		return v.State == Running && v.StartedAt != nil // its grant may be seen before its start
	})
	one, two := w.session(first.ID), w.session(second.ID)
	if one.State != Consumed || one.TimeCons != 60 || two.TimeCons != 30 {
		t.Errorf("\n%+v\n%+v", one, two)
	}
	if got := two.StartedAt.Sub(*one.StartedAt); got < 60*time.Second || got > 61*time.Second {
		t.Errorf("the second started %v after the first, want 60 s: when it took over", got)
	}
}

func TestDeletingWhatIsNextOrRuns(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	a := w.create(d.ID, dataPlan(0.01))
	b := w.create(d.ID, dataPlan(1))
	c := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	if err := w.m.Delete(bg(), b.ID); err != nil {
		t.Fatal(err)
	}
	w.pass(macA, 12000, 0)
	if v := w.session(c.ID); v.UpBytes != 2000 {
		t.Errorf("the one after the deleted: %+v", v)
	}
	if err := w.m.Delete(bg(), c.ID); err != nil {
		t.Fatal(err)
	}
	if n := w.pass(macA, 1500, 0); n != 0 {
		t.Errorf("%d bytes passed on a deleted session", n)
	}
	w.until("the device is disconnected", func() bool { return !w.device(macA).Connected })
	if v := w.session(a.ID); v.State != Consumed {
		t.Errorf("%+v", v)
	}
	_, err := w.m.Session(bg(), c.ID)
	w.wants(err, ErrUnknownSession)
}

func TestNextIsChangedMoreOftenThanThereAreRecords(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(0.015))
	w.connect(d.ID)
	for range 8 {
		s := w.create(d.ID, dataPlan(1))
		if err := w.m.Delete(bg(), s.ID); err != nil {
			t.Fatal(err)
		}
	}
	last := w.create(d.ID, dataPlan(1))
	w.pass(macA, 15000, 0)
	w.pass(macA, 1500, 0)
	w.until("the last one passes", func() bool { return w.pass(macA, 100, 0) == 100 })
	if v := w.session(last.ID); v.State != Running {
		t.Errorf("%+v", v)
	}
}

func TestUpdateOfARunningSession(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(0.01))
	w.connect(d.ID)
	w.pass(macA, 3000, 0)
	w.disconnect(d.ID)
	w.connect(d.ID)
	w.pass(macA, 3000, 0)
	more, speed := 0.02, 7
	v, err := w.m.Update(bg(), s.ID, Change{DataMB: &more, DownMbits: &speed})
	if err != nil || v.RemainingData != 0.014 || v.DownMbits != 7 || v.UpMbits != 3 {
		t.Errorf("%+v, %v", v, err)
	}
	g := w.grant(macA)
	if g.ByteLimit.Load() != 17000 || g.RateDown.Load() != 875_000 || g.RateUp.Load() != 375_000 {
		t.Errorf("grant: limit %d, down %d, up %d", g.ByteLimit.Load(), g.RateDown.Load(), g.RateUp.Load())
	}
	if n := w.pass(macA, 30000, 0); n != 13500 {
		t.Errorf("%d bytes passed, want 13500", n)
	}
	w.until("the device is disconnected", func() bool { return !w.device(macA).Connected })
	more = 0.03 // a consumed one is available again
	if v, err = w.m.Update(bg(), s.ID, Change{DataMB: &more}); err != nil || v.State != Available || v.RemainingData != 0.0105 {
		t.Errorf("%+v, %v", v, err)
	}
	bad := -1.0
	_, err = w.m.Update(bg(), s.ID, Change{DataMB: &bad})
	w.wants(err, ErrBadPlan)
}

func TestHandleIsLive(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, Plan{Type: TypeTimeOrData, DataMB: 1, TimeSecs: 100, DownMbits: 1, UpMbits: 1})
	w.connect(d.ID)
	h, ok := w.m.API().CurrSession(w.m.ClientDevice(d))
	if !ok {
		t.Fatal("no current session")
	}
	if n := w.pass(macA, 1000, 0); n != 1000 {
		t.Errorf("%d bytes passed, want 1000", n)
	}
	h.IncDataCons(0.5)
	if got := h.DataConsumption(); got != 0.501 {
		t.Errorf("with its own edit: %v MB", got)
	}
	w.pass(macA, 1000, 0)
	if got := h.RemainingData(); got != 0.498 {
		t.Errorf("live: %v MB remain", got)
	}
	other, err := w.m.API().GetSession(bg(), w.m.ClientDevice(d))
	if err != nil || other.DataConsumption() != 0.002 {
		t.Errorf("another handle sees an unsaved edit: %v, %v", other.DataConsumption(), err)
	}
	other.SetTimeSecs(500)
	if err := other.Save(bg()); err != nil {
		t.Fatal(err)
	}
	if err := h.Save(bg()); err != nil {
		t.Fatal(err)
	}
	if h.TimeSecs() != 500 || h.DataConsumption() != 0.502 {
		t.Errorf("after both were saved: %d s, %v MB", h.TimeSecs(), h.DataConsumption())
	}
	if n := w.pass(macA, 600_000, 0); n != 498_000 {
		t.Errorf("%d bytes passed, want 498000: the running grant changed with the save", n)
	}
	h.SetDataMb(77)
	if err := h.Reload(bg()); err != nil || h.DataMb() != 1 {
		t.Errorf("after reload: %v MB, %v", h.DataMb(), err)
	}
}

func TestExpiryKeepsRunningWhilePaused(t *testing.T) {
	w := newWorld(t).boots().runs()
	days := uint(1)
	d := w.add(macA, "10.10.0.2")
	p := dataPlan(1)
	p.ExpDays = &days
	s := w.create(d.ID, p)
	w.advance(48 * time.Hour)
	if v := w.session(s.ID); v.State != Available || v.ExpiresAt != nil {
		t.Errorf("not started: %+v", v)
	}
	w.connect(d.ID)
	w.advance(12 * time.Hour)
	w.stepClock(50 * 365 * 24 * time.Hour)
	if v := w.session(s.ID); v.State != Running {
		t.Errorf("after a step of the wall clock: %+v", v)
	}
	w.disconnect(d.ID)
	if v := w.session(s.ID); v.State != Available {
		t.Errorf("paused after a step: %+v", v)
	}
	w.connect(d.ID)
	w.advance(13 * time.Hour)
	w.until("the device is disconnected", func() bool { return !w.device(macA).Connected })
	w.stepClock(-100 * 365 * 24 * time.Hour)
	if v := w.session(s.ID); v.State != Expired || v.RemainingData != 1 {
		t.Errorf("expired: %+v", v)
	}
	w.kills()
	w.runs()
	if v := w.session(s.ID); v.State != Expired || w.now().After(*v.ExpiresAt) {
		t.Errorf("expired, after a restart: %+v", v)
	}
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNoSession)
}

func TestNextDataGrantExpiresDaysAfterItsStart(t *testing.T) {
	w := newWorld(t).boots().runs()
	days := uint(1)
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(60))
	p := dataPlan(1)
	p.ExpDays = &days
	s := w.create(d.ID, p)
	w.connect(d.ID)
	w.advance(23 * time.Hour)
	w.until("the second runs", func() bool { return w.session(s.ID).State == Running })
	w.advance(50 * time.Minute)
	if !w.device(macA).Connected {
		t.Error("expired before its day was over")
	}
	w.advance(12 * time.Minute)
	w.until("it expires", func() bool { return w.session(s.ID).State == Expired })
}

// grant returns the running grant of the device with that MAC.
func (w *world) grant(mac string) *clients.Grant {
	hw, _ := parseMAC(mac)
	w.fake.mu.Lock()
	defer w.fake.mu.Unlock()
	for i, m := range w.fake.macs {
		if m == hw {
			return w.fake.active(w.table.Slot(i))
		}
	}
	return nil
}

func TestTheGlobalSpeedGoesBeforeItsOwn(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, Plan{Type: TypeTime, TimeSecs: 60, DownMbits: 5, UpMbits: 3, UseGlobalSpeed: true})
	w.connect(d.ID)
	if g := w.grant(macA); g.RateDown.Load() != 1_250_000 || g.RateUp.Load() != 625_000 {
		t.Errorf("down %d, up %d bytes a second, want the configured pair", g.RateDown.Load(), g.RateUp.Load())
	}
}

// Each session has its own speed from the packet on at which it takes over; a
// global speed of 0 is none.
func TestChainingTakesTheNextSpeed(t *testing.T) {
	w := newWorld(t)
	w.opt.GlobalUp = 0
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	var ids []int64
	for _, p := range []Plan{
		{Type: TypeData, DataMB: 0.01, DownMbits: 5, UpMbits: 3},
		{Type: TypeData, DataMB: 0.01, DownMbits: 8, UpMbits: 2},
		{Type: TypeData, DataMB: 0.01, DownMbits: 1, UpMbits: 1, UseGlobalSpeed: true},
	} {
		ids = append(ids, w.create(d.ID, p).ID)
	}
	w.connect(d.ID)
	for i, want := range [][2]int64{{625_000, 375_000}, {1_000_000, 250_000}, {1_250_000, 0}} {
		for g := w.grant(macA); g.Session.Load() != uint64(ids[i]); g = w.grant(macA) {
			if n := w.pass(macA, 500, 0); n != 500 {
				t.Fatalf("session %d: %d bytes passed, want 500", i+1, n)
			}
		}
		if g := w.grant(macA); int64(g.RateDown.Load()) != want[0] || int64(g.RateUp.Load()) != want[1] {
			t.Errorf("session %d: down %d, up %d bytes a second, want %d", i+1, g.RateDown.Load(), g.RateUp.Load(), want)
		}
		w.until("the one after it is with the forwarder", func() bool {
			w.m.mu.Lock()
			defer w.m.mu.Unlock()
			s := w.table.Slot(w.m.byID[d.ID].slot)
			next := s.Active.Load() + 1
			return s.Record(next).Taken.Load() == next || i == 2
		})
	}
}

func TestTimeOrDataEndsAtWhicheverIsUsedUpFirst(t *testing.T) {
	for _, row := range []struct {
		name    string
		after   time.Duration
		bytes   uint64
		message string
	}{
		{"the time", 100 * time.Second, 1500, "the time is used up"},
		{"the data", 10 * time.Second, 30_000, "the data is used up"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, Plan{Type: TypeTimeOrData, TimeSecs: 100, DataMB: 0.03, DownMbits: 5, UpMbits: 3})
			gone := w.m.ClientDevice(d).Subscribe(SessionDisconnected)
			w.connect(d.ID)
			if n := w.pass(macA, row.bytes, 0); n != row.bytes {
				t.Errorf("%d bytes passed, want %d", n, row.bytes)
			}
			w.advance(row.after)
			if n := w.pass(macA, 1500, 0); n != 0 {
				t.Errorf("%d bytes passed after the end", n)
			}
			if said := string(<-gone); !strings.Contains(said, row.message) {
				t.Errorf("disconnected: %s", said)
			}
			if v := w.session(s.ID); v.State != Consumed || v.RemainingTime != 0 && v.RemainingData != 0 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// What is bought after the last session ended does not go on by itself, also if
// control has not heard of the end.
func TestBoughtAfterTheEnd(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(0.001))
	w.connect(d.ID)
	w.fake.mu.Lock()
	w.fake.wake = func() {}
	w.fake.mu.Unlock()
	if n := w.pass(macA, 2000, 0); n != 0 { // more than it has
		t.Fatalf("%d bytes passed", n)
	}
	bought := w.create(d.ID, dataPlan(1))
	if v := w.device(macA); v.Connected {
		t.Errorf("connected with %+v", v.Session)
	}
	if v := w.session(bought.ID); v.State != Available || v.StartedAt != nil {
		t.Errorf("what was bought is %+v", v)
	}
}

// A change of a session that is next, or could be, is a change of what is next when
// Update returns: a packet may use the running one up the moment after.
func TestAChangeDecidesWhatIsNext(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	for range 3 {
		w.create(d.ID, dataPlan(1))
	}
	w.connect(d.ID)
	next := func() int64 {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if g := w.m.byID[d.ID].next(); g != nil {
			return g.session.id
		}
		return 0
	}
	w.until("the second is next", func() bool { return next() == 2 })
	all, none := 1.0, 0.0
	for _, row := range []struct {
		session int64
		used    *float64
		next    int64
	}{{2, &all, 3}, {3, &all, 0}, {3, &none, 3}} {
		if _, err := w.m.Update(bg(), row.session, Change{DataCons: row.used}); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != row.next {
			t.Errorf("after session %d has %v MB consumed session %d is next, want %d", row.session, *row.used, got, row.next)
		}
	}
}
