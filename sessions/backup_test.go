package sessions

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/store/client"
)

// A backup is restored while one client runs a session that the backup has running as
// well, and another one runs a session that was sold since.
func TestRestorePutsTheBackupInThePlaceOfAll(t *testing.T) {
	w := newWorld(t).boots().runs()
	a, b := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3")
	first := w.create(a.ID, dataPlan(10))
	w.connect(a.ID)
	w.pass(macA, 1000, 2000)
	w.disconnect(a.ID)
	w.connect(a.ID)
	w.pass(macA, 500, 0)
	var backup bytes.Buffer
	if err := w.m.Backup(bg(), &backup); err != nil {
		t.Fatal(err)
	}
	w.pass(macA, 700, 0)
	later := w.create(b.ID, dataPlan(10))
	w.connect(b.ID)
	w.pass(macB, 50, 0)

	for name, bad := range map[string][]byte{
		"cut":     backup.Bytes()[:backup.Len()-3],
		"nothing": nil,
	} {
		w.wants(w.m.Restore(bg(), bytes.NewReader(bad)), ErrBadBackup)
		if n := w.pass(macA, 100, 0); n != 100 {
			t.Errorf("%s: the client was disconnected", name)
		}
	}
	gone := errors.New("gone")
	w.wants(w.m.Restore(bg(), failing{gone}), gone)
	if got := w.session(later.ID); got.State != Running {
		t.Errorf("before the restore: %+v", got)
	}

	now := w.m.clock.read().Wall
	if err := w.m.Restore(bg(), bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	if w.pass(macA, 1, 0)+w.pass(macB, 1, 0) != 0 {
		t.Error("clients pass after a restore, before they were seen")
	}
	_, err := w.m.Session(bg(), later.ID)
	w.wants(err, ErrUnknownSession)
	got := w.session(first.ID)
	if got.UpBytes != 1500 || got.DownBytes != 2000 {
		t.Errorf("after the restore: %+v", got)
	}
	if by, trusted := w.m.clock.off(); !trusted || by.Abs() > time.Minute || w.m.clock.read().Wall.Before(now) {
		t.Errorf("the clock is off by %v, trusted %v", by, trusted)
	}
	if next := w.create(b.ID, timePlan(60)); next.ID <= later.ID {
		t.Errorf("id %d was given away before", next.ID)
	}
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("the session that ran goes on", func() bool { return w.pass(macA, 10, 0) == 10 })
	if got := w.session(first.ID); got.UpBytes != 1510 {
		t.Errorf("it goes on with %+v", got)
	}
	w.end()
	w.boots().runs() // and it is on disk
	if got := w.session(first.ID); got.UpBytes != 1510 {
		t.Errorf("after a restart: %+v", got)
	}
}

// The power goes when a restore is on disk and nothing after it.
func TestARestoreThatIsCutOffGivesNoIDTwice(t *testing.T) {
	w := newWorld(t).boots().runs()
	a := w.add(macA, "10.10.0.2")
	w.create(a.ID, timePlan(60))
	var backup bytes.Buffer
	if err := w.m.Backup(bg(), &backup); err != nil {
		t.Fatal(err)
	}
	saved, _, err := w.client.Get(bg(), idsKey)
	if err != nil {
		t.Fatal(err)
	}
	var last Session
	for range 2 * smallBlock {
		last = w.create(a.ID, timePlan(60))
	}
	if err := w.m.Restore(bg(), &backup); err != nil {
		t.Fatal(err)
	}
	w.kills()
	w.client = client.New()
	w.back()
	if err := w.client.Batch(bg(), []client.Record{{Key: idsKey, Value: saved}}); err != nil {
		t.Fatal(err)
	}
	w.boots().runs()
	if next := w.create(w.device(macA).ID, timePlan(60)); next.ID <= last.ID {
		t.Errorf("id %d was given away before, up to %d", next.ID, last.ID)
	}
}

// The power goes when all clients are disconnected for a restore, and nothing is restored.
func TestARestoreThatDoesNothingLetsClientsGoOn(t *testing.T) {
	for _, end := range []string{"a power cut", "an error"} {
		t.Run(end, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			a := w.add(macA, "10.10.0.2")
			s := w.create(a.ID, dataPlan(10))
			w.connect(a.ID)
			w.pass(macA, 1000, 0)
			w.m.gate.Lock()
			err := w.m.disconnectAll(bg())
			w.m.gate.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			if n := w.pass(macA, 1, 0); n != 0 {
				t.Error("the client passes")
			}
			next := clients.Sighting{Kind: clients.NoGrant, MAC: hwA, IP: ip2, Slot: w.slotOf(hwA)}
			if end == "a power cut" {
				w.kills()
				w.boots().runs()
				next.Kind = clients.UnknownMAC
			}
			if got := w.session(s.ID); got.UpBytes != 1000 {
				t.Errorf("%+v, want all that was used", got)
			}
			w.see(next)
			w.until("the client goes on", func() bool { return w.pass(macA, 10, 0) == 10 })
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A backup of another time: of long ago, and made by a clock that is ahead.
func TestARestoreKeepsTheClock(t *testing.T) {
	for _, row := range []struct {
		name string
		step time.Duration // between backup and restore, on another box
		off  bool
	}{
		{"a backup of two years ago", 2 * 366 * 24 * time.Hour, false},
		{"a backup of tomorrow", -24 * time.Hour, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			w.create(w.add(macA, "10.10.0.2").ID, timePlan(60))
			var backup bytes.Buffer
			if err := w.m.Backup(bg(), &backup); err != nil {
				t.Fatal(err)
			}
			w.end()

			other := newWorld(t)
			other.stepClock(row.step)
			other.boots().runs()
			other.add(macB, "10.10.0.3")
			if err := other.m.Restore(bg(), &backup); err != nil {
				t.Fatal(err)
			}
			if _, trusted := other.m.clock.off(); trusted == row.off {
				t.Errorf("trusted %v", trusted)
			}
			other.device(macA)
		})
	}
}

func TestWithoutAStoreThereIsNoBackup(t *testing.T) {
	w := newWorld(t).boots().runs()
	w.away()
	w.wants(w.m.Backup(bg(), io.Discard), ErrUnavailable)
	w.wants(w.m.Restore(bg(), bytes.NewReader(nil)), ErrUnavailable)
	w.back()
	w.end()
	w.wants(w.m.Backup(bg(), io.Discard), ErrStopped)
	w.wants(w.m.Restore(bg(), bytes.NewReader(nil)), ErrStopped)
}
