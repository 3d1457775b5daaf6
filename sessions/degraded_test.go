package sessions

import (
	"context"
	"strings"
	"testing"
	"time"
)

// What a checkpoint that fails puts at risk is said, until one succeeds.
func TestALateCheckpointIsSaid(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.pass(macA, 1000, 0)
	w.until("on disk", w.clean)
	said := func() bool {
		return strings.Contains(strings.Join(w.m.Degraded(), "; "), "a power cut would give it back")
	}
	if said() {
		t.Error("before")
	}
	w.away()
	if _, err := w.m.checkpoint(bg(), false); err == nil || !said() {
		t.Errorf("%v, and said is %v: %v", err, said(), w.m.Degraded())
	}
	w.back()
	w.until("one succeeds", func() bool { _, err := w.m.checkpoint(bg(), false); return err == nil })
	if said() {
		t.Errorf("afterwards: %v", w.m.Degraded())
	}
}

// A caller that gives up says nothing of the store.
func TestWhoGivesUpSaysNothingOfTheStore(t *testing.T) {
	w := newWorld(t).boots().runs()
	gone, leave := context.WithCancel(bg())
	leave()
	if _, err := w.m.Session(gone, 99); err == nil {
		t.Error("it was answered")
	}
	if why := w.m.Degraded(); len(why) != 0 {
		t.Errorf("degraded: %v", why)
	}
}

// A table without a free slot is said for as long as it says something of now.
func TestAFullTableIsSaid(t *testing.T) {
	w := newWorld(t)
	w.slots, w.still, w.skip = 3, true, time.Hour
	w.boots().runs()
	said := func() bool { return strings.Contains(strings.Join(w.m.Degraded(), "; "), "limits.clients, which is 2") }
	for _, mac := range []string{macA, macB} {
		d := w.add(mac, "")
		w.create(d.ID, dataPlan(1))
		w.connect(d.ID)
		if said() {
			t.Errorf("while there was room: %v", w.m.Degraded())
		}
	}
	_, _, err := w.m.AddDevice(bg(), macC, "", "")
	if w.wants(err, ErrTableFull); !said() {
		t.Errorf("the third is refused, and it is said %v", w.m.Degraded())
	}
	w.advance(fullTime)
	if said() {
		t.Errorf("later: %v", w.m.Degraded())
	}
}
