package races

import (
	"slices"
	"strings"
	"time"
)

// mostLate is how many packets may pass at a throttle before something better takes over: in
// the 80 ms that a slow disk had it wait, 8 did.
const mostLate = 16

// maxSold is how many sessions a device may buy in a history.
const maxSold = 24

// sold is a session.
type sold struct {
	id      int64
	time    time.Duration // 0: a session of data
	life    time.Duration // 0: it does not expire
	limit   int64         // bytes; 0: a session of time alone
	used    int64         // bytes
	start   int           // its place among the starts of the device; 0: not started
	over    bool          // its time is used up
	expired bool
	spent   bool // the packet that did not fit has come
	slow    bool // it has a throttle
}

// owner is a device. It is compared as a whole and copied, never changed in
// place by a step.
type owner struct {
	sold    [maxSold]sold // in order of their ids, which is that of creation; behind them id 0
	starts  int
	running int  // place in sold and 1; 0: not connected, or paused
	paused  int  // likewise of the one paused in place; 0: none
	slowly  bool // the running one is used up, and at its throttle
	// Packets that passed at the throttle though something better is there: it takes
	// over once there is a record for its grant, which may wait for the disk.
	late int
	// The session with a throttle after which the running one took over by itself; 0:
	// none. Whoever deletes the running one before control has heard of that has the
	// one before go on.
	fell int64
	// The running one took over by control's word, which comes a moment after
	// what ended the one before: until one has passed, packets may be dropped.
	stalls bool
	// Likewise, and which one takes over is not settled: all records for grants may
	// wait for the disk.
	waits bool
	// The running one has dropped the packet that did not fit, or its time is
	// used up, and a top-up that is under way comes before control has heard of
	// that.
	ending bool
}

func (s *sold) timed() bool     { return s.time != 0 }
func (s *sold) usedUp() bool    { return s.over || s.limit != 0 && (s.spent || s.used >= s.limit) }
func (s *sold) throttles() bool { return s.slow && s.start != 0 && !s.expired }
func (s *sold) available() bool { return s.id != 0 && !s.usedUp() && !s.expired }

// before is the order of use.
func (s *sold) before(o *sold) bool {
	switch {
	case (s.start == 0) != (o.start == 0):
		return s.start != 0
	case s.start != 0 && (s.life == 0) != (o.life == 0):
		return s.life != 0 // never is last
	case s.start != 0 && s.life != o.life:
		return s.life < o.life // by far more than between their starts
	case s.start != 0 && s.life != 0:
		return s.start < o.start
	}
	return s.id < o.id
}

// best is the place and 1 of the session that is used next; 0: there is none.
func (o *owner) best(skip int) int {
	best := 0
	for i := range o.sold {
		if s := &o.sold[i]; i+1 != skip && s.available() && (best == 0 || s.before(&o.sold[best-1])) {
			best = i + 1
		}
	}
	return best
}

// run has a session be the running one; at 0 the device is disconnected.
func (o *owner) run(at int, stalls bool) {
	o.running, o.stalls, o.slowly, o.late, o.fell = at, at != 0 && stalls, false, 0, 0
	if at == 0 {
		return
	}
	s := &o.sold[at-1]
	if s.start == 0 {
		o.starts++
		s.start = o.starts
	}
	o.slowly = s.usedUp()
}

// slows says that the session at a place may be used at its throttle: it is used up,
// and it is in use or expires one day.
func (o *owner) slows(at int) bool {
	s := &o.sold[at-1]
	return s.throttles() && s.usedUp() && (s.life != 0 || at == o.running || at == o.paused)
}

// follows is the place and 1 of what is used next: what is available or, with nothing
// left, what has a throttle, of that first the one in use; 0: there is none.
func (o *owner) follows(skip int) int {
	best := o.best(skip)
	if best != 0 {
		return best
	}
	for i := range o.sold {
		at := i + 1
		if at == skip || !o.slows(at) {
			continue
		}
		if at == o.running {
			return at
		}
		if best == 0 || o.sold[i].before(&o.sold[best-1]) {
			best = at
		}
	}
	return best
}

// after is the place and 1 of what follows the running one, which is used up: itself
// at its throttle, if there is nothing better.
func (o *owner) after() int {
	if o.best(o.running) == 0 && !o.slowly && o.sold[o.running-1].throttles() {
		return o.running
	}
	return o.follows(o.running)
}

// lags says that the running one is at its throttle and something better is there.
func (o *owner) lags() bool { return o.slowly && o.best(0) != 0 }

// mindPause has what is paused give way to what is better.
func (o *owner) mindPause() {
	if at := o.paused; at != 0 && !o.sold[at-1].available() && (!o.slows(at) || o.best(0) != 0) {
		o.paused = o.follows(at)
	}
}

func (o *owner) place(id int64) int {
	return slices.IndexFunc(o.sold[:], func(s sold) bool { return s.id == id }) + 1
}

// buy puts a session in its place.
func (o *owner) buy(s sold) {
	at := 0
	for o.sold[at].id != 0 && o.sold[at].id < s.id {
		at++
	}
	copy(o.sold[at+1:], o.sold[at:maxSold-1])
	o.sold[at] = s
	if o.running > at {
		o.running++
	}
	if o.paused > at {
		o.paused++
	}
}

// remove takes the session at a place out.
func (o *owner) remove(at int) {
	copy(o.sold[at-1:], o.sold[at:])
	o.sold[maxSold-1] = sold{}
	if o.running > at {
		o.running--
	}
	if o.paused > at {
		o.paused--
	}
}

// skip has the device go on without the session at a place, which is not
// available any more, if it is the one in use.
func (o *owner) skip(at int) {
	if o.running == at {
		o.run(o.follows(at), true)
	}
	if o.paused == at {
		o.paused = o.follows(at)
	}
}

func (o *owner) state(at int) string {
	switch s := &o.sold[at-1]; {
	case o.running == at:
		return "running"
	case s.usedUp():
		return "consumed"
	case s.expired:
		return "expired"
	}
	return "available"
}

// all is what can be seen of a device that is disconnected.
func (o *owner) all() string {
	var b strings.Builder
	for i := range o.sold {
		if s := &o.sold[i]; s.id != 0 {
			b.WriteString(Describe(s.id, o.state(i+1), s.timed(), s.used))
		}
	}
	return b.String()
}
