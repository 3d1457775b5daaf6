package sessions

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// told returns all events of a device that there were, as "name: message" with
// the session, or "name: MAC IP hostname".
func (w *world) told(device int64) (got []string) {
	for _, kind := range w.m.hub.kept {
		for _, e := range kind.after(0) {
			if e.DeviceID != device {
				continue
			}
			var v struct {
				Message  string
				Session  int64 `json:"session_id"`
				MAC, IP  string
				Hostname string
			}
			if err := json.Unmarshal(e.Data, &v); err != nil {
				w.t.Errorf("%s: %v", e.Data, err)
			}
			text := fmt.Sprintf("%s: %s", e.Name, v.Message)
			if v.MAC != "" {
				text += fmt.Sprintf("%s %s %s", v.MAC, v.IP, v.Hostname)
			} else {
				text += fmt.Sprintf(" (%d)", v.Session)
			}
			got = append(got, text)
		}
	}
	return got
}

// wantsTold waits until all is written, and checks that exactly these events of
// sessions were told.
func (w *world) wantsTold(device int64, want ...string) {
	w.t.Helper()
	sessionsOnly := func() (got []string) {
		w.m.hub.mu.Lock()
		defer w.m.hub.mu.Unlock()
		for _, text := range w.told(device) {
			if kindOf(text) == kindSession {
				got = append(got, text)
			}
		}
		return got
	}
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = sessionsOnly(); len(got) >= len(want) && w.clean() {
			break
		}
	}
	w.m.round(bg())
	if got = sessionsOnly(); !slices.Equal(got, want) {
		w.t.Errorf("told %q\nwant %q", got, want)
	}
}

