package sessions

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestListsInPages(t *testing.T) {
	w := newWorld(t).boots().runs()
	want := map[int64]bool{}
	for i := range 7 {
		d := w.add(fmt.Sprintf("02:00:00:00:02:%02x", i), "")
		for range 3 {
			want[w.create(d.ID, dataPlan(1)).ID] = true
		}
	}
	first := w.device("02:00:00:00:02:00")
	w.connect(first.ID)
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("one is only seen", func() bool { d, err := w.m.Device(bg(), "10.10.0.2"); return err == nil && d.ID != 0 })
	for _, restart := range []bool{false, true} {
		if restart {
			w.kills()
			w.runs()
		}
		seen := map[int64]int{}
		for cursor, more := "", true; more; more = cursor != "" {
			page, next, err := w.m.Sessions(bg(), Filter{}, cursor, 4)
			if err != nil || len(page) > 4 {
				t.Fatalf("%d sessions, %v", len(page), err)
			}
			for _, s := range page {
				seen[s.ID]++
			}
			cursor = next
		}
		for id := range want {
			if seen[id] != 1 {
				t.Errorf("session %d is listed %d times", id, seen[id])
			}
		}
		devices := map[int64]int{}
		last := int64(0)
		for cursor, more := "", true; more; more = cursor != "" {
			page, next, err := w.m.Devices(bg(), cursor, 3)
			if err != nil || len(page) > 3 || len(page) == 0 {
				t.Fatalf("%d devices, %v", len(page), err)
			}
			for _, d := range page {
				devices[d.ID]++
				if d.ID <= last {
					t.Errorf("device %d after %d", d.ID, last)
				}
				last = d.ID
			}
			cursor = next
		}
		if len(devices) != 8 {
			t.Errorf("%d devices listed, want 8", len(devices))
		}
	}
	run, _, err := w.m.Sessions(bg(), Filter{State: Running}, "", 0)
	if err != nil || len(run) != 1 || run[0].DeviceID != first.ID {
		t.Errorf("running: %+v, %v", run, err)
	}
	_, _, err = w.m.Sessions(bg(), Filter{}, "nonsense", 0)
	w.wants(err, ErrBadCursor)
}

func TestStartDoesNotLoadWhatIsStored(t *testing.T) {
	w := newWorld(t).boots().runs()
	for i := range 5 {
		d := w.add(fmt.Sprintf("02:00:00:00:02:%02x", i), "")
		w.create(d.ID, dataPlan(1))
	}
	w.kills()
	w.boots().runs()
	w.m.mu.Lock()
	n := len(w.m.sessions)
	w.m.mu.Unlock()
	if n != 0 {
		t.Errorf("%d sessions in memory after the start", n)
	}
	w.create(w.device("02:00:00:00:02:03").ID, dataPlan(1))
	w.m.mu.Lock()
	n = len(w.m.sessions)
	w.m.mu.Unlock()
	if n != 2 {
		t.Errorf("%d sessions in memory, want the 2 of the device", n)
	}
	w.until("it is written", w.clean)
	w.advance(2 * time.Minute)
	w.m.forget()
	w.m.mu.Lock()
	n = len(w.m.sessions) + len(w.m.byMAC)
	w.m.mu.Unlock()
	if n != 0 {
		t.Errorf("%d sessions and devices in memory that nobody needs", n)
	}
}

// Without the store a list is of what is in memory, and comes with the error that
// it is away unless nothing can be missing.
func TestAListWithoutTheStoreSaysSo(t *testing.T) {
	w := newWorld(t).boots().runs()
	a, b := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3")
	w.create(a.ID, timePlan(60))
	w.create(b.ID, timePlan(60))
	w.kills()
	w.boots().runs()
	w.create(a.ID, timePlan(60)) // it is in memory, the other device is not
	for _, away := range []bool{false, true} {
		want := error(nil)
		left := 3
		if away {
			w.away()
			want, left = ErrUnavailable, 2
		}
		all, _, err := w.m.Sessions(bg(), Filter{}, "", 0)
		if w.wants(err, want); len(all) != left {
			t.Errorf("away %v: %d sessions, want %d", away, len(all), left)
		}
		if all, _, err = w.m.Sessions(bg(), Filter{DeviceID: a.ID}, "", 0); err != nil || len(all) != 2 {
			t.Errorf("away %v: %d sessions of the device in memory, %v", away, len(all), err)
		}
		all, _, err = w.m.Sessions(bg(), Filter{DeviceID: b.ID}, "", 0)
		if w.wants(err, want); all == nil || len(all) != left-2 {
			t.Errorf("away %v: %d sessions of the other device", away, len(all))
		}
		devices, _, err := w.m.Devices(bg(), "", 0)
		if w.wants(err, want); devices == nil {
			t.Errorf("away %v: no page", away)
		}
	}
}

func TestPagesHaveTheirBounds(t *testing.T) {
	for limit, want := range map[int]int{-1: 100, 0: 100, 1: 1, 999: 999, 1000: 1000, 1001: 1000, 1 << 30: 1000} {
		if got := pageSize(limit); got != want {
			t.Errorf("with a limit of %d a page has %d, want %d", limit, got, want)
		}
	}
}
