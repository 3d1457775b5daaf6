package sessions

import (
	"fmt"
	"time"

	"gatewayd/forwarder/clients"
)

// widest is the largest wire packet.
const widest = 65535 // bytes

// publish writes the next grant of a device for a session, at its throttle or for its
// rest; false when all records of the slot are in use. It takes effect at the next
// changed. m.mu and the device's turn are held.
func (m *Manager) publish(d *device, s *session, throttled bool) bool {
	seq, err := m.table.Slot(d.slot).Publish(m.terms(s, m.used(d, s), throttled))
	if err != nil {
		return false
	}
	d.grants = append(d.grants, grant{seq: seq, session: s, throttled: throttled})
	return true
}

// terms returns the grant of a session of which u is used.
func (m *Manager) terms(s *session, u use, throttled bool) clients.Terms {
	if throttled {
		return s.throttleTerms(m.clock, u, m.opt.GlobalDown, m.opt.GlobalUp)
	}
	return s.terms(m.clock, u, m.opt.GlobalDown, m.opt.GlobalUp)
}

// revoke ends a device's grant. It takes effect at the next changed. m.mu and
// the device's turn are held.
func (m *Manager) revoke(d *device, g *grant) {
	m.table.Slot(d.slot).Record(g.seq).Revoke(m.opt.Boot())
	g.revoked = true
}

// revokeAll ends all grants of a device that have not been, the next one first so
// that it does not take over as the one in use ends, and reports whether there were
// any. The ledger says why. It takes effect at the next changed. m.mu and the turn
// are held.
func (m *Manager) revokeAll(d *device, why string) (any bool) {
	for i := len(d.grants) - 1; i >= 0; i-- {
		if g := &d.grants[i]; !g.revoked {
			m.revoke(d, g)
			g.why, any = why, true
		}
	}
	return any
}

// changed tells the forwarder that a device's slot has changed and returns
// the generation to wait for. m.mu is held.
func (m *Manager) changed(d *device) uint64 {
	gen := m.table.Changed(d.slot)
	for _, g := range d.grants {
		if g.revoked {
			d.revokedAt = gen
		}
	}
	m.opt.RingForwarder()
	return gen
}

// acked reports whether the forwarder has taken in generation gen of a slot,
// or there is no forwarder: the next one reads the whole table.
func (m *Manager) acked(slot int, gen uint64) bool {
	return m.table.Acked(slot) >= gen || m.table.Header().Alive.Load() == 0
}

// wait waits until the forwarder has taken in generation gen of a slot;
// ErrForwarder after ackTime. m.mu is not held.
func (m *Manager) wait(slot int, gen uint64) error {
	pause := 20 * time.Microsecond
	for start := m.opt.Boot(); !m.acked(slot, gen); pause = min(2*pause, 5*time.Millisecond) {
		if m.opt.Boot()-start > ackTime {
			return fmt.Errorf("wait %v for slot %d: %w", ackTime, slot, ErrForwarder)
		}
		time.Sleep(pause)
	}
	return nil
}

// used returns what a session has used, with its grants that have not ended.
// m.mu is held.
func (m *Manager) used(d *device, s *session) use {
	u := s.settled
	if d == nil || d.slot == 0 {
		return u
	}
	now := m.opt.Boot()
	for _, g := range d.grants {
		if g.session == s {
			u = u.plus(m.usedBy(d, g, now))
		}
	}
	return u
}

// usedBy returns what a grant has used. Time at a throttle is none: there is none left
// to use.
func (m *Manager) usedBy(d *device, g grant, now time.Duration) use {
	r := m.table.Slot(d.slot).Record(g.seq)
	u := r.Use(g.seq)
	if g.throttled {
		return use{u.Up, u.Down, 0}
	}
	return use{u.Up, u.Down, r.Elapsed(u, now)}
}

