package sessions

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// throttles has device A use up a session of a plan with a throttle.
func (w *world) throttles(p Plan, days uint, use func()) (Device, Session) {
	w.t.Helper()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, slowed(p, days))
	w.connect(d.ID)
	w.agrees()
	use()
	v := w.isThrottledNow(s.ID)
	w.agrees()
	return d, v
}

// usesData passes twice what dataPlan(0.01) sells.
func (w *world) usesData() {
	w.t.Helper()
	if n := w.pass(macA, 20_000, 0); n != 20_000 {
		w.t.Fatalf("%d bytes passed, want 20000", n)
	}
}

// A throttled session that is paused because its client is idle or the WAN is away goes
// on at its throttle when that is over, whatever dies meanwhile, or with what is better.
func TestAThrottledSessionIsPausedAndGoesOn(t *testing.T) {
	minute, more := uint(90), 0.1
	dies := func(w *world) {
		w.until("on disk", w.clean)
		w.kills()
		w.runs()
		w.skips(5 * time.Second)
	}
	cut := func(w *world) { w.until("on disk", w.clean); w.kills(); w.boots().runs() }
	for _, why := range []struct {
		name   string
		reason pauseReason
	}{{"idle", pauseIdle}, {"the WAN has no carrier", pauseNoCarrier}, {"the next router is silent", pauseSilent}} {
		for _, row := range []struct {
			name   string
			days   uint
			do     func(w *world, d Device, s Session) // while it is paused
			slow   bool                                // and then it goes on so
			ledger string
		}{
			{"nothing else", 0, func(*world, Device, Session) {}, true, "create start throttle pause resume throttle now"},
			{"it expires one day", 3, func(*world, Device, Session) {}, true, "create start throttle pause resume throttle now"},
			{"control is killed", 0, func(w *world, _ Device, _ Session) { dies(w) }, true, "create start throttle pause resume throttle now"},
			{"control is killed, and it expires one day", 3, func(w *world, _ Device, _ Session) { dies(w) }, true, "create start throttle pause resume throttle now"},
			{"the power is cut", 0, func(w *world, _ Device, _ Session) { cut(w) }, true, "create start throttle pause resume throttle now"},
			{"the power is cut, and it expires one day", 3, func(w *world, _ Device, _ Session) { cut(w) }, true, "create start throttle pause resume throttle now"},
			{"it is topped up", 0, func(w *world, _ Device, s Session) {
				c := Change{DataMB: &more}
				if s.Type.hasTime() {
					c = Change{TimeSecs: &minute}
				}
				if v, err := w.m.Update(bg(), s.ID, c); err != nil || v.State != Paused || v.Throttled {
					w.t.Errorf("topped up: %+v, %v", v, err)
				}
			}, false, "create start throttle pause top-up resume now"},
			{"its throttle is another", 0, func(w *world, _ Device, s Session) {
				up := int64(128_000)
				if v, err := w.m.Update(bg(), s.ID, Change{ThrottleUp: &up}); err != nil || v.State != Paused || !v.Throttled {
					w.t.Errorf("changed: %+v, %v", v, err)
				}
				up = 256_000
				if _, err := w.m.Update(bg(), s.ID, Change{ThrottleUp: &up}); err != nil {
					w.t.Error(err)
				}
			}, true, "create start throttle pause change change resume throttle now"},
		} {
			t.Run(why.name+", "+row.name, func(t *testing.T) {
				w := newWorld(t)
				w.opt.PauseOnCarrierLoss, w.opt.PauseOnSilence = true, 10*time.Second
				plan, use := dataPlan(0.01), w.usesData
				if why.reason == pauseIdle {
					w.opt.IdlePause = 60 * time.Second
				} else {
					plan, use = timePlan(60), func() { w.advance(61 * time.Second) }
				}
				w.boots().runs()
				w.skips(0)
				d, s := w.throttles(plan, row.days, use)
				w.pass(macA, 1000, 0)
				before := w.session(s.ID)
				if why.reason == pauseIdle {
					w.skips(70 * time.Second)
				} else {
					w.loses(why.reason)
				}
				w.state(s.ID, Paused, why.reason.String())
				if v := w.session(s.ID); !v.Throttled || v.UpBytes != before.UpBytes {
					t.Errorf("paused: %+v", v)
				}
				w.until("its pause is settled and on disk", w.clean)
				row.do(w, d, s)
				w.skips(10 * time.Second)
				w.state(s.ID, Paused, why.reason.String())
				if why.reason != pauseIdle {
					w.regains()
				}
				w.until("it goes on", func() bool {
					if w.pass(macA, 100, 0) == 100 {
						return true
					}
					w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
					return false
				})
				v := w.session(s.ID)
				if v.State != Running || v.Throttled != row.slow || v.UpBytes != before.UpBytes+100 || v.TimeCons != before.TimeCons && row.slow {
					t.Errorf("%+v, before %+v", v, before)
				}
				if row.slow {
					w.holdsThrottle("gone on")
				}
				w.tellsSoon(s.ID, row.ledger)
			})
		}
	}
}

