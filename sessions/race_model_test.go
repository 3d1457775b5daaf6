package sessions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// The model of one device: what each call does if all are made one after the
// other. It is written from the contract and shares no code with the manager.

// verb is what is done to a device.
type verb string

const (
	toCreate     verb = "create"
	toConnect    verb = "connect"
	toDisconnect verb = "disconnect"
	toSell       verb = "set data"  // the total of a session of data
	toWind       verb = "set used"  // of a session of time: all used up, or nothing
	toExpire     verb = "set start" // of a session that expires: long ago
	toDelete     verb = "delete"
	toPause      verb = "pause"
	toResume     verb = "resume"
	toPass       verb = "pass" // one packet of parcel bytes
	toLook       verb = "look" // at everything, when all is still
)

// parcel is the size of every packet, and of what sessions of data sell a
// multiple; so a packet fits whole or not at all.
const parcel = 1000 // bytes

// hourly is what sessions of time sell: more than a history lasts.
const hourly = 3600 // seconds

// call is what is asked for.
type call struct {
	verb    verb
	device  int
	session int64 // of which the call speaks
	timed   bool  // create: a session of time, else of data
	expires bool  // create: a day after its start
	limit   int64 // create, set data: bytes
	whole   bool  // set used: all of it
}

// result is what was answered.
type result struct {
	said    string // empty: done; or one of the words below
	session int64  // create, connect: the session; pass: who was billed, 0: it was dropped
	all     string // look: see soldNow
}

// What a call may answer but "done".
const (
	saidAlready = "already connected"
	saidNone    = "no session"
	saidNot     = "not connected"
	saidPaused  = "paused"
	saidGoes    = "not paused"
	saidUnknown = "unknown session"
	saidDoubt   = "in doubt" // the store or the forwarder did not answer in time: it is done, or not
)

func (c call) String() string {
	s := fmt.Sprintf("%s %d", c.verb, c.session)
	switch c.verb {
	case toCreate:
		s = fmt.Sprintf("create timed=%v expires=%v %d", c.timed, c.expires, c.limit)
	case toSell:
		s += fmt.Sprintf(" to %d", c.limit)
	case toWind:
		s += fmt.Sprintf(" whole=%v", c.whole)
	}
	return s
}

// maxSold is how many sessions a device may buy in a history.
const maxSold = 24

// sold is a session.
type sold struct {
	id      int64
	timed   bool
	expires bool
	limit   int64 // bytes
	used    int64 // bytes
	start   int   // its place among the starts of the device; 0: not started
	over    bool  // its time is used up
	expired bool
	spent   bool // the packet that did not fit has come
}

// owner is a device. It is compared as a whole and copied, never changed in
// place by a step.
type owner struct {
	sold    [maxSold]sold // in order of their ids, which is that of creation; behind them id 0
	starts  int
	running int // place in sold and 1; 0: not connected, or paused
	paused  int // likewise of the one paused in place; 0: none
	// The running one took over by control's word, which comes a moment after
	// the packet that ended the one before: until one has passed, packets may be
	// dropped.
	stalls bool
	// The running one has dropped the packet that did not fit, and a change of
	// its data that is under way comes before control has heard of that.
	ending bool
}

func (s *sold) usedUp() bool    { return s.over || !s.timed && (s.spent || s.used >= s.limit) }
func (s *sold) available() bool { return s.id != 0 && !s.usedUp() && !s.expired }