// follow brings memory up to what the forwarder did with a device's grants:
// who started, who ended, who is next. m.mu and the device's turn are held.
func (m *Manager) follow(d *device) {
	if d.slot == 0 || d.unread {
		m.mindPause(d, nil)
		return
	}
	now := m.opt.Boot()
	slot := m.table.Slot(d.slot)
	why := "no session is left"
	told := false // by the process before this one
	var ends []ending
	var ran *session
	if cur := d.current(); cur != nil {
		ran = cur.session
		d.ran = ran
	}
	for len(d.grants) > 0 {
		g := d.grants[0]
		r := slot.Record(g.seq)
		u := r.Use(g.seq)
		if u.Started != 0 && g.session.startedAt.IsZero() {
			g.session.startedAt, g.session.unsure = m.clock.started(u.Started)
			m.soil(g.session)
			d.review = true // what follows it
		}
		m.tookOver(d, g, u)
		if u.Ended == 0 && !(g.revoked && m.acked(d.slot, d.revokedAt)) {
			break
		}
		m.settle(d, g, now)
		d.grants = d.grants[1:]
		m.rebase(d, g.session)
		d.review = true
		told = g.seq <= slot.Told.Load()
		byItself := !g.revoked || u.Ended != 0 && u.Reason != clients.EndRevoked ||
			u.Started != 0 && !g.throttled && g.session.usedUp(g.session.settled)
		if byItself {
			why = m.tellEnd(d, g.session, !told && m.sessions[g.session.id] == g.session)
		}
		d.settled = g.seq
		if ran == nil || !g.revoked {
			ran = g.session
			d.ran = ran
		}
		if !g.revoked {
			d.ended = g.session.id
			if cur := d.current(); cur != nil && !told {
				m.tellNext(d, cur.session, ran)
			}
		}
		if e := m.ending(d, g, u, why, byItself); e.started != 0 || !g.throttled {
			ends = append(ends, e)
		}
	}
	if told && d.current() == nil { // so was what followed
		d.connected = false
	}
	if n := d.next(); n != nil && n.session.expDays != nil && n.session.isExpired(m.clock.wall(now)) {
		d.review = true
	}
	if d.connected && (d.review || d.current() == nil) {
		d.review = false
		m.chain(d, ran, why)
	}
	if !d.connected || d.current() != nil {
		slot.Told.Store(d.settled)
	}
	for _, s := range d.sessions {
		cur := d.current()
		if runs := cur != nil && cur.session == s; runs != s.running && s != d.resume {
			s.running = runs
			m.soil(s)
			m.touch(s)
		}
	}
	m.closeLedgers(d, ends)
	m.mindPause(d, ends)
	m.lookAhead(d)
	m.raise(d)
}

// settle adds what an ended grant counted to its session. m.mu is held.
func (m *Manager) settle(d *device, g grant, now time.Duration) {
	s := g.session
	u := m.table.Slot(d.slot).Record(g.seq).Use(g.seq)
	_, limit := s.left(s.settled) // of this grant, as it would be now
	s.settled = s.settled.plus(m.usedBy(d, g, now))
	if g.void && u.Started == 0 {
		s.startedAt, s.unsure = time.Time{}, time.Time{}
	}
	if u.Ended != 0 && u.Reason == clients.EndData && uint64(limit) <= u.EndLimit {
		s.spent = true // else it was topped up as it ended
	}
	m.soil(s)
	m.touch(s)
}

// chain has a connected device go on: it publishes the next grant ahead, and
// disconnects when nothing is left. ran is the session in use before, why
// what ended it. m.mu and the turn are held.
func (m *Manager) chain(d *device, ran *session, why string) {
	idle := d.current() == nil
	change := m.fetch(d)
	cur := d.current()
	if change {
		m.changed(d)
	}
	switch {
	case cur == nil && m.waits(d):
		// It goes on when the disk has the end of the grants before.
	case cur == nil:
		d.connected = false
		m.hub.emit(d.id, SessionDisconnected, message{why, sessionID(ran)})
	case idle && ran != nil:
		m.tellNext(d, cur.session, ran)
	}
}

// tellNext emits that a connected device goes on with a session after another
// one.
func (m *Manager) tellNext(d *device, next, before *session) {
	if d.connected && next != before {
		m.hub.emit(d.id, SessionChanged, message{fmt.Sprintf("session %d goes on after session %d", next.id, before.id), next.id})
	}
}

func sessionID(s *session) int64 {
	if s == nil {
		return 0
	}
	return s.id
}

// waits reports that a session could go on but all records of the slot are in
// use until the disk has their end.
func (m *Manager) waits(d *device) bool {
	slot := m.table.Slot(d.slot)
	full := slot.Published.Load()-slot.Saved.Load() >= clients.GrantsPerSlot
	return full && d.follows(m.clock.read().Wall, nobody) != nil
}

