package sessions

import (
	"errors"
	"testing"
)

// TestWhatIsSoAfterErrForwarder: while the forwarder takes nothing in, each call
// leaves what its comment says, and the next forwarder, or the same one, holds to
// that.
func TestWhatIsSoAfterErrForwarder(t *testing.T) {
	t.Parallel()
	connected := func(w *world, id int64) { w.connect(id) }
	paused := func(w *world, id int64) {
		w.connect(id)
		if _, err := w.m.PauseDevice(bg(), id, ""); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name   string
		before func(w *world, device int64)
		call   func(m *Manager, device, session int64) error
		state  State // of the session; empty: there is none any more
		passes uint64
	}{
		{"a connect connects nobody", func(*world, int64) {}, func(m *Manager, device, _ int64) error {
			_, err := m.ConnectDevice(bg(), device, "")
			return err
		}, Available, 0},
		{"a disconnect is done", connected, func(m *Manager, device, _ int64) error {
			_, err := m.DisconnectDevice(bg(), device, "")
			return err
		}, Available, 0},
		{"a pause is done", connected, func(m *Manager, device, _ int64) error {
			_, err := m.PauseDevice(bg(), device, "")
			return err
		}, Paused, 0},
		{"a disconnect of what a round has just paused is done", connected, func(m *Manager, device, _ int64) error {
			m.mu.Lock()
			d := m.byID[device]
			m.halt(d, d.current().session, pauseIdle, "paused")
			m.mu.Unlock()
			_, err := m.DisconnectDevice(bg(), device, "")
			return err
		}, Available, 0},
		{"what is to be resumed stays paused", paused, func(m *Manager, device, _ int64) error {
			_, err := m.ResumeDevice(bg(), device, "")
			return err
		}, Paused, 0},
		{"a delete is done", connected, func(m *Manager, _, session int64) error { return m.Delete(bg(), session) }, "", 0},
		{"a change is saved, and in force later", connected, func(m *Manager, _, session int64) error {
			more := 0.02
			_, err := m.Update(bg(), session, Change{DataMB: &more})
			return err
		}, Running, 20_000},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, dataPlan(0.01))
			row.before(w, d.ID)
			stall := func(on bool) {
				w.fake.mu.Lock()
				defer w.fake.mu.Unlock()
				w.fake.stalled = on
			}
			stall(true)
			w.wants(row.call(w.m, d.ID, s.ID), ErrForwarder)
			is := func() bool {
				v, err := w.m.Session(bg(), s.ID)
				if row.state == "" {
					return errors.Is(err, ErrUnknownSession)
				}
				return err == nil && v.State == row.state
			}
			if !is() {
				t.Errorf("right after it: %+v, want %q", w.m.sessions[s.ID], row.state)
			}
			if v := w.device(macA); row.state != "" && v.Connected != (row.state == Paused || row.state == Running) {
				t.Errorf("the device: %+v", v)
			}
			stall(false)
			w.until("the forwarder has taken it in", func() bool {
				w.m.mu.Lock()
				defer w.m.mu.Unlock()
				slot := w.m.byID[d.ID].slot
				return w.m.acked(slot, w.table.Policy(slot))
			})
			if got := w.pass(macA, 20_000, 0); got != row.passes {
				t.Errorf("%d bytes pass, want %d", got, row.passes)
			}
			w.until("it is still so, and on disk", func() bool { return w.clean() && is() })
			if v := w.device(macA); v.Connected != (row.state == Paused || row.state == Running) {
				t.Errorf("the device in the end: %+v", v)
			}
			if row.state == Available {
				v := w.session(s.ID)
				if (v.StartedAt == nil) != (row.name == "a connect connects nobody") {
					t.Errorf("started: %v", v.StartedAt)
				}
				w.until("it can be used", func() bool { _, err := w.m.ConnectDevice(bg(), d.ID, ""); return err == nil })
			}
		})
	}
}
