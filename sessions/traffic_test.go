package sessions

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

const someReason, otherReason = 7, 9

// traffic looks a second after it looked last, which f uses.
func (w *world) traffic(by TrafficOrder, f func()) Traffic {
	w.t.Helper()
	if w.m.looks.last.Load() == nil {
		if _, err := w.m.Traffic(bg(), by, 1); err != nil {
			w.t.Fatal(err)
		}
	}
	f()
	w.advance(time.Second)
	v, err := w.m.Traffic(bg(), by, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func newTrafficWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t).stands()
	w.opt.RateReasons = []int{someReason}
	return w.boots().runs()
}

// What passes between two looks is a rate, whoever came, went or went on to another
// session between them.
func TestTrafficIsWhatPassedBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	w := newTrafficWorld(t)
	w.table.Header().TotalDown.Store(12_500_000)
	a, b, c := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3"), w.add(macC, "10.10.0.4")
	w.create(a.ID, timePlan(600))
	w.create(b.ID, dataPlan(0.3))
	next := w.create(b.ID, Plan{Type: TypeTime, TimeSecs: 600, UseGlobalSpeed: true})
	w.create(c.ID, timePlan(600))
	w.connect(a.ID)
	w.connect(b.ID)
	w.pass(macA, 1_000_000, 1_000_000) // before the first look
	v := w.traffic(ByDown, func() {
		w.pass(macA, 12_500, 625_000)
		w.pass(macB, 0, 600_000) // half of it in the next session
		w.until("its next session runs", func() bool { return w.session(next.ID).State == Running })
		w.connect(c.ID)
		w.pass(macC, 0, 3000)
	})
	if v.OverMS != 1000 || v.Clients != (TrafficClients{Bound: 3, Connected: 3}) || len(v.Items) != 3 || !v.Now.Equal(w.m.clock.wall(w.boot())) {
		t.Fatalf("%+v", v)
	}
	for i, want := range []ClientTraffic{
		{DeviceID: a.ID, MAC: macA, IP: "10.10.0.2", Down: Flow{BitsPerSecond: 5_000_000, LimitBitsPerSecond: 5_000_000}, Up: Flow{BitsPerSecond: 100_000, LimitBitsPerSecond: 3_000_000}},
		{DeviceID: b.ID, MAC: macB, IP: "10.10.0.3", Down: Flow{BitsPerSecond: 4_800_000, LimitBitsPerSecond: 10_000_000}, Up: Flow{LimitBitsPerSecond: 5_000_000}},
		{DeviceID: c.ID, MAC: macC, IP: "10.10.0.4", Down: Flow{BitsPerSecond: 24_000, LimitBitsPerSecond: 5_000_000}, Up: Flow{LimitBitsPerSecond: 3_000_000}},
	} {
		got := v.Items[i]
		if got.Session.State != Running || got.Session.DeviceID != want.DeviceID {
			t.Errorf("%s has session %+v", got.MAC, got.Session)
		}
		if got.Session = (Session{}); got != want {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
	}
	if want := (Flow{BitsPerSecond: 9_824_000, LimitBitsPerSecond: 100_000_000}); v.Down != want {
		t.Errorf("all: %+v, want %+v", v.Down, want)
	}
	if v.Up.LimitBitsPerSecond != 0 {
		t.Errorf("all up: %+v, want no limit", v.Up)
	}

	if _, err := w.m.PauseDevice(bg(), a.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.disconnect(b.ID)
	v = w.traffic(ByDown, func() {})
	if v.Clients != (TrafficClients{Bound: 3, Connected: 1, Paused: 1}) || len(v.Items) != 2 || v.Items[0].Session.State != Paused || v.Items[0].Down.LimitBitsPerSecond != 5_000_000 {
		t.Errorf("with one paused and one gone: %+v", v)
	}
}

// What waits, is dropped or marked for the rate is told of each and of all.
func TestTrafficTellsOfShaping(t *testing.T) {
	t.Parallel()
	w := newTrafficWorld(t)
	a := w.add(macA, "10.10.0.2")
	w.create(a.ID, timePlan(600))
	w.connect(a.ID)
	mac, _ := parseMAC(macA)
	i := w.slotOf(mac)
	slot, losses := w.table.Slot(i), w.table.Losses(i)
	losses.Count(someReason, 5, w.boot())
	slot.Delay[downward].Store(int64(40 * time.Millisecond)) // of long ago
	pub := clients.NewPublisher(w.table.Worker(0))
	count := func(some, other uint64) {
		var c clients.Counters
		c.Drops[someReason], c.Drops[otherReason] = some, other
		pub.Publish(&c)
	}
	count(5, 100)
	quiet := w.traffic(ByDelay, func() {}).Items[0]
	if quiet.Drops != 5 || quiet.DropsPerSecond != 0 || quiet.Down.DelayMS != 0 {
		t.Errorf("of a quiet one: %+v", quiet)
	}
	v := w.traffic(ByDelay, func() {
		count(7, 103)
		losses.Count(someReason, 2, w.boot())
		losses.Count(otherReason, 3, w.boot())
		slot.Marked.Store(4)
		w.advance(time.Millisecond)
		slot.WaitedDown.Store(int64(w.boot()))
		slot.Delay[downward].Store(int64(12500 * time.Microsecond))
		slot.Waiting[upward].Store(3000)
		slot.Delay[upward].Store(int64(time.Millisecond))
		slot.Record(slot.Active.Load()).DownPackets.Store(400)
	})
	got := v.Items[0]
	if got.Drops != 7 || math.Abs(got.DropsPerSecond-2) > 0.01 || got.Marked != 4 || math.Abs(got.MarkedPerSecond-4) > 0.01 {
		t.Errorf("drops and marks: %+v", got)
	}
	if got.Down.DelayMS != 12.5 || got.Down.WaitingBytes != 0 || got.Down.PacketsPerSecond != 400 || got.Up.DelayMS != 1 || got.Up.WaitingBytes != 3000 {
		t.Errorf("what waits: %+v, %+v", got.Down, got.Up)
	}
	if math.Abs(v.DropsPerSecond-2) > 0.01 || math.Abs(v.OtherDropsPerSecond-3) > 0.01 || v.Down.DelayMS != 12.5 || v.Up.WaitingBytes != 3000 {
		t.Errorf("of all: %+v", v)
	}
	slot.Generation.Add(1) // of another client, whom the forwarder has not taken in
	if s := w.m.seeSlot(i); s.drops != 0 || s.marked != 0 {
		t.Errorf("another client is told of %+v", s)
	}
	if bytes, delay := w.m.waitsFor(i, upward, 0); bytes != 0 || delay != 0 {
		t.Errorf("of another client %d bytes wait, %v ms", bytes, delay)
	}
	slot.Generation.Add(^uint64(0))
}

func TestPassedSince(t *testing.T) {
	t.Parallel()
	table, err := clients.Format(make([]byte, clients.Size(clients.Shape{Slots: 2})), clients.Shape{Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	m, slot := &Manager{table: table}, table.Slot(1)
	for seq := uint64(5); seq <= 8; seq++ { // 500, 600, 700 and 800 bytes down
		g := slot.Record(seq)
		g.Taken.Store(seq)
		g.Down.Store(100 * seq)
		g.DownPackets.Store(seq)
	}
	for _, row := range []struct {
		name          string
		before        seenSlot
		now           uint64 // grant in use
		bytes, packet uint64
	}{
		{"in the same grant what came since", seenSlot{3, 8, [2]uint64{0, 300}, [2]uint64{0, 3}, 0, 0}, 8, 500, 5},
		{"in the next one, and the rest of the one before", seenSlot{3, 7, [2]uint64{0, 300}, [2]uint64{0, 3}, 0, 0}, 8, 1200, 12},
		{"in one after several, all of these", seenSlot{3, 5, [2]uint64{0, 500}, [2]uint64{0, 5}, 0, 0}, 8, 2100, 21},
		{"after more than there are records, what they have", seenSlot{3, 1, [2]uint64{0, 999}, [2]uint64{0, 9}, 0, 0}, 8, 2600, 26},
		{"after another client nothing of that one's grant", seenSlot{2, 7, [2]uint64{0, 300}, [2]uint64{0, 3}, 0, 0}, 8, 800, 8},
		{"another client before its first grant", seenSlot{2, 8, [2]uint64{0, 300}, [2]uint64{0, 3}, 0, 0}, 8, 0, 0},
		{"a counter that began anew", seenSlot{3, 8, [2]uint64{0, 900}, [2]uint64{0, 9}, 0, 0}, 8, 800, 8},
		{"a number that cannot be", seenSlot{3, 8, [2]uint64{}, [2]uint64{}, 0, 0}, math.MaxUint64, 0, 0},
	} {
		now := seenSlot{generation: 3, sequence: row.now}
		now.bytes, now.packets = passed(slot.Record(row.now).Use(row.now))
		bytes, packets := m.passedSince(1, &row.before, &now)
		if want := [2]uint64{0, row.bytes}; bytes != want || packets != [2]uint64{0, row.packet} {
			t.Errorf("%s: %v bytes in %v packets, want %d in %d", row.name, bytes, packets, row.bytes, row.packet)
		}
	}
}

// All who ask share a look for a moment; nobody waits but the first, and nothing is kept
// for who does not ask.
func TestLooksAreShared(t *testing.T) {
	t.Parallel()
	w := newTrafficWorld(t)
	began := time.Now()
	w.traffic(ByDown, func() {})
	if took := time.Since(began); took < lookFirst {
		t.Errorf("it was measured over %v", took)
	}
	first := w.m.looks.last.Load()
	w.advance(lookShared / 2)
	if v, err := w.m.Traffic(bg(), ByDown, 1); err != nil || w.m.looks.last.Load() != first {
		t.Errorf("a moment later: %+v, %v, and another look", v, err)
	}
	w.advance(lookShared)
	if _, err := w.m.Traffic(bg(), ByDown, 1); err != nil || w.m.looks.last.Load() == first {
		t.Errorf("later: %v, and no other look", err)
	}
	w.m.looks.turn <- struct{}{}
	ended, cancel := context.WithCancel(bg())
	cancel()
	if _, err := w.m.Traffic(ended, ByDown, 1); err == nil {
		t.Error("who has given up waits for another's look")
	}
	w.m.looks.turn.done()
	w.advance(lookOld + time.Second)
	w.until("it is forgotten", func() bool { return w.m.looks.last.Load() == nil })
	w.end()
	_, err := w.m.Traffic(bg(), ByDown, 1)
	w.wants(err, ErrStopped)
}

func TestTrafficOrders(t *testing.T) {
	t.Parallel()
	row := func(id int64, name string, ip uint32, down, up uint64, delay, drops float64, lost uint64, ends time.Duration) *trafficRow {
		return &trafficRow{id: id, name: name, ip: ip, ends: ends, down: Flow{BitsPerSecond: down, DelayMS: delay}, up: Flow{BitsPerSecond: up}, dropRate: drops, drops: lost}
	}
	rows := []*trafficRow{
		row(1, "", 9, 10, 3, 0, 0, 0, time.Hour),
		row(2, "", 8, 30, 2, 5, 0, 7, time.Minute),
		row(3, "Zoe", 7, 20, 1, 7, 1, 1, time.Second),
		row(4, "adam", 6, 20, 9, 0, 2, 2, math.MaxInt64),
	}
	for by, want := range map[TrafficOrder][]int64{
		ByDown: {2, 3, 4, 1}, ByUp: {4, 1, 2, 3}, ByDelay: {3, 2, 1, 4}, ByDrops: {4, 3, 2, 1}, ByRemaining: {3, 2, 1, 4}, ByName: {4, 3, 2, 1},
	} {
		sorted := slices.Clone(rows)
		slices.SortFunc(sorted, by.compare)
		var got []int64
		for _, r := range sorted {
			got = append(got, r.id)
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %s: %v, want %v", by, got, want)
		}
	}
}

func TestEndsIn(t *testing.T) {
	t.Parallel()
	none := uint(0)
	for _, row := range []struct {
		name     string
		plan     Plan
		down, up float64 // Mbit
		used     use
		want     time.Duration
	}{
		{"time", timePlan(60), 5, 3, use{time: 10 * time.Second}, 50 * time.Second},
		{"data at full speed both ways", dataPlan(10), 5, 3, use{up: 1e6, down: 1e6}, 8 * time.Second},
		{"data without a limit", dataPlan(125), 0, 3, use{}, time.Second},
		{"whichever is first", Plan{Type: TypeTimeOrData, TimeSecs: 60, DataMB: 10, DownMbits: 5, UpMbits: 3}, 5, 3, use{time: 55 * time.Second}, 5 * time.Second},
		{"at its throttle, without an expiry", slowed(dataPlan(10), 0), 5, 3, use{up: 1e7}, math.MaxInt64},
		{"its expiry", Plan{Type: TypeTime, TimeSecs: 60, ExpDays: &none, DownMbits: 5, UpMbits: 3}, 5, 3, use{}, 30 * time.Second},
	} {
		s := newSession(1, 1, row.plan, epoch)
		s.startedAt = epoch
		if got := s.endsIn(row.used, rate(int(row.down)), rate(int(row.up)), epoch.Add(30*time.Second)); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
