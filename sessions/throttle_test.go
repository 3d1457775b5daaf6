package sessions

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// slowed has a plan go on at 512 kbit down and 256 kbit up once it is used up, and
// expire after days; 0: never.
func slowed(p Plan, days uint) Plan {
	p.ThrottleDown, p.ThrottleUp = 512_000, 256_000
	if days != 0 {
		p.ExpDays = &days
	}
	return p
}

// isThrottledNow waits until a session of a device runs at its throttle, and says so.
func (w *world) isThrottledNow(id int64) Session {
	w.t.Helper()
	var v Session
	w.until("it runs at its throttle", func() bool { v = w.session(id); return v.State == Running && v.Throttled })
	return v
}

// holdsThrottle checks the grant in use.
func (w *world) holdsThrottle(when string) {
	w.t.Helper()
	g := w.grant(macA)
	if g == nil {
		w.t.Fatalf("%s: nothing is granted", when)
	}
	if !isThrottled(g) || g.RateDown.Load() != 64_000 || g.RateUp.Load() != 32_000 {
		w.t.Errorf("%s: %d bytes, %v, %d bytes a second down and %d up", when, g.ByteLimit.Load(), time.Duration(g.Duration.Load()), g.RateDown.Load(), g.RateUp.Load())
	}
}

// agrees waits until the next grant is with the forwarder and all is on disk.
func (w *world) agrees() {
	w.t.Helper()
	w.until("it is settled and on disk", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		for _, d := range w.m.slots {
			if d == nil {
				continue
			}
			slot := w.table.Slot(d.slot)
			for _, g := range d.grants {
				if r := slot.Record(g.seq); r.Taken.Load() != g.seq || g.revoked || r.Ended.Load() != 0 {
					return false
				}
			}
			if slot.Saved.Load() != d.settled || w.table.Acked(d.slot) < w.table.Policy(d.slot) {
				return false
			}
		}
		return len(w.m.dirty) == 0
	})
}

// What is used up goes on at its throttle at the byte, and all of it is counted.
func TestThrottledAtTheByte(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, slowed(dataPlan(0.01), 0))
	dev := w.m.ClientDevice(d)
	told, gone, consumed := dev.Subscribe(SessionThrottled), dev.Subscribe(SessionDisconnected), dev.Subscribe(SessionConsumed)
	w.connect(d.ID)
	w.agrees()
	if n := w.pass(macA, 9000, 0); n != 9000 { // six packets, one more ends on the edge
		t.Fatalf("%d bytes passed, want 9000", n)
	}
	if v := w.session(s.ID); v.Throttled {
		t.Errorf("throttled before it was used up: %+v", v)
	}
	if n := w.pass(macA, 3000, 4500); n != 7500 {
		t.Errorf("%d bytes passed over the edge, want 7500", n)
	}
	v := w.isThrottledNow(s.ID)
	if v.UpBytes != 12_000 || v.DownBytes != 4500 || v.DataCons != 0.0165 || v.RemainingData != 0 {
		t.Errorf("%+v", v)
	}
	w.holdsThrottle("used up")
	w.agrees()
	if n := w.pass(macA, 150_000, 150_000); n != 300_000 {
		t.Errorf("%d bytes passed at the throttle, want 300000", n)
	}
	if v := w.session(s.ID); v.UpBytes != 162_000 || v.DownBytes != 154_500 || v.RemainingData != 0 || v.State != Running {
		t.Errorf("%+v", v)
	}
	var m message
	if err := json.Unmarshal(<-told, &m); err != nil || m.Session != s.ID || !strings.Contains(m.Message, "the data is used up: it goes on at 512 kbit down, 256 kbit up") {
		t.Errorf("%+v, %v", m, err)
	}
	if len(gone) != 0 || len(consumed) != 0 || len(told) != 0 {
		t.Errorf("%d disconnected, %d consumed, %d throttled more", len(gone), len(consumed), len(told))
	}
	w.tellsSoon(s.ID, "create start throttle now")
	w.disconnect(d.ID)
	if v := w.session(s.ID); v.State != Consumed || v.Throttled || v.UpBytes != 162_000 || v.DownBytes != 154_500 {
		t.Errorf("disconnected: %+v", v)
	}
	w.tellsSoon(s.ID, "create start throttle end")
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNoSession) // it does not expire: no slow internet for ever
}

