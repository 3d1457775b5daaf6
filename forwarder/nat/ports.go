package nat

import (
	"errors"

	"gatewayd/forwarder/arena"
)

// pool holds the ports of one protocol at one external address, as far as they are
// in the owner's slice: free, resting or in use. Private memory; rebuilt at attach.
type pool struct {
	low   uint16
	free  []uint16 // unordered; one is drawn by chance
	head  []uint32 // by port − low: the first mapping on it, zero when none
	queue []uint16 // resting ports, the longest-resting at front
	front int      // of a ring
	count int
	until *[65536]uint32 // by port: the second its rest ends; shared memory; nil when freed ports do not rest
}

// init makes the pool one of the ports from low to high.
func (p *pool) init(a *arena.Arena, low, high uint16, until *[65536]uint32) error {
	n := int(high) - int(low) + 1
	p.low, p.until = low, until
	err := errors.Join(arena.Make(a, &p.free, n), arena.Make(a, &p.head, n))
	p.free = p.free[:0]
	if until != nil {
		err = errors.Join(err, arena.Make(a, &p.queue, n))
	}
	return err
}

// covers says whether a port belongs to the slice.
func (p *pool) covers(port uint16) bool { return port >= p.low && int(port-p.low) < len(p.head) }

// first is the port's first mapping, zero when nobody is behind it.
func (p *pool) first(port uint16) uint32 { return p.head[port-p.low] }

// draw takes a free port; chance is any random number.
func (p *pool) draw(chance uint32) (port uint16, ok bool) {
	n := len(p.free)
	if n == 0 {
		return 0, false
	}
	i := int(uint64(chance) * uint64(n) >> 32)
	port = p.free[i]
	p.free[i] = p.free[n-1]
	p.free = p.free[:n-1]
	return port, true
}

// giveBack frees a port that nobody is behind any more. When it rests, its
// until has been written.
func (p *pool) giveBack(port uint16, rests bool) {
	if !rests {
		p.free = append(p.free, port)
		return
	}
	p.queue[(p.front+p.count)%len(p.queue)] = port
	p.count++
}

// wake frees the ports whose rest has ended, at most so many.
func (p *pool) wake(second uint32, most int) {
	for ; p.count > 0 && most > 0 && p.until[p.queue[p.front]] <= second; most-- {
		p.free = append(p.free, p.queue[p.front])
		p.front = (p.front + 1) % len(p.queue)
		p.count--
	}
}

// resting says whether a port that nobody is behind is not to be used yet.
func (p *pool) resting(port uint16, second uint32) bool {
	return p.until != nil && p.until[port] > second
}
