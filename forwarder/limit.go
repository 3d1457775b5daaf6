package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// maxUncounted is the most a client's grant can be short of when the forwarder
// is killed, bytes: what it may have in flight, both directions together.
const maxUncounted = 262144

// wireLen is what the frame costs as it leaves, bytes.
func (fr *frame) wireLen() int { return fr.WireLen + fr.added }

// fit is how many of the frame's wire packets cost at most n bytes.
func (fr *frame) fit(n int) int {
	switch cost := fr.wireLen(); {
	case n >= cost:
		return fr.Segments
	case fr.Segments == 1:
		return 0
	}
	return min(n/(fr.HeaderLen+fr.SegmentSize), fr.Segments-1)
}

// quota holds a frame to what is left of its client's grant.
func (f *Forwarder) quota(fr *frame) Reason {
	if fr.exempt {
		return Kept
	}
	c, cost := fr.client, fr.wireLen()
	if c.used+c.flight+uint64(cost) <= c.limit && cost <= maxUncounted {
		return Kept
	}
	return f.atEdge(fr)
}

// atEdge passes a frame in portions: what still fits of it at its grant's byte
// limit; the first wire packet that does not, charged to this grant and the
// next; the rest under the next one. When all grants together have less left
// than that packet costs, it ends them.
func (f *Forwarder) atEdge(fr *frame) Reason {
	f.flushAll() // nothing is in flight: used is exact
	c := fr.client
	first := f.pacing[fr.from] + 2
	for {
		c.promised = 0
		if !c.running { // control's word meanwhile
			return NoGrant
		}
		n := fr.fit(int(min(c.limit-min(c.used, c.limit), maxUncounted)))
		edge := n == 0
		if n = max(n, 1); edge && !f.covers(c, fr.cost(n)) {
			c.promised = 0
			for running := true; running; running = f.next(c, f.now) {
				f.end(c, clients.EndData, f.now)
			}
			return DataUsedUp
		}
		if n >= fr.Segments {
			fr.edge = edge
			f.run(fr, first)
			f.flushAll()
			c.promised = 0
			return Taken
		}
		f.passHead(fr, n, edge, false, first)
	}
}

// cost is what the first n wire packets of a frame cost as they leave, bytes.
func (fr *frame) cost(n int) uint64 {
	if n >= fr.Segments {
		return uint64(fr.wireLen())
	}
	return uint64(n) * uint64(fr.HeaderLen+fr.SegmentSize)
}

// head is the first portion of a frame while it is sent.
type head struct {
	frame
	headers [packet.MaxHeaders]byte // as they were before
}

// passHead sends the first n wire packets of a frame through the steps from
// first on, marked or not, and leaves the others in the frame.
func (f *Forwarder) passHead(fr *frame, n int, edge, mark bool, first int) {
	left := fr.Segments - n
	fr.Cut(n)
	h := &f.heads[f.portions]
	h.frame = *fr
	h.edge = edge
	saved := copy(h.headers[:], fr.Raw[:fr.Payload])
	if mark {
		h.MarkCE()
	}
	f.portions++
	f.run(&h.frame, first)
	f.portions--
	f.flushAll()
	copy(fr.Raw, h.headers[:saved])
	fr.Rest(n)
	fr.Cut(left) // without what was cut off before
}
