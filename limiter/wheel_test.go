package limiter

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each number is told once, not before its time and at the first look from it on; next
// is never later than the first of them.
func TestWheelAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const numbers = 100
		w, err := newWheel(nil, numbers)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "boot"))
		want := map[uint32]time.Duration{}
		near := rapid.SampledFrom([]int64{1, 1000, 1 << cellBits, int64(5 * time.Millisecond), int64(60 * time.Millisecond), int64(time.Second), int64(time.Hour)})
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			number := rapid.Uint32Range(1, numbers).Draw(t, "number")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				w.stop(number)
				delete(want, number)
			case 1, 2, 3:
				at := max(now+time.Duration(rapid.Int64Range(-1000, near.Draw(t, "within")).Draw(t, "in")), 1)
				w.set(number, at)
				want[number] = at
			default:
				now += time.Duration(rapid.Int64Range(0, near.Draw(t, "until")).Draw(t, "later"))
				for n := w.due(now); n != 0; n = w.due(now) {
					at, set := want[n]
					if !set || at > now {
						t.Fatalf("%d is told at %v, set %v for %v", n, now, set, at)
					}
					delete(want, n)
				}
			}
			first := time.Duration(math.MaxInt64)
			for n, at := range want {
				first = min(first, at)
				if at <= now && at > 0 && w.timers[n].at != at {
					t.Fatalf("%d is forgotten", n)
				}
			}
			if next := w.next(); next > first || len(want) == 0 != (next == math.MaxInt64) {
				t.Fatalf("next is at %v, want %v at the latest", next, first)
			}
			if w.count != len(want) {
				t.Fatalf("%d timers, want %d", w.count, len(want))
			}
		}
		now += 2 * time.Hour
		for range len(want) {
			n := w.due(now)
			if _, set := want[n]; !set {
				t.Fatalf("%d is told, which is not set", n)
			}
			delete(want, n)
		}
		if w.due(now) != 0 {
			t.Fatal("one too many is told")
		}
	})
}

// Somebody who waits as long as next says each time comes soon after the moment, and is
// not woken without end.
func TestWheelWakesInTime(t *testing.T) {
	for _, in := range []time.Duration{1, 100 * time.Microsecond, 3 * time.Millisecond, 66 * time.Millisecond, 10 * time.Second} {
		w, err := newWheel(nil, 3)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Hour
		w.due(now)
		at := now + in
		w.set(2, at)
		wakes := 0
		for w.due(now) == 0 {
			now = max(w.next(), now+1)
			wakes++
		}
		if now < at || now > at+time.Microsecond || wakes > 3+int(in/(60*time.Millisecond)) {
			t.Errorf("what was due in %v was told %v later, after %d looks", in, now-at, wakes)
		}
	}
}
