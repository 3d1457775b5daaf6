package sessions

import (
	"testing"

	"gatewayd/forwarder/clients"
)

// macsOf returns MACs of one worker's clients.
func (w *world) macsOf(worker, n int) (macs []string) {
	spread := w.table.Spread()
	for mac := uint64(0x020000000100); len(macs) < n; mac++ {
		if spread.Of(mac) == worker {
			macs = append(macs, macText(mac))
		}
	}
	return macs
}

// placed returns the slot of a MAC's device; 0: none.
func (w *world) placed(mac string) int {
	w.t.Helper()
	hw, err := parseMAC(mac)
	if err != nil {
		w.t.Fatal(err)
	}
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if d := w.m.byMAC[hw]; d != nil {
		return d.slot
	}
	return 0
}

// connects adds a device and connects it.
func (w *world) connects(mac string) Device {
	w.t.Helper()
	d := w.add(mac, "")
	w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	return d
}

// A client has a slot of its worker's, whatever the others have, and all together
// are no more than limits.clients.
func TestClientsHaveSlotsOfTheirWorkers(t *testing.T) {
	w := newWorld(t)
	w.team = clients.Shape{Slots: clients.SlotsFor(6, 3), Clients: 6, Workers: 3, Seed: 11}
	w.boots().runs()
	var first Device
	for worker, n := range []int{4, 0, 2} {
		for _, mac := range w.macsOf(worker, n) {
			if d := w.connects(mac); first.ID == 0 {
				first = d
			}
			if slot := w.placed(mac); slot == 0 || w.table.Owner(slot) != worker {
				t.Errorf("%s of worker %d has slot %d", mac, worker, slot)
			}
		}
	}
	seventh := w.macsOf(1, 1)[0]
	_, _, err := w.m.AddDevice(bg(), seventh, "", "")
	w.wants(err, ErrTableFull)
	w.disconnect(first.ID)
	w.connects(seventh) // takes the place of one of another worker's
	for _, mac := range []string{seventh, w.macsOf(2, 1)[0]} {
		if n := w.pass(mac, 1500, 0); n != 1500 {
			t.Errorf("%s passes %d bytes", mac, n)
		}
	}
}

// When one worker's slots are all in use, a newcomer of its clients takes the place
// of one of them and of nobody else.
func TestANewcomerTakesAPlaceOfItsWorkers(t *testing.T) {
	w := newWorld(t)
	w.team = clients.Shape{Slots: 5, Clients: 4, Workers: 2, Seed: 11} // two slots each
	w.boots().runs()
	mine, other := w.macsOf(0, 3), w.macsOf(1, 1)[0]
	a := w.connects(mine[0])
	w.connects(mine[1])
	w.add(other, "") // not connected: it would be the first to go
	_, _, err := w.m.AddDevice(bg(), mine[2], "", "")
	w.wants(err, ErrTableFull)
	w.disconnect(a.ID)
	w.connects(mine[2])
	if w.placed(other) == 0 {
		t.Error("the other worker's client lost its slot")
	}
}

// A control that is started again knows whose slots are free.
func TestSlotsOfWorkersSurviveControl(t *testing.T) {
	w := newWorld(t)
	w.team = clients.Shape{Slots: 5, Clients: 4, Workers: 2, Seed: 11}
	w.boots().runs()
	mine, other := w.macsOf(0, 3), w.macsOf(1, 3)
	w.connects(mine[0])
	w.connects(other[0])
	w.kills()
	w.runs()
	w.connects(mine[1])
	w.connects(other[1])
	for _, mac := range []string{mine[2], other[2]} {
		_, _, err := w.m.AddDevice(bg(), mac, "", "")
		w.wants(err, ErrTableFull)
	}
}
