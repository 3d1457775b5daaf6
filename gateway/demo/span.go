package demo

import (
	"net/netip"
	"time"
)

// count is wire packets and their layer-3 bytes.
type count struct{ packets, bytes uint64 }

func (c count) plus(d count) count { return count{c.packets + d.packets, c.bytes + d.bytes} }

// span is what a witness counted since it was opened.
type span struct {
	in, out     [protocols]count // in: towards the far end; out: what the far end sent
	from        map[netip.Addr]bool
	first, last time.Time // of in
}

// add counts a packet seen at a moment.
func (s *span) add(p packet, out bool, now time.Time) {
	c := count{p.packets, p.bytes}
	if out {
		s.out[p.protocol] = s.out[p.protocol].plus(c)
		return
	}
	s.in[p.protocol] = s.in[p.protocol].plus(c)
	s.from[p.from] = true
	if s.first.IsZero() {
		s.first = now
	}
	s.last = now
}

// arrived is all that came in.
func (s span) arrived() count { return sum(s.in) }

// sent is all that the far end sent.
func (s span) sent() count { return sum(s.out) }

func sum(by [protocols]count) (all count) {
	for _, c := range by {
		all = all.plus(c)
	}
	return all
}

// lasted is how long packets came in, first to last.
func (s span) lasted() time.Duration { return s.last.Sub(s.first) }
