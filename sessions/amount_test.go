package sessions

import (
	"context"
	"math"
	"testing"
	"time"

	"gatewayd/store/client"
)

func TestAChangeNeverTakesConsumedTimeBack(t *testing.T) {
	days := uint(1)
	rows := []struct {
		name   string
		change func(h ClientSession)
		mend   func(h ClientSession)
		left   uint
	}{
		{
			"a limit below what was used", func(h ClientSession) { h.SetTimeSecs(50) },
			func(h ClientSession) { h.SetTimeSecs(600) }, 500,
		},
		{
			"an expiry that has passed",
			func(h ClientSession) { at := epoch.Add(-48 * time.Hour); h.SetStartedAt(&at) },
			func(h ClientSession) { at := epoch; h.SetStartedAt(&at) }, 500,
		},
		{
			"consumption above the limit", func(h ClientSession) { h.SetTimeCons(700) },
			func(h ClientSession) { h.SetTimeSecs(1000) }, 300,
		},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t).stands().boots().runs()
			d := w.add(macA, "10.10.0.2")
			p := timePlan(600)
			p.ExpDays = &days
			w.create(d.ID, p)
			w.connect(d.ID)
			w.advance(100 * time.Second)
			h, err := w.m.API().GetSession(bg(), w.m.ClientDevice(d))
			if err != nil {
				t.Fatal(err)
			}
			before := h.TimeConsumption()
			r.change(h)
			if err := h.Save(bg()); err != nil {
				t.Fatal(err)
			}
			w.until("the device is disconnected", func() bool { return !w.device(macA).Connected })
			if h.TimeConsumption() < before {
				t.Errorf("consumed %d s, before the change %d s", h.TimeConsumption(), before)
			}
			r.mend(h)
			if err := h.Save(bg()); err != nil {
				t.Fatal(err)
			}
			if got := h.RemainingTime(); got > r.left || got < r.left-1 {
				t.Errorf("%d s left, want %d", got, r.left)
			}
		})
	}
}

// A lowered consumption stays lowered: what the checkpoint has of it is older.
func TestLoweredConsumptionSurvivesAPowerCut(t *testing.T) {
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, Plan{Type: TypeTimeOrData, TimeSecs: 600, DataMB: 10, UseGlobalSpeed: true})
	w.connect(d.ID)
	w.pass(macA, 3_000_000, 0)
	w.advance(100 * time.Second)
	if _, err := w.m.checkpoint(bg(), false); err != nil {
		t.Fatal(err)
	}
	no, none := uint(0), 0.0
	if _, err := w.m.Update(bg(), s.ID, Change{TimeCons: &no, DataCons: &none}); err != nil {
		t.Fatal(err)
	}
	for _, restart := range []func(){func() { w.kills(); w.runs() }, func() { w.kills(); w.boots().runs() }, func() { w.kills(); w.boots().runs() }} {
		restart()
		if v := w.session(s.ID); v.TimeCons > 1 || v.DataCons != 0 || v.UpBytes != 3_000_000 {
			t.Errorf("%+v", v)
		}
	}
}

func TestAmountsNeverOverflow(t *testing.T) {
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := Plan{Type: TypeTimeOrData, TimeSecs: maxTimeSecs, DataMB: maxDataMB, UseGlobalSpeed: true}
	days := uint(maxExpDays)
	p.ExpDays = &days
	s := w.create(d.ID, p)
	w.connect(d.ID)
	if n := w.pass(macA, 1500, 0); n != 1500 || w.session(s.ID).RemainingTime != maxTimeSecs-1 && w.session(s.ID).RemainingTime != maxTimeSecs {
		t.Errorf("the largest plan: %d bytes pass, %+v", n, w.session(s.ID))
	}
	h, err := w.m.API().GetSession(bg(), w.m.ClientDevice(d))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		h.IncTimeCons(math.MaxUint)
		h.IncDataCons(math.MaxFloat64)
		if got := h.TimeConsumption(); got < maxTimeSecs-1 || uint64(got) > math.MaxUint32 {
			t.Fatalf("not saved yet: %d s consumed", got)
		}
		if h.RemainingTime() != 0 || h.RemainingData() != 0 {
			t.Fatalf("not saved yet: %d s, %f MB left", h.RemainingTime(), h.RemainingData())
		}
		if err := h.Save(bg()); err != nil {
			t.Fatal(err)
		}
		if got := h.TimeConsumption(); h.RemainingTime() != 0 || h.RemainingData() != 0 || got < maxTimeSecs-1 || uint64(got) > math.MaxUint32 {
			t.Fatalf("%d s, %f MB left; %d s consumed", h.RemainingTime(), h.RemainingData(), got)
		}
	}
}

