package forwarder

import (
	"math"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// The grants of a client: which one runs, which follows, and who pays.

// grant is the record of a client's active grant.
func (f *Forwarder) grant(c *client) *clients.Grant { return f.slot(c).Record(c.active) }

// running is the grant of a slot that has started and not ended; nil if none.
func running(s *clients.Slot) (*clients.Grant, clients.Use) {
	active := s.Active.Load()
	g := s.Record(active)
	u := g.Use(active)
	if active == 0 || u.Started == 0 || u.Ended != 0 || g.Sequence.Load() != active {
		return nil, u
	}
	return g, u
}

// revoked is when the active grant of a client was revoked, since boot; 0: it was not.
func (f *Forwarder) revoked(c *client) time.Duration {
	if !c.running {
		return 0
	}
	return time.Duration(f.grant(c).Revoked.Load())
}

// review applies the records of a client: what was revoked ends, limits and
// rates of the active grant are read again, the next one starts if none runs.
func (f *Forwarder) review(c *client, revoked time.Duration) {
	if c.running {
		f.adjust(c)
		if revoked != 0 {
			at := min(max(revoked, c.started), f.now)
			if c.deadline <= at { // it had ended by itself
				f.end(c, c.why, c.deadline)
			} else {
				f.end(c, clients.EndRevoked, at)
			}
		}
	}
	if !c.running {
		f.next(c, f.now)
	}
}

// adjust reads limits and rates of the active grant.
func (f *Forwarder) adjust(c *client) {
	g := f.grant(c)
	if c.limit = g.ByteLimit.Load(); c.limit == clients.NoLimit {
		c.limit = boundless
	}
	c.deadline, c.why = g.Deadline(c.started)
	f.deadlines.set(c.id.Slot, c.deadline)
	rates, weight := [2]limiter.Rate{up: limiter.Rate(g.RateUp.Load()), down: limiter.Rate(g.RateDown.Load())}, int(g.Weight.Load())
	if rates == c.rates && weight == c.weight {
		return
	}
	c.rates, c.weight = rates, weight
	for direction, r := range rates {
		f.pacer.Set(limiter.SideOf(c.id.Slot, uint8(direction)), r, weight, f.now)
	}
}

// boundless is the limit of a grant that has none: what was used and is in
// flight stays below it.
const boundless = math.MaxUint64 - 1<<32

// end closes the active grant as of at.
func (f *Forwarder) end(c *client, reason uint64, at time.Duration) {
	f.store(c)
	g := f.grant(c)
	g.Reason.Store(reason)
	g.EndLimit.Store(c.limit)
	g.Ended.Store(max(int64(at), 1))
	c.running = false
	f.pacer.end(c)
	f.deadlines.set(c.id.Slot, clients.NoTime)
	f.ring = true
}

// next starts the next grant that was published and has something left, or was
// promised; false when there is none. at is when it starts.
func (f *Forwarder) next(c *client, at time.Duration) bool {
	s := f.slot(c)
	c.active = max(c.active, least(c.taken))
	for c.active < c.taken {
		seq := c.active + 1
		g := s.Record(seq)
		if g.Taken.Load() != seq {
			c.active = seq
			continue
		}
		if why := void(g, at); why != 0 && !c.promised.has(seq) {
			g.Reason.Store(why)
			g.EndLimit.Store(g.ByteLimit.Load())
			g.Ended.Store(max(int64(at), 1))
			c.active = seq
			s.Active.Store(seq)
			f.ring = true
			continue
		}
		c.active, c.running, c.started = seq, true, max(at, 1)
		c.use, c.used, c.sighted, c.unstored = use{}, 0, 0, false
		g.Started.Store(int64(c.started))
		s.Active.Store(seq)
		f.adjust(c)
		f.ring = true
		return true
	}
	return false
}

// void says why a grant that has not started cannot start at at; 0: it can.
func void(g *clients.Grant, at time.Duration) uint64 {
	switch {
	case g.Revoked.Load() != 0:
		return clients.EndRevoked
	case time.Duration(g.Expiry.Load()) <= at:
		return clients.EndExpiry
	case g.Duration.Load() <= 0:
		return clients.EndTime
	case g.ByteLimit.Load() == 0:
		return clients.EndData
	}
	return 0
}

// promises are the grants of a client that were found to pay for a packet, by
// their records: each pays its part of one that the kernel took, also when control
// revoked it or lowered its limit while the packet was on its way.
type promises uint8

func (p promises) has(seq uint64) bool { return p>>(seq%clients.GrantsPerSlot)&1 == 1 }

// covers says whether what is left of the active grant and of those that would
// take over from it is at least n bytes, and promises these.
func (f *Forwarder) covers(c *client, n uint64) bool {
	left := c.limit - min(c.used, c.limit)
	for seq := c.active + 1; seq <= c.taken && left < n; seq++ {
		if g := f.slot(c).Record(seq); g.Taken.Load() == seq && void(g, f.now) == 0 {
			left += min(g.ByteLimit.Load(), clients.NoLimit-left)
			c.promised |= 1 << (seq % clients.GrantsPerSlot)
		}
	}
	return left >= n
}

// pledged says whether a promised grant follows the active one.
func (c *client) pledged() bool {
	for seq := c.active + 1; seq <= c.taken; seq++ {
		if c.promised.has(seq) {
			return true
		}
	}
	return false
}

// expire ends what its deadline ended and starts what follows.
func (f *Forwarder) expire(c *client) {
	for c.running && c.deadline <= f.now {
		at := c.deadline
		f.end(c, c.why, at)
		if f.now-at > time.Second { // nobody forwarded meanwhile
			at = f.now
		}
		f.next(c, at)
	}
}
