package limiter

import (
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"
)

// TestAllowanceIsATokenBucket holds the arithmetic to golang.org/x/time/rate's.
func TestAllowanceIsATokenBucket(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		every := rapid.SampledFrom([]time.Duration{500 * time.Microsecond, 2 * time.Millisecond, 20 * time.Millisecond}).Draw(r, "every")
		burst := rapid.IntRange(1, 50).Draw(r, "burst")
		now := rapid.SampledFrom([]time.Duration{0, 1, time.Hour}).Draw(r, "boot")
		var a Allowance
		want := rate.NewLimiter(rate.Every(every), burst)
		for range rapid.IntRange(1, 200).Draw(r, "steps") {
			// An eighth of an interval is exact in what the other one counts with.
			now += every / 8 * time.Duration(rapid.IntRange(0, 20).Draw(r, "eighths"))
			got, ok := a.Take(every, burst, now), want.AllowN(time.Unix(0, int64(now)), 1)
			if got != ok {
				r.Fatalf("at %v: %v, want %v", now, got, ok)
			}
		}
	})
}

func TestAllowance(t *testing.T) {
	const every = 20 * time.Millisecond
	var a Allowance
	take := func(now time.Duration, want bool) {
		t.Helper()
		if got := a.Take(every, 2, now); got != want {
			t.Errorf("at %v: %v, want %v", now, got, want)
		}
	}
	take(time.Second, true)
	take(time.Second, true)
	take(time.Second, false)
	take(0, false) // a clock that goes back
	take(time.Second+every-1, false)
	take(time.Second+every, true)
	take(time.Second+every, false)
	take(time.Hour, true)
	take(time.Hour, true)
	take(time.Hour, false)
}
