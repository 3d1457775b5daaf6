package forwarder

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/limiter"
)

// client is the forwarder's private side of a slot.
type client struct {
	slot    *clients.Slot
	id      nat.Client // slot and generation
	mac     uint64     // 0: free
	ip      uint32     // 0: none yet
	waiting uint32     // next in the list of clients whose counters are to be stored
	dirty   bool
	sighted time.Duration // when NoGrant was last reported, since boot; 0: not since control changed anything
	answers *rate.Limiter // ARP replies and ICMP errors made for it

	grant    *clients.Grant // the one in use; nil: none
	active   uint64         // its sequence, or that of the last one
	taken    uint64         // highest sequence taken in
	deadline time.Duration  // since boot
	why      uint64         // what the deadline means: clients.EndTime or EndExpiry
	limit    uint64         // up + down bytes
	used     uint64         // up + down bytes that the kernel took
	flight   uint64         // bytes in batches not sent yet
	promised promises       // grants that pay for the packet on the edge
	unstored bool           // use is ahead of the table
	use      clients.Use    // counters, stored as soon as the kernel has taken a batch

	buckets            [2]limiter.Bucket // by direction
	backlogs           [2]backlog        // likewise
	rates              [2]limiter.Rate   // as set; -1: not yet
	probe              uint64
	lastSeen, lastDown time.Duration
	waited             [2]time.Duration // by direction: when a frame last had to wait for the rate
	exemptUp, exemptDn uint64
}

// Directions of a client's traffic.
const (
	up = iota
	down
)

// sync takes in every slot that control changed.
func (f *Forwarder) sync() {
	changes := f.header.Changes.Load()
	if changes == f.changes {
		return
	}
	for i := 1; i < len(f.clients); i++ {
		if gen := f.table.Policy(i); gen != f.policy[i] {
			f.take(i)
			f.policy[i] = gen
			f.table.Ack(i, gen)
			f.ring = true
		}
	}
	f.changes = changes
}

// take reads slot i anew. Nothing is in flight.
func (f *Forwarder) take(i int) {
	c, s := &f.clients[i], f.table.Slot(i)
	gen := uint32(s.Generation.Load())
	var mac uint64
	var ip uint32
	if s.State.Load() == clients.SlotBound {
		mac, ip = s.MAC.Load(), uint32(s.IP.Load())
	}
	if c.mac != mac || c.id.Generation != gen {
		f.byMAC.drop(c.mac, uint32(i))
	}
	if c.mac != mac || c.ip != ip || c.id.Generation != gen {
		f.forget(c)
	}
	if c.ip != ip || c.id.Generation != gen {
		f.byIP.drop(uint64(c.ip), uint32(i))
		if c.ip != 0 {
			f.nat.Drop(c.id) // its translations lead to the old address
		}
	}
	if c.slot == nil || c.id.Generation != gen {
		f.adopt(c, s, nat.Client{Slot: uint32(i), Generation: gen})
	}
	c.mac, c.ip = mac, ip
	f.byMAC.put(mac, uint32(i))
	f.byIP.put(uint64(ip), uint32(i))
	c.sighted = 0

	published := s.Published.Load() // once: what is published meanwhile has a policy change of its own
	for seq := max(c.taken, least(published)) + 1; seq <= published; seq++ {
		g := s.Record(seq)
		if g.Sequence.Load() != seq {
			continue // older than what its record holds now, saved long ago
		}
		g.Started.Store(0) // first: what has not started does not run on after a kill
		g.Ended.Store(0)
		g.Reason.Store(0)
		g.Up.Store(0)
		g.Down.Store(0)
		g.UpPackets.Store(0)
		g.DownPackets.Store(0)
		g.Taken.Store(seq)
	}
	c.taken = published
	f.review(c)
	if p := s.Probe.Load(); p != c.probe {
		c.probe = p
		f.probe(c)
	}
}

// least is the sequence before the oldest grant that a record can still hold.
func least(published uint64) uint64 {
	return published - min(published, clients.GrantsPerSlot)
}

// adopt starts a slot's private side from what its shared half says: from
// nothing for a new client, from where the last forwarder stood otherwise.
func (f *Forwarder) adopt(c *client, s *clients.Slot, id nat.Client) {
	*c = client{slot: s, id: id, probe: s.Probe.Load(), rates: [2]limiter.Rate{-1, -1}, answers: newAnswers()}
	if s.Served.Load() == uint64(id.Generation) {
		c.lastSeen = time.Duration(s.LastSeen.Load())
		c.lastDown = time.Duration(s.LastDown.Load())
		c.waited = [2]time.Duration{up: time.Duration(s.WaitedUp.Load()), down: time.Duration(s.WaitedDown.Load())}
		c.exemptUp, c.exemptDn = s.ExemptUp.Load(), s.ExemptDn.Load()
	} else {
		f.disown(s)
		s.Served.Store(uint64(id.Generation))
		s.Heard.Store(0)
		s.Foreign.Store(0)
		f.table.Losses(int(id.Slot)).Clear()
		f.touch(c)
	}
	c.active = s.Active.Load()
	for i := range s.Grants {
		c.taken = max(c.taken, s.Grants[i].Taken.Load())
	}
	if g, u := running(s); g != nil {
		c.grant, c.use, c.used = g, u, u.Up+u.Down
	}
}

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

