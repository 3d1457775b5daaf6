package sessions

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

const (
	lookFirst  = time.Second            // over which the first who asks has it measured
	lookShared = 250 * time.Millisecond // as long a look is good for all who ask
	lookOld    = 10 * time.Second       // from then on it says nothing of now, and is forgotten
)

// Directions, as the table has them.
const (
	upward = iota
	downward
)

// looks are what all who ask for traffic share: the last look, which the next one is
// compared with. Nobody's own is kept, and none while nobody asks.
type looks struct {
	turn turn // who has it looks
	last atomic.Pointer[look]
}

// look is what was seen of all slots at one moment, and what passed since the look
// before. It does not change.
type look struct {
	at       time.Duration // since boot
	counters clients.Counters
	slots    []seenSlot
	sums     Traffic // without items
	rows     []trafficRow
}

// seenSlot is what the forwarder had counted of a slot's client.
type seenSlot struct {
	generation uint64    // of the slot: which client
	sequence   uint64    // of the grant in use, or used last
	bytes      [2]uint64 // of that grant
	packets    [2]uint64
	drops      uint64 // for the rate, of this client
	marked     uint64 // likewise
}

// trafficRow is a client's traffic. There is one for each who is connected, so what is
// text is written for those who are told of.
type trafficRow struct {
	device             *device
	slot               int
	id                 int64 // the device's
	name               string
	ip                 uint32
	ends               time.Duration // how soon its session can end
	down, up           Flow
	drops, marked      uint64
	dropRate, markRate float64 // a second
}

// looked returns a look of now that has one before it.
func (m *Manager) looked(ctx context.Context) (*look, error) {
	if err := m.looks.turn.take(ctx); err != nil {
		return nil, err
	}
	defer m.looks.turn.done()
	last := m.looks.last.Load()
	switch now := m.opt.Boot(); {
	case last == nil || now-last.at > lookOld:
		first, err := m.look(ctx, nil)
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookFirst):
		}
		last = first
	case now-last.at < lookShared:
		return last, nil
	}
	next, err := m.look(ctx, last)
	if err == nil {
		m.looks.last.Store(next)
	}
	return next, err
}

// forget lets go of a look that is of no use any more.
func (l *looks) forget(now time.Duration) {
	if last := l.last.Load(); last != nil && now-last.at > lookOld {
		l.last.CompareAndSwap(last, nil)
	}
}

// look looks at all slots, and compares them with the look before; nil: there is none.
func (m *Manager) look(ctx context.Context, before *look) (*look, error) {
	_, cancel, err := m.enter(ctx, callTime)
	if err != nil {
		return nil, err
	}
	defer cancel()
	l := &look{at: m.opt.Boot(), counters: m.table.Header().Counters(), slots: make([]seenSlot, m.table.Slots())}
	for i := clients.HostSlot + 1; i < len(l.slots); i++ {
		if m.table.Policy(i) != 0 {
			l.slots[i] = m.seeSlot(i)
		}
	}
	if before != nil {
		m.compare(before, l)
	}
	return l, nil
}

// seeSlot reads what the forwarder has counted of a slot's client.
func (m *Manager) seeSlot(i int) (v seenSlot) {
	slot := m.table.Slot(i)
	v.generation, v.sequence = slot.Generation.Load(), slot.Active.Load()
	v.bytes, v.packets = passed(slot.Record(v.sequence).Use(v.sequence))
	if uint32(slot.Served.Load()) != uint32(v.generation) {
		return v // the rest is of the client before
	}
	v.marked = slot.Marked.Load()
	losses := m.table.Losses(i)
	for _, reason := range m.opt.RateReasons {
		v.drops += losses[reason].Packets.Load()
	}
	return v
}

// passed is what passed in a grant, by direction.
func passed(u clients.Use) (bytes, packets [2]uint64) {
	return [2]uint64{upward: u.Up, downward: u.Down}, [2]uint64{upward: u.UpPackets, downward: u.DownPackets}
}

// passedSince adds up what passed in a slot between two looks, over all grants that were
// in use.
func (m *Manager) passedSince(i int, before, now *seenSlot) (bytes, packets [2]uint64) {
	slot := m.table.Slot(i)
	grants := min(now.sequence-before.sequence, clients.GrantsPerSlot-1) // those before have no record any more
	for ; ; grants-- {
		seq := now.sequence - grants
		b, p := now.bytes, now.packets
		if seq != now.sequence {
			b, p = passed(slot.Record(seq).Use(seq))
		}
		var b0, p0 [2]uint64
		if seq == before.sequence {
			b0, p0 = before.bytes, before.packets
			if before.generation != now.generation { // it was another client's
				b0, p0 = b, p
			}
		}
		for way := range b {
			bytes[way] += since(b0[way], b[way])
			packets[way] += since(p0[way], p[way])
		}
		if grants == 0 {
			return bytes, packets
		}
	}
}

