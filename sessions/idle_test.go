package sessions

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestAnIdleSessionIsPausedUntilTheNextPacket(t *testing.T) {
	for _, row := range []struct {
		name string
		plan Plan
		do   func(w *world, d Device) // while it is paused
	}{
		{"a session with time", timePlan(3600), func(*world, Device) {}},
		{"one with data", dataPlan(1), func(*world, Device) {}},
		{"control is killed meanwhile", timePlan(3600), func(w *world, d Device) { w.kills(); w.runs(); w.skips(5 * time.Second) }},
		{"the power fails meanwhile", timePlan(3600), func(w *world, d Device) { w.until("on disk", w.clean); w.kills(); w.boots().runs() }},
		{"its slot is needed meanwhile", timePlan(3600), func(w *world, d Device) {
			w.until("on disk", w.clean)
			w.m.mu.Lock()
			w.m.vacate(1, anyWorker)
			w.m.mu.Unlock()
		}},
		{"the WAN goes and comes meanwhile", timePlan(3600), func(w *world, d Device) {
			w.loses(pauseNoCarrier)
			w.skips(5 * time.Second)
			w.regains()
			w.skips(5 * time.Second)
		}},
		{"it wakes while the WAN is away", timePlan(3600), func(w *world, d Device) {
			w.loses(pauseNoCarrier)
			w.skips(time.Second)
			w.pass(macA, 100, 0)
			w.until("it waits for the WAN", func() bool { return w.session(1).PauseReason == "no_carrier" })
			if told := w.story(1); strings.HasSuffix(told, "resume pause") {
				t.Errorf("it went on before it did: %s", told)
			}
			w.regains()
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.opt.IdlePause, w.opt.PauseOnCarrierLoss = 60*time.Second, true
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, row.plan)
			w.connect(d.ID)
			for range 3 { // now and then a packet
				w.skips(50 * time.Second)
				if n := w.pass(macA, 100, 0); n != 100 {
					t.Fatalf("%d bytes passed after 50 s of silence", n)
				}
			}
			w.skips(50 * time.Second)
			w.pass(macA, 0, 1000) // what comes down to it is not its own
			w.skips(15 * time.Second)
			w.state(s.ID, Paused, "idle")
			if v := w.device(macA); !v.Connected {
				t.Errorf("%+v", v)
			}
			before := w.session(s.ID).TimeCons
			row.do(w, d)
			w.skips(10 * time.Second)
			w.until("it goes on with a packet", func() bool {
				if w.pass(macA, 100, 0) == 100 {
					return true
				}
				w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
				return false
			})
			v := w.session(s.ID)
			if v.State != Running || before > 230 || row.plan.Type == TypeTime && (before < 209 || v.TimeCons > before+12) {
				t.Errorf("%+v, %d s were billed before", v, before)
			}
			w.skips(70 * time.Second) // and again
			w.state(s.ID, Paused, "idle")
			w.skips(10 * time.Second)
			w.skips(10 * time.Second)
			w.state(s.ID, Paused, "idle")
		})
	}
}

func TestWhatIsIdleCountsFromTheLastPacket(t *testing.T) {
	for _, row := range []struct {
		name  string
		plans []Plan
		each  func(w *world) // after each 5 s of silence
	}{
		{"over sessions that follow each other", []Plan{timePlan(25), timePlan(25), timePlan(25), timePlan(25), timePlan(25), timePlan(25)}, func(*world) {}},
		{"over restarts of control", []Plan{timePlan(3600)}, func(w *world) { w.kills(); w.runs() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.opt.IdlePause = 60 * time.Second
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			for _, p := range row.plans {
				w.create(d.ID, p)
			}
			w.connect(d.ID)
			w.pass(macA, 100, 0)
			for range 24 {
				w.skips(5 * time.Second)
				row.each(w)
			}
			w.until("it is paused with something left, and billed", func() bool {
				paused, billed := 0, 0
				for id := range row.plans {
					v := w.session(int64(id + 1))
					billed += int(v.TimeCons)
					if v.State == Paused {
						paused++
					}
				}
				return paused == 1 && billed >= 60
			})
		})
	}
}

func TestIdleCountsFromTheConnectToo(t *testing.T) {
	w := newWorld(t)
	w.opt.IdlePause = 60 * time.Second
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(3600))
	w.skips(90 * time.Second)
	w.connect(d.ID)
	w.skips(40 * time.Second)
	w.skips(time.Second)
	if v := w.session(s.ID); v.State != Running {
		t.Fatalf("%+v, connected 41 s ago", v)
	}
	w.skips(20 * time.Second)
	w.state(s.ID, Paused, "idle")
	if _, err := w.m.ResumeDevice(bg(), d.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.skips(40 * time.Second)
	w.skips(time.Second)
	if v := w.session(s.ID); v.State != Running {
		t.Errorf("%+v, resumed 41 s ago", v)
	}
}

func TestIdleNeverUnlessConfigured(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(36000))
	w.connect(d.ID)
	w.loses(pauseNoCarrier)
	w.skips(time.Minute)
	w.advance(time.Hour)
	w.m.Wake()
	w.skips(time.Second)
	if v := w.session(s.ID); v.State != Running || v.TimeCons < 3660 {
		t.Errorf("%+v", v)
	}
}

