package forwarder

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"gatewayd/forwarder/arena"
)

// index finds a slot by MAC or by address: open addressing, linear probing,
// at most half full. An entry is one word, the key above and the slot in the
// low 16 bits, so that a look-up touches one cache line; 0: empty. Keys are
// never 0 and have at most 48 bits. Attackers choose MACs, so the hash is
// seeded.
type index struct {
	entries []uint64
	shift   uint8
	seed    uint64
}

const slotBits = 16 // of an entry; clients.MaxSlots fits

// newIndex makes an index of at most n keys.
func newIndex(a *arena.Arena, n int) (x index, err error) {
	size := 1 << bits.Len(uint(2*n-1))
	x.shift = uint8(64 - bits.TrailingZeros(uint(size)))
	x.seed = rand.Uint64() | 1
	if err := arena.Make(a, &x.entries, size); err != nil {
		return x, fmt.Errorf("index of %d clients: %w", n, err)
	}
	return x, nil
}

// hash mixes a key; the high bits are the best.
func (x *index) hash(key uint64) uint64 {
	hi, lo := bits.Mul64(key^x.seed, 0x9e3779b97f4a7c15^x.seed)
	return (hi ^ lo) * 0xff51afd7ed558ccd
}

func (x *index) home(key uint64) int { return int(x.hash(key) >> x.shift) }

// find returns the slot of a key.
func (x *index) find(key uint64) (uint32, bool) {
	mask := len(x.entries) - 1
	for i := x.home(key); ; i++ {
		e := x.entries[i&mask]
		if e>>slotBits == key && e != 0 {
			return uint32(e & (1<<slotBits - 1)), true
		}
		if e == 0 {
			return 0, false
		}
	}
}

// put stores or replaces a key's slot.
func (x *index) put(key uint64, slot uint32) {
	if key == 0 {
		return
	}
	mask := len(x.entries) - 1
	i := x.home(key)
	for x.entries[i] != 0 && x.entries[i]>>slotBits != key {
		i = (i + 1) & mask
	}
	x.entries[i] = key<<slotBits | uint64(slot)
}

// drop removes a key if it leads to slot; entries behind it move up.
func (x *index) drop(key uint64, slot uint32) {
	mask := len(x.entries) - 1
	want := key<<slotBits | uint64(slot)
	i := x.home(key)
	for x.entries[i] != want {
		if x.entries[i] == 0 {
			return
		}
		i = (i + 1) & mask
	}
	if key == 0 {
		return
	}
	for j := i; ; {
		j = (j + 1) & mask
		if x.entries[j] == 0 {
			break
		}
		if home := x.home(x.entries[j] >> slotBits); (j-home)&mask >= (j-i)&mask {
			x.entries[i] = x.entries[j]
			i = j
		}
	}
	x.entries[i] = 0
}
