package limiter

import (
	"errors"
	"math/bits"
	"time"

	"gatewayd/forwarder/arena"
)

// Frame is what waits: one wire packet, or several of one length and a last one that may be shorter.
type Frame struct {
	Flow  uint32 // whose order is kept: a hash of addresses, protocol and ports
	Bytes int    // layer 3, of all its wire packets as they leave
	Wire  int    // likewise of each but the last
	Count int    // wire packets
	ECT   bool   // its sender understands marks (RFC 3168)
}

// queued is a frame that waits, or what is left of it. Its number is its block's.
type queued struct {
	behind uint32 // the next one of its flow
	bytes  int32
	wire   int32
	count  uint16
	ect    bool
	at     time.Duration // when it came, since boot
}

// cost is what the first n wire packets of a frame take, bytes.
func (q *queued) cost(n int) int {
	if n >= int(q.count) {
		return int(q.bytes)
	}
	return n * int(q.wire)
}

// fit is how many wire packets of a frame take at most n bytes.
func (q *queued) fit(n int) int {
	switch {
	case n >= int(q.bytes):
		return int(q.count)
	case n <= 0 || q.count == 1:
		return 0
	}
	return min(n/int(q.wire), int(q.count)-1)
}

// flow is a queue of one client, direction and conversation. Numbered from 1.
type flow struct {
	codel       codel
	key         uint32
	side        uint32 // the last one that had it; 0: none ever
	first, last uint32 // frames
	next        uint32 // of its side's ring
	after       uint32 // of its side's fresh ones
	idle        uint32 // of the spare ones
	chain       uint32 // of those with the same home
	bytes       int32
	deficit     int32
	small       bool // its last packet, of those that waited
	listed      bool // in its side's ring
	fresh       bool // and among its fresh ones
	spared      bool // among the spare ones, which it stays when it is used again
}

// flows finds and keeps all flows of a Shaper. One that is empty is remembered until its place is needed, and its
// congestion with it.
type flows struct {
	all         []flow
	homes       []uint32
	spare, last uint32 // those in no list; the longest unused first
	shift       uint8
	fresh       uint32 // the first one that was never used
}

// newFlows makes room for n flows, a power of two.
func newFlows(a *arena.Arena, n int) (f flows, err error) {
	f.shift = uint8(32 - bits.TrailingZeros(uint(n)))
	f.fresh = 1
	return f, errors.Join(arena.Make(a, &f.all, n+1), arena.Make(a, &f.homes, n))
}

func (f *flows) home(side, key uint32) *uint32 {
	return &f.homes[(key^side*0x9e3779b1)*0x85ebca6b>>f.shift]
}

// of returns the flow of a side and key; 0 when there is no room for one more.
func (f *flows) of(side, key uint32) uint32 {
	home := f.home(side, key)
	for n := *home; n != 0; n = f.all[n].chain {
		if fl := &f.all[n]; fl.side == side && fl.key == key {
			return n
		}
	}
	n := f.fresh
	if int(n) < len(f.all) {
		f.fresh++
	} else if n = f.oldest(); n == 0 {
		return 0
	}
	f.all[n] = flow{key: key, side: side, chain: *home}
	*home = n
	return n
}

// oldest takes the flow that was not used for the longest time; 0 when all are in use.
func (f *flows) oldest() uint32 {
	for f.spare != 0 {
		n := f.spare
		fl := &f.all[n]
		if f.spare = fl.idle; f.spare == 0 {
			f.last = 0
		}
		fl.idle, fl.spared = 0, false
		if fl.listed {
			continue
		}
		at := f.home(fl.side, fl.key)
		for *at != n {
			at = &f.all[*at].chain
		}
		*at = fl.chain
		return n
	}
	return 0
}

// retire notes that a flow is in no list any more.
func (f *flows) retire(n uint32) {
	fl := &f.all[n]
	if fl.listed = false; fl.spared {
		return
	}
	fl.spared = true
	if f.spare == 0 {
		f.spare = n
	} else {
		f.all[f.last].idle = n
	}
	f.last = n
}

// list is flows, or sides, in order.
type list struct{ first, last uint32 }

// push adds a flow to the end of a ring, and pop takes the first one out; enter and leave do so with the fresh ones.
func (f *flows) push(l *list, n uint32) {
	if f.all[n].next = 0; l.first == 0 {
		l.first = n
	} else {
		f.all[l.last].next = n
	}
	l.last = n
}

func (f *flows) pop(l *list) uint32 {
	n := l.first
	if l.first = f.all[n].next; l.first == 0 {
		l.last = 0
	}
	return n
}

// unpop puts a flow back that was popped.
func (f *flows) unpop(l *list, n uint32) {
	if f.all[n].next = l.first; l.first == 0 {
		l.last = n
	}
	l.first = n
}

func (f *flows) enter(l *list, n uint32) {
	fl := &f.all[n]
	if fl.after, fl.fresh = 0, true; l.first == 0 {
		l.first = n
	} else {
		f.all[l.last].after = n
	}
	l.last = n
}

func (f *flows) leave(l *list) {
	fl := &f.all[l.first]
	fl.fresh = false
	if l.first = fl.after; l.first == 0 {
		l.last = 0
	}
}
