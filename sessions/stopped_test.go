package sessions

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAStoppedGatewayAnswersErrStopped(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	api, clnt := w.m.API(), w.m.ClientDevice(d)
	s, err := api.GetSession(bg(), clnt)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Connect":       func() error { return api.Connect(bg(), clnt, "") },
		"Disconnect":    func() error { return api.Disconnect(bg(), clnt, "") },
		"IsConnected":   func() error { _, err := api.IsConnected(clnt); return err },
		"CreateSession": func() error { return api.CreateSession(bg(), d.ID, 0, 60, 0, nil, 1, 1, false) },
		"GetSession":    func() error { _, err := api.GetSession(bg(), clnt); return err },
		"Save":          func() error { s.SetTimeSecs(100); return s.Save(bg()) },
		"Reload":        func() error { return s.Reload(bg()) },
		"Update":        func() error { return clnt.Update(bg(), "", "", "phone") },
	} {
		if err := call(); !errors.Is(err, ErrStopped) {
			t.Errorf("%s: %v, want ErrStopped", name, err)
		}
	}
	if _, ok := api.CurrSession(clnt); ok {
		t.Error("CurrSession has one")
	}
}

// With the gateway subscriptions and readers end, also if its last words reach no disk.
func TestEventsEndWithTheGateway(t *testing.T) {
	for _, away := range []bool{false, true} {
		w := newWorld(t).boots().runs()
		d := w.add(macA, "10.10.0.2")
		events, reader := w.m.ClientDevice(d).Subscribe(SessionChanged), w.m.Events(FromNow, EventFilter{})
		w.until("on disk", w.clean)
		if away {
			w.away()
		}
		if err := w.end(); (err != nil) != away {
			t.Errorf("away %v: it ends with %v", away, err)
		}
		select {
		case payload, open := <-events:
			if open {
				t.Errorf("away %v: a subscriber is told %s", away, payload)
			}
		default:
			t.Errorf("away %v: a subscriber's channel is open", away)
		}
		soon, cancel := context.WithTimeout(bg(), 10*time.Second)
		defer cancel()
		if e, err := reader.Next(soon); !errors.Is(err, ErrStopped) {
			t.Errorf("away %v: a reader gets %+v, %v, want ErrStopped", away, e, err)
		}
	}
}

// A first start that is not on disk lets nothing pass; one that let something pass
// is there after a power cut.
func TestTheFirstStartIsOnDiskBeforeAPacketPasses(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(3600))
	w.away()
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrUnavailable)
	if n := w.pass(macA, 1500, 0); n != 0 || w.session(s.ID).StartedAt != nil {
		t.Errorf("%d bytes passed, started %v", n, w.session(s.ID).StartedAt)
	}
	w.back()
	w.until("it connects", func() bool { _, err := w.m.ConnectDevice(bg(), d.ID, ""); return err == nil })
	started := w.session(s.ID).StartedAt
	if n := w.pass(macA, 1500, 0); n != 1500 || started == nil {
		t.Fatalf("%d bytes passed, started %v", n, started)
	}
	w.kills()
	w.boots().runs()
	if v := w.session(s.ID); v.StartedAt == nil || !v.StartedAt.Equal(*started) {
		t.Errorf("after a power cut it started %v, before %v", v.StartedAt, *started)
	}
}