func TestEachEventOfASessionIsToldOnce(t *testing.T) {
	const created1, created2 = "session:changed: a new session (1)", "session:changed: a new session (2)"
	const connected, bye = "session:connected: hello (1)", "session:disconnected: bye (1)"
	day := uint(1)
	expiring := dataPlan(1)
	expiring.ExpDays = &day
	restarts := func(w *world, away func()) { // only what the new process tells is seen
		w.kills()
		away()
		w.runs()
	}
	for _, row := range []struct {
		name  string
		plans []Plan
		do    func(w *world, d Device)
		want  []string
	}{
		{"connected and disconnected", []Plan{timePlan(600)}, func(w *world, d Device) { w.connect(d.ID); w.disconnect(d.ID) },
			[]string{created1, connected, bye}},
		{"refused calls tell nothing", nil, func(w *world, d Device) {
			_, err := w.m.ConnectDevice(bg(), d.ID, "")
			w.wants(err, ErrNoSession)
			_, err = w.m.DisconnectDevice(bg(), d.ID, "")
			w.wants(err, ErrNotConnected)
			_, err = w.m.Create(bg(), d.ID, Plan{})
			w.wants(err, ErrBadPlan)
		}, nil},
		{"data used up", []Plan{dataPlan(0.003)}, func(w *world, d Device) { w.connect(d.ID); w.pass(macA, 6000, 0) },
			[]string{created1, connected, "session:consumed: the data is used up (1)", "session:disconnected: the data is used up (1)"}},
		{"data used up to the byte, and disconnected", []Plan{dataPlan(0.003)}, func(w *world, d Device) { w.connect(d.ID); w.pass(macA, 3000, 0); w.disconnect(d.ID) },
			[]string{created1, connected, "session:consumed: the data is used up (1)", bye}},
		{"time used up", []Plan{timePlan(60)}, func(w *world, d Device) { w.connect(d.ID); w.advance(time.Hour) },
			[]string{created1, connected, "session:consumed: the time is used up (1)", "session:disconnected: the time is used up (1)"}},
		{"expired in use", []Plan{expiring}, func(w *world, d Device) { w.connect(d.ID); w.advance(25 * time.Hour) },
			[]string{created1, connected, "session:expired: the session has expired (1)", "session:disconnected: the session has expired (1)"}},
		{"expired while nobody uses it", []Plan{expiring}, func(w *world, d Device) { w.connect(d.ID); w.disconnect(d.ID); w.advance(25 * time.Hour) },
			[]string{created1, connected, bye}},
		{"chained", []Plan{dataPlan(0.003), timePlan(60)}, func(w *world, d Device) {
			w.connect(d.ID)
			w.pass(macA, 6000, 0)
			w.until("the second runs", func() bool { return w.session(2).State == Running })
			w.advance(time.Hour)
		}, []string{created1, created2, connected, "session:consumed: the data is used up (1)", "session:changed: session 2 goes on after session 1 (2)",
			"session:consumed: the time is used up (2)", "session:disconnected: the time is used up (2)"}},
		{"topped up as it ended", []Plan{dataPlan(0.003)}, func(w *world, d Device) {
			w.connect(d.ID)
			more := 1.0
			if _, err := w.m.Update(bg(), 1, Change{DataMB: &more}); err != nil {
				t.Error(err)
			}
			w.pass(macA, 6000, 0)
		}, []string{created1, connected, "session:changed: the session was changed (1)"}},
		{"deleted in use, with another one", []Plan{dataPlan(1), timePlan(60)}, func(w *world, d Device) {
			w.connect(d.ID)
			if err := w.m.Delete(bg(), 1); err != nil {
				t.Error(err)
			}
		}, []string{created1, created2, connected, "session:changed: the session was deleted (1)", "session:changed: session 2 goes on after session 1 (2)"}},
		{"deleted in use, with no other", []Plan{dataPlan(1)}, func(w *world, d Device) {
			w.connect(d.ID)
			if err := w.m.Delete(bg(), 1); err != nil {
				t.Error(err)
			}
		}, []string{created1, connected, "session:changed: the session was deleted (1)", "session:disconnected: no session is left (1)"}},
		{"used up as it is disconnected", []Plan{dataPlan(0.003)}, func(w *world, d Device) {
			w.connect(d.ID)
			dev := w.m.byID[d.ID]
			dev.turn.take(bg()) // as disconnect has it, between looking and cutting
			w.pass(macA, 6000, 0)
			w.m.mu.Lock()
			dev.connected = false
			w.m.mu.Unlock()
			if err := w.m.cut(dev, "disconnected"); err != nil {
				t.Error(err)
			}
			w.m.finish(dev)
		}, []string{created1, connected, "session:consumed: the data is used up (1)"}},
		{"by a forwarder that was alone", []Plan{dataPlan(0.003), dataPlan(0.003)}, func(w *world, d Device) {
			w.connect(d.ID)
			restarts(w, func() { w.pass(macA, 9000, 0) })
		}, []string{"session:consumed: the data is used up (1)", "session:changed: session 2 goes on after session 1 (2)",
			"session:consumed: the data is used up (2)", "session:disconnected: the data is used up (2)"}},
		{"in part by the process before, which did not write it", []Plan{dataPlan(0.003), dataPlan(0.003)}, func(w *world, d Device) {
			w.connect(d.ID)
			w.away()
			w.pass(macA, 4500, 0)
			w.until("the first is told", func() bool { return w.session(1).State == Consumed })
			restarts(w, func() { w.pass(macA, 9000, 0) })
		}, []string{"session:consumed: the data is used up (2)", "session:disconnected: the data is used up (2)"}},
		{"all by the process before, which did not write it", []Plan{dataPlan(0.003)}, func(w *world, d Device) {
			w.connect(d.ID)
			w.away()
			w.pass(macA, 9000, 0)
			w.until("it is told", func() bool { return !w.device(macA).Connected })
			restarts(w, func() {})
			if v := w.device(macA); v.Connected || w.session(1).State != Consumed {
				t.Errorf("%+v", v)
			}
		}, nil},
		{"connected again after a power cut", []Plan{dataPlan(1)}, func(w *world, d Device) {
			w.connect(d.ID)
			w.kills()
			w.boots().runs()
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
			w.until("it runs", func() bool { return w.session(1).State == Running })
		}, []string{"session:connected: connected again after a restart (1)"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			for _, p := range row.plans {
				w.create(d.ID, p)
			}
			row.do(w, d)
			w.wantsTold(d.ID, row.want...)
		})
	}
}

