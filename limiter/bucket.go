package limiter

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Rate is bytes per second; zero means no limit.
type Rate int64

const (
	minBurst  = 3036                  // bytes: two packets of 1518, so that one that is late costs nothing
	burstTime = 20 * time.Millisecond // of the rate: for so long it may not be looked at and nothing of it is lost
)

// Burst is the most bytes that pass at once at rate r: max(3036, r × 20 ms). What is larger waits, and leaves in pieces.
func Burst(r Rate) int {
	return int(min(max(minBurst, int64(r)/int64(time.Second/burstTime)), math.MaxInt32))
}

// Bucket is a token bucket for one client and direction; one goroutine owns it. The zero value grants nothing until Set.
type Bucket struct {
	limiter rate.Limiter
	rate    Rate
	last    time.Duration // since boot; the latest time seen
	made    bool
}

// boot stands for the moment from which times are counted; which one does not matter to rate.Limiter.
var boot = time.Unix(0, 0).UTC()

// Set gives the bucket a new rate and that rate's burst. The first one fills it. now is since boot.
func (b *Bucket) Set(r Rate, now time.Duration) {
	r = max(r, 0)
	at := b.at(now)
	if !b.made {
		b.made = true
		// Any time at no limit fills the bucket to its burst.
		b.limiter.SetLimitAt(at.Add(-2*time.Second), rate.Inf)
		b.limiter.SetBurstAt(at.Add(-time.Second), Burst(r))
	}
	b.rate = r
	limit := rate.Limit(r)
	if r == 0 {
		limit = rate.Inf
	}
	b.limiter.SetLimitAt(at, limit)
	b.limiter.SetBurstAt(at, Burst(r))
}

// Take takes n bytes if the bucket holds them, and reports whether it did. More than the burst never fits; a negative n is
// refused. now is since boot, read once a batch; a time older than the last one is taken as the last one.
func (b *Bucket) Take(n int, now time.Duration) bool {
	return n >= 0 && b.limiter.AllowN(b.at(now), n)
}

// Available is how many whole bytes Take would grant now; math.MaxInt without a limit.
func (b *Bucket) Available(now time.Duration) int {
	if b.made && b.rate == 0 {
		return math.MaxInt
	}
	return max(0, int(b.limiter.TokensAt(b.at(now))))
}

// Wait is how long it takes until Next grants a packet of n bytes, if nothing else is taken; 0 if it does now, and an hour at
// most.
func (b *Bucket) Wait(n int, now time.Duration) time.Duration {
	if b.made && b.rate == 0 {
		return 0
	}
	missing := float64(min(n, Burst(b.rate))) - b.limiter.TokensAt(b.at(now))
	if missing <= 0 {
		return 0
	}
	return time.Duration(min(missing/float64(b.rate), 3600)*float64(time.Second)) + 1
}

// Next is how many bytes the bucket grants a packet of n now: what it holds, or n when that is more than the burst and the
// bucket is full.
func (b *Bucket) Next(n int, now time.Duration) int {
	available := b.Available(now)
	if burst := Burst(b.rate); n > burst && available >= burst {
		return n
	}
	return available
}

// Charge takes n bytes whether the bucket holds them or not; what is missing has to come in before others are granted any.
func (b *Bucket) Charge(n int, now time.Duration) {
	at := b.at(now)
	for burst := Burst(b.rate); b.rate != 0 && n > 0; n -= burst {
		b.limiter.ReserveN(at, min(n, burst))
	}
}

// InDebt says whether more than a burst is missing.
func (b *Bucket) InDebt(now time.Duration) bool {
	return b.rate != 0 && b.limiter.TokensAt(b.at(now)) < -float64(Burst(b.rate))
}

// at is now as rate.Limiter takes it, never before the last one.
func (b *Bucket) at(now time.Duration) time.Time {
	b.last = max(b.last, now)
	return boot.Add(b.last)
}
