package forwarder

import (
	"encoding/binary"
	"sync"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
	"gatewayd/limiter"
)

// Bounds of what is known of clients' IPv6 addresses.
const (
	addressesEach = clients.AddressesEach
	heldFor       = time.Minute      // an address is its holder's, after the last packet from it
	saidEvery     = 10 * time.Second // how soon the other workers are told of another packet
	claimsEvery   = 10 * time.Millisecond
	claimsAtOnce  = 100
	firstGroup6   = 0xff // of a group's address, the first octet
)

// Multicast listeners' ICMPv6 types (RFC 2710, RFC 3810).
const (
	listenerReport   = 131
	listenerDone     = 132
	listenerReportV2 = 143
)

// address6 is an IPv6 address, both halves as values.
type address6 struct{ hi, lo uint64 }

func address6At(b []byte) address6 {
	return address6{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (fr *frame) source6() address6      { return address6At(fr.Raw[fr.L3+8:]) }
func (fr *frame) destination6() address6 { return address6At(fr.Raw[fr.L3+24:]) }

// unicast says whether an address can be one host's.
func (a address6) unicast() bool {
	return a.hi>>56 != firstGroup6 && (a.hi != 0 || a.lo>>32 != 0 && a.lo>>32 != 0xffff) // neither ::, ::1 nor an IPv4 one
}

// linkLocal says whether it is of fe80::/10.
func (a address6) linkLocal() bool { return a.hi>>54 == 0xfe80>>6 }

// client6 is what a worker knows of a client's addresses.
type client6 struct {
	addresses  [addressesEach]address6
	said       [addressesEach]time.Duration // when the other workers were last told of a packet from it
	generation uint32                       // of the client
	last       uint32                       // of addresses: used last
	claims     limiter.Allowance
	control    [2]limiter.Allowance // by direction: ARP, DHCP and neighbour discovery
}

// addresses6 is whose each IPv6 address is, of all workers' clients.
type addresses6 struct {
	mu   sync.Mutex
	held map[address6]holder6 // at most addressesEach of a slot
}

type holder6 struct {
	slot, generation uint32
	seen             time.Duration
}

// claims6 holds a client's IPv6 packet to its addresses; one that nobody has is its own
// from now on, while there is a place.
func (f *Forwarder) claims6(c *client, fr *frame) Reason {
	a := fr.source6()
	k := &f.bridge.six[c.id.Slot]
	if k.addresses[k.last] == a && k.generation == c.id.Generation && f.now-k.said[k.last] < saidEvery {
		return Kept
	}
	if a == (address6{}) && fr.isMLD() {
		return Kept // who has no address yet joins groups (RFC 3590)
	}
	if !a.unicast() {
		return BadSource
	}
	return f.claim6(c, a, byPacket)
}

// isMLD says whether a packet reports groups, or leaves one.
func (fr *frame) isMLD() bool {
	return fr.Proto == packet.ICMPv6 && (fr.ICMPType == listenerReport || fr.ICMPType == listenerDone || fr.ICMPType == listenerReportV2)
}

// How a client speaks of an address.
const (
	byPacket    = iota // by sending from it
	byDiscovery        // by neighbour discovery or DHCPv6
)

// claim6 is claims6 of another address than the last, or of one that was not told of for
// a while. Who speaks of more than there are places for loses the one that was silent
// longest, but by a mere packet none that is in use.
func (f *Forwarder) claim6(c *client, a address6, how int) Reason {
	k := &f.bridge.six[c.id.Slot]
	held := &f.bridge.shared.six
	if k.generation != c.id.Generation {
		held.release(k, c.id.Slot)
		*k = client6{generation: c.id.Generation, control: k.control}
		f.table.Addresses6(int(c.id.Slot)).Clear(c.id.Generation)
	}
	if f.isRouter6(a) {
		return Spoofed
	}
	at := k.find(a)
	if at < addressesEach && f.now-k.said[at] < saidEvery {
		k.last = uint32(at)
		return Kept
	}
	if at == addressesEach && !k.claims.Take(claimsEvery, claimsAtOnce, f.now) {
		return Spoofed
	}
	if at == addressesEach && f.isOutside6(a) {
		return Spoofed
	}
	held.mu.Lock()
	defer held.mu.Unlock()
	if h, ok := held.held[a]; ok && h.slot != c.id.Slot && f.now-h.seen < heldFor {
		return Spoofed
	}
	if at == addressesEach {
		at = k.oldest()
		if h, ok := held.held[k.addresses[at]]; ok && h.slot == c.id.Slot {
			if how == byPacket && f.now-h.seen < heldFor {
				return Spoofed
			}
			delete(held.held, k.addresses[at])
		}
	}
	held.held[a] = holder6{c.id.Slot, c.id.Generation, f.now}
	k.addresses[at], k.said[at], k.last = a, f.now, uint32(at)
	f.table.Addresses6(int(c.id.Slot)).Set(at, a.hi, a.lo, f.now)
	return Kept
}

// find is the place of an address; addressesEach if it is not there.
func (k *client6) find(a address6) int {
	for i, known := range k.addresses {
		if known == a {
			return i
		}
	}
	return addressesEach
}

// oldest is the place of an address that is free, or longest unused.
func (k *client6) oldest() (at int) {
	for i, said := range k.said {
		if said < k.said[at] {
			at = i
		}
	}
	return at
}

// recall6 takes over what the last forwarder knew of its clients' addresses, so that nobody
// takes one whose holder is silent in this moment.
func (f *Forwarder) recall6() {
	x := &f.bridge.shared.six
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := f.first; i < len(f.clients); i += f.step {
		s := f.table.Slot(i)
		generation := uint32(s.Generation.Load())
		known := f.table.Addresses6(i)
		if s.State.Load() != clients.SlotBound || !known.Sound(generation) {
			continue
		}
		k := &f.bridge.six[i]
		k.generation = generation
		for at := range k.addresses {
			hi, lo, heard := known.At(at)
			if heard == 0 {
				continue
			}
			a := address6{hi, lo}
			k.addresses[at], k.said[at] = a, heard
			if h := x.held[a]; f.now-heard < heldFor && h.seen < heard {
				x.held[a] = holder6{uint32(i), generation, heard}
			}
		}
	}
}

// release forgets the addresses of a slot's former client.
func (x *addresses6) release(k *client6, slot uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, a := range k.addresses {
		if h, ok := x.held[a]; ok && h.slot == slot {
			delete(x.held, a)
		}
	}
}

// others6 says whether another client than c, which may be nil, has an address.
func (f *Forwarder) others6(c *client, a address6) bool {
	x := &f.bridge.shared.six
	x.mu.Lock()
	defer x.mu.Unlock()
	h, ok := x.held[a]
	return ok && (c == nil || h.slot != c.id.Slot) && f.now-h.seen < heldFor
}