// How the use of a throttled session goes on and ends.
func TestWhatBecomesOfAThrottledSession(t *testing.T) {
	const used = 20_000 // bytes; 10,000 are sold
	more, none, faster, days := 0.1, int64(0), int64(1_000_000), uint(1)
	for _, row := range []struct {
		name   string
		days   uint
		then   func(w *world, d Device, s Session) // once it is throttled
		state  State
		slow   bool
		ledger string
	}{
		{"it goes on", 0, func(w *world, d Device, s Session) {}, Running, true, "create start throttle now"},
		{"a new one takes over", 0, func(w *world, d Device, s Session) {
			next := w.create(d.ID, dataPlan(1))
			if n := w.pass(macA, 3000, 0); n != 3000 {
				t.Errorf("%d bytes passed after a session was bought", n)
			}
			w.agrees()
			if v := w.session(next.ID); v.UpBytes != 3000 || v.State != Running {
				t.Errorf("the new one: %+v", v)
			}
			w.tellsSoon(next.ID, "create chain now")
		}, Consumed, false, "create start throttle end"},
		{"a new one takes over from one with an expiry, which is there again after it", 1, func(w *world, d Device, s Session) {
			w.create(d.ID, dataPlan(0.003))
			w.agrees()
			if n := w.pass(macA, 4500, 0); n != 4500 {
				t.Errorf("%d bytes passed", n)
			}
			w.holdsThrottle("after the new one")
			w.pass(macA, 0, 0)
			w.until("it is back", func() bool { return w.session(s.ID).State == Running })
			if v := w.session(s.ID); v.UpBytes != used+1500 {
				t.Errorf("after the new one: %+v", v)
			}
		}, Running, true, "create start throttle pause throttle now"},
		{"a top-up makes it fast again", 0, func(w *world, d Device, s Session) {
			v, err := w.m.Update(bg(), s.ID, Change{DataMB: &more})
			if err != nil || v.State != Running || v.Throttled || v.RemainingData != 0.08 {
				t.Errorf("%+v, %v", v, err)
			}
			if g := w.grant(macA); g.RateDown.Load() != 625_000 {
				t.Errorf("%d bytes a second down", g.RateDown.Load())
			}
			w.agrees()
			if g := w.grant(macA); g.ByteLimit.Load() != 80_000 || g.BaseUp.Load() != used {
				t.Errorf("%d bytes after %d", g.ByteLimit.Load(), g.BaseUp.Load())
			}
			if n := w.pass(macA, 81_000, 0); n != 81_000 {
				t.Errorf("%d bytes passed", n)
			}
			w.isThrottledNow(s.ID)
			if v := w.session(s.ID); v.UpBytes != used+81_000 {
				t.Errorf("%+v", v)
			}
		}, Running, true, "create start throttle top-up throttle now"},
		{"a top-up that is less than it has used does not", 0, func(w *world, d Device, s Session) {
			less := 0.015
			if v, err := w.m.Update(bg(), s.ID, Change{DataMB: &less}); err != nil || !v.Throttled || v.State != Running {
				t.Errorf("%+v, %v", v, err)
			}
		}, Running, true, "create start throttle top-up now"},
		{"its throttle is another", 0, func(w *world, d Device, s Session) {
			if v, err := w.m.Update(bg(), s.ID, Change{ThrottleDown: &faster}); err != nil || v.ThrottleDown != faster {
				t.Errorf("%+v, %v", v, err)
			}
			if g := w.grant(macA); g.RateDown.Load() != 125_000 || g.RateUp.Load() != 32_000 {
				t.Errorf("%d bytes a second down", g.RateDown.Load())
			}
		}, Running, true, "create start throttle change now"},
		{"its throttle is taken away", 1, func(w *world, d Device, s Session) {
			if _, err := w.m.Update(bg(), s.ID, Change{ThrottleDown: &none, ThrottleUp: &none}); err != nil {
				t.Error(err)
			}
			w.until("it is cut off", func() bool { return !w.device(macA).Connected && w.pass(macA, 1500, 0) == 0 })
		}, Consumed, false, "create start throttle change end"},
		{"it expires", 1, func(w *world, d Device, s Session) {
			w.advance(25 * time.Hour)
			w.until("it is disconnected", func() bool { return !w.device(macA).Connected })
		}, Expired, false, "create start throttle end"},
		{"disconnected, it may be connected again until it expires", 1, func(w *world, d Device, s Session) {
			w.disconnect(d.ID)
			if v := w.session(s.ID); v.State != Consumed || !v.Throttled {
				t.Errorf("disconnected: %+v", v)
			}
			w.connect(d.ID)
			w.holdsThrottle("connected again")
			w.disconnect(d.ID)
			w.advance(25 * time.Hour)
			_, err := w.m.ConnectDevice(bg(), d.ID, "")
			w.wants(err, ErrNoSession)
		}, Expired, false, "create start throttle pause resume throttle pause"},
		{"paused and resumed", 0, func(w *world, d Device, s Session) {
			if _, err := w.m.PauseDevice(bg(), d.ID, ""); err != nil {
				t.Error(err)
			}
			if v := w.session(s.ID); v.State != Paused || !v.Throttled {
				t.Errorf("paused: %+v", v)
			}
			if n := w.pass(macA, 1500, 0); n != 0 {
				t.Errorf("%d bytes passed while it was paused", n)
			}
			if _, err := w.m.ResumeDevice(bg(), d.ID, ""); err != nil {
				t.Error(err)
			}
			w.holdsThrottle("resumed")
		}, Running, true, "create start throttle pause resume throttle now"},
		{"paused, a new one is bought, and resumed", 0, func(w *world, d Device, s Session) {
			if _, err := w.m.PauseDevice(bg(), d.ID, ""); err != nil {
				t.Error(err)
			}
			next := w.create(d.ID, dataPlan(1))
			if _, err := w.m.ResumeDevice(bg(), d.ID, ""); err != nil {
				t.Error(err)
			}
			if v := w.session(next.ID); v.State != Running {
				t.Errorf("the new one: %+v", v)
			}
		}, Consumed, false, "create start throttle pause"},
		{"deleted", 0, func(w *world, d Device, s Session) {
			if err := w.m.Delete(bg(), s.ID); err != nil {
				t.Error(err)
			}
			w.until("it is disconnected", func() bool { return !w.device(macA).Connected })
			if n := w.pass(macA, 1500, 0); n != 0 {
				t.Errorf("%d bytes passed", n)
			}
		}, "", false, ""},
		{"an expiry is given to it", 0, func(w *world, d Device, s Session) {
			if _, err := w.m.Update(bg(), s.ID, Change{ExpDays: &days}); err != nil {
				t.Error(err)
			}
			w.holdsThrottle("with an expiry")
			w.advance(25 * time.Hour)
			w.until("it is disconnected", func() bool { return !w.device(macA).Connected })
		}, Expired, false, "create start throttle change end"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, slowed(dataPlan(0.01), row.days))
			w.connect(d.ID)
			w.agrees()
			if n := w.pass(macA, used, 0); n != used {
				t.Fatalf("%d bytes passed, want %d", n, used)
			}
			w.isThrottledNow(s.ID)
			w.agrees()
			row.then(w, d, s)
			if row.state == "" {
				return
			}
			w.agrees()
			if v := w.session(s.ID); v.State != row.state || v.Throttled != row.slow || v.RemainingData != 0 {
				t.Errorf("in the end %+v", v)
			}
			w.tellsSoon(s.ID, row.ledger)
			w.kills() // and the disk says the same
			w.runs()
			if v := w.session(s.ID); v.State != row.state || v.Throttled != row.slow {
				t.Errorf("after control was killed %+v", v)
			}
			if told := strings.Replace(w.story(s.ID), " use now", " now", 1); told != row.ledger {
				t.Errorf("after control was killed its ledger tells %q, want %q", told, row.ledger)
			}
		})
	}
}

