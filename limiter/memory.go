package limiter

import (
	"errors"
	"math/bits"

	"gatewayd/forwarder/arena"
)

// Blocks are of 1 KiB to 128 KiB, which holds the longest frame of all.
const (
	leastBlock = 10 // bits
	mostBlock  = 17
	orders     = mostBlock - leastBlock + 1
	// MemoryUnit is what the memory of a Shaper is a multiple of, bytes.
	MemoryUnit = 1 << mostBlock
)

// memory gives out blocks of a region by halving larger ones (a buddy system: Knuth, The Art of Computer Programming, 2.5).
// A block is named by its first unit's number plus one; 0 is none. Its pages cost memory once they are written to.
type memory struct {
	region []byte
	units  []unit
	spare  [orders]uint32 // the first free block of each size
	used   int            // bytes
}

// unit is what is known of the block that begins there.
type unit struct {
	next, last uint32 // of the free ones of its size
	order      uint8
	free       bool
}

// newMemory makes room for size bytes, rounded down to whole MemoryUnits.
func newMemory(a *arena.Arena, size int) (m memory, err error) {
	size = max(size&^(MemoryUnit-1), MemoryUnit)
	if err := errors.Join(arena.Make(a, &m.region, size), arena.Make(a, &m.units, size>>leastBlock)); err != nil {
		return m, err
	}
	for at := size - MemoryUnit; at >= 0; at -= MemoryUnit {
		m.put(uint32(at>>leastBlock), orders-1)
	}
	return m, nil
}

// take returns a block of at least n bytes; 0 when there is none.
func (m *memory) take(n int) uint32 {
	order := max(bits.Len(uint(max(n, 1)-1))-leastBlock, 0)
	from := order
	for from < orders && m.spare[from] == 0 {
		from++
	}
	if from >= orders {
		return 0
	}
	at := m.spare[from] - 1
	m.pull(at)
	for ; from > order; from-- {
		m.put(at+1<<(from-1), uint8(from-1))
	}
	m.units[at] = unit{order: uint8(order)}
	m.used += 1 << (order + leastBlock)
	return at + 1
}

// give takes a block back.
func (m *memory) give(block uint32) {
	at := block - 1
	order := m.units[at].order
	m.used -= 1 << (order + leastBlock)
	for order < orders-1 {
		buddy := at ^ 1<<order
		if u := &m.units[buddy]; !u.free || u.order != order {
			break
		}
		m.pull(buddy)
		at &^= 1 << order
		order++
	}
	m.put(at, order)
}

// bytes is a block's memory.
func (m *memory) bytes(block uint32) []byte {
	at := int(block-1) << leastBlock
	end := at + 1<<(m.units[block-1].order+leastBlock)
	return m.region[at:end:end]
}

// put adds a block to the free ones, and pull takes it out.
func (m *memory) put(at uint32, order uint8) {
	next := m.spare[order]
	m.units[at] = unit{next: next, order: order, free: true}
	if next != 0 {
		m.units[next-1].last = at + 1
	}
	m.spare[order] = at + 1
}

func (m *memory) pull(at uint32) {
	u := &m.units[at]
	if u.last != 0 {
		m.units[u.last-1].next = u.next
	} else {
		m.spare[u.order] = u.next
	}
	if u.next != 0 {
		m.units[u.next-1].last = u.last
	}
	u.free = false
}