// A throttled session that is topped up before its pause is settled has not ended.
func TestAThrottledSessionIsToppedUpAsItIsPaused(t *testing.T) {
	w := newWorld(t).boots().runs()
	d, s := w.throttles(dataPlan(0.01), 0, w.usesData)
	w.stalls(true)
	_, err := w.m.PauseDevice(bg(), d.ID, "")
	w.wants(err, ErrForwarder)
	more := 0.1
	_, err = w.m.Update(bg(), s.ID, Change{DataMB: &more})
	w.wants(err, ErrForwarder)
	w.stalls(false)
	w.state(s.ID, Paused, PausedAsked)
	w.tellsSoon(s.ID, "create start throttle top-up pause")
	w.until("its pause is settled", w.clean)
	w.resume(d.ID)
	if v := w.session(s.ID); v.State != Running || v.Throttled || v.RemainingData != 0.08 {
		t.Errorf("resumed: %+v", v)
	}
}

// A throttled session whose throttle is taken away gives way to another one that has one
// and expires one day, without a packet lost; with none the device is disconnected.
func TestAThrottleThatIsTakenAwayGivesWayToAnother(t *testing.T) {
	for _, days := range []uint{0, 2} {
		t.Run(fmt.Sprintf("the other one expires after %d days", days), func(t *testing.T) {
			w := newWorld(t).boots().runs()
			d, other := w.throttles(dataPlan(0.01), days, w.usesData)
			s := w.create(d.ID, slowed(dataPlan(0.01), 1))
			w.agrees()
			w.usesData()
			w.isThrottledNow(s.ID)
			w.agrees()
			none := int64(0)
			if _, err := w.m.Update(bg(), s.ID, Change{ThrottleDown: &none, ThrottleUp: &none}); err != nil {
				t.Error(err)
			}
			want, passes := State(Consumed), uint64(0)
			if days != 0 {
				want, passes = Running, 1500
			}
			if n := w.pass(macA, 1500, 0); n != passes {
				t.Errorf("%d bytes passed, want %d", n, passes)
			}
			w.agrees()
			if v := w.session(other.ID); v.State != want || v.Throttled != (days != 0) || v.UpBytes != 20_000+passes {
				t.Errorf("the other one: %+v", v)
			}
			if v := w.session(s.ID); v.State != Consumed || v.Throttled {
				t.Errorf("%+v", v)
			}
			w.tellsSoon(s.ID, "create chain throttle change end")
		})
	}
}

// A backup that was made while a session was throttled, or before, brings that back; what
// was throttled when it was read goes on as the backup has it.
func TestARestoreWhileThrottled(t *testing.T) {
	for _, row := range []struct {
		name   string
		before bool // the backup is of before it was used up
	}{{"a backup of then", false}, {"a backup of before", true}} {
		for _, days := range []uint{0, 3} {
			t.Run(row.name, func(t *testing.T) {
				w := newWorld(t).boots().runs()
				var backup bytes.Buffer
				keeps := func(now bool) {
					if now {
						if err := w.m.Backup(bg(), &backup); err != nil {
							t.Fatal(err)
						}
					}
				}
				_, s := w.throttles(dataPlan(0.01), days, func() {
					w.pass(macA, 3000, 0)
					keeps(row.before)
					w.usesData()
				})
				keeps(!row.before)
				w.pass(macA, 7000, 0)
				if err := w.m.Restore(bg(), bytes.NewReader(backup.Bytes())); err != nil {
					t.Fatal(err)
				}
				used := uint64(23_000)
				if row.before {
					used = 3000
				}
				w.comesBack()
				v := w.session(s.ID)
				if v.State != Running || v.Throttled == row.before || v.UpBytes != used+10 {
					t.Errorf("it goes on with %+v, want %d bytes and throttled %v", v, used+10, !row.before)
				}
				w.agrees()
				if row.before {
					w.usesData()
					w.isThrottledNow(s.ID)
					used += 20_000
				}
				w.holdsThrottle("after the restore")
				w.end()
				w.boots().runs()
				w.comesBack()
				if v := w.session(s.ID); v.UpBytes != used+20 || v.State != Running || !v.Throttled {
					t.Errorf("after a restart: %+v", v)
				}
				w.holdsThrottle("after a restart")
			})
		}
	}
}