// Time at the throttle is not counted, so that a top-up of time is all the customer's.
func TestThrottledTime(t *testing.T) {
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	plan := slowed(timePlan(60), 0)
	plan.UseGlobalSpeed = true
	s := w.create(d.ID, plan)
	w.connect(d.ID)
	w.agrees()
	w.advance(10 * time.Minute)
	v := w.isThrottledNow(s.ID)
	if v.TimeCons != 60 || v.RemainingTime != 0 {
		t.Errorf("%+v", v)
	}
	w.holdsThrottle("the time is used up")
	w.pass(macA, 1500, 0)
	w.agrees()
	w.kills()
	w.runs()
	secs := uint(90)
	if v, err := w.m.Update(bg(), s.ID, Change{TimeSecs: &secs}); err != nil || v.RemainingTime != 30 || v.Throttled {
		t.Errorf("topped up: %+v, %v", v, err)
	}
	w.agrees()
	if g := w.grant(macA); time.Duration(g.Duration.Load()) != 30*time.Second || g.RateDown.Load() != 1_250_000 {
		t.Errorf("its grant lasts %v at %d", time.Duration(g.Duration.Load()), g.RateDown.Load())
	}
	w.advance(31 * time.Second)
	if v := w.isThrottledNow(s.ID); v.TimeCons != 90 || v.UpBytes != 1500 {
		t.Errorf("%+v", v)
	}
	w.tellsSoon(s.ID, "create start throttle use top-up throttle now")
}

