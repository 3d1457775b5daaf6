package sessions

import (
	"fmt"
	"strconv"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// A session with a throttle does not end when it is used up: it goes on at the
// throttle's speeds, without a limit of bytes or time, while its device has nothing
// better. That is a grant of its own, published ahead like that of any next session,
// so that the forwarder goes on with it at the byte. What is throttled is not kept
// anywhere: a session is that is used up and in use; one with an expiry may be used
// so again until then. The grant is told from others by having no limit at all.

// throttle is what a session goes on at when it is used up; 0: it does not.
type throttle struct{ down, up int64 } // bits a second

// Bounds of a throttle: a packet of 1500 bytes takes 1.5 s at the least.
const (
	minThrottle = 8_000 // bits a second
	maxThrottle = maxMbits * 1_000_000
)

// check says what is wrong with a throttle of a plan.
func (p Plan) checkThrottle() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrBadPlan, fmt.Sprintf(format, a...))
	}
	for _, way := range []struct {
		name string
		bits int64
		own  int
	}{{"down", p.ThrottleDown, p.DownMbits}, {"up", p.ThrottleUp, p.UpMbits}} {
		switch {
		case (p.ThrottleDown == 0) != (p.ThrottleUp == 0):
			return bad("throttle_down_bits is %d, throttle_up_bits %d: want both, or neither to cut it off when it is used up", p.ThrottleDown, p.ThrottleUp)
		case way.bits == 0:
		case way.bits < minThrottle || way.bits > maxThrottle:
			return bad("throttle_%s_bits is %d: want %d to %d bits a second, or 0 to cut it off when it is used up", way.name, way.bits, minThrottle, int64(maxThrottle))
		case !p.UseGlobalSpeed && way.bits >= int64(way.own)*1_000_000:
			return bad("throttle_%s_bits is %d: want less than its speed, %d Mbit %s, or it would not be slower when it is used up", way.name, way.bits, way.own, way.name)
		}
	}
	return nil
}

// throttles reports that a session may be used at its throttle once it is used up:
// it has one, has started and is not expired.
func (s *session) throttles(now time.Time) bool {
	return s.throttle != throttle{} && !s.startedAt.IsZero() && !s.isExpired(now)
}

// throttleTerms returns the grant of a session at its throttle.
func (s *session) throttleTerms(c *clock, u use, globalDown, globalUp limiter.Rate) clients.Terms {
	t := s.terms(c, u, globalDown, globalUp)
	t.ByteLimit, t.Duration = clients.NoLimit, clients.NoTime
	t.Down, t.Up = slower(t.Down, s.throttle.down), slower(t.Up, s.throttle.up)
	return t
}

// slower returns bits a second in bytes, but no more than rate; of that 0: no limit.
func slower(rate limiter.Rate, bits int64) limiter.Rate {
	if t := limiter.Rate(bits / 8); rate == 0 || t < rate {
		return t
	}
	return rate
}

// isThrottled reports that a record is that of a session at its throttle: any other has a limit.
func isThrottled(r *clients.Grant) bool {
	return r.ByteLimit.Load() == clients.NoLimit && r.Duration.Load() == clients.NoTime
}

// slows reports that a device may use a session at its throttle: that is used up, and
// it is in use, or it will expire, and so is used at any time until then. now is wall time.
func (d *device) slows(s *session, now time.Time) bool {
	return s.throttles(now) && s.usedUp(s.settled) &&
		(s.expDays != nil || s.paused != 0 || s == d.resume || d.connected && s == d.ran)
}

// follows returns what a device uses next: the first available session or, with none,
// one at its throttle, of those first the one in use. skip names those that are not
// asked for; nil when there is none. now is wall time.
func (d *device) follows(now time.Time, skip func(*session) bool) *session {
	best := d.best(now, skip)
	if best != nil {
		return best
	}
	for _, s := range d.sessions {
		if skip(s) || !d.slows(s, now) {
			continue
		}
		if s == d.ran && d.connected {
			return s
		}
		if best == nil || s.before(best) {
			best = s
		}
	}
	return best
}

// usable reports that a session which a device has can be gone on with: something is
// left of it, or nothing is left of any other and it has a throttle. now is wall time.
func (d *device) usable(s *session, now time.Time) bool {
	return s.available(now) || d.slows(s, now) && d.best(now, nobody) == nil
}

