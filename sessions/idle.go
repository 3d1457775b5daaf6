package sessions

import (
	"time"

	"gatewayd/forwarder/clients"
)

// idleEvery is how often it is looked who is idle.
const idleEvery = time.Second

// lookForIdle says whether this round looks who is idle. m.mu is held.
func (m *Manager) lookForIdle() {
	now := m.opt.Boot()
	if m.idleDue = m.opt.IdlePause > 0 && now-m.idleLooked >= idleEvery; m.idleDue {
		m.idleLooked = now
	}
}

// idleFor returns for how long the client of a device has sent nothing while its
// sessions, of which grant g is the present one, let it. What the client did is
// a packet or that it was let in, not that one session went on after another;
// of when it was let in only the process knows that did it, of its packets the
// table. m.mu is held.
func (m *Manager) idleFor(d *device, g *grant, now time.Duration) time.Duration {
	slot := m.table.Slot(d.slot)
	u := slot.Record(g.seq).Use(g.seq)
	if u.Started == 0 {
		return 0
	}
	return now - max(d.admitted, time.Duration(slot.LastSeen.Load()))
}

// mayGoOn says that a paused device goes on by itself now. m.mu is held.
func (m *Manager) mayGoOn(d *device) bool {
	switch r := d.paused.paused; {
	case r.byWAN(): // one without time may have come in the place of one with
		return m.wan.back || !d.paused.kind.hasTime()
	case r == pauseIdle:
		return d.woken || m.sentSince(d)
	}
	return false
}

// sentSince reports that the client of a device sent something after its last grant
// was revoked, though it may have passed: the forwarder takes that in later. m.mu is
// held.
func (m *Manager) sentSince(d *device) bool {
	if d.slot == 0 {
		return false
	}
	slot := m.table.Slot(d.slot)
	last := slot.Record(slot.Published.Load())
	s, revoked := m.sessions[int64(last.Session.Load())], last.Revoked.Load()
	return s != nil && s.device == d.id && revoked != 0 && slot.LastSeen.Load() > revoked &&
		uint32(slot.Served.Load()) == uint32(slot.Generation.Load())
}

// mindClock pauses a device in place whose client is idle, or whose clock is
// not to run while the WAN is away, and has one go on for which that is over.
// It waits neither for the forwarder nor for the disk: what was not to be, a
// later round does. m.mu and the turn are held.
func (m *Manager) mindClock(d *device) {
	switch {
	case d.paused != nil:
		if m.mayGoOn(d) && d.usable(d.paused, m.clock.read().Wall) {
			m.goOnSoon(d)
		}
	case d.connected:
		g := d.current()
		if g == nil {
			return
		}
		reason := m.awayFor(g.session)
		if reason == 0 && m.idleDue && m.idleFor(d, g, m.opt.Boot()) >= m.opt.IdlePause {
			reason = pauseIdle
		}
		if reason != 0 && m.hasRoom(d) {
			s := g.session
			m.halt(d, s, reason, "paused: "+reason.sentence())
			m.hub.emit(d.id, SessionChanged, switched{message{"the session is paused: " + reason.sentence(), s.id}, Paused})
		}
	}
}

// hasRoom reports that a grant can be published for a device, so that what is paused
// now can go on: while the store is away the records of those that ended stay in use,
// and better a clock that runs on than a client that is locked out. m.mu is held.
func (m *Manager) hasRoom(d *device) bool {
	slot := m.table.Slot(d.slot)
	return slot.Published.Load()-slot.Saved.Load() < clients.GrantsPerSlot
}

// goOnSoon has a paused device go on by itself. m.mu and the turn are held.
func (m *Manager) goOnSoon(d *device) {
	s, reason := d.paused, d.paused.paused
	if away := m.awayFor(s); away != 0 { // it was idle, and is not any more
		m.setPaused(d, s, away)
		m.postPause(d, s, "paused: "+away.sentence())
		return
	}
	switch {
	case d.slot == 0 || m.unsettled(d, s):
	case s.startedAt.IsZero(): // its start is on disk before its first packet
		m.wonder(d)
	case m.publish(d, s, s.usedUp(s.settled)):
		m.unpause(d)
		s.running, d.connected = true, true
		m.post(s, LineResume, "resumed: "+reason.over())
		m.fetch(d)
		m.touch(s)
		m.changed(d)
		m.hub.emit(d.id, SessionChanged, switched{message{"the session goes on: " + reason.over(), s.id}, Running})
	}
}
