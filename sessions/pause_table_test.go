package sessions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/store/client"
)

// TestWhatWasDecidedWithoutTheStoreOutlivesControl: the disk has a session as
// paused, or as one that goes on with the next packet. The store goes away,
// something else is decided, and control is killed. The next one does what was
// decided last, tells nothing again, and has it on disk.
func TestWhatWasDecidedWithoutTheStoreOutlivesControl(t *testing.T) {
	t.Parallel()
	none := uint(0)
	expiring := timePlan(3600)
	expiring.ExpDays = &none
	disconnects := func(w *world, d Device) {
		_, err := w.m.DisconnectDevice(bg(), d.ID, "")
		w.wants(err, ErrUnavailable)
	}
	asked := func(w *world, d Device) { w.pause(d.ID) }
	idle := func(w *world, d Device) {
		w.skips(70 * time.Second)
		w.state(1, Paused, "idle")
	}
	noCarrier := func(w *world, d Device) {
		w.loses(pauseNoCarrier)
		w.state(1, Paused, "no_carrier")
	}
	wakes := func(w *world, d Device) {
		w.until("it goes on", func() bool { return w.pass(macA, 100, 0) == 100 })
	}
	for _, row := range []struct {
		name   string
		plans  []Plan
		paused func(w *world, d Device) // is on disk
		do     func(w *world, d Device) // is not
		state  []State
		held   int64 // the session that is paused; 0: none
	}{
		{"it is disconnected", []Plan{timePlan(3600)}, asked, disconnects, []State{Available}, 0},
		{"it is disconnected while idle", []Plan{timePlan(3600)}, idle, disconnects, []State{Available}, 0},
		{"it is disconnected while the WAN is away", []Plan{timePlan(3600)}, noCarrier, func(w *world, d Device) {
			disconnects(w, d)
			w.regains()
		}, []State{Available}, 0},
		{"it goes on by itself and is disconnected", []Plan{timePlan(3600)}, idle, func(w *world, d Device) {
			wakes(w, d)
			disconnects(w, d)
		}, []State{Available}, 0},
		{"it goes on by itself and is used up", []Plan{dataPlan(0.003)}, idle, func(w *world, d Device) {
			wakes(w, d)
			w.pass(macA, 6000, 0)
			w.until("it is told", func() bool { return w.hasTold(d.ID, SessionDisconnected) })
		}, []State{Consumed}, 0},
		{"it goes on by itself and expires", []Plan{expiring}, idle, func(w *world, d Device) {
			wakes(w, d)
			w.advance(2 * time.Hour)
			w.until("it is told", func() bool { return w.hasTold(d.ID, SessionDisconnected) })
		}, []State{Expired}, 0},
		{"it expires", []Plan{expiring}, asked, func(w *world, d Device) {
			w.advance(2 * time.Hour)
			w.until("it is told", func() bool { return w.hasTold(d.ID, SessionDisconnected) })
		}, []State{Expired}, 0},
		{"it expires, and the next one is paused in its place", []Plan{expiring, timePlan(3600)}, asked, func(w *world, d Device) {
			w.advance(2 * time.Hour)
			w.until("it is told", func() bool { return w.hasTold(d.ID, SessionExpired) && w.device(macA).Session != nil })
		}, []State{Expired, Paused}, 2},
		{"somebody pauses what is idle", []Plan{timePlan(3600)}, idle, func(w *world, d Device) {
			_, err := w.m.PauseDevice(bg(), d.ID, "")
			w.wants(err, ErrUnavailable)
		}, []State{Paused}, 1},
		{"it is disconnected and has no slot", []Plan{timePlan(3600)}, asked, func(w *world, d Device) {
			w.losesSlot()
			disconnects(w, d)
		}, []State{Available}, 0},
		{"it would go on with its next packet and is disconnected", []Plan{timePlan(3600)}, func(w *world, d Device) {
			w.until("on disk", w.clean)
			w.kills()
			w.boots().runs()
			w.add(macA, "10.10.0.2")
			if v := w.session(1); v.State != Available {
				w.t.Errorf("%+v", v)
			}
		}, disconnects, []State{Available}, 0},
		{"it would go on with its next packet and is paused", []Plan{timePlan(3600)}, func(w *world, d Device) {
			w.until("on disk", w.clean)
			w.kills()
			w.boots().runs()
			w.add(macA, "10.10.0.2")
		}, func(w *world, d Device) {
			_, err := w.m.PauseDevice(bg(), d.ID, "")
			w.wants(err, ErrUnavailable)
		}, []State{Paused}, 1},
	} {
		for i, starts := range []struct {
			name string
			next func(w *world)
		}{
			{"two more are killed", func(w *world) { w.runs(); w.kills(); w.runs() }},
			{"the store is back", func(w *world) { w.runs() }},
			{"the store comes back later", func(w *world) {
				w.client = client.New()
				w.away()
				w.serves()
				w.m.round(bg())
				w.back()
				w.until("the books are open", w.m.books.opened.Load)
			}},
		} {
			if i == 2 && row.name != "it is disconnected while idle" { // it takes seconds
				continue
			}
			t.Run(row.name+", "+starts.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.opt.IdlePause, w.opt.PauseOnCarrierLoss = 60*time.Second, true
				w.boots().runs()
				d := w.add(macA, "10.10.0.2")
				for _, p := range row.plans {
					w.create(d.ID, p)
				}
				w.connect(d.ID)
				row.paused(w, d)
				w.until("on disk", w.clean)
				w.away()
				row.do(w, d)
				w.kills()
				starts.next(w)
				w.skips(5 * time.Second)
				look := func(when string) {
					t.Helper()
					w.until("it is looked up", func() bool { _, err := w.m.Device(bg(), macA); return err == nil })
					if v := w.device(fmt.Sprint(d.ID)); v.Connected != (row.held != 0) || v.Connected && (v.Session == nil || v.Session.ID != row.held) {
						t.Errorf("%s: %+v %+v, want session %d paused", when, v, v.Session, row.held)
					}
					for i, want := range row.state {
						if v := w.session(int64(i + 1)); v.State != want {
							t.Errorf("%s: session %d is %s, want %s", when, i+1, v.State, want)
						}
					}
					if n := w.pass(macA, 100, 0); n != 0 {
						t.Errorf("%s: %d bytes passed", when, n)
					}
				}
				look("at once")
				w.settlesRound()
				w.meets()
				look("after a packet")
				w.wantsTold(d.ID)
				w.kills()
				w.boots().runs()
				w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
				w.meets()
				look("after a power cut")
			})
		}
	}
}