func TestAStartOutsideAnyCalendarIsRefused(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(60))
	h, err := w.m.API().GetSession(bg(), w.m.ClientDevice(d))
	if err != nil {
		t.Fatal(err)
	}
	for _, year := range []int{-5000, 1, 1969, 9998, 200_000} {
		at := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		h.SetStartedAt(&at)
		w.wants(h.Save(bg()), ErrBadPlan)
	}
	if v := w.session(s.ID); v.StartedAt != nil {
		t.Errorf("%+v", v)
	}
}

func TestPausingHundredsOfTimesLosesNoTime(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(600))
	var want time.Duration
	count := func() {
		slot := w.table.Slot(w.slotOf(hwA))
		if g := slot.Record(slot.Active.Load()); g.Started.Load() != 0 { // it is revoked before it started, now and then
			want += time.Duration(min(g.Ended.Load(), g.Revoked.Load()) - g.Started.Load())
		}
	}
	for range 200 {
		w.connect(d.ID)
		w.advance(10400 * time.Microsecond)
		w.disconnect(d.ID)
		count()
	}
	w.kills()
	w.boots().runs()
	w.m.mu.Lock()
	got := w.m.sessions[s.ID]
	w.m.mu.Unlock()
	if got == nil {
		w.connect(d.ID)
		w.disconnect(d.ID)
		w.m.mu.Lock()
		got = w.m.sessions[s.ID]
		w.m.mu.Unlock()
		count()
	}
	if got.settled.time != want || want < 100*10400*time.Microsecond {
		t.Errorf("consumed %v, want %v to the nanosecond", got.settled.time, want)
	}
}

// More clients than one answer of the store holds, and a part of a larger
// checkpoint that was left.
func TestALargeCheckpointIsReadWhole(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(10))
	for part := range 10 {
		entries := make([]entry, partSize)
		for i := range entries {
			entries[i] = entry{1 << 20, use{1 << 48, 1 << 48, 1 << 34 * time.Millisecond}} // deleted long ago
		}
		if part == 9 {
			entries[0] = entry{s.ID, use{1234, 0, 0}}
		}
		err := w.client.Batch(bg(), []client.Record{{Key: []byte{'c', '/', 1, byte(part)}, Value: packCheckpoint(1, entries)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.kills()
	w.boots().runs()
	if v := w.session(s.ID); v.UpBytes != 1234 {
		t.Errorf("%+v", v)
	}
}

func TestADamagedCheckpointCostsNoMoreThanItself(t *testing.T) {
	for _, damaged := range []byte{0, 1} {
		w := newWorld(t).boots().runs()
		d := w.add(macA, "10.10.0.2")
		s := w.create(d.ID, dataPlan(10))
		w.connect(d.ID)
		for range 2 {
			w.pass(macA, 1000, 0)
			if _, err := w.m.checkpoint(bg(), false); err != nil {
				t.Fatal(err)
			}
		}
		key := []byte{'c', '/', damaged, 0}
		v, ok, err := w.client.Get(bg(), key)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		v[len(v)/2] ^= 4
		if err := w.client.Batch(bg(), []client.Record{{Key: key, Value: v}}); err != nil {
			t.Fatal(err)
		}
		w.kills()
		w.boots().runs()
		want := uint64(2000)
		if damaged == 0 { // sequence 2, the newer
			want = 1000
		}
		if v := w.session(s.ID); v.UpBytes != want {
			t.Errorf("generation %d damaged: %+v", damaged, v)
		}
		w.m.checkpoint(context.Background(), true)
		w.end()
		w.stopsForwarder()
		w.fake = nil
	}
}