// Another global speed leaves a throttle what it is, and limits it; so does the next control.
func TestTheGlobalSpeedLeavesAThrottle(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	plan := slowed(dataPlan(0.01), 0)
	plan.UseGlobalSpeed = true
	s := w.create(d.ID, plan)
	w.connect(d.ID)
	w.agrees()
	w.pass(macA, 20_000, 0)
	w.isThrottledNow(s.ID)
	adopts := func(down, up limiter.Rate) {
		t.Helper()
		w.opt.GlobalDown, w.opt.GlobalUp = down, up
		if err := w.m.Adopt(w.opt); err != nil {
			t.Fatal(err)
		}
	}
	adopts(2_500_000, 0)
	w.holdsThrottle("at another global speed")
	w.kills()
	w.runs()
	w.isThrottledNow(s.ID)
	w.holdsThrottle("after control was killed")
	adopts(50_000, 20_000)
	if g := w.grant(macA); g.RateDown.Load() != 50_000 || g.RateUp.Load() != 20_000 {
		t.Errorf("at a global speed that is slower it has %d and %d bytes a second", g.RateDown.Load(), g.RateUp.Load())
	}
}

// Whatever is killed, and whenever, nothing is lost or counted twice, and it stays throttled.
func TestThrottledOverDeaths(t *testing.T) {
	for _, days := range []uint{0, 3} {
		for _, row := range []struct {
			name string
			dies func(w *world)
			cold bool // a power cut: bytes since the last checkpoint are gone, and it comes with the next packet
		}{
			{"nothing dies", func(w *world) {}, false},
			{"control", func(w *world) { w.kills(); w.runs() }, false},
			{"control, twice", func(w *world) { w.kills(); w.runs(); w.kills(); w.runs() }, false},
			{"control, by its signal", func(w *world) { w.end(); w.runs() }, false},
			{"the forwarder", func(w *world) { w.fake.stop(); w.fake = newFakeForwarder(w.table, w.boot); w.kills(); w.runs() }, false},
			{"the store", func(w *world) { w.away(); w.back() }, false},
			{"the box", func(w *world) { w.end(); w.boots(); w.runs() }, true},
		} {
			for _, moment := range []string{"before it is used up", "as it is used up", "after it"} {
				t.Run(fmt.Sprintf("%s, %s, %d days", row.name, moment, days), func(t *testing.T) {
					w := newWorld(t).boots().runs()
					d := w.add(macA, "10.10.0.2")
					s := w.create(d.ID, slowed(dataPlan(0.01), days))
					w.connect(d.ID)
					w.agrees()
					bytes := uint64(0)
					send := func(n uint64) {
						t.Helper()
						if got := w.pass(macA, n, 0); got != n {
							t.Fatalf("%d bytes passed of %d", got, n)
						}
						bytes += n
					}
					dies := func(now string) {
						t.Helper()
						if now != moment {
							return
						}
						if row.dies(w); row.cold {
							w.comesBack()
							bytes += 10
						}
						w.until("the forwarder serves it", func() bool { return w.grant(macA) != nil })
					}
					send(4500)
					dies("before it is used up")
					w.until("the next one is with the forwarder", func() bool { w.m.mu.Lock(); defer w.m.mu.Unlock(); return w.nextTaken(macA) })
					send(7500)
					dies("as it is used up")
					send(3000)
					w.isThrottledNow(s.ID)
					w.agrees()
					dies("after it")
					send(3000)
					v := w.isThrottledNow(s.ID)
					if v.UpBytes != bytes {
						t.Errorf("%d bytes are billed, want %d", v.UpBytes, bytes)
					}
					w.holdsThrottle("in the end")
					next := w.create(d.ID, dataPlan(1))
					send(1500)
					w.agrees()
					if v := w.session(s.ID); v.UpBytes != bytes-1500 || v.State != Consumed {
						t.Errorf("after the next took over %+v, want %d", v, bytes-1500)
					}
					if v := w.session(next.ID); v.UpBytes != 1500 {
						t.Errorf("the next: %+v", v)
					}
				})
			}
		}
	}
}

