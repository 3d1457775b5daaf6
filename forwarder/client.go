package forwarder

import (
	"sync/atomic"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/limiter"
)

// client is the forwarder's private side of a slot. It holds no pointer, for it
// lies outside the heap, and what each packet needs lies together: on a 64-bit
// machine the first two cache lines, and the two of its direction's side.
type client struct {
	mac      uint64     // 0: free
	id       nat.Client // slot and generation; slot 0: never adopted
	ip       uint32     // 0: none yet
	waiting  uint32     // next in the list of clients whose counters are to be stored
	limit    uint64     // up + down bytes
	used     uint64     // up + down bytes that the kernel took
	flight   uint64     // bytes in batches not sent yet
	lastSeen time.Duration
	running  bool     // the grant with sequence active
	dirty    bool     // in the list of clients whose counters are to be stored
	unstored bool     // use is ahead of the table
	promised promises // grants that pay for the packet on the edge
	paced    bool     // something waited for its rate since that was last said
	draining bool     // it is among those whose grant ended while something waited
	_        [2]byte

	use      use             // counters, stored as soon as the kernel has taken a batch
	lastDown time.Duration   // likewise
	active   uint64          // sequence of the grant in use, or of the last one
	rates    [2]limiter.Rate // by direction, as set; -1: not yet

	taken              uint64            // highest sequence taken in
	started            time.Duration     // since boot, the active grant
	deadline           time.Duration     // since boot
	why                uint64            // what the deadline means: clients.EndTime or EndExpiry
	sighted            time.Duration     // when NoGrant was last reported, since boot; 0: not since control changed anything
	answers            limiter.Allowance // ARP replies and ICMP errors made for it
	probe              uint64
	waited             [2]time.Duration // by direction: when a frame last had to wait for the rate
	exemptUp, exemptDn uint64
	marked             uint64 // wire packets
	weight             int    // as set
	_                  [3]uint64
}

// use is what the kernel took of the active grant: layer-3 bytes and wire packets.
type use struct{ up, down, upPackets, downPackets uint64 }

// Directions of a client's traffic.
const (
	up = iota
	down
)

// What a round does at most for clients that send nothing, so that packets do not
// wait while control changes all, or all grants end at midnight: about 0.1 ms.
const (
	takesARound     = 128
	deadlinesARound = 128
)

// sync takes in slots that control changed; false when the next round has to go
// on with others.
func (f *Forwarder) sync() bool {
	if f.unscanned == 0 && !f.rescan() {
		return true
	}
	for taken := 0; f.unscanned < len(f.clients); f.unscanned += f.step {
		i := f.unscanned
		gen := f.table.Policy(i)
		if gen == f.policy[i] {
			continue
		}
		if taken++; taken > takesARound {
			return false
		}
		f.take(i)
		f.policy[i] = gen
		f.table.Ack(i, gen)
		f.ring = true
	}
	f.unscanned = 0
	return !f.rescan() // what changed behind the look may have rung before its end
}

