package sessions

import (
	"fmt"
)

// holds returns the session that a device has in use: running, paused, or to
// run again with the next packet; nil: none. m.mu and the turn are held.
func (d *device) holds(m *Manager) *session {
	switch {
	case d.paused != nil:
		return d.paused
	case d.resume != nil:
		return d.resume
	case !d.connected:
		return nil
	}
	if g := d.current(); g != nil {
		return g.session
	}
	return d.follows(m.clock.read().Wall, nobody) // it waits for a grant record
}

// halt pauses session s of a device, which it holds; the ledger says why. What
// was used is settled when the forwarder has taken it in. m.mu and the turn are
// held.
func (m *Manager) halt(d *device, s *session, reason pauseReason, why string) {
	closes := s.ledger.open && d.runs(s) // when its grant is settled, with that reason
	d.connected, d.resume, d.woken = false, nil, false
	m.setPaused(d, s, reason) // in the table before the end of the grants is
	if m.revokeAll(d, why) {
		m.changed(d)
	}
	if !closes {
		m.postPause(d, s, why)
	}
}

// setPaused notes that a session is the one its device has, paused. m.mu and
// the turn are held.
func (m *Manager) setPaused(d *device, s *session, reason pauseReason) {
	if d.paused != nil && d.paused != s {
		m.unpause(d)
	}
	if s.paused != reason || s.running {
		s.paused, s.running, s.marked = reason, false, true
		m.soil(s)
	}
	d.paused = s
	m.paused.put(d.id, s.id)
	m.markPaused(d)
}

// unpause ends a pause in memory. m.mu and the turn are held.
func (m *Manager) unpause(d *device) {
	if s := d.paused; s.paused != 0 {
		s.paused = 0
		m.soil(s)
	}
	d.paused = nil
	m.paused.remove(d.id)
	m.markPaused(d)
}

// mindPause has a paused device go on to its next session, still paused, when
// the one it has has ended and how it was paused is settled. ends are the grants
// that were settled just now: what ended by itself as it was paused has been told.
// m.mu and the turn are held.
func (m *Manager) mindPause(d *device, ends []ending) {
	s := d.paused
	if s == nil || granted(d, s) || d.usable(s, m.clock.read().Wall) {
		return
	}
	if d.slows(s, m.clock.read().Wall) { // there is a better one
		m.passPause(d, s.usedUpWhy())
		return
	}
	for _, e := range ends {
		if e.session == s && e.kind == LineEnd {
			m.passPause(d, e.why)
			return
		}
	}
	if !m.awaitsNext(d, s) {
		m.endPaused(d)
	}
}

// endPaused tells that the session of a paused device has ended, and has the
// device go on to the next one. m.mu and the turn are held.
func (m *Manager) endPaused(d *device) {
	why := m.tellEnd(d, d.paused, true)
	m.post(d.paused, LineEnd, why)
	m.passPause(d, why)
}

// followNow is follow for a call, which does not wait for what providers may say
// comes after a paused session that has ended. m.mu and the turn are held.
func (m *Manager) followNow(d *device) {
	m.follow(d)
	if s := d.paused; s != nil && !granted(d, s) && !d.usable(s, m.clock.read().Wall) {
		m.endPaused(d)
	}
}

// passPause pauses a device's next session in the place of the one it has,
// which has ended for the reason why; with none left the device is
// disconnected. m.mu and the turn are held.
func (m *Manager) passPause(d *device, why string) {
	ended, reason := d.paused, d.paused.paused
	m.unpause(d)
	m.lastKnown(d)
	next := d.follows(m.clock.read().Wall, func(s *session) bool { return s == ended })
	if next == nil {
		m.hub.emit(d.id, SessionDisconnected, message{why, ended.id})
		return
	}
	m.setPaused(d, next, reason)
	m.hub.emit(d.id, SessionChanged,
		switched{message{fmt.Sprintf("session %d, paused, goes on after session %d", next.id, ended.id), next.id}, Paused})
}
