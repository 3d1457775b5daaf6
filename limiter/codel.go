package limiter

import (
	"math"
	"time"
)

// CoDel's two times where the rate does not ask for longer ones (RFC 8289, 4.2 and 4.3).
const (
	target   = 5 * time.Millisecond
	interval = 100 * time.Millisecond
)

// codel is what RFC 8289 keeps of one queue: since when its packets have waited too long, and when the next one is to go.
type codel struct {
	above    time.Duration // since boot; from then on what waits too long has done so for an interval; 0: it does not
	next     time.Duration // since boot; when the next packet goes
	count    uint32        // that have gone since dropping began
	last     uint32        // count when dropping began
	dropping bool
}

// congested says whether a packet that waited so long, as the first of its queue, goes: is dropped, or marked if it can be.
// most is how long it may wait; alone is that no other wire packet waits behind it (RFC 8289, section 5.3; its
// arithmetic is section 5's).
func (c *codel) congested(waited, most time.Duration, alone bool, now time.Duration) bool {
	interval := max(interval, 2*most)
	ok := false // to drop
	switch {
	case waited < most || alone:
		c.above = 0
	case c.above == 0:
		c.above = now + interval
	default:
		ok = now >= c.above
	}
	switch {
	case !ok:
		c.dropping = false
	case c.dropping && now < c.next:
	case c.dropping:
		c.count++
		c.next = law(c.next, interval, c.count)
		return true
	default:
		// What worked a moment ago is where it goes on from.
		if c.dropping = true; c.count-c.last > 1 && now-c.next < 16*interval {
			c.count -= c.last
		} else {
			c.count = 1
		}
		c.last = c.count
		c.next = law(now, interval, c.count)
		return true
	}
	return false
}

// law is when the next packet goes after one that went at at.
func law(at, interval time.Duration, count uint32) time.Duration {
	return at + time.Duration(float64(interval)/math.Sqrt(float64(count)))
}

// patience is how long the packets of a queue may wait at a rate, bytes per second, that it shares with so many others of
// the same client. What one wire packet takes is the measure of slow rates, as sch_cake has it: four of them, and two of
// each flow, or each of many flows at a slow rate loses its only packets. Where clients share a total it is 40 ms at least:
// held up, its bucket saves up 20 ms, and then sends them at once; who had less waiting would lose it to others, and of
// cubic a mark leaves 0.7 of what waited.
func patience(r Rate, wire, flows int, shared bool) time.Duration {
	most := target
	if shared {
		most = 2 * burstTime
	}
	if r <= 0 {
		return most
	}
	packet := min(float64(wire)/float64(r), 1) * float64(time.Second)
	return max(most, time.Duration(packet*float64(max(4, 2*flows))))
}