// hasTold says whether an event of a device was told.
func (w *world) hasTold(device int64, event string) bool {
	w.m.hub.mu.Lock()
	defer w.m.hub.mu.Unlock()
	for _, text := range w.told(device) {
		if strings.HasPrefix(text, event+": ") {
			return true
		}
	}
	return false
}

// TestThePausedOneIsDeletedAsControlDies: the deletion is on disk, and the table
// still has the session as paused.
func TestThePausedOneIsDeletedAsControlDies(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(100))
	next := w.create(d.ID, timePlan(100))
	w.connect(d.ID)
	w.pause(d.ID)
	if err := w.m.Delete(bg(), 1); err != nil {
		t.Fatal(err)
	}
	w.kills()
	w.table.Slot(w.slotOf(hwA)).Paused.Store(1)
	w.runs()
	w.holds(d, next.ID)
}

// losesSlot takes the slot of a device that is not granted away from it.
func (w *world) losesSlot() {
	w.m.mu.Lock()
	w.m.vacate(1, anyWorker)
	w.m.mu.Unlock()
}

// meets waits until all who were seen have been looked up.
func (w *world) meets() {
	w.until("sightings are read", func() bool {
		h := w.table.Worker(0)
		return h.Head.Load() == h.Tail.Load()
	})
	w.until("all are looked up", func() bool {
		w.m.mu.Lock()
		waits := len(w.m.lookups)
		var met []*device
		for _, d := range w.m.byMAC {
			met = append(met, d)
		}
		w.m.mu.Unlock()
		for _, d := range met { // the last one may be under way
			if d.turn.take(bg()) == nil {
				d.turn.done()
			}
			w.m.mu.Lock()
			loaded := d.loaded
			w.m.mu.Unlock()
			if !loaded {
				return false
			}
		}
		return waits == 0
	})
}

// TestARefusedConnectLeavesWhatGoesOn: a device that goes on with its next
// packet still does after a connect that the disk did not take in.
func TestARefusedConnectLeavesWhatGoesOn(t *testing.T) {
	for name, then := range map[string]func(w *world){
		"in the same process": func(*world) {},
		"after a power cut": func(w *world) {
			w.until("on disk", w.clean)
			w.kills()
			w.boots().runs()
			w.add(macA, "10.10.0.2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.opt.PauseOnCarrierLoss = true
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			w.create(d.ID, timePlan(3600))
			w.connect(d.ID)
			w.until("on disk", w.clean)
			w.kills()
			w.boots()
			w.table.Header().Down.Store(1 << clients.WAN)
			w.runs()
			w.add(macA, "10.10.0.2")
			w.away()
			_, err := w.m.ConnectDevice(bg(), d.ID, "")
			w.wants(err, ErrUnavailable)
			if w.device(macA).Connected {
				t.Error("connected")
			}
			w.regains()
			w.back()
			then(w)
			w.until("it goes on", func() bool { return w.pass(macA, 100, 0) == 100 })
		})
	}
}
