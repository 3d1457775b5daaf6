package forwarder

import (
	"math/rand/v2"
	"testing"

	"gatewayd/forwarder/packet"
)

// fragmentAt is a fragment of a packet, as far as passed looks at it.
func fragmentAt(from, to int, more bool) *frame {
	return &frame{Packet: packet.Packet{Raw: make([]byte, 100+to-from), L4: 100, FragOffset: uint16(from), MoreFragments: more}}
}

func TestWhatHasPassed(t *testing.T) {
	type piece struct {
		from, to int
		more     bool
	}
	rows := []struct {
		name   string
		pieces []piece
		all    bool
	}{
		{"in order", []piece{{0, 8, true}, {8, 16, true}, {16, 20, false}}, true},
		{"without the last", []piece{{0, 8, true}, {8, 16, true}}, false},
		{"the last before the middle", []piece{{0, 8, true}, {16, 20, false}, {8, 16, true}}, true},
		{"the middle is missing", []piece{{0, 8, true}, {16, 20, false}}, false},
		{"the last twice in place of the middle", []piece{{0, 8, true}, {16, 24, false}, {16, 24, false}}, false},
		{"the first twice in place of the middle", []piece{{0, 8, true}, {16, 24, false}, {0, 8, true}}, false},
		{"one of two in the middle twice", []piece{{0, 8, true}, {24, 30, false}, {8, 16, true}, {8, 16, true}}, false},
		{"pieces that overlap", []piece{{0, 16, true}, {8, 24, true}, {16, 30, false}}, true},
		{"a piece that holds the others", []piece{{0, 8, true}, {16, 24, true}, {0, 32, true}, {32, 40, false}}, true},
		{"the last is as long as another said", []piece{{0, 8, true}, {8, 16, false}, {24, 32, false}}, true},
		{"the longest end counts", []piece{{0, 8, true}, {16, 32, false}, {8, 12, false}, {8, 16, true}}, true},
		{"a shorter end does not", []piece{{0, 8, true}, {16, 32, false}, {8, 12, false}}, false},
		{"an empty piece is none", []piece{{0, 8, true}, {8, 8, true}, {16, 20, false}}, false},
		{"an empty last one is an end", []piece{{0, 8, true}, {8, 8, false}}, true},
		{"to the last byte there is", []piece{{0, 65528, true}, {65528, 65535, false}}, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var p passed
			all := false
			for _, v := range row.pieces {
				all = p.note(fragmentAt(v.from, v.to, v.more)) || all
			}
			if all != row.all {
				t.Errorf("all have passed: %v, want %v; %v", all, row.all, p.parts[:p.count])
			}
		})
	}
}

// Beside one bit for each byte: never too early, and never late while there is room.
func TestWhatHasPassedIsNeverMore(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 7))
		size, units := 8*(1+r.IntN(4)), 2+r.IntN(60)
		end := size*units - r.IntN(8)
		var p passed
		have, missing, full := make([]bool, end), end, false
		for range 20 * units {
			from := r.IntN(units) * size
			to := min(from+size*(1+r.IntN(2)), end)
			full = full || int(p.count) == maxParts
			all := p.note(fragmentAt(from, to, to < end))
			for i := from; i < to; i++ {
				if !have[i] {
					have[i] = true
					missing--
				}
			}
			if all && missing > 0 || !all && missing == 0 && !full {
				t.Fatalf("seed %d: all have passed: %v, but %d bytes miss; %v", seed, all, missing, p.parts[:p.count])
			}
			if all {
				break
			}
			for i := 1; i < int(p.count); i++ {
				if p.parts[i-1].to >= p.parts[i].from {
					t.Fatalf("seed %d: %v", seed, p.parts[:p.count])
				}
			}
		}
	}
}
