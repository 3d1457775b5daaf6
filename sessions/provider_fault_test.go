package sessions

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hangs is what a provider does that answers when the test ends, or at once if
// it heeds its context.
func hangs(t *testing.T, heeds bool) func(ctx context.Context) error {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(ctx context.Context) error {
		done := ctx.Done()
		if !heeds {
			done = nil
		}
		select {
		case <-end:
		case <-done:
		}
		return errTest
	}
}

// TestAProviderThatFailsCostsNobodyElse has a provider fail in every way
// before one that works and the store.
func TestAProviderThatFailsCostsNobodyElse(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		asking  func(t *testing.T) func(ctx context.Context) error
		instead func() (SessionSource, bool)
		healthy bool // as far as anybody can tell
	}{
		{"it answers after 30 s", func(t *testing.T) func(context.Context) error { return hangs(t, true) }, nil, false},
		{"it never ends", func(t *testing.T) func(context.Context) error { return hangs(t, false) }, nil, false},
		{"it panics", func(*testing.T) func(context.Context) error {
			return func(context.Context) error { panic("out of order") }
		}, nil, false},
		{"it ends its goroutine", func(*testing.T) func(context.Context) error {
			return func(context.Context) error { runtime.Goexit(); return nil }
		}, nil, false},
		{"it says ok without a session", nil, func() (SessionSource, bool) { return nil, true }, false},
		{"it says ok with a nil session of a type", nil, func() (SessionSource, bool) { return (*source)(nil), true }, false},
		{"it has none", nil, func() (SessionSource, bool) { return nil, false }, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d, e := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3")
			bad, good := newShop("bad"), newShop("good")
			a := good.sells("a", dataPlan(1))
			w.registers(bad)
			w.registers(good)
			w.create(e.ID, dataPlan(1))
			w.connect(e.ID) // with a healthy first one
			bad.change(func() {
				bad.get = row.instead
				if row.asking != nil {
					bad.asking = row.asking(t)
				}
			})
			stop := make(chan struct{})
			passed := make(chan uint64)
			go func() { // another device's stream
				n := uint64(0)
				for {
					select {
					case <-stop:
						passed <- n
						return
					case <-time.After(time.Millisecond):
						n += 500 - w.pass(macB, 500, 0)
					}
				}
			}()
			w.connect(d.ID)
			if v := w.device(macA).Session; v == nil || v.Provider != "good" {
				t.Fatalf("%+v", v)
			}
			if n := w.pass(macA, 100_000, 0); n != 100_000 {
				t.Errorf("%d bytes passed", n)
			}
			w.disconnect(d.ID)
			w.until("the good one has what was used", func() bool { return a.now().DataCons >= 0.1 })
			close(stop)
			if n := <-passed; n != 0 {
				t.Errorf("%d bytes of another device were lost", n)
			}
			why := strings.Join(w.m.Degraded(), "; ")
			if strings.Contains(why, "provider 1 fails") == row.healthy {
				t.Errorf("degraded: %q", why)
			}
		})
	}
}

// TestAHungProviderHoldsFewGoroutines: sixteen calls that never end are the
// most; those that come then wait no longer than before.
func TestAHungProviderHoldsFewGoroutines(t *testing.T) {
	w := newWorld(t).boots().runs()
	p := newShop("acme")
	p.asking = hangs(t, false)
	w.registers(p)
	for i := range 40 {
		mac := "02:00:00:00:01:" + string("0123456789"[i/10]) + string("0123456789"[i%10])
		d := w.add(mac, "")
		w.m.inquire(question{by: w.m.providers()[0], device: d.ID})
	}
	w.until("they are called", func() (full bool) { p.change(func() { full = p.gets == providerLanes }); return full })
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	p.change(func() {
		if p.gets != providerLanes {
			t.Errorf("%d calls", p.gets)
		}
	})
}

