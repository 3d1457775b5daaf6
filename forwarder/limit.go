package forwarder

import (
	"gatewayd/forwarder/clients"
)

// wireLen is what the frame costs as it leaves, bytes: fragments repeat the
// IPv4 header.
func (fr *frame) wireLen() int {
	return fr.WireLen + (fr.pieces-1)*(fr.L4-fr.L3)
}

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

// limit holds a frame to the client's rate and to what is left of its grant.
func (f *Forwarder) limit(fr *frame) Reason {
	if fr.exempt {
		return Kept
	}
	c := fr.client
	b := &c.buckets[fr.direction]
	if !b.Take(fr.wireLen(), f.now) {
		n, cost := fr.fit(b.Available(f.now)), fr.WireLen
		if over := fr.Segments - n; fr.direction == up {
			c.overUp += uint64(over)
		} else {
			c.overDown += uint64(over)
		}
		f.touch(c)
		if n == 0 {
			return OverRate
		}
		lost := fr.Segments - n
		fr.Cut(n)
		f.counters.drop(OverRate, lost, cost-fr.WireLen)
		b.Take(fr.wireLen(), f.now)
	}
	if c.used+c.flight+uint64(fr.wireLen()) <= c.limit {
		return Kept
	}
	return f.atEdge(fr)
}

// atEdge passes what still fits of a frame at its grant's byte limit, charges
// the first wire packet that does not to this grant and the next, and goes on
// with the next one; without a next one it ends the grant.
func (f *Forwarder) atEdge(fr *frame) Reason {
	f.flushAll() // nothing is in flight: used is exact
	c := fr.client
	first := f.limiting[fr.from] + 1
	for left := fr.Segments; ; {
		if c.grant == nil { // the grant that took over has ended as well
			return DataUsedUp
		}
		n := fr.fit(int(min(c.limit-min(c.used, c.limit), 1<<30)))
		edge := n == 0
		if edge {
			if !c.pending() {
				f.end(c, clients.EndData, f.now)
				return DataUsedUp
			}
			n = 1
		}
		if n >= left {
			fr.edge = edge
			f.run(fr, first)
			f.flushAll()
			return Taken
		}
		seq := c.active
		f.passHead(fr, n, edge, first)
		if left -= n; left > 0 {
			fr.Rest(n)
			fr.Cut(left)
		}
		if edge && c.active == seq {
			return TxRefused // the port is stuck: the rest would only wait for it
		}
	}
}

// passHead sends the first n wire packets of a frame through the steps from
// first on, and leaves the frame as if they had not been.
func (f *Forwarder) passHead(fr *frame, n int, edge bool, first int) {
	fr.Cut(n)
	head := &f.head
	*head = *fr
	head.edge = edge
	saved := copy(f.headers[:], fr.Raw[:fr.Payload])
	f.run(head, first)
	f.flushAll()
	copy(fr.Raw, f.headers[:saved])
}
