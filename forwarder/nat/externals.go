package nat

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// MaxExternals bounds the external addresses of a table.
const MaxExternals = 16

// Endpoint is an external address and one of its ports, or query ids.
type Endpoint struct {
	Addr uint32
	Port uint16
}

// place is where an external address has its ports. One that has had an address
// keeps it, and its ports' rests, until another address needs the place.
type place struct {
	addr     uint32 // 0: none yet
	mappings uint32 // of all protocols
	filled   bool   // the pools hold its ports
	pools    [3]pool
}

// checkExternals refuses a set that cannot be translated to.
func checkExternals(addrs []uint32) error {
	if len(addrs) > MaxExternals {
		return fmt.Errorf("%d external addresses, not at most %d", len(addrs), MaxExternals)
	}
	for i, a := range addrs {
		if a == 0 || slices.Contains(addrs[:i], a) {
			return fmt.Errorf("external address %#x is none, or twice there", a)
		}
	}
	return nil
}

// SetExternals gives the table another set of external addresses, none at all
// included, from the next packet on. An address that stays keeps its flows. One
// that is not among them takes part in nothing any more: its clients go on with
// another one, and its flows end, a part of them with each Expire. Of those that
// are new it takes in one a call, which takes a fraction of a millisecond; more says
// that it has to be called again. A set that Attach would refuse changes nothing.
func (t *Table) SetExternals(addrs []uint32) (more bool) {
	if checkExternals(addrs) != nil {
		return false
	}
	t.retain(addrs)
	for i := range t.places {
		if t.places[i].mappings > 0 && t.live[i] == 0 {
			t.sweep = t.header.used
		}
	}
	for _, a := range addrs {
		if !t.owns(a) {
			t.settle(a)
			break
		}
	}
	t.prefer(addrs)
	return slices.ContainsFunc(addrs, func(a uint32) bool { return !t.owns(a) })
}

// retain has those of a set take part that have their place, and no others.
func (t *Table) retain(addrs []uint32) {
	t.live = [MaxExternals]uint32{}
	for i := range t.places {
		if p := &t.places[i]; p.filled && slices.Contains(addrs, p.addr) {
			t.live[i] = p.addr
		}
	}
	t.prefer(addrs)
}

// prefer notes the place of the first address of a set that takes part.
func (t *Table) prefer(addrs []uint32) {
	t.first = 0
	for _, a := range addrs {
		if i, ok := t.placeOf(a); ok {
			t.first = i
			return
		}
	}
}

// settle gives an address its place and its ports.
func (t *Table) settle(a uint32) {
	i := t.emptyPlace(a)
	p := &t.places[i]
	if p.addr != a {
		t.clearRests(i)
		p.filled = false
		p.addr = a
		atomic.StoreUint32(&t.header.externals[i], a)
	}
	if !p.filled {
		t.fill(i)
	}
	t.live[i] = a
}

// emptyPlace is a place that no flow is at: the one that the address had last, one
// that was never used, or any. If flows of addresses that went away are at all of
// them, those of one end now.
func (t *Table) emptyPlace(a uint32) uint8 {
	last := -1
	for i := range t.places {
		switch p := &t.places[i]; {
		case p.addr == a:
			return uint8(i)
		case t.live[i] != 0:
		case last < 0, p.mappings < t.places[last].mappings, p.addr == 0 && t.places[last].addr != 0:
			last = i
		}
	}
	if t.places[last].mappings > 0 {
		for i := t.header.used; i > 0; i-- {
			if f := &t.flows[i]; f.commit != 0 && int(f.place) == last {
				t.remove(i)
			}
		}
	}
	return uint8(last)
}

// clearRests forgets when the ports of a place were freed, for another address.
func (t *Table) clearRests(i uint8) {
	p := &t.places[i]
	for proto := range p.pools {
		if q := &p.pools[proto]; p.addr != 0 && q.until != nil {
			clear(q.until[q.low:][:len(q.head)])
		}
	}
}

// fill sorts a place's ports.
func (t *Table) fill(i uint8) {
	p := &t.places[i]
	for proto := range p.pools {
		p.pools[proto].fill(t.second, t.restEnd())
	}
	p.filled = true
}

// placeOf is the place of an address that takes part.
func (t *Table) placeOf(a uint32) (i uint8, ok bool) {
	for i, live := range t.live {
		if live == a && a != 0 {
			return uint8(i), true
		}
	}
	return 0, false
}

// owns says whether an address takes part.
func (t *Table) owns(a uint32) bool {
	_, ok := t.placeOf(a)
	return ok
}

// pair is the place of a client's next mapping: all of one client's are at one
// address (RFC 4787 REQ-2). A newcomer's is where the fewest are, the box's own
// where the first address is.
func (t *Table) pair(slot uint32) (place uint8, ok bool) {
	own := &t.clients[slot]
	switch {
	case slot == 0:
		return t.first, t.live[t.first] != 0
	case own.mappings > 0:
		return own.place, true
	}
	for i, live := range t.live {
		if live != 0 && (!ok || t.places[i].mappings < t.places[place].mappings) {
			place, ok = uint8(i), true
		}
	}
	return place, ok
}

// abandon ends a slot's flows at addresses that went away, or by forwards that did, before it has others.
func (t *Table) abandon(slot uint32) {
	own := &t.clients[slot]
	if t.sweep > 0 && (slot == 0 || own.fixed > 0 || own.mappings > 0 && t.live[own.place] == 0) {
		t.dropWhere(slot, t.stale)
	}
}

// sweepAway ends at most budget flows at addresses, or by forwards, that went away. Ports that are forwarded no more are free
// after that.
func (t *Table) sweepAway(budget int) {
	for looks := sweepLooks * budget; t.sweep > 0 && looks > 0 && budget > 0; looks-- {
		if t.flows[t.sweep].commit != 0 && t.stale(t.sweep) {
			t.remove(t.sweep)
			budget--
		}
		t.sweep--
	}
	if t.sweep == 0 && t.refill > 0 {
		t.refill--
		if t.places[t.refill].filled {
			t.fill(t.refill)
		}
	}
}

// sweepLooks is how many entries may be looked at in the time that it takes to end
// one flow.
const sweepLooks = 16

// Use is which external address is at a place, and how many mappings are there; 0:
// none takes part.
func (t *Table) Use(place int) (addr, mappings uint32) {
	return t.live[place], t.places[place].mappings
}

// makePlaces makes the private side of all places, empty. What is not used costs
// nothing but addresses.
func (t *Table) makePlaces() error {
	low, high := t.opt.Slice(int(t.opt.Owner))
	var all error
	for i := range t.places {
		p := &t.places[i]
		all = errors.Join(all,
			p.pools[0].init(t.opt.Arena, low, high, &t.rest[i][0]),
			p.pools[1].init(t.opt.Arena, low, high, &t.rest[i][1]),
			p.pools[2].init(t.opt.Arena, low, high, nil))
	}
	return all
}