// Control may die after it paused and before that is in the ledger.
func TestWhyItWasPausedOutlivesControl(t *testing.T) {
	w := newWorld(t)
	w.opt.IdlePause = 60 * time.Second
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(3600))
	w.connect(d.ID)
	w.until("on disk", w.clean)
	w.away()
	w.skips(70 * time.Second)
	w.state(s.ID, Paused, "idle")
	w.kills()
	w.runs()
	w.until("on disk", w.clean)
	w.state(s.ID, Paused, "idle")
	lines := w.ledger(s.ID)
	for _, x := range lines {
		if x.Kind == LinePause && x.Why == "paused: the client sends nothing" {
			return
		}
	}
	t.Errorf("the ledger does not say why it was paused: %+v", lines)
}

// TestAPacketAsItsSessionIsPaused: a client that was silent sends once more, and
// that packet passes before the forwarder has taken in that it is paused. It is not
// idle then, and does not have to send another one.
func TestAPacketAsItsSessionIsPaused(t *testing.T) {
	for _, row := range []struct {
		name string
		then func(w *world)
	}{
		{"and control sees it", func(*world) {}},
		{"and control dies", func(w *world) { w.kills(); w.runs() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.opt.IdlePause = 60 * time.Second
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, timePlan(3600))
			w.connect(d.ID)
			w.until("on disk", w.clean)
			w.stalls(true)
			w.advance(70 * time.Second)
			w.until("it is paused", func() bool { w.m.Wake(); return w.session(s.ID).State == Paused })
			w.table.Slot(w.slotOf(hwA)).LastSeen.Store(int64(w.boot()))
			row.then(w)
			w.stalls(false)
			w.until("it runs", func() bool { w.m.Wake(); return w.session(s.ID).State == Running })
		})
	}
}

// Who passes nothing because the forwarder has not let him in yet, as before Run, is
// not idle.
func TestWhoHasNotBegunIsNotIdle(t *testing.T) {
	w := newWorld(t)
	w.opt.IdlePause = 60 * time.Second
	w.boots()
	w.stalls(true)
	w.table.Header().Alive.Store(0)
	w.runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(3600))
	w.connect(d.ID)
	for range 2 {
		w.advance(2 * time.Minute)
		w.m.round(bg())
	}
	if v := w.session(s.ID); v.State != Running || v.TimeCons != 0 {
		t.Errorf("%+v", v)
	}
	w.table.Header().Alive.Store(1)
	w.stalls(false)
	w.skips(61 * time.Second) // from now on it could
	w.skips(61 * time.Second)
	w.state(s.ID, Paused, "idle")
}

// What pauses by itself, and goes on, is told with its state.
func TestAPauseByItselfIsTold(t *testing.T) {
	for _, row := range []struct {
		name   string
		pauses func(w *world)
		over   func(w *world)
		want   [2]string
	}{
		{"idle", func(w *world) { w.skips(70 * time.Second) }, func(w *world) { w.pass(macA, 100, 0) },
			[2]string{"the session is paused: the client sends nothing", "the session goes on: the client sent a packet"}},
		{"without carrier", func(w *world) { w.loses(pauseNoCarrier) }, (*world).regains,
			[2]string{"the session is paused: the WAN port has no carrier", "the session goes on: the WAN is back"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.opt.IdlePause, w.opt.PauseOnCarrierLoss = 60*time.Second, true
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, timePlan(3600))
			w.connect(d.ID)
			changed := w.m.ClientDevice(d).Subscribe(SessionChanged)
			for i, do := range []func(w *world){row.pauses, row.over} {
				do(w)
				state := []State{Paused, Running}[i]
				w.until("it is "+string(state), func() bool { w.m.Wake(); return w.session(s.ID).State == state })
				w.until("that is told", func() bool { return len(changed) > 0 })
				var told switched
				if err := json.Unmarshal(<-changed, &told); err != nil || told != (switched{message{row.want[i], s.ID}, state}) {
					t.Errorf("told %+v, %v", told, err)
				}
			}
			if n := len(changed); n != 0 {
				t.Errorf("%d more events: %s", n, <-changed)
			}
		})
	}
}

// What is paused in the place of an ended session is paused for its reason, and so
// goes on by itself too.
func TestWhatFollowsAnIdleSessionIsIdle(t *testing.T) {
	none := uint(0)
	w := newWorld(t)
	w.opt.IdlePause = 60 * time.Second
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := timePlan(100)
	p.ExpDays = &none
	w.create(d.ID, p)
	next := w.create(d.ID, timePlan(3600))
	w.connect(d.ID)
	w.skips(70 * time.Second)
	w.state(1, Paused, "idle")
	w.skips(40 * time.Second)
	w.state(next.ID, Paused, "idle")
	w.until("a packet has it go on", func() bool { return w.pass(macA, 100, 0) == 100 })
	w.state(next.ID, Running, "")
}

// The next session's grant is there as soon as that of the one that goes on: the first
// packets may use that one up.
func TestTheNextOneIsThereAsAnIdleClientGoesOn(t *testing.T) {
	w := newWorld(t)
	w.opt.IdlePause = 60 * time.Second
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(3600))
	next := w.create(d.ID, timePlan(3600))
	w.connect(d.ID)
	w.skips(70 * time.Second)
	w.state(s.ID, Paused, "idle")
	w.until("it is settled", w.clean)
	w.m.mu.Lock()
	dev := w.m.byID[d.ID]
	w.m.mu.Unlock()
	if err := dev.turn.take(bg()); err != nil {
		t.Fatal(err)
	}
	defer w.m.finish(dev)
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.m.goOnSoon(dev)
	if cur, n := dev.current(), dev.next(); cur == nil || cur.session.id != s.ID || n == nil || n.session.id != next.ID {
		t.Errorf("granted %+v, next %+v", cur, n)
	}
}
