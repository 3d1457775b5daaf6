package sessions

import (
	"errors"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// speeds are what a device's grants say, in their order: down and up, bytes a second.
func (w *world) speeds(id int64) (all [][2]int64) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	d := w.m.byID[id]
	for _, g := range d.grants {
		r := w.table.Slot(d.slot).Record(g.seq)
		all = append(all, [2]int64{r.RateDown.Load(), r.RateUp.Load()})
	}
	return all
}

// adopts changes the options of the running manager.
func (w *world) adopts(change func(*Options)) error {
	change(&w.opt)
	return w.m.Adopt(w.opt)
}

func TestTheGlobalSpeedChangesForWhoRuns(t *testing.T) {
	own := Plan{Type: TypeData, DataMB: 1, DownMbits: 5, UpMbits: 3}
	global := Plan{Type: TypeTimeOrData, DataMB: 1, TimeSecs: 600, UseGlobalSpeed: true}
	for _, row := range []struct {
		name     string
		plans    []Plan
		down, up limiter.Rate
		want     [][2]int64
	}{
		{"a running one and the next", []Plan{global, global}, 250_000, 125_000, [][2]int64{{250_000, 125_000}, {250_000, 125_000}}},
		{"no limit any more", []Plan{global}, 0, 0, [][2]int64{{0, 0}}},
		{"one way only", []Plan{global}, 1_250_000, 9_000_000, [][2]int64{{1_250_000, 9_000_000}}},
		{"not who has a speed of its own", []Plan{own}, 250_000, 125_000, [][2]int64{{625_000, 375_000}}},
		{"the next one only", []Plan{own, global}, 250_000, 125_000, [][2]int64{{625_000, 375_000}, {250_000, 125_000}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).stands().boots().runs()
			d := w.add(macA, "10.10.0.2")
			var first Session
			for i, p := range row.plans {
				if s := w.create(d.ID, p); i == 0 {
					first = s
				}
			}
			w.connect(d.ID)
			w.pass(macA, 1000, 500)
			w.advance(10 * time.Second)
			w.until("what is used next stands ready", func() bool { return len(w.speeds(d.ID)) == len(row.plans) })
			before := w.grant(macA)
			limit, until := before.ByteLimit.Load(), before.Duration.Load()
			if err := w.adopts(func(o *Options) { o.GlobalDown, o.GlobalUp = row.down, row.up }); err != nil {
				t.Fatal(err)
			}
			for i, now := range w.speeds(d.ID) {
				if now != row.want[i] {
					t.Errorf("grant %d: down and up %v bytes a second, want %v", i, now, row.want[i])
				}
			}
			g := w.grant(macA)
			if g != before || g.ByteLimit.Load() != limit || g.Duration.Load() != until {
				t.Errorf("its limits were %d bytes and %d ns, and are %d and %d", limit, until, g.ByteLimit.Load(), g.Duration.Load())
			}
			w.pass(macA, 1000, 500)
			if s := w.session(first.ID); s.State != Running || s.UpBytes != 2000 || s.DownBytes != 1000 {
				t.Errorf("%+v", s)
			}
			w.disconnect(d.ID)
			w.connect(d.ID)
			if now := w.speeds(d.ID); now[0] != row.want[0] {
				t.Errorf("connected again: %v", now)
			}
		})
	}
}

// A control that was told of another speed as it ended has told nobody.
func TestTheGlobalSpeedIsTakenOverByTheNextControl(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, Plan{Type: TypeTime, TimeSecs: 600, UseGlobalSpeed: true})
	w.connect(d.ID)
	w.kills()
	w.opt.GlobalDown = 77_000
	w.runs()
	w.until("its client has the new speed", func() bool { return w.grant(macA).RateDown.Load() == 77_000 })
}

// Without a forwarder nobody is waited for; with one that stands still, not for long.
func TestAdoptWaitsForTheForwarder(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, Plan{Type: TypeTime, TimeSecs: 600, UseGlobalSpeed: true})
	w.connect(d.ID)
	w.fake.stop()
	if err := w.adopts(func(o *Options) { o.GlobalDown = 77_000 }); !errors.Is(err, ErrForwarder) {
		t.Errorf("the forwarder stands still: %v", err)
	}
	w.table.Header().Alive.Store(0)
	if err := w.adopts(func(o *Options) { o.GlobalDown = 78_000 }); err != nil {
		t.Errorf("there is no forwarder: %v", err)
	}
	w.fake = nil
}

func TestPausesAreSwitchedWhileSessionsRun(t *testing.T) {
	w := newWorld(t)
	w.opt.PauseOnCarrierLoss = true
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, Plan{Type: TypeTime, TimeSecs: 36000, UseGlobalSpeed: true})
	w.connect(d.ID)
	w.pass(macA, 100, 0)
	adopts := func(change func(*Options)) {
		t.Helper()
		if err := w.adopts(change); err != nil {
			t.Fatal(err)
		}
	}

	w.loses(pauseNoCarrier)
	w.state(s.ID, Paused, "no_carrier")
	adopts(func(o *Options) { o.PauseOnCarrierLoss = false })
	w.state(s.ID, Running, "")
	adopts(func(o *Options) { o.PauseOnCarrierLoss = true })
	w.state(s.ID, Paused, "no_carrier")
	w.regains()
	w.state(s.ID, Running, "")

	w.skips(100 * time.Second)
	w.state(s.ID, Running, "")
	adopts(func(o *Options) { o.IdlePause = 60 * time.Second })
	w.skips(time.Second)
	w.state(s.ID, Paused, "idle")

	w.pass(macA, 100, 0)
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("it goes on with a packet", func() bool { return w.pass(macA, 100, 0) == 100 })
	adopts(func(o *Options) { o.IdlePause = 0 })
	w.skips(1000 * time.Second)
	w.state(s.ID, Running, "")
}

func TestCheckpointsComeAsOftenAsTheyAreSetTo(t *testing.T) {
	wrote := make(chan struct{}, 100)
	w := newWorld(t)
	w.opt.Checkpointed = func(time.Duration, error) {
		select {
		case wrote <- struct{}{}:
		default:
		}
	}
	w.boots().runs() // one an hour
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(10))
	w.connect(d.ID)
	w.pass(macA, 1000, 0)
	if err := w.adopts(func(o *Options) { o.Checkpoint = time.Millisecond }); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		select {
		case <-wrote:
		case <-time.After(patience):
			t.Fatal("no checkpoint is written")
		}
	}
}

func TestALedgerIsKeptAsLongAsItIsSetTo(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(0.004))
	consumes(w, d, s)
	w.until("all is on disk", w.clean)
	w.advance(2 * time.Hour)
	w.sweeps(sweepSize)
	if w.story(s.ID) == "" {
		t.Error("it is gone before 90 days")
	}
	if err := w.adopts(func(o *Options) { o.LedgerKeep = time.Hour }); err != nil {
		t.Fatal(err)
	}
	w.sweeps(sweepSize)
	if left, _, err := w.m.Ledger(bg(), s.ID, "", 0); err == nil && len(left) > 0 && left[0].Kind != LineNow {
		t.Errorf("left of it after 2 hours: %+v", left)
	}
}
