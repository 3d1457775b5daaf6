package sessions

import (
	"sync"
	"time"
)

// clock gives wall time that never steps: the wall clock was read once and
// goes on with the time since boot.
type clock struct {
	now  func() time.Time
	boot func() time.Duration

	mu      sync.Mutex
	zero    time.Time // wall time of the boot, as first read
	trusted bool
	since   time.Time // the stamp from which it was made to run while it was not trusted; zero: it always was
}

// leap is how far the wall clock may be ahead of the newest stamp on disk.
const leap = 366 * 24 * time.Hour

func newClock(now func() time.Time, boot func() time.Duration) *clock {
	c := &clock{now: now, boot: boot, trusted: true}
	c.zero = now().UTC().Round(0).Add(-boot())
	return c
}

// stamp is a moment on both clocks, as kept on disk.
type stamp struct {
	Wall  time.Time     `json:"wall"`
	Boot  time.Duration `json:"boot"`
	Since time.Time     `json:"since,omitzero"` // from when on the clock was not trusted, whether or not it has been set since
}

// anchor sets the clock by the newest stamp on disk. same says that the boot
// is the one of the stamp: the mapping is kept, whatever the wall clock did.
// Otherwise the wall clock is believed unless it is behind the stamp or more
// than a year ahead; then time goes on from the stamp. corrected says that the
// stamps made since newest.Since have been corrected. If they have not and the
// wall clock is believed now, moved is true and by is how much later they
// are: at most, for how long the box was off is not known.
func (c *clock) anchor(newest stamp, same, corrected bool) (by time.Duration, moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if newest.Wall.IsZero() {
		return 0, false
	}
	boot := c.boot()
	open := !newest.Since.IsZero() && !corrected
	if same && boot >= newest.Boot {
		c.zero, c.since, c.trusted = newest.Wall.Add(-newest.Boot), newest.Since, !open
		return 0, false
	}
	wall := c.now().UTC().Round(0)
	c.trusted = plausible(wall, newest.Wall)
	by, moved = wall.Sub(newest.Wall), open && c.trusted
	if !c.trusted {
		wall, c.since = newest.Wall, newest.Wall
		if open {
			c.since = newest.Since
		}
	}
	c.zero = wall.Add(-boot)
	return by, moved
}

func plausible(wall, newest time.Time) bool {
	return !wall.Before(newest) && wall.Sub(newest) <= leap
}

// correct looks whether a clock that was not trusted has been set since. It
// returns by how much wall time moved, and the moment from which stamps were
// made by the wrong one.
func (c *clock) correct() (by time.Duration, since time.Time, moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := c.now().UTC().Round(0)
	if c.trusted || !plausible(wall, c.zero.Add(c.boot())) {
		return 0, time.Time{}, false
	}
	zero := wall.Add(-c.boot())
	by, c.zero, c.trusted = zero.Sub(c.zero), zero, true
	return by, c.since, true
}

// off returns by how much the wall clock differs from this one now, and
// whether it was trusted at the start.
func (c *clock) off() (by time.Duration, trusted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Sub(c.zero.Add(c.boot())), c.trusted
}

// wall returns the wall time of a moment since boot.
func (c *clock) wall(at time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.zero.Add(at)
}

// started returns the wall time of a start at a moment since boot, and, while
// the clock is not trusted, from when on it was not.
func (c *clock) started(at time.Duration) (wall, unsure time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.trusted {
		unsure = c.since
	}
	return c.zero.Add(at), unsure
}

// bootAt returns the moment since boot of a wall time, at least 1 ns.
func (c *clock) bootAt(at time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(at.Sub(c.zero), 1)
}

// read returns this moment on both clocks.
func (c *clock) read() stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	boot := c.boot()
	return stamp{c.zero.Add(boot), boot, c.since}
}
