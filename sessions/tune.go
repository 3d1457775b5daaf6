package sessions

import (
	"fmt"
	"time"
)

// fill gives what Adopt takes its defaults.
func (o *Options) fill() {
	if o.Checkpoint <= 0 {
		o.Checkpoint = 5 * time.Second
	}
	if o.LedgerKeep <= 0 {
		o.LedgerKeep = ledgerKeep
	}
}

// Adopt takes over from opt what may change while sessions run: GlobalDown,
// GlobalUp, ResumeOnRestart, Checkpoint, IdlePause, PauseOnCarrierLoss,
// PauseOnSilence and LedgerKeep; the rest of it is not looked at. Nobody is
// disconnected, and no session emits an event. It returns when the forwarder
// gives each running session that uses the global speed the new one, within 2 s;
// ErrForwarder says that this is still to come.
func (m *Manager) Adopt(opt Options) error {
	opt.fill()
	m.mu.Lock()
	o := &m.opt
	o.GlobalDown, o.GlobalUp, o.ResumeOnRestart = opt.GlobalDown, opt.GlobalUp, opt.ResumeOnRestart
	o.Checkpoint, o.LedgerKeep, o.IdlePause = opt.Checkpoint, opt.LedgerKeep, opt.IdlePause
	o.PauseOnCarrierLoss, o.PauseOnSilence = opt.PauseOnCarrierLoss, opt.PauseOnSilence
	m.mu.Unlock()
	nudge(m.tuned)
	m.Wake()
	return m.retuneAll()
}

// settings is a copy of what there is to know of the options.
func (m *Manager) settings() Options {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opt
}

// retuneAll has all running sessions with the global speed get it as it is now.
// What is published from now on has it already.
func (m *Manager) retuneAll() error {
	if !m.gate.TryRLock() {
		return nil // a backup is being restored: what ran is revoked
	}
	defer m.gate.RUnlock()
	generations := make(map[int]uint64) // to wait for, by slot
	m.inParts(m.slots, func(d *device) {
		if m.retune(d) {
			generations[d.slot] = m.changed(d)
		}
	})
	end := m.opt.Boot() + ackTime
	for slot, gen := range generations {
		for pause := 20 * time.Microsecond; !m.acked(slot, gen); pause = min(2*pause, 5*time.Millisecond) {
			if m.opt.Boot() > end {
				return fmt.Errorf("give %d devices the global speed: %w", len(generations), ErrForwarder)
			}
			time.Sleep(pause)
		}
	}
	return nil
}

// retune gives a device's grants with the global speed the one there is now, and
// reports whether any had another. Their limits stay: what was used and when they
// end is nothing that a speed changes. It takes effect at the next changed. m.mu is held.
func (m *Manager) retune(d *device) (change bool) {
	for _, g := range d.grants {
		if !g.session.global || g.revoked {
			continue
		}
		r := m.table.Slot(d.slot).Record(g.seq)
		up, down := int64(m.opt.GlobalUp), int64(m.opt.GlobalDown)
		if t := g.session.throttle; g.throttled {
			up, down = int64(slower(m.opt.GlobalUp, t.up)), int64(slower(m.opt.GlobalDown, t.down))
		}
		if r.RateUp.Load() == up && r.RateDown.Load() == down {
			continue
		}
		r.RateUp.Store(up)
		r.RateDown.Store(down)
		change = true
	}
	return change
}
