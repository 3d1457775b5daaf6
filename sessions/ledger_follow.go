package sessions

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"gatewayd/forwarder/clients"
)

// ending is how a grant of a session ended.
type ending struct {
	session *session
	started time.Duration // since boot; 0: it never did
	at      time.Duration // likewise
	kind    LineKind
	why     string
}

// ending says how a grant that was just settled ended, by the forwarder's own
// moments. why is what ended it if it ended by itself, whether or not it was
// revoked as well. m.mu and the turn are held.
func (m *Manager) ending(d *device, g grant, u clients.Use, why string, byItself bool) ending {
	s := g.session
	e := ending{s, u.Started, m.opt.Boot(), LineEnd, why}
	if !byItself || !s.usedUp(s.settled) && !s.isExpired(m.clock.read().Wall) {
		e.kind = LinePause
		if g.revoked {
			e.why = g.why
		}
	}
	if u.Started != 0 && u.Ended != 0 {
		e.at = max(u.Ended, u.Started)
	} else if at := time.Duration(m.table.Slot(d.slot).Record(g.seq).Revoked.Load()); at != 0 {
		e.at = at
	}
	if g.throttled && !byItself {
		now := m.clock.read().Wall
		if e.kind = LinePause; !d.slows(s, now) && !s.available(now) { // else it is topped up
			e.kind = LineEnd
		}
		e.why = cmp.Or(g.why, "another session goes on")
	}
	if s.ledger.final != nil {
		m.countDeleted(d, s)
	}
	return e
}

// countDeleted brings the last line of a session that was deleted while it ran
// up to what it used. m.mu is held.
func (m *Manager) countDeleted(d *device, s *session) {
	x := *s.ledger.final
	x.count(s, m.used(d, s))
	m.owe(x.record(s.id))
}

// tookOver says in a ledger that the forwarder began a grant of a session that
// was not in use: it chained. m.mu and the turn are held.
func (m *Manager) tookOver(d *device, g grant, u clients.Use) {
	s := g.session
	if g.throttled {
		m.tookOverSlow(d, g, u)
		return
	}
	if u.Started == 0 || s.ledger.open || m.sessions[s.id] != s || m.clock.wall(u.Started).UnixNano() <= s.ledger.closed {
		return
	}
	why := "the session before has ended"
	if d.ended != 0 {
		why = fmt.Sprintf("session %d has ended", d.ended)
	}
	at := max(u.Started, s.ledger.newest) // it may have been changed since
	s.ledger.add(m.line(s, s.settled, at, LineChain, why), at)
	m.soil(s)
}

// tookOverSlow says in a ledger that the forwarder began a grant of a session at its
// throttle. m.mu and the turn are held.
func (m *Manager) tookOverSlow(d *device, g grant, u clients.Use) {
	s, began := g.session, m.clock.wall(u.Started).UnixNano()
	if u.Started == 0 || g.told || m.sessions[s.id] != s {
		return
	}
	for i := range d.grants { // the clock may be set while it is used
		d.grants[i].told = d.grants[i].told || d.grants[i].seq == g.seq
	}
	if began <= max(s.ledger.slowed, s.ledger.closed) {
		return
	}
	s.ledger.slowed = began
	at := max(u.Started, s.ledger.newest)
	s.ledger.add(m.line(s, m.used(m.byID[s.device], s), at, LineThrottle, s.usedUpWhy()+": it goes on at "+s.throttle.text()), at)
	m.soil(s)
}

// closeLedgers closes the ledgers of a device's sessions that are open and
// have no grant any more. m.mu and the turn are held.
func (m *Manager) closeLedgers(d *device, ends []ending) {
	for _, s := range d.sessions {
		then := s.ledger.then
		if !s.ledger.open && then == nil || granted(d, s) && !d.waitsSlow(s) {
			continue
		}
		s.ledger.then = nil
		if !s.ledger.open { // its grants never began
			m.postPauses(s, then, "")
			continue
		}
		last := ending{s, 0, m.opt.Boot(), LinePause, "it is not used any more"}
		for _, e := range ends {
			if e.session == s {
				last = e
			}
		}
		if last.started != 0 {
			s.ledger.closed = max(s.ledger.closed, m.clock.wall(last.started).UnixNano())
		}
		at := max(last.at, s.ledger.newest) // it may have been changed since
		m.postAt(s, at, last.kind, last.why)
		if last.kind == LinePause { // what has ended is not paused
			m.postPauses(s, then, last.why)
		}
	}
}

// postPauses says what let go of a session after its use was revoked; said is
// what the line before says of it.
func (m *Manager) postPauses(s *session, then []pausing, said string) {
	for _, p := range then {
		if p.why != said {
			m.postAt(s, p.at, LinePause, p.why)
		}
	}
}

// granted reports that a session has a grant that is not settled.
func granted(d *device, s *session) bool {
	for _, g := range d.grants {
		if g.session == s {
			return true
		}
	}
	return false
}

// openLedgers reads on where the ledgers of sessions are open, and returns
// their newest lines by session.
func (m *Manager) openLedgers(ctx context.Context, all []*session) (map[*session]*line, error) {
	var newest map[*session]*line
	for _, s := range all {
		if !s.ledger.open {
			continue
		}
		x, err := m.tail(ctx, s)
		if err != nil {
			return nil, err
		}
		if newest == nil {
			newest = make(map[*session]*line)
		}
		newest[s] = x
	}
	return newest, nil
}

// closeInterrupted closes the ledgers of those whose grants are gone: the
// whole gateway went down while they ran. m.mu and the turn are held.
func (m *Manager) closeInterrupted(d *device, newest map[*session]*line) {
	for s, x := range newest {
		if !m.inTable(d, s) {
			m.interrupted(s, x)
		}
	}
}

// inTable reports that the slot of a device has a grant of a session whose end
// is not on disk. m.mu is held.
func (m *Manager) inTable(d *device, s *session) bool {
	if d.slot == 0 || !d.unread {
		return granted(d, s)
	}
	slot := m.table.Slot(d.slot)
	for seq := d.settled + 1; seq <= slot.Published.Load(); seq++ {
		if r := slot.Record(seq); r.Sequence.Load() == seq && int64(r.Session.Load()) == s.id {
			return true
		}
	}
	return false
}
