package sessions

import "time"

// lookahead says for which grant a device's providers were asked what comes
// after it.
type lookahead struct {
	seq   uint64        // of the grant; 0: for none yet
	again time.Duration // since boot; not before
}

const (
	aheadTime  = 60 * time.Second // of the running session left: ask again
	aheadData  = 20 * time.Second // at its rate
	aheadAgain = 10 * time.Second // between questions
	aheadRate  = 125_000_000      // bytes a second of a session without a limit of speed: a gigabit
)

// lookAhead has the providers asked for the session that follows the running
// one: once when a grant begins, and when its end is near. m.mu is held.
func (m *Manager) lookAhead(d *device) {
	if len(m.desk.providers) == 0 || !d.connected || m.desk.ctx.Err() != nil {
		return
	}
	cur, now := d.current(), m.opt.Boot()
	if cur == nil || now < d.ahead.again || d.ahead.seq == cur.seq && !m.endIsNear(d, cur.session) {
		return
	}
	d.ahead = lookahead{cur.seq, now + aheadAgain}
	id := d.id
	m.desk.jobs.Go(func() { m.findNext(id) })
}

// endIsNear reports that little is left of a running session. m.mu is held.
func (m *Manager) endIsNear(d *device, s *session) bool {
	left, bytes := s.left(m.used(d, s))
	if s.kind.hasTime() && left <= aheadTime {
		return true
	}
	t := s.terms(m.clock, m.opt.GlobalDown, m.opt.GlobalUp)
	rate := int64(t.Down) + int64(t.Up)
	if t.Down == 0 || t.Up == 0 {
		rate = aheadRate
	}
	if s.kind.hasData() && bytes/rate <= int64(aheadData/time.Second) {
		return true
	}
	at := s.expiresAt()
	return !at.IsZero() && at.Sub(m.clock.read().Wall) <= aheadTime
}

// findNext asks the providers, in order, for a session that a device can use
// after the running one, until one has it.
func (m *Manager) findNext(id int64) {
	failed := false
	for _, p := range m.providers() {
		if m.mayCall(&p.lists) {
			q := m.inquire(question{p, id, true})
			<-q.done
			failed = failed || q.err != nil
		} else {
			failed = true
		}
		if m.hasNext(id, p) {
			return
		}
	}
	if failed {
		m.mu.Lock()
		defer m.mu.Unlock()
		if d := m.byID[id]; d != nil {
			d.ahead.seq = 0 // it is asked again
		}
	}
}

// hasNext reports that a provider offers a device what it can use after the
// running session.
func (m *Manager) hasNext(id int64, p *provider) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.byID[id]
	if d == nil {
		return false
	}
	now, cur := m.clock.read().Wall, d.current()
	for _, o := range d.offers {
		for _, s := range o.sessions {
			if o.by == p && s.available(now) && (cur == nil || cur.session != s) {
				return true
			}
		}
	}
	return false
}