// nobody is no session that best is to skip.
func nobody(*session) bool { return false }

// waitsSlow reports that all that a device holds of a session is its throttle, behind
// another session. m.mu and the turn are held.
func (d *device) waitsSlow(s *session) bool {
	for i := range d.grants {
		if g := &d.grants[i]; g.session == s && (g.revoked || !g.throttled || g == d.current()) {
			return false
		}
	}
	return true
}

// isSlow reports that a session is used at its throttle, or is the next time it is.
// m.mu is held.
func (m *Manager) isSlow(d *device, s *session) bool {
	if d == nil || !d.loaded {
		return (&device{resume: s}).slows(s, m.clock.read().Wall) && (s.expDays != nil || s.paused != 0 || s.running)
	}
	if g := d.current(); d.connected && g != nil && g.session == s {
		return g.throttled
	}
	return d.slows(s, m.clock.read().Wall)
}

// goesSlow reports that a session of a device, whose grant has just ended by itself
// because it is used up, goes on at its throttle. m.mu and the turn are held.
func (m *Manager) goesSlow(d *device, s *session) bool {
	if now := m.clock.read().Wall; !s.usedUp(s.settled) || !s.throttles(now) {
		return false
	}
	for _, g := range d.grants {
		if !g.revoked {
			return g.session == s && g.throttled
		}
	}
	return d.slows(s, m.clock.read().Wall) && d.best(m.clock.read().Wall, nobody) == nil
}

// quicken has a device that uses a session at its throttle go on with a better one, or
// the same after a top-up, without a packet lost: what takes over is published before
// what it has is revoked. One whose throttle was taken away ends; another one that has
// one takes over. It reports whether
// the slot changed. m.mu and the turn are held.
func (m *Manager) quicken(d *device) (change bool) {
	cur, now := d.current(), m.clock.read().Wall
	s := cur.session
	better := d.best(now, func(o *session) bool {
		if o == s { // what it uses at this moment counts
			return s.usedUp(m.used(d, s))
		}
		return m.unsettled(d, o)
	})
	if better == nil && s.throttle != (throttle{}) {
		return false // until it expires
	}
	next := d.next()
	if better == nil && next != nil && next.throttled && d.slows(next.session, now) {
		m.revoke(d, cur) // another one has a throttle, and takes over
		cur.why, d.ended = "its throttle was taken away", s.id
		m.tellNext(d, next.session, s)
		return true
	}
	if next != nil {
		m.revoke(d, next)
		change, cur = true, d.current()
	}
	why := "its throttle was taken away"
	if better != nil {
		if !m.publish(d, better, false) {
			return change // once there is a record
		}
		cur = d.current() // the list may have moved
		why = fmt.Sprintf("session %d goes on", better.id)
	}
	m.revoke(d, cur)
	cur.why = why
	if better != nil && better != s {
		d.ended = s.id
		m.tellNext(d, better, s)
	}
	return true
}

// rebase has the grants that a session has behind one that was settled go on from
// there: the bytes of one that is unlimited were not known when they were published.
// It comes before the record of the settled one is free. m.mu and the turn are held.
func (m *Manager) rebase(d *device, s *session) {
	rest := false
	for _, g := range d.grants {
		if g.session == s {
			r := m.table.Slot(d.slot).Record(g.seq)
			r.BaseUp.Store(s.settled.up)
			r.BaseDown.Store(s.settled.down)
			r.BaseTime.Store(int64(s.settled.time))
			rest = rest || !g.throttled && !g.revoked
			break // the one behind it is rebased when this one is settled
		}
	}
	if rest && m.amend(d, s) {
		m.changed(d)
	}
}

// text says a throttle in words.
func (t throttle) text() string {
	if t == (throttle{}) {
		return "cut off"
	}
	return fmt.Sprintf("%s down, %s up", bitsText(t.down), bitsText(t.up))
}

// bitsText writes bits a second in the largest unit that leaves them whole or nearly.
func bitsText(bits int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}} {
		if bits >= u.size {
			return strconv.FormatFloat(float64(bits)/float64(u.size), 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(bits, 10) + " bit"
}
