package forwarder

import (
	"time"

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
	sighted bool // NoGrant was reported since the last policy change

	grant    *clients.Grant // the one in use; nil: none
	active   uint64         // its sequence, or that of the last one
	taken    uint64         // highest sequence taken in
	deadline time.Duration  // since boot
	why      uint64         // what the deadline means: clients.EndTime or EndExpiry
	limit    uint64         // up + down bytes
	used     uint64         // up + down bytes that the kernel took
	flight   uint64         // bytes in batches not sent yet
	use      clients.Use    // counters, stored after each batch

	buckets            [2]limiter.Bucket // by direction
	rates              [2]limiter.Rate   // as set; -1: not yet
	probe              uint64
	lastSeen           time.Duration
	overUp, overDown   uint64
	exemptUp, exemptDn uint64
	notPassed          uint64
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
	if c.ip != ip || c.id.Generation != gen {
		f.byIP.drop(uint64(c.ip), uint32(i))
		if c.ip != 0 {
			f.nat.Drop(c.id) // its translations lead to the old address
		}
	}
	if c.id.Generation != gen || c.slot == nil {
		f.adopt(c, s, nat.Client{Slot: uint32(i), Generation: gen})
	}
	c.mac, c.ip = mac, ip
	f.byMAC.put(mac, uint32(i))
	f.byIP.put(uint64(ip), uint32(i))
	c.sighted = false

	for seq := c.taken + 1; seq <= s.Published.Load(); seq++ {
		g := s.Record(seq)
		if g.Sequence.Load() != seq {
			continue // older than what its record holds now, saved long ago
		}
		g.Ended.Store(0)
		g.Started.Store(0)
		g.Reason.Store(0)
		g.Up.Store(0)
		g.Down.Store(0)
		g.UpPackets.Store(0)
		g.DownPackets.Store(0)
		g.Taken.Store(seq)
	}
	c.taken = s.Published.Load()
	f.review(c)
	if p := s.Probe.Load(); p != c.probe {
		c.probe = p
		f.probe(c)
	}
}

// adopt starts a slot's private side from what its shared half says: from
// nothing for a new client, from where the last forwarder stood otherwise.
func (f *Forwarder) adopt(c *client, s *clients.Slot, id nat.Client) {
	*c = client{slot: s, id: id, probe: s.Probe.Load(), rates: [2]limiter.Rate{-1, -1}}
	if s.Served.Load() == uint64(id.Generation) {
		c.lastSeen = time.Duration(s.LastSeen.Load())
		c.overUp, c.overDown, c.notPassed = s.OverUp.Load(), s.OverDown.Load(), s.NotPassed.Load()
		c.exemptUp, c.exemptDn = s.ExemptUp.Load(), s.ExemptDn.Load()
	} else {
		s.Served.Store(uint64(id.Generation))
		s.Heard.Store(0)
		f.touch(c)
	}
	c.active = s.Active.Load()
	for i := range s.Grants {
		c.taken = max(c.taken, s.Grants[i].Taken.Load())
	}
	if c.active == 0 {
		return
	}
	g := s.Record(c.active)
	if u := g.Use(c.active); u.Started != 0 && u.Ended == 0 {
		c.grant, c.use, c.used = g, u, u.Up+u.Down
	}
}

// review applies the records of a client: what was revoked ends, limits and
// rates of the active grant are read again, the next one starts if none runs.
func (f *Forwarder) review(c *client) {
	if c.grant != nil {
		if r := time.Duration(c.grant.Revoked.Load()); r != 0 {
			f.end(c, clients.EndRevoked, min(max(r, c.use.Started), f.now))
		} else {
			f.adjust(c)
		}
	}
	if c.grant == nil {
		f.next(c, f.now)
	}
}

// adjust reads limits and rates of the active grant.
func (f *Forwarder) adjust(c *client) {
	g := c.grant
	c.limit = g.ByteLimit.Load()
	c.deadline, c.why = g.Deadline(c.use.Started)
	f.nextDeadline = min(f.nextDeadline, c.deadline)
	for dir, r := range [2]int64{up: g.RateUp.Load(), down: g.RateDown.Load()} {
		if r := limiter.Rate(r); c.rates[dir] != r {
			c.rates[dir] = r
			c.buckets[dir].Set(r, f.now)
		}
	}
}

// end closes the active grant as of at.
func (f *Forwarder) end(c *client, reason uint64, at time.Duration) {
	f.store(c)
	c.grant.Reason.Store(reason)
	c.grant.Ended.Store(max(int64(at), 1))
	c.grant = nil
	f.ring = true
}

// next starts the next grant that was published and not revoked; false when
// there is none. at is when it starts.
func (f *Forwarder) next(c *client, at time.Duration) bool {
	for c.active < c.taken {
		seq := c.active + 1
		g := c.slot.Record(seq)
		if g.Taken.Load() != seq {
			c.active = seq
			continue
		}
		if g.Revoked.Load() != 0 || time.Duration(g.Expiry.Load()) <= at {
			g.Reason.Store(clients.EndRevoked)
			if g.Revoked.Load() == 0 {
				g.Reason.Store(clients.EndExpiry)
			}
			g.Ended.Store(int64(at))
			c.active = seq
			c.slot.Active.Store(seq)
			f.ring = true
			continue
		}
		c.active, c.grant = seq, g
		c.use = clients.Use{Started: max(at, 1)}
		c.used, c.sighted = 0, false
		g.Started.Store(int64(c.use.Started))
		c.slot.Active.Store(seq)
		f.adjust(c)
		f.ring = true
		return true
	}
	return false
}

// pending says whether another grant could take over.
func (c *client) pending() bool {
	for seq := c.active + 1; seq <= c.taken; seq++ {
		g := c.slot.Record(seq)
		if g.Taken.Load() == seq && g.Revoked.Load() == 0 && g.ByteLimit.Load() > 0 {
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

// touch notes that a client's counters are to be stored after this batch.
func (f *Forwarder) touch(c *client) {
	if !c.dirty {
		c.dirty = true
		c.waiting = f.touched
		f.touched = c.id.Slot
	}
}

// store writes a client's counters to the table.
func (f *Forwarder) store(c *client) {
	if g := c.grant; g != nil {
		g.Up.Store(c.use.Up)
		g.Down.Store(c.use.Down)
		g.UpPackets.Store(c.use.UpPackets)
		g.DownPackets.Store(c.use.DownPackets)
	}
}

// publish stores the counters of all touched clients and of the forwarder.
func (f *Forwarder) publish() {
	for f.touched != 0 {
		c := &f.clients[f.touched]
		f.touched, c.waiting, c.dirty = c.waiting, 0, false
		if c.slot == nil {
			continue
		}
		f.store(c)
		s := c.slot
		s.LastSeen.Store(int64(c.lastSeen))
		s.OverUp.Store(c.overUp)
		s.OverDown.Store(c.overDown)
		s.ExemptUp.Store(c.exemptUp)
		s.ExemptDn.Store(c.exemptDn)
		s.NotPassed.Store(c.notPassed)
	}
	f.counters.store(f.header)
}
