package limiter

import (
	"errors"
	"math"
	"math/bits"
	"time"

	"gatewayd/forwarder/arena"
)

// A wheel's cell is 65.536 µs, and one turn of it 67 ms. What is due later goes round again.
const (
	cellBits = 16 // of ns
	cells    = 1024
	atOnce   = 64 // timers of a cell that next looks at
)

// wheel holds at most one timer for each number, and tells those that are due in the order of their cells: a timing wheel
// (Varghese and Lauck, 1987; Saeed et al., Carousel, 2017).
type wheel struct {
	timers []timer
	first  []uint32           // by cell
	filled [cells / 64]uint64 // cells with a timer
	turned int64              // cell that was last looked at, counted from boot
	count  int
}

type timer struct {
	at         time.Duration // since boot; 0: it is not set
	next, last uint32        // of its cell; 0: none
	cell       uint32
}

// newWheel makes room for the numbers 1 to n.
func newWheel(a *arena.Arena, n int) (w wheel, err error) {
	return w, errors.Join(arena.Make(a, &w.timers, n+1), arena.Make(a, &w.first, cells))
}

// set has number told at at, in place of what was set before.
func (w *wheel) set(number uint32, at time.Duration) {
	w.stop(number)
	at = max(at, 1)
	cell := uint32(min(max(int64(at)>>cellBits, w.turned), w.turned+cells-1) % cells)
	next := w.first[cell]
	w.timers[number] = timer{at: at, next: next, cell: cell}
	if next != 0 {
		w.timers[next].last = number
	}
	w.first[cell] = number
	w.filled[cell/64] |= 1 << (cell % 64)
	w.count++
}

// stop has number not told.
func (w *wheel) stop(number uint32) {
	t := &w.timers[number]
	if t.at == 0 {
		return
	}
	if t.last != 0 {
		w.timers[t.last].next = t.next
	} else if w.first[t.cell] = t.next; t.next == 0 {
		w.filled[t.cell/64] &^= 1 << (t.cell % 64)
	}
	if t.next != 0 {
		w.timers[t.next].last = t.last
	}
	*t = timer{}
	w.count--
}

// due returns a number whose time has come and stops it; 0: none.
func (w *wheel) due(now time.Duration) uint32 {
	end := int64(now) >> cellBits
	if w.count == 0 {
		w.turned = max(w.turned, end)
		return 0
	}
	for {
		cell := uint32(w.turned % cells)
		for number := w.first[cell]; number != 0; {
			t := &w.timers[number]
			next := t.next
			switch {
			case t.at <= now:
				w.stop(number)
				return number
			case w.turned < end: // it goes round again
				w.set(number, t.at)
			}
			number = next
		}
		if w.turned >= end {
			return 0
		}
		w.turned = min(w.turned+1+w.gap(uint32((w.turned+1)%cells)), end)
	}
}

// gap is how many cells from one on, that one included, have no timer.
func (w *wheel) gap(cell uint32) int64 {
	n := int64(0)
	for n < cells {
		if rest := w.filled[cell/64] >> (cell % 64); rest != 0 {
			return n + int64(bits.TrailingZeros64(rest))
		}
		step := 64 - cell%64
		n += int64(step)
		cell = (cell + step) % cells
	}
	return n
}

// next is when the next timer is due, or some time before that; the end of time when none is set.
func (w *wheel) next() time.Duration {
	if w.count == 0 {
		return math.MaxInt64
	}
	cell := w.turned + w.gap(uint32(w.turned%cells))
	soonest := time.Duration((cell + 1) << cellBits) // what is due in a later turn goes round again then
	number := w.first[cell%cells]
	for n := 0; number != 0; number, n = w.timers[number].next, n+1 {
		if n == atOnce {
			return time.Duration(cell << cellBits)
		}
		soonest = min(soonest, w.timers[number].at)
	}
	return soonest
}
