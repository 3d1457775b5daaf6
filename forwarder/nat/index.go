package nat

import (
	"math/bits"

	"gatewayd/forwarder/arena"
)

// index is an open-addressing hash from a 32-bit hash to the number of a flow
// or a mapping, never more than half full. A slot holds the number in its low
// bits and the hash's high bits above; zero is empty, as numbers start at 1.
// Equal hashes may lie in it side by side; the caller compares what the number
// stands for.
type index struct {
	slots  []uint32
	mask   uint32                     // of a place
	number uint32                     // of a slot's number
	hashOf func(number uint32) uint32 // of what is in the index; asked on removal only
}

// init makes the index one of at most n numbers.
func (x *index) init(a *arena.Arena, n int, hashOf func(number uint32) uint32) error {
	size := uint32(1) << bits.Len32(uint32(2*n-1))
	x.mask, x.number, x.hashOf = size-1, 1<<bits.Len32(uint32(n))-1, hashOf
	return arena.Make(a, &x.slots, int(size))
}

// slot is what a number under a hash looks like.
func (x *index) slot(h, n uint32) uint32 { return h&^x.number | n }

// insert adds a number under a hash.
func (x *index) insert(h, n uint32) {
	p := h & x.mask
	for x.slots[p] != 0 {
		p = (p + 1) & x.mask
	}
	x.slots[p] = x.slot(h, n)
}

// find is the place of a number that is in the index.
func (x *index) find(h, n uint32) uint32 {
	want := x.slot(h, n)
	p := h & x.mask
	for x.slots[p] != want {
		p = (p + 1) & x.mask
	}
	return p
}

// replace puts another number in a number's place.
func (x *index) replace(h, n, by uint32) { x.slots[x.find(h, n)] = x.slot(h, by) }

// remove takes a number out and closes the gap, so that no tombstones gather.
func (x *index) remove(h, n uint32) {
	gap := x.find(h, n)
	for p := (gap + 1) & x.mask; x.slots[p] != 0; p = (p + 1) & x.mask {
		home := x.hashOf(x.slots[p]&x.number) & x.mask
		if (p-home)&x.mask >= (p-gap)&x.mask {
			x.slots[gap] = x.slots[p]
			gap = p
		}
	}
	x.slots[gap] = 0
}
