package sessions

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestKilledControlLosesNothing(t *testing.T) {
	rows := []struct {
		name string
		plan Plan
		do   func(w *world, d Device) // before the kill
		away func(w *world)           // while control is dead
		want func(t *testing.T, w *world, first, second Session, connected bool)
	}{
		{
			name: "a running session goes on with its counters",
			plan: dataPlan(10),
			do:   func(w *world, d Device) { w.connect(d.ID); w.pass(macA, 1000, 2000) },
			away: func(w *world) { w.pass(macA, 500, 0) },
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if !connected || first.State != Running || first.UpBytes != 1500 || first.DownBytes != 2000 {
					t.Errorf("connected %v, %+v", connected, first)
				}
			},
		},
		{
			name: "what earlier grants used is not counted again",
			plan: dataPlan(10),
			do: func(w *world, d Device) {
				w.connect(d.ID)
				w.pass(macA, 1000, 0)
				w.disconnect(d.ID)
				w.connect(d.ID)
				w.pass(macA, 0, 70)
			},
			away: func(w *world) { w.pass(macA, 5, 0) },
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if !connected || first.UpBytes != 1005 || first.DownBytes != 70 {
					t.Errorf("connected %v, %+v", connected, first)
				}
			},
		},
		{
			name: "a session that is used up while control is away hands over to the next",
			plan: dataPlan(0.003),
			do:   func(w *world, d Device) { w.connect(d.ID); w.pass(macA, 1500, 0) },
			away: func(w *world) {
				if n := w.pass(macA, 6000, 0); n != 6000 {
					t.Errorf("%d bytes passed, want 6000: no packet is lost", n)
				}
			},
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if !connected || first.State != Consumed || first.UpBytes != 3000 || second.State != Running || second.UpBytes != 4500 || second.StartedAt == nil {
					t.Errorf("connected %v\n%+v\n%+v", connected, first, second)
				}
			},
		},
		{
			name: "all sessions used up while control is away leave the device disconnected",
			plan: dataPlan(0.003),
			do:   func(w *world, d Device) { w.connect(d.ID) },
			away: func(w *world) { w.pass(macA, 0, 2_000_000) },
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if connected || first.State != Consumed || second.State != Consumed || first.DownBytes != 3000 || second.DownBytes != 999_000 {
					t.Errorf("connected %v\n%+v\n%+v", connected, first, second)
				}
			},
		},
		{
			name: "time goes on while control is away",
			plan: timePlan(600),
			do:   func(w *world, d Device) { w.connect(d.ID); w.advance(100500 * time.Millisecond) },
			away: func(w *world) { w.advance(100 * time.Second) },
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if !connected || first.TimeCons != 200 || first.RemainingTime != 400 {
					t.Errorf("connected %v, %+v", connected, first)
				}
			},
		},
		{
			name: "an edit of what was used survives",
			plan: dataPlan(10),
			do: func(w *world, d Device) {
				w.connect(d.ID)
				w.pass(macA, 1000, 0)
				all, _, _ := w.m.Sessions(bg(), Filter{State: Running}, "", 0)
				used := 5.0
				if _, err := w.m.Update(bg(), all[0].ID, Change{DataCons: &used}); err != nil {
					t.Error(err)
				}
			},
			away: func(w *world) { w.pass(macA, 500, 0) },
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if first.UpBytes != 1500 || first.DataCons != 5.0005 || first.RemainingData != 4.9995 {
					t.Errorf("%+v", first)
				}
			},
		},
		{
			name: "a checkpoint of what the table has is not counted on top",
			plan: dataPlan(10),
			do: func(w *world, d Device) {
				w.connect(d.ID)
				w.pass(macA, 1000, 0)
				if wrote, err := w.m.checkpoint(bg(), false); !wrote || err != nil {
					t.Errorf("checkpoint: %v, %v", wrote, err)
				}
			},
			away: func(w *world) { w.pass(macA, 500, 0) },
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if first.UpBytes != 1500 {
					t.Errorf("%+v", first)
				}
			},
		},
		{
			name: "a paused session is available with its rest",
			plan: dataPlan(10),
			do:   func(w *world, d Device) { w.connect(d.ID); w.pass(macA, 1000, 0); w.disconnect(d.ID) },
			away: func(w *world) { w.pass(macA, 500, 0) },
			want: func(t *testing.T, w *world, first, second Session, connected bool) {
				if connected || first.State != Available || first.UpBytes != 1000 {
					t.Errorf("connected %v, %+v", connected, first)
				}
			},
		},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t).stands().boots().runs()
			d := w.add(macA, "10.10.0.2")
			first := w.create(d.ID, r.plan)
			second := w.create(d.ID, dataPlan(1))
			r.do(w, d)
			w.kills()
			r.away(w)
			w.runs()
			v := w.device(macA)
			if v.ID != d.ID || v.IP != "10.10.0.2" {
				t.Errorf("device %+v, was %+v", v, d)
			}
			check := func() { r.want(t, w, w.session(first.ID), w.session(second.ID), w.device(macA).Connected) }
			check()
			w.kills() // again, before anything else happens
			w.runs()
			check()
		})
	}
}