func TestEachEventOfADeviceIsToldOnce(t *testing.T) {
	t.Parallel()
	const created = "client:created: " + macA + " 10.10.0.2 till"
	unbound := "client:changed: " + macA + "  till"
	changed := func(mac, ip, name string) string { return fmt.Sprintf("client:changed: %s %s %s", mac, ip, name) }
	update := func(w *world, d Device, mac, ip, hostname string) {
		if err := w.m.ClientDevice(d).Update(bg(), mac, ip, hostname); err != nil {
			w.t.Error(err)
		}
	}
	for _, row := range []struct {
		name string
		do   func(w *world, a, b Device)
		want []string // of the first
		of   []string // of the second, after its creation
	}{
		{"added with its address", func(w *world, a, b Device) {}, []string{created}, nil},
		{"added again as it is", func(w *world, a, b Device) { w.m.AddDevice(bg(), macA, "10.10.0.2", "till") }, []string{created}, nil},
		{"added again with another name", func(w *world, a, b Device) { w.m.AddDevice(bg(), macA, "", "bar") }, []string{created, changed(macA, "10.10.0.2", "bar")}, nil},
		{"updated", func(w *world, a, b Device) { update(w, a, "", "10.10.0.9", "bar") }, []string{created, changed(macA, "10.10.0.9", "bar")}, nil},
		{"updated as it is", func(w *world, a, b Device) { update(w, a, macA, "10.10.0.2", "till") }, []string{created}, nil},
		{"updated to another MAC", func(w *world, a, b Device) { update(w, a, macC, "", "till") }, []string{created, changed(macC, "10.10.0.2", "till")}, nil},
		{"updated to the address of one that is gone", func(w *world, a, b Device) { update(w, a, "", "10.10.0.3", "till") },
			[]string{created, changed(macA, "10.10.0.3", "till")}, []string{changed(macB, "", "")}},
		{"an address that is another's is refused", func(w *world, a, b Device) {
			w.fake.mu.Lock()
			w.fake.answers[hwB] = true
			w.fake.mu.Unlock()
			w.wants(w.m.ClientDevice(a).Update(bg(), "", "10.10.0.3", "bar"), ErrConflict)
			_, _, err := w.m.AddDevice(bg(), macA, "10.10.0.3", "bar")
			w.wants(err, ErrConflict)
		}, []string{created}, nil},
		{"seen at another address", func(w *world, a, b Device) {
			w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwA), MAC: hwA, IP: 0x0a0a0009})
			w.until("it is bound", func() bool { return w.fake.addressOf(hwA) == 0x0a0a0009 })
		}, []string{created, changed(macA, "10.10.0.9", "till")}, nil},
		{"seen at the address of one that is gone", func(w *world, a, b Device) {
			w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwB), MAC: hwB, IP: ip2})
			w.until("it is bound", func() bool { return w.fake.addressOf(hwB) == ip2 })
		}, []string{created, unbound}, []string{changed(macB, "10.10.0.2", "")}},
		{"known again after a restart", func(w *world, a, b Device) { w.kills(); w.runs(); w.device(macA) }, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			a, _, err := w.m.AddDevice(bg(), macA, "10.10.0.2", "till")
			if err != nil {
				t.Fatal(err)
			}
			b := w.add(macB, "10.10.0.3")
			row.do(w, a, b)
			w.until("all is written", w.clean)
			w.m.hub.mu.Lock()
			defer w.m.hub.mu.Unlock()
			if got := w.told(a.ID); !slices.Equal(got, row.want) {
				t.Errorf("told %q\nwant %q", got, row.want)
			}
			if got := w.told(b.ID); len(got) > 0 && !slices.Equal(got[1:], row.of) || len(got) == 0 && row.of != nil {
				t.Errorf("of the other %q\nwant %q", got, row.of)
			}
		})
	}
}

func TestADeviceThatIsNotMadeIsNotTold(t *testing.T) {
	w := newWorld(t).boots().runs()
	w.add(macA, "10.10.0.2")
	w.fake.mu.Lock()
	w.fake.answers[hwA] = true
	w.fake.mu.Unlock()
	_, _, err := w.m.AddDevice(bg(), macB, "10.10.0.2", "")
	w.wants(err, ErrConflict)
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwC, IP: ip3}) // one that only sends
	w.until("it is known", func() bool { d, err := w.m.Device(bg(), macC); return err == nil && d.ID != 0 })
	if got := reads(w.m.hub, 0, EventFilter{Names: []string{ClientCreated}}); len(got) != 2 {
		t.Errorf("told %q, want the first and the third", got)
	}
}