// nextTaken reports that the grant behind that in use is with the forwarder.
func (w *world) nextTaken(mac string) bool {
	hw, _ := parseMAC(mac)
	d := w.m.byMAC[hw]
	if d == nil || d.slot == 0 {
		return false
	}
	n := d.next()
	return n != nil && w.table.Slot(d.slot).Record(n.seq).Taken.Load() == n.seq
}

// A top-up of what is throttled is exact also when control is killed at that moment.
func TestThrottledIsToppedUpAsControlDies(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, slowed(dataPlan(0.01), 0))
	w.connect(d.ID)
	w.agrees()
	w.pass(macA, 20_000, 0)
	w.isThrottledNow(s.ID)
	w.stalls(true)
	more := 0.1
	_, err := w.m.Update(bg(), s.ID, Change{DataMB: &more})
	w.wants(err, ErrForwarder)
	w.kills()
	w.stalls(false)
	w.runs()
	w.until("it is fast", func() bool { v := w.session(s.ID); return v.State == Running && !v.Throttled })
	w.agrees()
	if g := w.grant(macA); g.ByteLimit.Load() != 80_000 || g.RateDown.Load() != 625_000 {
		t.Errorf("%d bytes at %d", g.ByteLimit.Load(), g.RateDown.Load())
	}
	if n := w.pass(macA, 90_000, 0); n != 90_000 {
		t.Errorf("%d bytes passed", n)
	}
	if v := w.isThrottledNow(s.ID); v.UpBytes != 110_000 {
		t.Errorf("%+v", v)
	}
}