func TestLastKnownDataIsUsedWhileAProviderFails(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(0.3))
	w.registers(p)
	w.connect(d.ID)
	w.pass(macA, 100_000, 0)
	w.disconnect(d.ID)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	p.change(func() {
		p.asking = func(context.Context) error { return errTest } // GetSession can only say that there is none
		a.loading = func(context.Context, *SessionData) error { return errTest }
	})
	w.connect(d.ID)
	if n := w.pass(macA, 100_000, 0); n != 100_000 {
		t.Errorf("%d bytes passed", n)
	}
	w.disconnect(d.ID)
	w.kills()
	p.change(func() { p.asking = func(context.Context) error { panic("down") } })
	w.boots().runs() // and the provider has not said anything since
	w.registers(p)
	w.connect(d.ID)
	if n := w.pass(macA, 200_000, 0); n > 100_000 || n < 98_500 {
		t.Errorf("%d bytes passed of 100000 that are left", n)
	}
	w.until("it is disconnected", func() bool { return !w.device(macA).Connected })
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNoSession)
	if err == nil || !strings.Contains(err.Error(), "provider 1 could not be asked") {
		t.Errorf("the error does not say why: %v", err)
	}
	p.change(func() { p.asking, a.loading = nil, nil })
	w.advance(time.Minute) // the back-off
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	if v := a.now(); v.DataCons < 0.2985 || v.DataCons > 0.3 {
		t.Errorf("%+v", v)
	}
	w.until("all is well", func() bool { w.advance(time.Second); return len(w.m.Degraded()) == 0 }) // though nobody asks
}

// TestALyingSource says after each Save that less was consumed. Its word
// counts, the gateway says so once, and nothing is billed twice.
func TestALyingSource(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(1))
	w.registers(p)
	told := w.m.ClientDevice(d).Subscribe(SessionChanged)
	w.connect(d.ID)
	w.pass(macA, 300_000, 0)
	w.disconnect(d.ID)
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	for len(told) > 0 {
		<-told
	}
	for range 3 {
		p.change(func() { a.data.DataCons = 0.1 })
		s, err := w.gets(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(bg()); err != nil {
			t.Fatal(err)
		}
		if s.RemainingData() != 0.9 {
			t.Errorf("%v MB left, want the source's 0.9", s.RemainingData())
		}
		w.connect(d.ID)
		w.pass(macA, 100_000, 0)
		w.disconnect(d.ID)
		w.until("it is delivered", func() bool { w.due(); return w.delivered() })
		if v := a.now(); v.DataCons != 0.2 {
			t.Fatalf("the source was told %v, want 0.2", v.DataCons)
		}
	}
	said := 0
	for len(told) > 0 {
		if strings.Contains(string(<-told), "less consumption") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("it was said %d times", said)
	}
}