// A throttle ends with its session's expiry by the clock that stamped its start, whatever
// becomes of that.
func TestAThrottleExpiresByTheClock(t *testing.T) {
	const behind = -56 * 365 * 24 * time.Hour
	for _, row := range []struct {
		name   string
		begin  func(w *world)
		then   func(w *world) // once it is throttled
		cold   bool           // it comes back with its next packet
		atOnce bool           // it is expired by then
		ledger string
	}{
		{"a right clock", func(*world) {}, func(*world) {}, false, false, "create start throttle end"},
		{"the clock is stepped by days", func(*world) {}, func(w *world) { w.stepClock(100 * 24 * time.Hour) }, false, false, "create start throttle end"},
		{"the clock is stepped back", func(*world) {}, func(w *world) { w.stepClock(-100 * 24 * time.Hour) }, false, false, "create start throttle end"},
		{"a clock that is not trusted", func(w *world) { w.stepClock(behind) }, func(*world) {}, false, false, "create start throttle end"},
		{"it is set then", func(w *world) { w.stepClock(behind) }, func(w *world) { w.sets(); w.settles() }, false, false, "create start throttle end"},
		{"control is killed, and it is set", func(w *world) { w.stepClock(behind) }, func(w *world) { w.kills(); w.runs(); w.sets(); w.settles() }, false, false, "create start throttle use end"},
		{"the power is cut, and it is set", func(w *world) { w.stepClock(behind) }, func(w *world) {
			w.until("on disk", w.clean)
			w.kills()
			w.boots().runs()
			w.sets()
			w.settles()
		}, true, false, "create start throttle pause resume throttle end"},
		{"it expires while the power is cut", func(*world) {}, func(w *world) {
			w.until("on disk", w.clean)
			w.kills()
			w.advance(25 * time.Hour)
			w.boots().runs()
		}, true, true, "create start throttle pause"},
		{"it expires while control is dead", func(*world) {}, func(w *world) {
			w.kills()
			w.advance(25 * time.Hour)
			w.until("the forwarder ends it", func() bool { return w.pass(macA, 10, 0) == 0 })
			w.runs()
		}, false, true, "create start throttle end"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			w.kills() // the disk has a stamp
			row.begin(w)
			w.boots().runs()
			d, s := w.throttles(dataPlan(0.01), 1, w.usesData)
			row.then(w)
			if !row.atOnce {
				if row.cold {
					w.comesBack()
				}
				w.isThrottledNow(s.ID)
				w.advance(23 * time.Hour)
				if n := w.pass(macA, 1000, 0); n != 1000 {
					t.Errorf("%d bytes passed an hour before its expiry", n)
				}
				if v := w.session(s.ID); !v.Throttled || v.State != Running {
					t.Errorf("an hour before its expiry: %+v", v)
				}
				w.advance(2 * time.Hour)
			}
			w.until("it is disconnected", func() bool { return !w.device(macA).Connected })
			if n := w.pass(macA, 1000, 0); n != 0 {
				t.Errorf("%d bytes passed after its expiry", n)
			}
			if v := w.session(s.ID); v.State != Expired || v.Throttled {
				t.Errorf("%+v", v)
			}
			_, err := w.m.ConnectDevice(bg(), d.ID, "")
			w.wants(err, ErrNoSession)
			w.tellsSoon(s.ID, row.ledger)
		})
	}
}