// rescan begins another look at all slots if control changed any since the last
// one began.
func (f *Forwarder) rescan() bool {
	changes := f.header.Changes.Load()
	if changes == f.changes {
		return false
	}
	f.changes, f.unscanned = changes, f.first
	f.takeCaptures()
	f.said.Changes.Store(changes)
	return true
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
	f.strangers = strangers{}
	if c.mac != mac || c.id.Generation != gen {
		f.byMAC.drop(c.mac, uint32(i))
	}
	if c.mac != mac || c.ip != ip || c.id.Generation != gen {
		f.forget(c)
	}
	if c.ip != ip || c.id.Generation != gen {
		f.byIP.drop(uint64(c.ip), uint32(i))
		if c.ip != 0 {
			f.nat.Leave(c.id, c.ip) // its translations lead to the old address
		}
	}
	if c.id.Slot == 0 || c.id.Generation != gen {
		f.adopt(c, s, nat.Client{Slot: uint32(i), Generation: gen})
	}
	if c.mac != 0 {
		f.bound--
	}
	if mac != 0 {
		f.bound++
	}
	c.mac, c.ip = mac, ip
	f.byMAC.put(mac, uint32(i))
	f.byIP.put(uint64(ip), uint32(i))
	c.sighted = 0

	revoked := f.revoked(c)         // first: what takes over was published before
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
	f.review(c, revoked)
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
	f.deadlines.set(id.Slot, clients.NoTime)
	f.pacer.Renew(limiter.SideOf(id.Slot, up))
	f.pacer.Renew(limiter.SideOf(id.Slot, down))
	*c = client{id: id, probe: s.Probe.Load(), rates: [2]limiter.Rate{-1, -1}}
	if s.Served.Load() == uint64(id.Generation) {
		c.lastSeen = time.Duration(s.LastSeen.Load())
		c.lastDown = time.Duration(s.LastDown.Load())
		c.waited = [2]time.Duration{up: time.Duration(s.WaitedUp.Load()), down: time.Duration(s.WaitedDown.Load())}
		c.marked = s.Marked.Load()
		c.exemptUp, c.exemptDn = s.ExemptUp.Load(), s.ExemptDn.Load()
	} else {
		f.disown(s)
		s.Served.Store(uint64(id.Generation))
		s.Heard.Store(0)
		s.Foreign.Store(0)
		s.Marked.Store(0)
		f.table.Losses(int(id.Slot)).Clear()
		f.touch(c)
	}
	for direction := range s.Waiting {
		s.Waiting[direction].Store(0)
		s.Delay[direction].Store(0)
	}
	c.active = s.Active.Load()
	for i := range s.Grants {
		c.taken = max(c.taken, s.Grants[i].Taken.Load())
	}
	if g, u := running(s); g != nil {
		c.running, c.started, c.used = true, u.Started, u.Up+u.Down
		c.use = use{u.Up, u.Down, u.UpPackets, u.DownPackets}
	}
}

// slot is a client's shared side.
func (f *Forwarder) slot(c *client) *clients.Slot { return f.table.Slot(int(c.id.Slot)) }

// disown ends what a slot's former client left running.
func (f *Forwarder) disown(s *clients.Slot) {
	if g, _ := running(s); g != nil {
		g.Reason.Store(clients.EndRevoked)
		g.Ended.Store(max(int64(f.now), 1))
		f.ring = true
	}
}

// tick ends what its deadline ended.
func (f *Forwarder) tick() {
	for n := 0; n < deadlinesARound && f.deadlines.next() <= f.now; n++ {
		f.expire(&f.clients[f.deadlines.heap[0].slot])
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
	if c.running && c.unstored {
		c.unstored = false
		g := f.grant(c)
		renew(&g.Up, c.use.up)
		renew(&g.Down, c.use.down)
		renew(&g.UpPackets, c.use.upPackets)
		renew(&g.DownPackets, c.use.downPackets)
	}
}

// renew stores what has changed: to look costs nothing beside a store that others
// must see, which waits for all before it.
func renew(at *atomic.Uint64, v uint64) {
	if at.Load() != v {
		at.Store(v)
	}
}

func renewTime(at *atomic.Int64, v time.Duration) {
	if at.Load() != int64(v) {
		at.Store(int64(v))
	}
}

// publish stores the counters of all touched clients and of the forwarder; the
// grants' are stored as they are billed.
func (f *Forwarder) publish() {
	for f.touched != 0 {
		c := &f.clients[f.touched]
		f.touched, c.waiting, c.dirty = c.waiting, 0, false
		s := f.slot(c)
		renewTime(&s.LastSeen, c.lastSeen)
		renewTime(&s.LastDown, c.lastDown)
		renewTime(&s.WaitedUp, c.waited[up])
		renewTime(&s.WaitedDown, c.waited[down])
		renew(&s.ExemptUp, c.exemptUp)
		renew(&s.ExemptDn, c.exemptDn)
		if c.paced {
			f.sayPaced(c, s)
		}
	}
	f.publisher.Publish(&f.counters.Counters)
}

// sayPaced stores what waits of a client, and for how long that does.
func (f *Forwarder) sayPaced(c *client, s *clients.Slot) {
	c.paced = false
	renew(&s.Marked, c.marked)
	for direction := range uint8(2) {
		side := limiter.SideOf(c.id.Slot, direction)
		renew(&s.Waiting[direction], uint64(f.pacer.Waiting(side)))
		renewTime(&s.Delay[direction], f.pacer.Delay(side))
	}
}