// unsettled reports that a session has a revoked grant that may have run: its
// rest is not known, and it is looked at again.
func (m *Manager) unsettled(d *device, s *session) bool {
	for _, g := range d.grants {
		if g.session == s && g.revoked &&
			(!m.acked(d.slot, d.revokedAt) || m.table.Slot(d.slot).Record(g.seq).Use(g.seq).Started != 0) {
			d.review = true // soon
			return true
		}
	}
	return false
}

// tellEnd returns in words how a session of a device ended, or that it goes on at its
// throttle, and emits it if that is due. m.mu and the turn are held.
func (m *Manager) tellEnd(d *device, s *session, due bool) string {
	name, why := "", "the session has ended"
	switch expired := s.isExpired(m.clock.read().Wall); {
	case m.goesSlow(d, s):
		if why = s.usedUpWhy(); due {
			m.hub.emit(s.device, SessionThrottled, message{why + ": it goes on at " + s.throttle.text(), s.id})
		}
		return why
	case s.usedUp(s.settled) && !(expired && s.throttle != throttle{}):
		name, why = SessionConsumed, s.usedUpWhy()
	case expired:
		name, why = SessionExpired, "the session has expired"
	}
	if name != "" && due {
		m.hub.emit(s.device, name, message{why, s.id})
	}
	return why
}

// fetch publishes what a connected device uses now and next, and reports
// whether the slot changed. m.mu and the turn are held.
func (m *Manager) fetch(d *device) (change bool) {
	now := m.clock.read().Wall
	cur := d.current()
	m.lastKnown(d)
	if cur == nil {
		s := d.follows(now, func(s *session) bool { return m.unsettled(d, s) })
		if s == nil || !m.publish(d, s, s.usedUp(s.settled)) {
			return false
		}
		change = true
		cur = d.current()
	}
	if cur.throttled {
		change = m.quicken(d) || change
		if cur = d.current(); cur == nil {
			return change
		}
	}
	d.ran = cur.session
	want, slow := m.after(d, cur, now)
	next := d.next()
	if next != nil && (next.session != want || next.throttled != slow) {
		m.revoke(d, next)
		next, change = nil, true
	}
	if next == nil && want != nil && m.publish(d, want, slow) {
		change = true
	}
	return change
}

// after returns what follows the grant in use, at its throttle or not; nil: nothing
// does. m.mu and the turn are held.
func (m *Manager) after(d *device, cur *grant, now time.Time) (s *session, throttled bool) {
	skip := func(s *session) bool { return s == cur.session || m.unsettled(d, s) }
	s = d.best(now, skip)
	switch {
	case s != nil:
		return s, false
	case !cur.throttled && cur.session.throttles(now):
		return cur.session, true
	}
	s = d.follows(now, skip)
	return s, s != nil
}

// amend gives the grants of a session that have not ended its terms as they
// are now. One that is over by them is over now, not earlier: what was
// consumed stays so. m.mu and the turn are held.
func (m *Manager) amend(d *device, s *session) (change bool) {
	now, u := m.opt.Boot(), s.settled
	for _, g := range d.grants {
		if g.session != s {
			continue
		}
		t := m.terms(s, u, g.throttled)
		u = u.plus(m.usedBy(d, g, now))
		if g.revoked {
			continue
		}
		r := m.table.Slot(d.slot).Record(g.seq)
		if u := r.Use(g.seq); u.Started != 0 {
			t.Duration = max(t.Duration, r.Elapsed(u, now))
			t.Expiry = max(t.Expiry, now)
		}
		r.Amend(t)
		change = true
	}
	return change
}

// cut revokes all grants of a device and waits until nothing of it passes. The
// ledger says why. The turn is held, m.mu is not.
func (m *Manager) cut(d *device, why string) error {
	m.mu.Lock()
	if !m.revokeAll(d, why) {
		m.mu.Unlock()
		return nil
	}
	slot, gen := d.slot, m.changed(d)
	m.mu.Unlock()
	return m.wait(slot, gen)
}

// raise frees the records whose end is on disk. m.mu and the turn are held.
func (m *Manager) raise(d *device) {
	if d.slot == 0 || d.dirtySessions() {
		return
	}
	if slot := m.table.Slot(d.slot); slot.Saved.Load() < d.settled {
		slot.Saved.Store(d.settled)
		d.review = true // there is room for the next
	}
}
