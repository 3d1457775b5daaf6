package forwarder

import (
	"math/bits"
	"math/rand/v2"
)

// index finds a slot by MAC or by address: open addressing, linear probing,
// at most half full. Keys are never 0. Attackers choose MACs, so the hash is
// seeded.
type index struct {
	keys  []uint64
	slots []uint32
	shift uint8
	seed  uint64
}

func newIndex(n int) index {
	size := 1 << bits.Len(uint(2*n))
	return index{
		keys:  make([]uint64, size),
		slots: make([]uint32, size),
		shift: uint8(64 - bits.TrailingZeros(uint(size))),
		seed:  rand.Uint64() | 1,
	}
}

// hash mixes a key; the high bits are the best.
func (x *index) hash(key uint64) uint64 {
	hi, lo := bits.Mul64(key^x.seed, 0x9e3779b97f4a7c15^x.seed)
	return (hi ^ lo) * 0xff51afd7ed558ccd
}

func (x *index) home(key uint64) int { return int(x.hash(key) >> x.shift) }

// find returns the slot of a key.
func (x *index) find(key uint64) (uint32, bool) {
	mask := len(x.keys) - 1
	for i := x.home(key); x.keys[i] != 0; i = (i + 1) & mask {
		if x.keys[i] == key {
			return x.slots[i], true
		}
	}
	return 0, false
}

// put stores or replaces a key's slot.
func (x *index) put(key uint64, slot uint32) {
	if key == 0 {
		return
	}
	mask := len(x.keys) - 1
	i := x.home(key)
	for x.keys[i] != 0 && x.keys[i] != key {
		i = (i + 1) & mask
	}
	x.keys[i], x.slots[i] = key, slot
}

// drop removes a key if it leads to slot; entries behind it move up.
func (x *index) drop(key uint64, slot uint32) {
	mask := len(x.keys) - 1
	i := x.home(key)
	for x.keys[i] != key {
		if x.keys[i] == 0 {
			return
		}
		i = (i + 1) & mask
	}
	if key == 0 || x.slots[i] != slot {
		return
	}
	for j := i; ; {
		j = (j + 1) & mask
		if x.keys[j] == 0 {
			break
		}
		if home := x.home(x.keys[j]); (j-home)&mask >= (j-i)&mask {
			x.keys[i], x.slots[i] = x.keys[j], x.slots[j]
			i = j
		}
	}
	x.keys[i] = 0
}
