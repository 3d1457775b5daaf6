package sessions

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// TestTheWayOut: the port's carrier and the next router, second by second.
func TestTheWayOut(t *testing.T) {
	const patience = 10 * time.Second
	type second struct {
		carrier, hears, heard bool
	}
	well, mute, dead, gone := second{true, true, true}, second{true, true, false}, second{true, false, false}, second{false, true, false}
	run := func(n int, s second) (all []second) {
		for range n {
			all = append(all, s)
		}
		return all
	}
	join := func(parts ...[]second) (all []second) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, row := range []struct {
		name      string
		byCarrier bool
		patience  time.Duration
		seconds   []second
		away      pauseReason
		back      bool
	}{
		{"all is well", true, patience, run(3, well), 0, true},
		{"nothing is known yet", true, patience, run(9, mute), 0, false},
		{"a router that never answered", true, patience, run(11, mute), pauseSilent, false},
		{"no carrier from the start", true, patience, run(1, gone), pauseNoCarrier, false},
		{"carrier lost", true, patience, join(run(5, well), run(1, gone)), pauseNoCarrier, false},
		{"carrier back, router not heard yet", true, patience, join(run(5, well), run(2, gone), run(3, mute)), pauseNoCarrier, false},
		{"carrier back, router stays silent", true, patience, join(run(5, well), run(2, gone), run(12, mute)), pauseSilent, false},
		{"carrier back, router heard", true, patience, join(run(5, well), run(2, gone), run(3, mute), run(1, well)), 0, true},
		{"router silent", true, patience, join(run(5, well), run(10, mute)), pauseSilent, false},
		{"router silent, not long enough", true, patience, join(run(5, well), run(9, mute)), 0, true},
		{"router back", true, patience, join(run(5, well), run(30, mute), run(1, well)), 0, true},
		{"the forwarder is dead, so nobody is heard", true, patience, join(run(5, well), run(60, dead)), 0, true},
		{"the forwarder comes back, the router is silent", true, patience, join(run(5, well), run(60, dead), run(9, mute)), 0, true},
		{"and stays so", true, patience, join(run(5, well), run(60, dead), run(11, mute)), pauseSilent, false},
		{"the forwarder dies while the router is silent", true, patience, join(run(5, well), run(20, mute), run(60, dead)), pauseSilent, false},
		{"carrier is not minded", false, patience, join(run(5, well), run(5, gone)), 0, true},
		{"not even then its silence", false, patience, join(run(5, well), run(15, gone)), pauseSilent, false},
		{"silence is not minded", true, 0, join(run(5, well), run(60, mute)), 0, true},
		{"silence is not minded, carrier back", true, 0, join(run(2, gone), run(1, mute)), 0, true},
		{"neither is minded", false, 0, run(60, gone), 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var w wan
			now, heard := time.Hour, time.Duration(0)
			for _, s := range row.seconds {
				now += time.Second
				if s.heard {
					heard = now
				}
				w.look(sight{now: now, carrier: s.carrier, hears: s.hears, heard: heard}, row.byCarrier, row.patience)
			}
			if w.away != row.away || w.back != row.back {
				t.Errorf("away %q, back %v; want %q, %v", w.away, w.back, row.away, row.back)
			}
		})
	}
}

// Who looks again after a while says nothing about a router that could not be
// heard meanwhile: the box stood still.
func TestALookAfterAPauseIsNotSilence(t *testing.T) {
	var w wan
	at := time.Hour
	w.look(sight{at, true, true, at}, true, 10*time.Second)
	w.look(sight{at + time.Minute, true, true, at}, true, 10*time.Second)
	if w.away != 0 {
		t.Errorf("away: %v", w.away)
	}
}

// loses takes the WAN away: its carrier, or the next router's voice.
func (w *world) loses(reason pauseReason) {
	switch reason {
	case pauseNoCarrier:
		w.table.Header().Down.Store(1 << clients.WAN)
		w.m.Wake()
	case pauseSilent:
		w.fake.mu.Lock()
		w.fake.alone = true
		w.fake.mu.Unlock()
		w.elapses(60 * time.Second)
	}
}

// regains gives it back.
func (w *world) regains() {
	w.table.Header().Down.Store(0)
	w.fake.mu.Lock()
	w.fake.alone = false
	w.fake.mu.Unlock()
	w.m.Wake()
}

// elapses lets time pass in steps that everybody sees.
func (w *world) elapses(d time.Duration) {
	w.t.Helper()
	const step = stuck / 2
	for ; d > 0; d -= step {
		w.skips(min(d, step))
	}
}

// skips lets time pass at once, and has the manager look then.
func (w *world) skips(d time.Duration) {
	w.t.Helper()
	w.advance(d)
	at := w.boot()
	w.until("the forwarder goes round", func() bool { return time.Duration(w.table.Header().Worker[0].Beat.Load()) >= at })
	w.m.Wake()
	w.until("the manager has looked", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		return w.m.wan.looked >= at
	})
}

