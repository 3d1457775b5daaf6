package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// Bounds of following fragmented packets.
const (
	maxFragmented     = 1024
	maxFragmentedEach = 64
	fragmentedFor     = 30 * time.Second
)

// fragmentKey names a fragmented packet (RFC 791).
type fragmentKey struct {
	src, dst uint32
	id       uint16
	proto    uint8
	from     uint8
	origin   uint32
}

// fragmented is what its first fragment told about a packet.
type fragmented struct {
	client nat.Client
	addr   uint32 // up: the external address; down: the internal one
	until  time.Duration
	passed passed
}

// fragments follows fragmented packets whose first fragment was seen.
type fragments struct {
	seen map[fragmentKey]fragmented
	each map[uint32]int // by slot
}

func newFragments() fragments {
	return fragments{make(map[fragmentKey]fragmented, maxFragmented), make(map[uint32]int)}
}

func keyOf(fr *frame) fragmentKey {
	return fragmentKey{fr.Src, fr.Dst, fr.ID, fr.Proto, fr.from, fr.origin}
}

// first notes what a first fragment's translation was. If it comes again, it may be
// another packet's, and nothing of that has passed.
func (x *fragments) first(k fragmentKey, v fragmented, fr *frame) bool {
	if old, ok := x.seen[k]; ok {
		x.drop(k, old)
	} else if len(x.seen) >= maxFragmented || v.client.Slot != clients.HostSlot && x.each[v.client.Slot] >= maxFragmentedEach {
		return false
	}
	v.passed.note(fr)
	x.seen[k] = v
	x.each[v.client.Slot]++
	return true
}

func (x *fragments) drop(k fragmentKey, v fragmented) {
	delete(x.seen, k)
	if x.each[v.client.Slot]--; x.each[v.client.Slot] <= 0 {
		delete(x.each, v.client.Slot)
	}
}

// pass notes a fragment of a packet that is known, and forgets the packet when
// all of it has passed.
func (x *fragments) pass(k fragmentKey, v fragmented, fr *frame) {
	if v.passed.note(fr) {
		x.drop(k, v)
		return
	}
	x.seen[k] = v
}

// expire forgets old ones; called a few times a second.
func (x *fragments) expire(now time.Duration) {
	for k, v := range x.seen {
		if v.until <= now {
			x.drop(k, v)
		}
	}
}

// translateFragment translates a fragment from inside. The first one has the
// ports; later ones follow it, and wait for it if they come before.
func (f *Forwarder) translateFragment(fr *frame, id nat.Client) Reason {
	k := keyOf(fr)
	if fr.FragOffset != 0 {
		v, ok := f.fragments.seen[k]
		switch {
		case !ok:
			return f.awaitFirst(fr, k, id)
		case v.client != id:
			return StrayFragment
		}
		if !f.owns(v.addr) { // it went away
			return StrayFragment
		}
		f.fragments.pass(k, v, fr)
		fr.SetSrc(v.addr, 0)
		return Kept
	}
	if !fr.HasPorts() || fr.Proto == packet.ICMP && !fr.Asks() {
		return NotTranslatable
	}
	ext, v := f.nat.Out(tuple(fr), id, segment(fr), int64(f.now))
	if v != nat.Translated {
		f.refused(fr, v)
		return ofNAT(v)
	}
	if !f.fragments.first(k, fragmented{client: id, addr: ext.Addr, until: f.now + fragmentedFor}, fr) {
		return FragmentsFull
	}
	f.arrived(fr, k)
	fr.SetSrc(ext.Addr, ext.Port)
	return Kept
}

// restoreFragment is translateFragment for the other direction.
func (f *Forwarder) restoreFragment(fr *frame) Reason {
	k := keyOf(fr)
	if fr.FragOffset != 0 {
		v, ok := f.fragments.seen[k]
		if !ok {
			return f.awaitFirst(fr, k, nat.Client{})
		}
		f.fragments.pass(k, v, fr)
		fr.SetDst(v.addr, 0)
		return f.deliver(fr, v.client)
	}
	if !fr.HasPorts() || fr.Proto == packet.ICMP && !fr.Answers() {
		return NotTranslatable
	}
	fr.external = cameTo(fr)
	addr, port, id, v := f.inside(fr)
	if v != nat.Translated {
		return ofNAT(v)
	}
	if !f.fragments.first(k, fragmented{client: id, addr: addr, until: f.now + fragmentedFor}, fr) {
		return FragmentsFull
	}
	f.arrived(fr, k)
	fr.SetDst(addr, port)
	return f.deliver(fr, id)
}
