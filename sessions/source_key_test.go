package sessions

import (
	"errors"
	"testing"
	"time"

	"gatewayd/limiter"
)

// What follows a running session is looked for while there is time: while 30 s, or 10 s
// of data at its rate, are left at least.
func TestTheEndIsNearInTime(t *testing.T) {
	none := uint(0)
	fast := func(mb float64) Plan { return Plan{Type: TypeData, DataMB: mb, DownMbits: 8, UpMbits: 8} }
	global := func(mb float64) Plan { return Plan{Type: TypeData, DataMB: mb, UseGlobalSpeed: true} }
	expiring := func(secs uint) Plan {
		return Plan{Type: TypeTime, TimeSecs: secs, ExpDays: &none, UseGlobalSpeed: true}
	}
	for _, row := range []struct {
		name      string
		near, far Plan          // of which all is left
		global    limiter.Rate  // each way
		started   time.Duration // ago; 0: not
	}{
		{"time", timePlan(30), timePlan(600), 0, 0},
		{"data at 8 Mbit/s each way", fast(20), fast(600), 0, 0},
		{"data at a global speed of 16 Mbit/s each way", global(40), global(1200), 2_000_000, 0},
		{"data without a limit of speed, at a gigabit", global(1250), global(40_000), 0, 0},
		{"its expiry", expiring(3600), expiring(7200), 0, time.Hour - 30*time.Second},
	} {
		m := &Manager{
			opt:   Options{GlobalDown: row.global, GlobalUp: row.global},
			clock: newClock(func() time.Time { return epoch }, func() time.Duration { return time.Hour }),
		}
		for near, p := range map[bool]Plan{true: row.near, false: row.far} {
			s := newSession(1, 1, p, epoch)
			if row.started != 0 {
				s.startedAt = epoch.Add(-row.started)
			}
			if got := m.endIsNear(nil, s); got != near {
				t.Errorf("%s: with %d s and %v MB its end is near: %v", row.name, p.TimeSecs, p.DataMB, got)
			}
		}
	}
}

func TestABackOffGrowsToHalfAMinute(t *testing.T) {
	want := []time.Duration{1, 2, 4, 8, 16, 30, 30}
	for fails, secs := range want {
		if got := backoff(fails); got != secs*time.Second {
			t.Errorf("after %d failures %v, want %d s", fails, got, secs)
		}
	}
	if got := backoff(1 << 30); got != 30*time.Second {
		t.Errorf("after very many failures %v", got)
	}
}

// A session that runs is read anew from its source within half a minute, though nobody
// asks.
func TestARunningSessionIsReadAnew(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", timePlan(36_000)) // its end is far
	w.registers(p)
	w.connect(d.ID)
	id := w.device(macA).Session.ID
	w.until("nothing is to be done at the source for now", func() bool {
		if a.now().StartedAt == nil || !w.m.quiet() {
			return false
		}
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		e := w.m.desk.errands[id]
		return !e.busy && e.due > w.m.opt.Boot()
	})
	p.change(func() { a.data.DownMbits = 7 })
	w.advance(30 * time.Second)
	w.until("the change is seen", func() bool { return w.device(macA).Session.DownMbits == 7 })
}

// bare is a source without an id of its own.
type bare struct{ SessionSource }

// The key of a session whose source has no id is when it was sold.
func TestASourceWithoutAnIDIsKnownByWhenItWasSold(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a, b := p.sells("a", dataPlan(1)), p.sells("b", dataPlan(1))
	sells := func(ware *ware) {
		p.change(func() { p.get = func() (SessionSource, bool) { return bare{ware.source()}, true } })
	}
	w.registers(p)
	ids := map[*ware]int64{}
	for range 2 {
		for _, ware := range []*ware{a, b} {
			sells(ware)
			s, err := w.gets(d)
			if err != nil || !s.CreatedAt().Equal(ware.data.CreatedAt) {
				t.Fatalf("%+v, %v", s, err)
			}
			if before := ids[ware]; before != 0 && before != w.idOf(s) {
				t.Errorf("it was session %d and is %d", before, w.idOf(s))
			}
			ids[ware] = w.idOf(s)
		}
	}
	if ids[a] == ids[b] {
		t.Error("two sessions are one")
	}
}

// Seconds that were counted here and told to the source count once, and those that a
// clerk adds there count too.
func TestSecondsAreMergedWithTheSource(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", timePlan(3600))
	w.registers(p)
	s, err := w.gets(d)
	if err != nil {
		t.Fatal(err)
	}
	used := uint(0)
	for _, clerk := range []uint{0, 10} {
		p.change(func() { a.data.TimeCons += clerk })
		w.connect(d.ID)
		w.advance(30 * time.Second)
		w.disconnect(d.ID)
		w.until("the source has all of it", func() bool { w.due(); return w.delivered() })
		if err := s.Reload(bg()); err != nil {
			t.Fatal(err)
		}
		used += 30 + clerk
		if here, there := s.TimeConsumption(), a.now().TimeCons; here != there || there < used || there > used+60 || s.RemainingTime() != 3600-here {
			t.Errorf("consumed %d s here and %d there, want %d; %d remain", here, there, used, s.RemainingTime())
		}
		used = a.now().TimeCons
	}
}

// A provider that failed is not asked again at once, whoever wants it.
func TestAProviderThatFailedIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.still, w.skip = true, time.Hour // back-off does not end by itself
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	p.asking = nil
	p.get = func() (SessionSource, bool) { panic("down") }
	w.registers(p)
	for n := range 5 {
		_, err := w.gets(d)
		if w.wants(err, ErrNoSession); !errors.Is(err, errPanic) {
			t.Errorf("time %d: %v does not say why", n, err)
		}
	}
	asked := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.gets
	}
	if n := asked(); n != 1 {
		t.Errorf("it was asked %d times within its back-off", n)
	}
	w.advance(firstBackoff)
	w.until("it is asked again, once", func() bool { nudge(w.m.desk.bell); return asked() == 2 })
}
