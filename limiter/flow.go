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

// flow is a queue of one client, direction and conversation; or a side's last resort, of several. Numbered from 1.
type flow struct {
	codel       codel
	key         uint32 // of a last resort: a bit for each conversation that may wait in it
	side        uint32 // the last one that had it; 0: none ever
	first, last uint32 // frames
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
	all    []flow
	homes  []uint32
	ring   links // of sides' rings
	fresh  links // of sides' fresh ones
	idle   links // of the spare ones
	spare  list  // those in no ring; the longest unused first
	shift  uint8
	unused uint32 // the first one that was never used
	shared uint32 // the first one that is none of all sides', but the last resort of a side, by its number
}

// newFlows makes room for n flows, a power of two, and for one more of each of so many sides.
func newFlows(a *arena.Arena, n, sides int) (f flows, err error) {
	f.shift = uint8(32 - bits.TrailingZeros(uint(n)))
	f.unused, f.shared = 1, uint32(n+1)
	all := n + 1 + sides
	return f, errors.Join(arena.Make(a, &f.all, all), arena.Make(a, &f.homes, n),
		newLinks(a, &f.ring, all), newLinks(a, &f.fresh, all), newLinks(a, &f.idle, n+1))
}

func (f *flows) home(side, key uint32) *uint32 {
	return &f.homes[(key^side*0x9e3779b1)*0x85ebca6b>>f.shift]
}

// of returns the flow of a side and key. Where there is no room for one more it is the side's last resort, for as long as
// something waits there that may be of the same conversation, so that this keeps its order.
func (f *flows) of(side, key uint32) uint32 {
	home := f.home(side, key)
	for n := *home; n != 0; n = f.all[n].chain {
		if fl := &f.all[n]; fl.side == side && fl.key == key {
			return n
		}
	}
	resort := f.shared + side
	fl := &f.all[resort]
	if fl.first == 0 {
		fl.key = 0
	}
	bit := uint32(1) << (key % 32)
	if fl.key&bit != 0 {
		return resort
	}
	n := f.unused
	if n < f.shared {
		f.unused++
	} else if n = f.oldest(); n == 0 {
		fl.key |= bit
		return resort
	}
	f.all[n] = flow{key: key, side: side, chain: *home}
	*home = n
	return n
}

// oldest takes the flow that was not used for the longest time; 0 when all are in use.
func (f *flows) oldest() uint32 {
	for f.spare.first != 0 {
		n := f.idle.pop(&f.spare)
		fl := &f.all[n]
		if fl.spared = false; fl.listed {
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

// retire notes that a flow is in no ring any more.
func (f *flows) retire(n uint32) {
	fl := &f.all[n]
	if fl.listed = false; fl.spared || n >= f.shared {
		return
	}
	fl.spared = true
	f.idle.push(&f.spare, n)
}

// enter adds a flow to its side's fresh ones, and leave takes the first one out.
func (f *flows) enter(l *list, n uint32) {
	f.all[n].fresh = true
	f.fresh.push(l, n)
}

func (f *flows) leave(l *list) { f.all[f.fresh.pop(l)].fresh = false }