// disown ends what a slot's former client left running.
func (f *Forwarder) disown(s *clients.Slot) {
	if g, _ := running(s); g != nil {
		g.Reason.Store(clients.EndRevoked)
		g.Ended.Store(max(int64(f.now), 1))
		f.ring = true
	}
}

// review applies the records of a client: what was revoked ends, limits and
// rates of the active grant are read again, the next one starts if none runs.
func (f *Forwarder) review(c *client) {
	if c.grant != nil {
		f.adjust(c)
		if r := time.Duration(c.grant.Revoked.Load()); r != 0 {
			at := min(max(r, c.use.Started), f.now)
			if c.deadline <= at { // it had ended by itself
				f.end(c, c.why, c.deadline)
			} else {
				f.end(c, clients.EndRevoked, at)
			}
		}
	}
	if c.grant == nil {
		f.next(c, f.now)
	}
}

// adjust reads limits and rates of the active grant.
func (f *Forwarder) adjust(c *client) {
	g := c.grant
	if c.limit = g.ByteLimit.Load(); c.limit == clients.NoLimit {
		c.limit = boundless
	}
	c.deadline, c.why = g.Deadline(c.use.Started)
	f.nextDeadline = min(f.nextDeadline, c.deadline)
	for dir, r := range [2]int64{up: g.RateUp.Load(), down: g.RateDown.Load()} {
		if r := limiter.Rate(r); c.rates[dir] != r {
			c.rates[dir] = r
			c.buckets[dir].Set(r, f.now)
		}
	}
}

// boundless is the limit of a grant that has none: what was used and is in
// flight stays below it.
const boundless = math.MaxUint64 - 1<<32

// end closes the active grant as of at.
func (f *Forwarder) end(c *client, reason uint64, at time.Duration) {
	f.store(c)
	c.grant.Reason.Store(reason)
	c.grant.EndLimit.Store(c.limit)
	c.grant.Ended.Store(max(int64(at), 1))
	c.grant = nil
	f.ring = true
}

// next starts the next grant that was published and has something left, or was
// promised; false when there is none. at is when it starts.
func (f *Forwarder) next(c *client, at time.Duration) bool {
	c.active = max(c.active, least(c.taken))
	for c.active < c.taken {
		seq := c.active + 1
		g := c.slot.Record(seq)
		if g.Taken.Load() != seq {
			c.active = seq
			continue
		}
		if why := void(g, at); why != 0 && !c.promised.has(seq) {
			g.Reason.Store(why)
			g.EndLimit.Store(g.ByteLimit.Load())
			g.Ended.Store(max(int64(at), 1))
			c.active = seq
			c.slot.Active.Store(seq)
			f.ring = true
			continue
		}
		c.active, c.grant = seq, g
		c.use = clients.Use{Started: max(at, 1)}
		c.used, c.sighted, c.unstored = 0, 0, false
		g.Started.Store(int64(c.use.Started))
		c.slot.Active.Store(seq)
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
func (c *client) covers(n uint64, now time.Duration) bool {
	left := c.limit - min(c.used, c.limit)
	for seq := c.active + 1; seq <= c.taken && left < n; seq++ {
		if g := c.slot.Record(seq); g.Taken.Load() == seq && void(g, now) == 0 {
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
	for c.grant != nil && c.deadline <= f.now {
		at := c.deadline
		f.end(c, c.why, at)
		if f.now-at > time.Second { // nobody forwarded meanwhile
			at = f.now
		}
		f.next(c, at)
	}
}

// tick looks at every deadline when the earliest has come.
func (f *Forwarder) tick() {
	if f.now < f.nextDeadline {
		return
	}
	f.nextDeadline = clients.NoTime
	for i := range f.clients {
		c := &f.clients[i]
		if c.grant == nil {
			continue
		}
		f.expire(c)
		if c.grant != nil {
			f.nextDeadline = min(f.nextDeadline, c.deadline)
		}
	}
}

// touch notes that a client's counters are to be stored after this round.
func (f *Forwarder) touch(c *client) {
	if !c.dirty {
		c.dirty = true
		c.waiting = f.touched
		f.touched = c.id.Slot
	}
}

// store writes a client's counters to the table.
func (f *Forwarder) store(c *client) {
	if g := c.grant; g != nil && c.unstored {
		c.unstored = false
		g.Up.Store(c.use.Up)
		g.Down.Store(c.use.Down)
		g.UpPackets.Store(c.use.UpPackets)
		g.DownPackets.Store(c.use.DownPackets)
	}
}

// publish stores the counters of all touched clients and of the forwarder; the
// grants' are stored as they are billed.
func (f *Forwarder) publish() {
	for f.touched != 0 {
		c := &f.clients[f.touched]
		f.touched, c.waiting, c.dirty = c.waiting, 0, false
		if c.slot == nil {
			continue
		}
		s := c.slot
		s.LastSeen.Store(int64(c.lastSeen))
		s.LastDown.Store(int64(c.lastDown))
		s.WaitedUp.Store(int64(c.waited[up]))
		s.WaitedDown.Store(int64(c.waited[down]))
		s.ExemptUp.Store(c.exemptUp)
		s.ExemptDn.Store(c.exemptDn)
	}
	f.publisher.Publish(&f.counters.Counters)
}
