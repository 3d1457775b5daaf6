package sessions

import (
	"context"
	"fmt"

	"gatewayd/forwarder/clients"
)

// markPaused writes into a device's slot which session is paused, or that none
// is and none goes on with the next packet, so that the next control knows it
// whatever the disk still has. m.mu is held.
func (m *Manager) markPaused(d *device) {
	if d.slot == 0 {
		return
	}
	slot := m.table.Slot(d.slot)
	switch {
	case d.paused != nil:
		slot.PausedWhy.Store(uint64(d.paused.paused))
		slot.Paused.Store(uint64(d.paused.id))
	case d.loaded && d.resume == nil:
		slot.Paused.Store(clients.NonePaused)
	default:
		slot.Paused.Store(0)
	}
}

// markedPaused reads what markPaused wrote: the id of the session that is
// paused, 0 for none, and why. known says that something was written. m.mu is
// held.
func (m *Manager) markedPaused(d *device) (session int64, why pauseReason, known bool) {
	if d == nil || d.slot == 0 {
		return 0, 0, false
	}
	slot := m.table.Slot(d.slot)
	switch marked := slot.Paused.Load(); marked {
	case 0:
		return 0, 0, false
	case clients.NonePaused:
		return 0, 0, true
	default:
		return int64(marked), knownReason(slot.PausedWhy.Load()), true
	}
}

// keepMarked gives a device that has no slot one, if there is one free: the
// store did not take in what was decided, and the table is to keep it until
// then. m.mu and the turn are held.
func (m *Manager) keepMarked(d *device) {
	if d.slot != 0 {
		return
	}
	if _, err := m.bind(d, m.lastFree(d)); err != nil {
		m.log.Warn("a pause or its end is in memory only until the store is back", "error", err)
	}
}

// takePaused finds out which session of a device that was just loaded is
// paused: the table's word goes before the disk's, and a grant that runs before
// both. m.mu and the turn are held.
func (m *Manager) takePaused(d *device) {
	var paused *session
	id, reason, known := m.markedPaused(d)
	for _, s := range d.sessions {
		if d.connected || paused != nil {
			break
		}
		if known && s.id == id {
			paused = s
		} else if !known && s.paused != 0 {
			paused, reason = s, s.paused
		}
	}
	if id != 0 && paused == nil && !d.connected { // deleted as control ended
		paused = d.follows(m.clock.read().Wall, nobody)
	}
	for _, s := range d.sessions {
		if s.paused == 0 || s == paused {
			continue
		}
		s.paused = 0
		m.soil(s)
		if !granted(d, s) && !s.available(m.clock.read().Wall) { // told, and not written
			m.post(s, LineEnd, m.tellEnd(d, s, false))
		}
	}
	if paused == nil {
		d.paused = nil
		m.paused.remove(d.id)
		return
	}
	m.setPaused(d, paused, reason)
}

// learnPaused reads which devices have a session that is paused.
func (m *Manager) learnPaused(ctx context.Context) error {
	rs, err := m.scanAll(ctx, []byte(pausedKeys))
	if err != nil {
		return err
	}
	const at = len(pausedKeys)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rs {
		if len(r.Key) != at+16 {
			m.log.Error("paused session left out", "key", fmt.Sprintf("%q", r.Key))
			continue
		}
		device, _ := numberOf(r.Key[at : at+8])
		session, _ := numberOf(r.Key[at+8:])
		d := m.byID[device]
		if _, _, known := m.markedPaused(d); !known && (d == nil || !d.loaded) {
			m.paused.put(device, session)
		}
	}
	return nil
}