// TestWhatCannotBeSoldIsSkipped offers sessions that would be wrong, or
// unlimited, before one that is right.
func TestWhatCannotBeSoldIsSkipped(t *testing.T) {
	days := uint(math.MaxUint)
	early, late := time.Date(1, 2, 3, 0, 0, 0, 0, time.UTC), time.Date(400_000, 1, 1, 0, 0, 0, 0, time.UTC)
	rows := []struct {
		name   string
		change func(d *SessionData)
	}{
		{"an unknown type", func(d *SessionData) { d.Type = 3 }},
		{"no speed down", func(d *SessionData) { d.DownMbits = 0 }},
		{"a negative speed up", func(d *SessionData) { d.UpMbits = -1 }},
		{"a speed beyond all", func(d *SessionData) { d.UpMbits = math.MaxInt }},
		{"no data", func(d *SessionData) { d.DataMb = 0 }},
		{"data that is not a number", func(d *SessionData) { d.DataMb = math.NaN() }},
		{"infinite data", func(d *SessionData) { d.DataMb = math.Inf(1) }},
		{"negative data", func(d *SessionData) { d.DataMb = -1 }},
		{"consumed data that is not a number", func(d *SessionData) { d.DataCons = math.NaN() }},
		{"negative consumed data", func(d *SessionData) { d.DataCons = -5 }},
		{"more consumed than can be", func(d *SessionData) { d.DataCons = math.Inf(1) }},
		{"all time", func(d *SessionData) { d.Type, d.TimeSecs = 2, math.MaxUint }},
		{"all time consumed", func(d *SessionData) { d.TimeCons = math.MaxUint }},
		{"all days", func(d *SessionData) { d.ExpDays = &days }},
		{"a start before there were clocks", func(d *SessionData) { d.StartedAt = &early }},
		{"a start that no text can say", func(d *SessionData) { d.StartedAt = &late }},
		{"made when no text can say", func(d *SessionData) { d.CreatedAt = late }},
		{"the store's own name", func(d *SessionData) { d.Provider = Local }},
		{"data that expires as it starts", func(d *SessionData) { d.ExpDays = new(uint) }},
		{"a name without end", func(d *SessionData) { d.Provider = strings.Repeat("x", 1<<20) }},
		{"a name that is no text", func(d *SessionData) { d.Provider = "\xff" }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			p := newShop("acme")
			a := p.sells("a", dataPlan(1))
			p.change(func() { row.change(&a.data); p.get = func() (SessionSource, bool) { return a.source(), true } })
			w.registers(p)
			skipped := w.m.ClientDevice(d).Subscribe(SessionSkipped)
			local := w.create(d.ID, dataPlan(1))
			w.connect(d.ID)
			if v := w.device(macA).Session; v == nil || v.ID != local.ID {
				t.Fatalf("%+v", v)
			}
			if len(skipped) != 1 {
				t.Errorf("%d events", len(skipped))
			}
			if why := strings.Join(w.m.Degraded(), "; "); !strings.Contains(why, "is not used: bad plan") {
				t.Errorf("degraded: %q", why)
			}
			p.sells("b", dataPlan(1)) // it comes next
			w.until("the right one is next", func() bool { w.looks(); return w.nextIs("acme") })
			w.disconnect(d.ID)
			p.change(func() { p.get = nil; delete(p.wares, "a"); p.order = []string{"b"} })
			if s, err := w.gets(d); err != nil || s.Provider() != "acme" {
				t.Errorf("%v %v", s, err)
			}
			if why := w.m.Degraded(); len(why) != 0 {
				t.Errorf("degraded: %q", why)
			}
		})
	}
}

// TestARunningSessionWhosePlanGoesBad runs on as it was sold.
func TestARunningSessionWhosePlanGoesBad(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(0.3))
	w.registers(p)
	w.connect(d.ID)
	w.until("the source has the start", func() bool { return a.now().StartedAt != nil })
	p.change(func() { a.data.DownMbits, a.data.DataMb = 0, math.Inf(1) })
	w.until("it is said", func() bool { w.due(); return strings.Contains(strings.Join(w.m.Degraded(), "; "), "is not used") })
	if v := w.device(macA).Session; v.DownMbits != 5 || v.DataMB != 0.3 {
		t.Errorf("%+v", v)
	}
	if n := w.pass(macA, 400_000, 0); n > 300_000 || n < 298_500 {
		t.Errorf("%d bytes passed of 300000", n)
	}
}

func TestAProviderKeepsToSomeNames(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("n")
	p.sells("first", dataPlan(1))
	w.registers(p)
	for i := range maxNames {
		p.change(func() { p.name = fmt.Sprint("n", i) })
		p.sells(fmt.Sprint("id", i), dataPlan(1))
		if _, err := w.gets(d); err != nil {
			t.Fatalf("name %d: %v", i, err)
		}
		p.change(func() {
			p.wares, p.order = make(map[string]*ware), nil
		})
	}
	p.change(func() { p.name = "one too many" })
	p.sells("last", dataPlan(1))
	_, err := w.gets(d)
	w.wants(err, ErrNoSession)
	w.m.mu.Lock()
	names := len(w.m.desk.providers[0].names)
	w.m.mu.Unlock()
	if why := strings.Join(w.m.Degraded(), "; "); names != maxNames || !strings.Contains(why, "256 other names") {
		t.Errorf("%d names, degraded: %q", names, why)
	}
}