// Of a session of time or data only what was used up makes it fast again; neither time
// nor bytes at the throttle are lost of the other.
func TestAThrottledSessionOfBothIsToppedUp(t *testing.T) {
	secs, mb, used := uint(7200), 0.1, uint(0)
	for _, row := range []struct {
		name       string
		data       bool // is used up; else the time
		time, more Change
		left       uint // seconds, with both changes
	}{
		{"the data is used up", true, Change{TimeSecs: &secs}, Change{DataMB: &mb}, 7200},
		{"the time is used up", false, Change{DataMB: &mb}, Change{TimeSecs: &secs}, 3600},
		{"the time is used up, and given back", false, Change{DataMB: &mb}, Change{TimeCons: &used}, 3600},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).stands().boots().runs()
			p := dataPlan(0.01)
			p.Type, p.TimeSecs = TypeTimeOrData, 3600
			_, s := w.throttles(p, 0, func() {
				if row.data {
					w.usesData()
					return
				}
				w.advance(time.Hour)
			})
			w.advance(10 * time.Minute)
			w.pass(macA, 1500, 0)
			passed := w.session(s.ID).UpBytes
			if v, err := w.m.Update(bg(), s.ID, row.time); err != nil || !v.Throttled || v.State != Running {
				t.Errorf("the other is topped up: %+v, %v", v, err)
			}
			w.agrees()
			w.holdsThrottle("the other is topped up")
			v, err := w.m.Update(bg(), s.ID, row.more)
			if err != nil || v.Throttled || v.State != Running || v.RemainingTime != row.left || v.UpBytes != passed {
				t.Errorf("both are: %+v, %v", v, err)
			}
			w.agrees()
			left := uint64(100_000 - passed)
			g := w.grant(macA)
			if g.ByteLimit.Load() != left || time.Duration(g.Duration.Load()) != time.Duration(row.left)*time.Second || g.RateDown.Load() != 625_000 {
				t.Errorf("its grant has %d bytes, want %d, for %v at %d", g.ByteLimit.Load(), left, time.Duration(g.Duration.Load()), g.RateDown.Load())
			}
			if n := w.pass(macA, left, 0); n != left {
				t.Errorf("%d bytes passed", n)
			}
			w.pass(macA, 1500, 0)
			if v := w.isThrottledNow(s.ID); v.UpBytes != passed+left+1500 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// A throttled session weighs what the session does, at once when that is changed, and has
// its throttle's rate as that is changed; so after the death of control and of the box.
func TestWhatAThrottleWeighsAndLetsPass(t *testing.T) {
	w := newWorld(t).boots().runs()
	p := dataPlan(0.01)
	p.Weight = 7
	_, s := w.throttles(p, 3, w.usesData)
	has := func(when string, weight uint64, down, up int64) {
		t.Helper()
		if g := w.grant(macA); !isThrottled(g) || g.Weight.Load() != weight || g.RateDown.Load() != down || g.RateUp.Load() != up {
			t.Errorf("%s: weight %d, %d bytes a second down, %d up", when, g.Weight.Load(), g.RateDown.Load(), g.RateUp.Load())
		}
	}
	change := func(c Change) {
		t.Helper()
		if v, err := w.m.Update(bg(), s.ID, c); err != nil || !v.Throttled || v.State != Running {
			t.Errorf("%+v, %v", v, err)
		}
	}
	has("used up", 7, 64_000, 32_000)
	weight, rate, none, mbit := 9, int64(1_000_000), int64(0), 1
	change(Change{Weight: &weight})
	has("weight", 9, 64_000, 32_000)
	change(Change{ThrottleUp: &rate})
	has("throttle", 9, 64_000, 125_000)
	for _, bad := range []Change{{ThrottleUp: &none}, {DownMbits: &mbit, ThrottleDown: &rate}} {
		_, err := w.m.Update(bg(), s.ID, bad)
		w.wants(err, ErrBadPlan)
	}
	has("refused", 9, 64_000, 125_000)
	w.kills()
	w.runs()
	w.isThrottledNow(s.ID)
	has("control was killed", 9, 64_000, 125_000)
	change(Change{Weight: &mbit})
	has("weight, by another control", 1, 64_000, 125_000)
	w.until("on disk", w.clean)
	w.kills()
	w.boots().runs()
	w.comesBack()
	has("the power was cut", 1, 64_000, 125_000)
}