// before is the order of use.
func (s *sold) before(o *sold) bool {
	switch {
	case (s.start == 0) != (o.start == 0):
		return s.start != 0
	case s.start != 0 && s.expires != o.expires:
		return s.expires // never is last
	case s.start != 0 && s.expires && s.timed != o.timed:
		return o.timed // an hour more
	case s.start != 0 && s.expires:
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
	if o.running, o.stalls = at, at != 0 && stalls; at == 0 {
		return
	}
	if s := &o.sold[at-1]; s.start == 0 {
		o.starts++
		s.start = o.starts
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

func (o *owner) state(at int) State {
	switch s := &o.sold[at-1]; {
	case o.running == at:
		return Running
	case s.usedUp():
		return Consumed
	case s.expired:
		return Expired
	}
	return Available
}

// soldNow is everything that can be seen of a device that is disconnected.
func (o *owner) soldNow() string {
	var b strings.Builder
	for i := range o.sold {
		if s := &o.sold[i]; s.id != 0 {
			fmt.Fprintf(&b, "%d %s %d of %d; ", s.id, o.state(i+1), s.used, s.limit)
		}
	}
	return b.String()
}

// steps are the states that a device may be in after a call that was answered
// so; none: it cannot have been.
func (o owner) steps(c call, r result) []owner {
	if r.said == saidDoubt {
		return o.doubted(c)
	}
	if o.ending && !(c.verb == toPass && r.session == 0 || c.verb == toSell && o.place(c.session) == o.running) {
		return nil
	}
	switch c.verb {
	case toCreate:
		o.buy(sold{id: r.session, timed: c.timed, expires: c.expires, limit: c.limit})
		return []owner{o}
	case toConnect:
		return o.connects(r)
	case toDisconnect:
		if (o.running == 0 && o.paused == 0) != (r.said == saidNot) {
			return nil
		}
		o.run(0, false)
		o.paused = 0
		return []owner{o}
	case toPause, toResume:
		return o.halts(c.verb == toPause, r.said)
	case toPass:
		return o.passes(r.session)
	case toLook:
		if r.all != o.soldNow() || o.running != 0 {
			return nil
		}
		return []owner{o}
	}
	at := o.place(c.session)
	if (at == 0) != (r.said == saidUnknown) {
		return nil
	}
	if at != 0 {
		o.change(c, at)
	}
	return []owner{o}
}

func (o owner) connects(r result) []owner {
	best := o.best(0)
	switch {
	case o.running != 0 || o.paused != 0:
		if r.said != saidAlready {
			return nil
		}
	case best == 0:
		if r.said != saidNone {
			return nil
		}
	case r.said != "" || r.session != o.sold[best-1].id:
		return nil
	default:
		o.run(best, false)
	}
	return []owner{o}
}

// halts pauses, or has what is paused go on.
func (o owner) halts(pause bool, said string) []owner {
	switch {
	case pause && o.paused != 0:
		if said != saidPaused {
			return nil
		}
	case pause && o.running == 0:
		if said != saidNot {
			return nil
		}
	case !pause && o.paused == 0:
		if said != saidGoes {
			return nil
		}
	case pause && !o.sold[o.running-1].available(): // it ends as it is paused
		o.paused = o.best(o.running)
		if (o.paused == 0) != (said == saidNot) {
			return nil
		}
		o.run(0, false)
	case said != "":
		return nil
	case pause:
		o.paused = o.running
		o.run(0, false)
	default:
		o.run(o.paused, false)
		o.paused = 0
	}
	return []owner{o}
}

// change applies a call to the session at a place.
func (o *owner) change(c call, at int) {
	s := &o.sold[at-1]
	switch c.verb {
	case toSell:
		s.limit, s.spent = c.limit, false
		if o.ending {
			o.ending = false
			o.run(o.best(0), true)
		}
		if o.paused == at && !s.available() {
			o.paused = o.best(at)
		}
		return // else one that runs ends with the packet that does not fit
	case toWind:
		s.over = c.whole
	case toExpire:
		if s.expired = true; s.start == 0 {
			o.starts++
			s.start = o.starts
		}
	case toDelete:
		if o.running == at {
			o.run(o.best(at), true)
		}
		if o.paused == at {
			o.paused = o.best(at)
		}
		o.remove(at)
		return
	}
	if o.running == at && !s.available() {
		o.run(o.best(at), true)
	}
	if o.paused == at && !s.available() {
		o.paused = o.best(at)
	}
}

// passes is one packet that was billed to a session, or, at 0, dropped.
func (o owner) passes(billed int64) []owner {
	passed := billed != 0
	if o.running == 0 {
		if passed {
			return nil
		}
		return []owner{o}
	}
	s := &o.sold[o.running-1]
	if s.timed || s.used < s.limit {
		if !passed && !o.stalls || passed && billed != s.id {
			return nil
		}
		if passed {
			s.used += parcel
			o.stalls = false
		}
		return []owner{o}
	}
	topped := o // before control hears of it
	topped.ending = true
	s.spent = true // this is the packet that does not fit
	switch o.run(o.best(o.running), !passed); {
	case !passed:
		return []owner{o, topped}
	case o.running == 0 || o.sold[o.running-1].id != billed:
		return nil
	}
	o.sold[o.running-1].used += parcel
	return []owner{o}
}

// doubted are the states after a call of which nobody knows whether it was done.
func (o owner) doubted(c call) []owner {
	all := []owner{o}
	switch at := o.place(c.session); {
	case c.verb == toConnect && o.running == 0 && o.best(0) != 0:
		o.run(o.best(0), false)
		all = append(all, o)
		o.run(0, false) // started, and not connected
		all = append(all, o)
	case c.verb == toDisconnect:
		o.run(0, false)
		all = append(all, o)
	case at != 0 && c.session != 0:
		o.change(c, at)
		all = append(all, o)
	}
	return all
}

// deviceModel is the model as porcupine takes it, a partition a device.
var deviceModel = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[int][]porcupine.Operation{}
		for _, op := range history {
			at := op.Input.(call).device
			parts[at] = append(parts[at], op)
		}
		var all [][]porcupine.Operation
		for _, part := range parts {
			all = append(all, part)
		}
		return all
	},
	Init: func() []any { return []any{owner{}} },
	Step: func(state, input, output any) []any {
		var next []any
		for _, o := range state.(owner).steps(input.(call), output.(result)) {
			next = append(next, o)
		}
		return next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %+v", input, output) },
}
