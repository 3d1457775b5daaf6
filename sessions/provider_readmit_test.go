package sessions

import (
	"context"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// TestWhatEndedOverARestartIsFollowedByAProvidersSession: who comes back after its
// session has expired goes on with what a connect would have found.
func TestWhatEndedOverARestartIsFollowedByAProvidersSession(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		fault func(t *testing.T) func(context.Context) error // of the provider; nil: none
		runs  string                                         // whose session then
	}{
		{"it answers", nil, "acme"},
		{"it never ends", func(t *testing.T) func(context.Context) error { return hangs(t, false) }, Local},
		{"it panics", func(*testing.T) func(context.Context) error { return func(context.Context) error { panic("down") } }, Local},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w, p := expired(t)
			e := w.add(macB, "10.10.0.3")
			w.create(e.ID, dataPlan(1))
			w.connect(e.ID)
			w.until("it is on disk", w.clean)
			w.kills()
			if row.fault != nil {
				p.asking = row.fault(t)
			}
			w.boots().runs()
			w.sight()
			w.until("it was asked", func() (asked bool) { p.change(func() { asked = p.gets > 0 }); return asked })
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip3})
			w.until("the other goes on", func() bool { return w.pass(macB, 100, 0) == 100 })
			w.until("it goes on", func() bool { return w.pass(macA, 100, 0) == 100 })
			if s := w.device(macA).Session; s == nil || s.Provider != row.runs {
				t.Errorf("it goes on with %+v", s)
			}
		})
	}
}

// expired is a gateway with a device whose session runs on disk and has expired, a local
// one that follows, and a provider with another, which the next manager has.
func expired(t *testing.T) (w *world, p *shop) {
	w = newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	plan := dataPlan(1)
	plan.ExpDays = new(uint(1))
	w.create(d.ID, plan)
	w.connect(d.ID)
	w.until("it is on disk", w.clean)
	w.kills()
	w.advance(25 * time.Hour)
	w.boots().runs()
	w.create(d.ID, dataPlan(1))
	p = newShop("acme")
	p.sells("a", dataPlan(1))
	w.providers = []SessionProvider{p}
	return w, p
}

// TestWhoDisconnectsWhileAProviderIsAsked does not go on.
func TestWhoDisconnectsWhileAProviderIsAsked(t *testing.T) {
	w, p := expired(t)
	w.kills()
	at := newStop()
	p.asking = func(context.Context) error { p.change(func() { p.asking = nil }); at.here(); return nil }
	w.boots().runs()
	w.sight()
	<-at.reached
	w.disconnect(w.device(macA).ID)
	close(at.release)
	w.m.mu.Lock()
	d := w.m.byMAC[hwA]
	w.m.mu.Unlock()
	w.until("it has answered", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		return !d.ahead.consulting
	})
	if err := w.m.meet(bg(), d); err != nil { // as it is looked up again
		t.Fatal(err)
	}
	if w.device(macA).Connected || w.pass(macA, 100, 0) != 0 {
		t.Error("it goes on")
	}
}
