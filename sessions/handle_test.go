package sessions

import (
	"context"
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