// state waits until a session is in a state, for a reason.
func (w *world) state(id int64, state State, reason string) {
	w.t.Helper()
	w.until(fmt.Sprintf("session %d is %s %s", id, state, reason), func() bool {
		v := w.session(id)
		return v.State == state && v.PauseReason == reason
	})
}

func TestOnlySessionsWithTimeStandStill(t *testing.T) {
	w := newWorld(t)
	w.opt.PauseOnCarrierLoss = true
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	timed := w.create(d.ID, timePlan(3600))
	data := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.loses(pauseNoCarrier)
	w.state(timed.ID, Paused, "no_carrier")
	if err := w.m.Delete(bg(), timed.ID); err != nil {
		t.Fatal(err)
	}
	w.state(data.ID, Running, "")
	w.until("its packets pass", func() bool { return w.pass(macA, 100, 0) == 100 })
}

func TestClocksStandStillWhileTheWANIsAway(t *testing.T) {
	for _, reason := range []pauseReason{pauseNoCarrier, pauseSilent} {
		t.Run(reason.String(), func(t *testing.T) {
			w := newWorld(t)
			w.opt.PauseOnCarrierLoss, w.opt.PauseOnSilence = true, 10*time.Second
			w.boots().runs()
			timed, both, data, asked := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3"), w.add(macC, "10.10.0.4"), w.add("02:00:00:00:00:0d", "10.10.0.5")
			late := w.add("02:00:00:00:00:0e", "10.10.0.6")
			w.create(timed.ID, timePlan(3600))
			w.create(both.ID, Plan{Type: TypeTimeOrData, TimeSecs: 3600, DataMB: 1, DownMbits: 5, UpMbits: 3})
			w.create(data.ID, dataPlan(1))
			w.create(asked.ID, timePlan(3600))
			w.create(late.ID, timePlan(3600))
			for _, d := range []Device{timed, both, data, asked} {
				w.connect(d.ID)
			}
			w.pause(asked.ID)
			w.loses(reason)
			w.state(1, Paused, reason.String())
			w.state(2, Paused, reason.String())
			w.state(3, Running, "")
			w.state(4, Paused, "asked")
			before := w.session(1).TimeCons
			if most := uint(25); before > most {
				t.Errorf("%d s are billed until the pause", before)
			}
			if why := strings.Join(w.m.Degraded(), "; "); !strings.Contains(why, reason.sentence()+": the clocks of 2 sessions") {
				t.Errorf("degraded: %q", why)
			}
			if n := w.pass(macC, 100, 0); n != 100 {
				t.Errorf("%d bytes of a data session pass", n)
			}
			connected := w.m.ClientDevice(late).Subscribe(SessionConnected)
			v, err := w.m.ConnectDevice(bg(), late.ID, "soon")
			if err != nil || !v.Connected || v.Session == nil || v.Session.State != Paused || v.Session.StartedAt != nil {
				t.Fatalf("connected meanwhile: %+v %+v, %v", v, v.Session, err)
			}
			if got := string(<-connected); got != `{"message":"soon","session_id":5,"state":"paused"}` {
				t.Errorf("event %s", got)
			}
			if v, err = w.m.ResumeDevice(bg(), asked.ID, ""); err != nil || v.Session.State != Paused || v.Session.PauseReason != reason.String() {
				t.Errorf("resumed meanwhile: %+v, %v", v.Session, err)
			}
			w.pause(asked.ID)
			w.elapses(time.Minute)
			if now := w.session(1).TimeCons; now != before {
				t.Errorf("%d s are billed, %d before", now, before)
			}
			w.kills() // and whoever dies
			w.runs()
			w.state(1, Paused, reason.String())
			w.elapses(30 * time.Second)
			back := time.Now()
			w.regains()
			for id := range int64(5) {
				if id+1 != 4 {
					w.state(id+1, Running, "")
				}
			}
			w.state(4, Paused, "asked")
			since := func() uint { return 1 + uint(time.Since(back)/time.Second) } // the WAN is back, whole seconds begun
			if now := w.session(1).TimeCons; now > before+since() {
				t.Errorf("%d s are billed, %d before", now, before)
			}
			if v := w.session(5); v.StartedAt == nil || v.TimeCons > since() {
				t.Errorf("the one that connected meanwhile: %+v", v)
			}
			for _, mac := range []string{macA, macB, macC, "02:00:00:00:00:0e"} {
				w.until("it passes", func() bool { return w.pass(mac, 100, 0) == 100 })
			}
			w.until("nothing stands still", func() bool { return len(w.m.Degraded()) == 0 })
			told := ""
			for _, l := range w.ledger(1) {
				told += string(l.Kind) + " " + l.Why + "; "
			}
			for _, part := range []string{"pause paused: " + reason.sentence(), "resume resumed: the WAN is back"} {
				if !strings.Contains(told, part) {
					t.Errorf("the ledger does not say %q: %s", part, told)
				}
			}
		})
	}
}

