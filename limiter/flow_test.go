package limiter

import (
	"math"
	"testing"
	"time"
	"unsafe"
)

// A conversation keeps its order whether there is a flow for it or not, and who comes when all are in use finds a place.
func TestWhenAllFlowsAreInUse(t *testing.T) {
	l := newLine(t, MemoryUnit)
	many, side := SideOf(1, Up), SideOf(2, Up)
	const late, later = 1001, 1002
	l.s.Set(many, 1000, 1, l.now)
	l.s.Set(side, 1000, 1, l.now)
	use := func(number uint32) {
		for l.s.Pass(number, 1000, l.now) {
		}
	}
	use(many)
	use(side)
	flows := uint32(l.s.flows.shared - 1)
	for n := range flows {
		if !l.come(many, n, 500, 1, 0, false) {
			t.Fatalf("no room for flow %d of %d", n, flows)
		}
	}
	for _, flow := range []uint32{late, later, late, late} {
		if !l.come(side, flow, 900, 1, 0, false) {
			t.Fatal("who has nothing waiting finds no place")
		}
	}
	if n := l.s.flows.of(side, late); n < l.s.flows.shared || n != l.s.flows.of(side, later) {
		t.Errorf("there is a flow for them: %d", n)
	}
	l.s.Set(many, 0, 1, l.now)
	l.leave() // and its flows are free
	for range 3 {
		l.come(side, late, 100, 1, 0, false)
	}
	if n := l.s.flows.of(side, 1003); n >= l.s.flows.shared {
		t.Error("one of which nothing waits has no flow of its own though there is one")
	}
	for range 20 {
		l.now += 200 * time.Millisecond
		l.leave() // and checks their order
	}
	if n := l.s.flows.of(side, late); n >= l.s.flows.shared {
		t.Error("nothing of it waits, and it has no flow of its own")
	}
	l.check()
}

// What is shared of a total has no largest rate, and a turn neither.
func TestSharesOfLargeRates(t *testing.T) {
	for _, row := range []struct {
		total, rate Rate
		weights     [2]int // the side's, and another's that has something waiting
		want        Rate
		turn        int32
	}{
		{3000, 0, [2]int{1, 2}, 1000, mostPiece},
		{3000, 500, [2]int{1, 2}, 500, quantum},
		{math.MaxInt64, 0, [2]int{100, 100}, math.MaxInt64 / 2, mostPiece},
		{math.MaxInt64 / 100 * 2, 0, [2]int{100, 1}, math.MaxInt64 / 101 * 2, mostPiece},
		{math.MaxInt64, math.MaxInt64, [2]int{1, 99}, math.MaxInt64 / 100, mostPiece},
		{0, math.MaxInt64, [2]int{1, 1}, math.MaxInt64, mostPiece},
		{0, 5_000_000_000_000, [2]int{1, 1}, 5_000_000_000_000, mostPiece},
	} {
		l := newLine(t, MemoryUnit)
		side, other := SideOf(1, Up), SideOf(2, Up)
		l.s.SetTotal(Up, row.total, l.now)
		l.s.Set(side, row.rate, row.weights[0], l.now)
		l.s.Set(other, 0, row.weights[1], l.now)
		for _, number := range []uint32{side, other} {
			l.s.Add(number, Frame{Flow: 1, Bytes: 1000, Wire: 1000, Count: 1}, 1000, l.now)
		}
		if got := l.s.share(side); math.Abs(float64(got-row.want)) > 1e-9*float64(row.want) {
			t.Errorf("%d of %d with weights %v: %d, want %d", row.rate, row.total, row.weights, got, row.want)
		}
		if got, _ := l.s.turn(&l.s.sides[side], &flow{}); got != row.turn {
			t.Errorf("a turn of %d at %d, want %d", got, row.rate, row.turn)
		}
	}
}

// A flow is a cache line, or less.
func TestAFlowsLine(t *testing.T) {
	if n := unsafe.Sizeof(flow{}); n > 64 {
		t.Errorf("a flow is %d bytes", n)
	}
}