// A provider's new session takes over from one at its throttle.
func TestAProvidersSessionTakesOverFromAThrottle(t *testing.T) {
	w := newWorld(t).boots().runs()
	p := newShop("acme")
	w.registers(p)
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, slowed(dataPlan(0.01), 0))
	w.connect(d.ID)
	w.agrees()
	w.pass(macA, 20_000, 0)
	w.isThrottledNow(s.ID)
	p.sells("a", dataPlan(1))
	w.until("the provider's session runs", func() bool {
		w.advance(10 * time.Second)
		v := w.device(macA).Session
		return v != nil && v.Provider == "acme"
	})
	if v := w.session(s.ID); v.State != Consumed || v.UpBytes != 20_000 {
		t.Errorf("%+v", v)
	}
}

// What a throttle may be.
func TestThrottlesThatAreRefused(t *testing.T) {
	for _, row := range []struct {
		name     string
		down, up int64
		global   bool
		want     string // empty: it is good
	}{
		{"one that is slower", 512_000, 256_000, false, ""},
		{"none", 0, 0, false, ""},
		{"the slowest", minThrottle, minThrottle, false, ""},
		{"half a throttle", 512_000, 0, false, "want both"},
		{"the other half", 0, 512_000, false, "want both"},
		{"too slow for a packet", 7_999, 512_000, false, "throttle_down_bits is 7999: want 8000"},
		{"below zero", -1, -1, false, "want 8000"},
		{"as fast as it is", 5_000_000, 256_000, false, "throttle_down_bits is 5000000: want less than its speed, 5 Mbit down"},
		{"faster up", 512_000, 4_000_000, false, "throttle_up_bits is 4000000: want less than its speed, 3 Mbit up"},
		{"with the global speed, which may change", 50_000_000, 50_000_000, true, ""},
	} {
		p := dataPlan(1)
		p.ThrottleDown, p.ThrottleUp, p.UseGlobalSpeed = row.down, row.up, row.global
		err := p.Check()
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	s := newSession(1, 1, slowed(dataPlan(1), 0), epoch)
	s.global, s.throttle = true, throttle{50_000_000, 256_000}
	if g := s.throttleTerms(&clock{}, use{}, 1_250_000, 625_000); g.Down != 1_250_000 || g.Up != 32_000 {
		t.Errorf("at the global speed of 10 Mbit its throttle is %d and %d bytes a second", g.Down, g.Up)
	}
	if g := s.throttleTerms(&clock{}, use{}, 0, 0); g.Down != 6_250_000 || g.Up != 32_000 || g.ByteLimit != clients.NoLimit {
		t.Errorf("at no global speed it is %+v", g)
	}
}

// What passes at a throttle until the forwarder has taken a top-up in is taken from it.
func TestATopUpCountsWhatPassesMeanwhile(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, slowed(dataPlan(0.01), 0))
	w.connect(d.ID)
	w.agrees()
	w.pass(macA, 20_000, 0)
	w.isThrottledNow(s.ID)
	w.agrees()
	w.stalls(true)
	more := 0.1
	_, err := w.m.Update(bg(), s.ID, Change{DataMB: &more})
	w.wants(err, ErrForwarder)
	if n := w.passesStalled(3000); n != 3000 {
		t.Fatalf("%d bytes passed", n)
	}
	w.stalls(false)
	w.agrees()
	if g := w.grant(macA); g.ByteLimit.Load() != 77_000 || g.BaseUp.Load() != 23_000 {
		t.Errorf("its grant has %d bytes after %d, want 77000 after 23000", g.ByteLimit.Load(), g.BaseUp.Load())
	}
}

// passesStalled bills bytes up to the grant in use, as a forwarder does that has not
// taken in what is new.
func (w *world) passesStalled(bytes uint64) uint64 {
	g := w.grant(macA)
	g.Up.Add(bytes)
	return bytes
}