// TestClocksStandStillOverEverything: what happens while the WAN is away.
func TestClocksStandStillOverEverything(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(w *world, d Device)
		then string // the state when the WAN is back
	}{
		{"the power fails, and the WAN is away still", func(w *world, d Device) {
			w.kills()
			w.boots()
			w.table.Header().Down.Store(1 << clients.WAN)
			w.runs()
			w.add(macA, "10.10.0.2")
		}, "running"},
		{"the power fails, and the WAN is back", func(w *world, d Device) {
			w.kills()
			w.boots().runs()
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
		}, "running"},
		{"the session expires", func(w *world, d Device) { w.advance(200 * time.Second) }, "expired"},
		{"it is disconnected", func(w *world, d Device) { w.disconnect(d.ID) }, "available"},
		{"somebody pauses it", func(w *world, d Device) { w.pause(d.ID) }, "paused"},
		{"the store is away", func(w *world, d Device) {
			w.away()
			w.elapses(5 * time.Second)
			w.regains()
			w.elapses(time.Second)
			w.back()
		}, "running"},
		{"the config does not say so any more", func(w *world, d Device) {
			w.opt.PauseOnCarrierLoss, w.opt.PauseOnSilence = false, 0
			w.kills()
			w.runs()
		}, "running"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.opt.PauseOnCarrierLoss, w.opt.PauseOnSilence = true, 10*time.Second
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			none := uint(0)
			plan := timePlan(100)
			plan.ExpDays = &none
			s := w.create(d.ID, plan)
			began := time.Now()
			w.connect(d.ID)
			w.loses(pauseNoCarrier)
			w.state(s.ID, Paused, "no_carrier")
			w.until("it is on disk", w.clean)
			row.do(w, d)
			w.regains()
			w.until("it is "+row.then, func() bool { return string(w.session(s.ID).State) == row.then })
			if v := w.session(s.ID); v.TimeCons > 3+uint(time.Since(began)/time.Second) { // real time passes too
				t.Errorf("%d s are billed", v.TimeCons)
			}
			if row.then == "running" {
				w.until("it passes", func() bool { return w.pass(macA, 100, 0) == 100 })
			} else if n := w.pass(macA, 100, 0); n != 0 {
				t.Errorf("%d bytes passed", n)
			}
		})
	}
}

// TestAllClocksStandStillAtOnce: the WAN goes and comes with hundreds of
// sessions running, thousands with GATEWAYD_SOAK; reads are served meanwhile.
func TestAllClocksStandStillAtOnce(t *testing.T) {
	t.Parallel()
	clientsN := 256
	if os.Getenv("GATEWAYD_SOAK") != "" {
		clientsN = 4095
	}
	w := newWorld(t)
	w.slots = clientsN + 2
	w.opt.PauseOnCarrierLoss = true
	w.boots().runs()
	var group sync.WaitGroup
	for part := range 16 {
		group.Go(func() {
			for i := part; i < clientsN; i += 16 {
				d, _, err := w.m.AddDevice(bg(), fmt.Sprintf("02:00:00:00:%02x:%02x", i/250+1, i%250), fmt.Sprintf("10.10.%d.%d", i/250+1, i%250+1), "")
				if err == nil {
					_, err = w.m.Create(bg(), d.ID, timePlan(36000))
				}
				if err == nil {
					_, err = w.m.ConnectDevice(bg(), d.ID, "")
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	counted := func(state State) func() bool { return func() bool { return w.m.Counts()[state] == clientsN } }
	w.until("all run", counted(Running))
	w.until("all is on disk", w.clean)
	for _, turn := range []struct {
		down  uint64
		state State
	}{{1 << clients.WAN, Paused}, {0, Running}} {
		slowest := time.Duration(0)
		done := make(chan struct{})
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(200 * time.Microsecond):
				}
				asked := time.Now()
				if _, err := w.m.Device(bg(), "10.10.1.1"); err != nil {
					t.Error(err)
				}
				slowest = max(slowest, time.Since(asked))
			}
		})
		began := time.Now()
		w.table.Header().Down.Store(turn.down)
		w.m.Wake()
		w.until("all are "+string(turn.state), counted(turn.state))
		switched := time.Since(began)
		w.until("all is on disk", w.clean)
		close(done)
		group.Wait()
		t.Logf("figure: %d sessions are %s after %v, on disk after %v; the slowest read took %v", clientsN, turn.state, switched, time.Since(began), slowest)
	}
}

// The internet comes and goes while the store is away: what the ended grants
// counted waits for it in their records, and the client is never locked out.
func TestAPauseLeavesRoomToGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.opt.PauseOnCarrierLoss = true
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(3600))
	w.create(d.ID, timePlan(3600))
	w.connect(d.ID)
	w.until("all is on disk", w.clean)
	w.away()
	for range 6 {
		w.loses(pauseNoCarrier)
		w.until("it is seen", func() bool { w.m.Wake(); return w.lostWAN() })
		w.settlesRound()
		w.regains()
		w.until("it passes again", func() bool { w.m.Wake(); return w.pass(macA, 100, 0) == 100 })
	}
}

// lostWAN says whether the manager knows that the WAN is away.
func (w *world) lostWAN() bool {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return w.m.wan.away != 0
}

// settlesRound has all devices looked at.
func (w *world) settlesRound() {
	for range 3 {
		w.m.round(bg())
	}
}
