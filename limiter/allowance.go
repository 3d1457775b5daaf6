package limiter

import "time"

// Allowance is how many events may still happen of those that come singly, such as answers to packets: at most a burst
// at once, and one more each interval. It is the moment since boot from which on the whole burst may happen again (GCRA,
// ITU-T I.371), so that it fits where a client's other hot values lie; the zero value is full. One goroutine owns it.
type Allowance time.Duration

// Take says whether one more event may happen, and counts it if so. every is the interval; now is since boot, and a time
// older than the last one grants nothing.
func (a *Allowance) Take(every time.Duration, burst int, now time.Duration) bool {
	next := max(time.Duration(*a), now) + every
	if next-now > time.Duration(burst)*every {
		return false
	}
	*a = Allowance(next)
	return true
}
