package sessions

import "time"

// lookahead says for what a device's providers were asked what comes after it.
type lookahead struct {
	seq     uint64        // of the running grant; 0: for none yet
	session int64         // that is used, running or paused; likewise
	ended   int64         // that has ended while it was paused, before it is said what follows
	asking  bool          // they are being asked
	again   time.Duration // since boot; not before

	consulted  int64 // session that has ended before a restart, in the place of which one was asked for
	consulting bool  // they are being asked for that
}

const (
	aheadTime      = 60 * time.Second // of the running session left: ask again
	aheadData      = 20 * time.Second // at its rate
	aheadAgain     = 10 * time.Second // between questions
	throttledAgain = 50 * time.Second // more, for a session at its throttle
	aheadRate      = 125_000_000      // bytes a second of a session without a limit of speed: a gigabit
)

// using returns the session that a device uses, running or paused; nil: none.
func (d *device) using() *session {
	if g := d.current(); g != nil {
		return g.session
	}
	return d.paused
}

// lookAhead has the providers asked for the session that follows the one in use:
// once when a grant begins, and when its end is near. Of a paused session only
// the expiry comes near. m.mu is held.
func (m *Manager) lookAhead(d *device) {
	if !m.asksProviders() || d.ahead.asking || m.opt.Boot() < d.ahead.again {
		return
	}
	switch cur := d.current(); {
	case d.paused != nil:
		if d.ahead.session == d.paused.id && !m.expiresSoon(d.paused) {
			return
		}
		d.ahead.session = d.paused.id
	case d.connected && cur != nil:
		if d.ahead.seq == cur.seq && !m.endIsNear(d, cur.session) {
			return
		}
		d.ahead.seq, d.ahead.session = cur.seq, cur.session.id
	default:
		return
	}
	m.askAhead(d)
	if cur := d.current(); cur != nil && cur.throttled { // its end is near for as long as it lasts
		d.ahead.again += throttledAgain
	}
}

// asksProviders reports that there is somebody to ask. m.mu is held.
func (m *Manager) asksProviders() bool { return len(m.desk.providers) > 0 && m.desk.ctx.Err() == nil }

// askAhead has the providers asked what a device can use next. m.mu is held.
func (m *Manager) askAhead(d *device) {
	d.ahead.asking, d.ahead.again = true, m.opt.Boot()+aheadAgain
	id := d.id
	m.desk.jobs.Go(func() { m.findNext(id) })
}

// awaitsNext reports that a session has ended while it was paused, and that the
// providers are being asked what follows, because nothing is known that does: it
// may be offered since, and the ended one may have more by now. They are asked
// once, and nobody waits for them. m.mu is held.
func (m *Manager) awaitsNext(d *device, ended *session) bool {
	if !m.asksProviders() || d.best(m.clock.read().Wall, nobody) != nil {
		return false
	}
	if d.ahead.ended != ended.id {
		d.ahead.ended = ended.id
		if !d.ahead.asking {
			m.askAhead(d)
		}
	}
	return d.ahead.asking
}

// endIsNear reports that little is left of a running session. m.mu is held.
func (m *Manager) endIsNear(d *device, s *session) bool {
	left, bytes := s.left(m.used(d, s))
	if s.kind.hasTime() && left <= aheadTime {
		return true
	}
	t := s.terms(m.clock, s.settled, m.opt.GlobalDown, m.opt.GlobalUp)
	rate := int64(t.Down) + int64(t.Up)
	if t.Down == 0 || t.Up == 0 {
		rate = aheadRate
	}
	if s.kind.hasData() && bytes/rate <= int64(aheadData/time.Second) {
		return true
	}
	return m.expiresSoon(s)
}

// expiresSoon reports that little is left until a session expires. m.mu is held.
func (m *Manager) expiresSoon(s *session) bool {
	at := s.expiresAt()
	return !at.IsZero() && at.Sub(m.clock.read().Wall) <= aheadTime
}

// findNext asks the providers for a session that a device can use after the one
// in use, and has the device looked at if it waits for that.
func (m *Manager) findNext(id int64) {
	sure := m.askInOrder(id)
	m.mu.Lock()
	d := m.byID[id]
	if d == nil {
		m.mu.Unlock()
		return
	}
	d.ahead.asking = false
	if !sure { // it is asked again
		d.ahead.seq, d.ahead.session = 0, 0
	}
	waits := d.paused != nil && !d.usable(d.paused, m.clock.read().Wall)
	m.mu.Unlock()
	if waits {
		m.lookAgain(id)
	}
}

// askInOrder asks the providers, in order, for a session that a device can use
// after the one in use, until one has it. It is not sure if none has and not all
// could be asked.
func (m *Manager) askInOrder(id int64) (sure bool) {
	sure = true
	for _, p := range m.providers() {
		if m.mayCall(&p.lists) {
			q := m.inquire(question{by: p, device: id, list: true})
			<-q.done
			sure = sure && q.err == nil
		} else {
			sure = false
		}
		if m.hasNext(id, p) {
			return true
		}
	}
	return sure
}

// lookAgain follows what a device does.
func (m *Manager) lookAgain(id int64) {
	ctx, cancel, err := m.call(m.desk.ctx)
	if err != nil {
		return // a round does, or who reads its sessions
	}
	defer cancel()
	d, err := m.holdID(ctx, id)
	if err != nil {
		return
	}
	defer m.finish(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follow(d)
}

// hasNext reports that a provider offers a device what it can use after the
// session in use.
func (m *Manager) hasNext(id int64, p *provider) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.byID[id]
	if d == nil {
		return false
	}
	now, used := m.clock.read().Wall, d.using()
	for _, o := range d.offers {
		for _, s := range o.sessions {
			if o.by == p && s.available(now) && s != used {
				return true
			}
		}
	}
	return false
}