func TestPowerCutCostsAtMostACheckpoint(t *testing.T) {
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, Plan{Type: TypeTimeOrData, DataMB: 10, TimeSecs: 1000, UseGlobalSpeed: true})
	w.connect(d.ID)
	w.pass(macA, 1000, 2000)
	w.advance(10 * time.Second)
	if _, err := w.m.checkpoint(bg(), false); err != nil {
		t.Fatal(err)
	}
	w.pass(macA, 7, 7)
	w.kills()
	w.advance(time.Hour)
	w.boots().runs()

	if v := w.device(macA); v.Connected || v.ID != d.ID {
		t.Errorf("before its first packet: %+v", v)
	}
	v := w.session(s.ID)
	if v.UpBytes != 1000 || v.DownBytes != 2000 || v.TimeCons != 10 || v.State != Available {
		t.Errorf("after the power cut: %+v", v)
	}
	w.kills() // the checkpoint is in the record now
	w.boots().runs()
	if v := w.session(s.ID); v.UpBytes != 1000 || v.TimeCons != 10 {
		t.Errorf("after a second power cut: %+v", v)
	}
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: 0x02000000000a, IP: 0x0a0a0002})
	w.until("the device is admitted again", func() bool { return w.pass(macA, 10, 0) == 10 })
	if v := w.session(s.ID); v.UpBytes != 1010 || v.TimeCons != 10 || v.State != Running {
		t.Errorf("admitted again: %+v", v)
	}
}

func TestWithoutResumeARestartPauses(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(10))
	w.connect(d.ID)
	w.kills()
	w.opt.ResumeOnRestart = false
	w.boots().runs()
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: 0x02000000000a, IP: 0x0a0a0002})
	w.until("the device has its address", func() bool { return w.fake.addressOf(0x02000000000a) != 0 })
	w.until("it is looked up", func() bool { _, err := w.m.Device(bg(), "10.10.0.2"); return err == nil })
	w.connect(d.ID) // it was not, or this is refused
	if v := w.session(s.ID); v.State != Running {
		t.Errorf("%+v", v)
	}
}

func TestControlThatRestartsKeepsItsClock(t *testing.T) {
	w := newWorld(t).boots().runs()
	days := uint(1)
	p := dataPlan(1)
	p.ExpDays = &days
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, p)
	w.connect(d.ID)
	w.disconnect(d.ID)
	for _, step := range []time.Duration{48 * time.Hour, -47 * time.Hour, -2 * time.Hour, 50 * 365 * 24 * time.Hour} {
		w.kills()
		w.stepClock(step)
		w.runs()
		if v := w.session(s.ID); v.State != Available {
			t.Errorf("after a step of %v: %+v", step, v)
		}
	}
	w.advance(25 * time.Hour)
	if v := w.session(s.ID); v.State != Expired {
		t.Errorf("after a day: %+v", v)
	}
}

func TestCleanEndKeepsAll(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(10))
	w.connect(d.ID)
	w.pass(macA, 1234, 0)
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	_, err := w.m.API().IsConnected(w.m.ClientDevice(d))
	w.wants(err, ErrStopped)
	w.boots().runs()
	if v := w.session(s.ID); v.UpBytes != 1234 {
		t.Errorf("%+v", v)
	}
	e := w.add(macB, "")
	if e.ID != d.ID+1 {
		t.Errorf("device id %d after %d: the ids not used were given back", e.ID, d.ID)
	}
}

func TestIdsAreNeverReused(t *testing.T) {
	w := newWorld(t).boots().runs()
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: 0x02000000000a, IP: 0x0a0a0002})
	w.until("the device has an id", func() bool { d, err := w.m.Device(bg(), macA); return err == nil && d.ID != 0 })
	a := w.device(macA)
	w.kills()
	w.boots().runs()
	if b := w.add(macB, ""); b.ID <= a.ID {
		t.Errorf("device id %d after a kill, %d was given away before", b.ID, a.ID)
	}
}

// Whoever is disconnected between a restart and the client's first packet stays so.
func TestADeviceThatWouldGoOnCanBeDisconnected(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(600))
	w.connect(d.ID)
	w.kills()
	for _, want := range []error{nil, ErrNotConnected} { // also the next start finds it disconnected
		w.boots().runs()
		if v := w.session(s.ID); v.State != Available || w.device(macA).Connected {
			t.Errorf("before its first packet: %+v", v)
		}
		_, err := w.m.DisconnectDevice(bg(), d.ID, "")
		w.wants(err, want)
		w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
		w.until("it was seen", func() bool {
			w.m.mu.Lock()
			defer w.m.mu.Unlock()
			return w.m.byMAC[hwA].sighted
		})
		time.Sleep(100 * time.Millisecond) // it would be let in now
		if n := w.pass(macA, 100, 0); n != 0 {
			t.Errorf("%d bytes pass after it was disconnected", n)
		}
		w.kills()
	}
}

// see puts a sighting in the ring.
func (w *world) see(s clients.Sighting) {
	s.When = w.boot()
	w.table.Sight(0, s)
	w.m.Wake()
}