// since is by how much a counter grew; one that is lower began anew.
func since(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// compare fills in what passed since the look before.
func (m *Manager) compare(before, l *look) {
	over := l.at - before.at
	l.sums.OverMS, l.sums.Now = over.Milliseconds(), m.clock.wall(l.at)
	l.rows = make([]trafficRow, 0, len(before.rows)+partLook)
	m.inParts(m.slots, func(d *device) {
		l.sums.Clients.Bound++
		s := d.inUse()
		if s == nil {
			if !d.loaded && m.paused.of(d.id) != 0 {
				l.sums.Clients.Paused++ // what it has is on disk, and nothing of it passes
			}
			return
		}
		if m.table.Slot(d.slot).Generation.Load() != l.slots[d.slot].generation {
			return // it came after the slots were read
		}
		if s == d.paused {
			l.sums.Clients.Paused++
		} else {
			l.sums.Clients.Connected++
		}
		row := m.trafficRow(d, s, before, l)
		l.rows = append(l.rows, row)
		l.sums.Down.add(row.down)
		l.sums.Up.add(row.up)
	})
	h := m.table.Header()
	l.sums.Down.LimitBitsPerSecond = bitsOf(limiter.Rate(h.TotalDown.Load()))
	l.sums.Up.LimitBitsPerSecond = bitsOf(limiter.Rate(h.TotalUp.Load()))
	var all, ofRate uint64
	for reason, n := range l.counters.Drops {
		all += since(before.counters.Drops[reason], n)
	}
	for _, reason := range m.opt.RateReasons {
		ofRate += since(before.counters.Drops[reason], l.counters.Drops[reason])
	}
	l.sums.DropsPerSecond, l.sums.OtherDropsPerSecond = per(ofRate, over), per(all-ofRate, over)
}

// trafficRow compares two looks at the slot of a device that uses session s. m.mu is held.
func (m *Manager) trafficRow(d *device, s *session, before, l *look) trafficRow {
	was, now := &before.slots[d.slot], &l.slots[d.slot]
	if was.generation != now.generation {
		was = &seenSlot{generation: was.generation, sequence: was.sequence}
	}
	over := l.at - before.at
	bytes, packets := m.passedSince(d.slot, was, now)
	down, up := m.speeds(d, s)
	flow := func(way int, limit limiter.Rate) Flow {
		f := Flow{BitsPerSecond: uint64(8 * per(bytes[way], over)), PacketsPerSecond: uint64(math.Round(per(packets[way], over))), LimitBitsPerSecond: bitsOf(limit)}
		f.WaitingBytes, f.DelayMS = m.waitsFor(d.slot, way, before.at)
		return f
	}
	return trafficRow{
		device: d, slot: d.slot, id: d.id, name: d.hostname, ip: d.ip, ends: s.endsIn(m.used(d, s), down, up, l.sums.Now),
		down: flow(downward, down), up: flow(upward, up),
		drops: now.drops, dropRate: per(since(was.drops, now.drops), over), marked: now.marked, markRate: per(since(was.marked, now.marked), over),
	}
}

// speeds are those that hold for a device's session now. m.mu is held.
func (m *Manager) speeds(d *device, s *session) (down, up limiter.Rate) {
	if g := d.current(); g != nil && g.session == s {
		r := m.table.Slot(d.slot).Record(g.seq)
		return limiter.Rate(r.RateDown.Load()), limiter.Rate(r.RateUp.Load())
	}
	t := m.terms(s, s.settled, d.slows(s, m.clock.read().Wall))
	return t.Down, t.Up
}

// waitsFor says what waits for a client's rate, and how long what left last had waited,
// in ms; 0 if nothing waits and nothing did since a moment.
func (m *Manager) waitsFor(i, way int, after time.Duration) (bytes uint64, delay float64) {
	slot := m.table.Slot(i)
	if uint32(slot.Served.Load()) != uint32(slot.Generation.Load()) {
		return 0, 0
	}
	waited := &slot.WaitedUp
	if way == downward {
		waited = &slot.WaitedDown
	}
	bytes = slot.Waiting[way].Load()
	if bytes == 0 && time.Duration(waited.Load()) <= after {
		return 0, 0
	}
	return bytes, float64(time.Duration(slot.Delay[way].Load()).Microseconds()) / 1000
}

// add sums up; of delays the longest stays.
func (f *Flow) add(of Flow) {
	f.BitsPerSecond += of.BitsPerSecond
	f.PacketsPerSecond += of.PacketsPerSecond
	f.WaitingBytes += of.WaitingBytes
	f.DelayMS = max(f.DelayMS, of.DelayMS)
}

// per is how many of n came in a second.
func per(n uint64, over time.Duration) float64 {
	if over <= 0 {
		return 0
	}
	return float64(n) / over.Seconds()
}

// bitsOf is a rate in bits a second.
func bitsOf(r limiter.Rate) uint64 { return uint64(max(r, 0)) * 8 }
