package limiter

import (
	"testing"

	"pgregory.net/rapid"
)

// Blocks never overlap, are as large as was asked, and all that is given back is whole
// again.
func TestMemoryAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 2 * MemoryUnit
		m, err := newMemory(nil, size+5000) // the rest is no whole unit
		if err != nil {
			t.Fatal(err)
		}
		var owner [size >> leastBlock]uint32
		blocks := map[uint32]int{}
		give := func(b uint32) {
			for i := range blocks[b] {
				owner[int(b-1)+i] = 0
			}
			delete(blocks, b)
			m.give(b)
		}
		free := func(units int) bool { // an aligned run of them
			for at := 0; at < len(owner); at += units {
				n := 0
				for n < units && owner[at+n] == 0 {
					n++
				}
				if n == units {
					return true
				}
			}
			return false
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if len(blocks) > 0 && rapid.Bool().Draw(t, "give") {
				var all []uint32
				for at, b := range owner {
					if b == uint32(at+1) {
						all = append(all, b)
					}
				}
				give(rapid.SampledFrom(all).Draw(t, "which"))
				continue
			}
			n := rapid.SampledFrom([]int{1, 64, 1024, 1025, 1600, 4096, 9000, 65_000, 65_560, MemoryUnit}).Draw(t, "bytes")
			units := 1
			for units<<leastBlock < n {
				units *= 2
			}
			b := m.take(n)
			if b == 0 {
				if free(units) {
					t.Fatalf("no block of %d bytes, and there is room", n)
				}
				continue
			}
			if got := len(m.bytes(b)); got != units<<leastBlock || cap(m.bytes(b)) != got {
				t.Fatalf("a block of %d bytes for %d", got, n)
			}
			blocks[b] = units
			for i := range units {
				if owner[int(b-1)+i] != 0 {
					t.Fatalf("block %d lies over block %d", b, owner[int(b-1)+i])
				}
				owner[int(b-1)+i] = b
			}
			used := 0
			for _, units := range blocks {
				used += units << leastBlock
			}
			if m.used != used {
				t.Fatalf("%d bytes are said to be used, want %d", m.used, used)
			}
		}
		for b := range blocks {
			give(b)
		}
		if a, b := m.take(MemoryUnit), m.take(MemoryUnit); a == 0 || b == 0 || m.take(1) != 0 {
			t.Fatal("what was given back is not whole again")
		}
	})
}
