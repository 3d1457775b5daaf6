package sessions

import (
	"context"
	"math"
	"sync"
	"testing"
)

// A Save whose change is on disk, and not in force yet, is not made twice by
// calling it again.
func TestASaveThatIsNotInForceIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(10))
	w.connect(d.ID)
	h, ok := w.m.API().CurrSession(w.m.ClientDevice(d))
	if !ok {
		t.Fatal("no session runs")
	}
	stall := func(on bool) {
		w.fake.mu.Lock()
		w.fake.stalled = on
		w.fake.mu.Unlock()
	}
	stall(true)
	h.IncDataCons(0.5)
	w.wants(h.Save(bg()), ErrForwarder)
	stall(false)
	if err := h.Save(bg()); err != nil || h.DataConsumption() != 0.5 {
		t.Errorf("%v MB consumed, want 0.5: %v", h.DataConsumption(), err)
	}
}

// What a program gave, and what it got, is its own.
func TestNoPointerIsShared(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	clnt := w.m.ClientDevice(d)
	days := uint(30)
	if err := w.m.API().CreateSession(bg(), d.ID, 0, 60, 0, &days, 5, 3, false); err != nil {
		t.Fatal(err)
	}
	h, err := w.m.API().GetSession(bg(), clnt)
	if err != nil {
		t.Fatal(err)
	}
	days = 1
	*h.ExpDays() = 2
	if got := *h.ExpDays(); got != 30 {
		t.Errorf("after both were written to it expires after %d days, want 30", got)
	}
	days = 20
	if _, err := w.m.Update(bg(), 1, Change{ExpDays: &days}); err != nil {
		t.Fatal(err)
	}
	days = 1
	if got := *w.session(1).ExpDays; got != 20 {
		t.Errorf("%d days, want 20", got)
	}
}

// A provider is told who the device is, also when it is not in memory; of one
// that does not exist it is not asked.
func TestAProviderKnowsWhomItIsAskedAbout(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.kills()
	w.boots().runs()
	var mu sync.Mutex
	var asked []string
	w.registers(asker(func(clnt ClientDevice) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, clnt.MacAddr())
	}))
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNoSession)
	_, err = w.m.ConnectDevice(bg(), 999, "")
	w.wants(err, ErrNoDevice)
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 1 || asked[0] != macA {
		t.Errorf("asked about %q, want %s once", asked, macA)
	}
}

// asker is a provider that has nothing.
type asker func(ClientDevice)

func (a asker) GetSession(_ context.Context, clnt ClientDevice) (SessionSource, bool) {
	a(clnt)
	return nil, false
}

func (a asker) FetchSessions(context.Context, ClientDevice, int, int) (FetchSessionsResult, error) {
	return FetchSessionsResult{}, nil
}

// A rest that no packet fitted is not left, whatever else is edited; who sets the
// data anew has it again.
func TestAHandleShowsNoRestThatWasSpent(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(0.001))
	w.connect(d.ID)
	h, ok := w.m.API().CurrSession(w.m.ClientDevice(d))
	if !ok {
		t.Fatal("no session runs")
	}
	if n := w.pass(macA, 800, 0) + w.pass(macA, 800, 0); n != 800 {
		t.Fatalf("%d bytes passed, want 800", n)
	}
	w.until("it is consumed", func() bool { return w.session(s.ID).State == Consumed })
	left := func(when string, want float64) {
		t.Helper()
		if got := h.RemainingData(); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v MB left, want %v", when, got, want)
		}
	}
	left("as it is", 0)
	h.SetDownMbits(9)
	left("with another speed", 0)
	h.IncTimeCons(1)
	h.IncDataCons(0.0001)
	left("with more consumed", 0)
	h.SetDataMb(0.002)
	left("with more data", 0.0011)
	if err := h.Save(bg()); err != nil {
		t.Fatal(err)
	}
	left("saved", 0.0011)
}

// A limit that a session's type does not have is no change of it.
func TestALimitThatTheTypeDoesNotHaveIsRefused(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	secs, mb := uint(120), 5.0
	timed, data := w.create(d.ID, timePlan(60)), w.create(d.ID, dataPlan(1))
	either := w.create(d.ID, Plan{Type: TypeTimeOrData, TimeSecs: 60, DataMB: 1, DownMbits: 5, UpMbits: 3})
	for _, row := range []struct {
		id  int64
		c   Change
		err error
	}{
		{timed.ID, Change{DataMB: &mb}, ErrBadPlan}, {timed.ID, Change{TimeSecs: &secs, DataMB: &mb}, ErrBadPlan}, {data.ID, Change{TimeSecs: &secs}, ErrBadPlan},
		{99, Change{DataMB: &mb}, ErrUnknownSession},
		{timed.ID, Change{TimeSecs: &secs}, nil}, {data.ID, Change{DataMB: &mb}, nil}, {either.ID, Change{TimeSecs: &secs, DataMB: &mb}, nil},
	} {
		_, err := w.m.Update(bg(), row.id, row.c)
		w.wants(err, row.err)
	}
	if v := w.session(timed.ID); v.TimeSecs != 120 || v.DataMB != 0 {
		t.Errorf("%+v", v)
	}
	w.tells(timed.ID, "create top-up")
	w.tells(data.ID, "create top-up")
}

// With the global speed a session's own is ignored: none below 0 is kept.
func TestASpeedBelowNothingIsNotKept(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, Plan{Type: TypeTime, TimeSecs: 60, DownMbits: -5, UpMbits: 3, UseGlobalSpeed: true})
	if s.DownMbits != 0 || s.UpMbits != 3 {
		t.Errorf("created with %d down, %d up", s.DownMbits, s.UpMbits)
	}
	down, up := 7, -7
	s, err := w.m.Update(bg(), s.ID, Change{DownMbits: &down, UpMbits: &up})
	if err != nil || s.DownMbits != 7 || s.UpMbits != 0 {
		t.Errorf("changed to %d down, %d up, %v", s.DownMbits, s.UpMbits, err)
	}
	own := false
	_, err = w.m.Update(bg(), s.ID, Change{UseGlobalSpeed: &own})
	w.wants(err, ErrBadPlan)
}
