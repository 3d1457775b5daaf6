package races

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Devices of a history, and the most who change one at once.
const (
	Devices    = 16
	MaxWriters = 8
)

// History is what was done. Its methods may be called by many at once, those that
// judge it once all is done.
type History struct {
	now func() time.Duration

	mu   sync.Mutex
	ops  [Devices][]porcupine.Operation
	sold [Devices][]Call // create calls that were done, with the session's id
	odd  []string        // what no history may have
}

// New returns an empty history by a clock, which only grows.
func New(now func() time.Duration) *History { return &History{now: now} }

// Ask makes a call and says what was answered. A session's id stands in the
// answer to a create.
type Ask func(Call) (Answer, error)

// Run has up to MaxWriters writers for each device make as many calls each, drawn
// with random, with rests of up to rest between them.
func (h *History) Run(random *rand.Rand, calls int, rest time.Duration, ask Ask) {
	var writers sync.WaitGroup
	for device := range Devices {
		keep := device%2 == 0 // nothing of it is deleted
		for range 1 + random.IntN(MaxWriters) {
			random := rand.New(rand.NewPCG(random.Uint64(), 1))
			writers.Go(func() {
				for range calls {
					c := h.draw(random, device, keep)
					h.Do(c, ask)
					if slices.Contains(switching, c.Verb) { // it holds from the next packet on
						h.Do(Call{Verb: Pass, Device: device}, ask)
					}
					time.Sleep(time.Duration(random.Int64N(int64(rest))))
				}
			})
		}
	}
	writers.Wait()
}

var switching = []Verb{Connect, Disconnect, Pause, Resume, Delete}

// draw draws what is done next.
func (h *History) draw(random *rand.Rand, device int, keep bool) Call {
	h.mu.Lock()
	known := slices.Clone(h.sold[device])
	h.mu.Unlock()
	n, buys := random.IntN(100), 14
	if device%4 > 1 { // it has little at once, and uses that up
		buys = 5
		if len(known) == 0 && n%MaxWriters > 0 {
			return Call{Verb: Connect, Device: device}
		}
	}
	if len(known) == 0 || n < buys && len(known) < maxSold-MaxWriters {
		return drawPlan(random, device)
	}
	one := known[random.IntN(len(known))]
	c := Call{Verb: Pass, Device: device}
	switch {
	case n < 35:
		c.Verb = Connect
	case n < 47:
		c.Verb = Disconnect
	case n < 53:
		c.Verb = Pause
	case n < 60:
		c.Verb = Resume
	case n < 80:
	case n >= 93 && !keep:
		c.Verb, c.Session = Delete, one.Session
	case n >= 90:
		c.Verb, c.Session, c.Slow = Slow, one.Session, random.IntN(3) > 0
	case one.Limit != 0:
		c.Verb, c.Session, c.Limit = Sell, one.Session, Parcel*int64(1+random.IntN(6))
	case one.Time == Long:
		c.Verb, c.Session, c.Whole = Wind, one.Session, random.IntN(3) > 0
	case one.Life == 0:
		c.Verb, c.Session = Extend, one.Session
	}
	return c
}

func drawPlan(random *rand.Rand, device int) Call {
	c := Call{Verb: Create, Device: device, Slow: random.IntN(2) > 0}
	switch random.IntN(9) {
	case 0:
		c.Time = Long
	case 1, 2:
		c.Time = Short
	case 3, 4:
		c.Time, c.Life = Short, Short // with 0 days
	case 5: // its data is used up long before
		c.Time, c.Life = Short, Short
		c.Limit = Parcel * int64(1+random.IntN(4))
	case 6:
		c.Life = Day
		fallthrough
	default:
		c.Limit = Parcel * int64(1+random.IntN(4))
	}
	return c
}

// Do makes a call and notes it, unless nothing came of it. A packet is noted by
// who sends it.
func (h *History) Do(c Call, ask Ask) {
	begin := h.now()
	r, err := ask(c)
	end := h.now()
	if err != nil {
		h.Oddly("%v: %v", c, err)
		r.Said = Doubt
	}
	if c.Verb == Create && r.Said == "" {
		made := c
		made.Session = r.Session
		h.mu.Lock()
		h.sold[c.Device] = append(h.sold[c.Device], made)
		h.mu.Unlock()
	}
	if c.Verb == Pass || c.Verb == Create && r.Said != "" { // nothing was bought
		return
	}
	h.Add(c, r, begin, end)
}

// Add notes a call that was made and answered between two moments.
func (h *History) Add(c Call, r Answer, begin, end time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops[c.Device] = append(h.ops[c.Device], porcupine.Operation{ClientId: c.Device, Input: c, Output: r, Call: int64(begin), Return: int64(max(begin, end))})
}

// Oddly notes what no history may have.
func (h *History) Oddly(format string, a ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.odd) < 10 {
		h.odd = append(h.odd, fmt.Sprintf(format, a...))
	}
}

// Odd is what was noted by Oddly.
func (h *History) Odd() []string { return h.odd }

// Sold are the create calls of a device that were done, with their sessions' ids.
func (h *History) Sold(device int) []Call { return h.sold[device] }

// Calls is how many calls of a kind were answered so.
func (h *History) Calls(like func(Call, Answer) bool) (n int) {
	for _, ops := range h.ops {
		for _, op := range ops {
			if like(op.Input.(Call), op.Output.(Answer)) {
				n++
			}
		}
	}
	return n
}

// deviceModel is the model as porcupine takes it.
var deviceModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{owner{}} },
	Step: func(state, input, output any) []any {
		var next []any
		for _, o := range state.(owner).steps(input.(Call), output.(Answer)) {
			next = append(next, o)
		}
		return next
	},
	Hash: func(state any) uint64 {
		o := state.(owner)
		n := uint64(o.starts)<<16 | uint64(o.running)<<8 | uint64(o.paused)
		for i := range o.sold {
			n = n*31 + uint64(o.sold[i].used+o.sold[i].limit)
		}
		return n
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %+v", input, output) },
}

// Verdict is what a history is.
type Verdict string

// Open is when no order was found within the time that was given.
const (
	Linear  Verdict = "linear"
	Refused Verdict = "in no order"
	Open    Verdict = "open"
)

// Judge looks for an order of each device's calls for as long as patience at
// most, and says of one that is in none how far it can be told.
func (h *History) Judge(patience time.Duration) (v Verdict, why string) {
	v = Linear
	for device := range Devices {
		switch porcupine.CheckOperationsTimeout(deviceModel.ToModel(), h.ops[device], patience) {
		case porcupine.Illegal:
			return Refused, fmt.Sprintf("device %d:%s", device, shortest(h.ops[device]))
		case porcupine.Unknown:
			v, why = Open, fmt.Sprintf("device %d:%s", device, tell(h.ops[device]))
		}
	}
	return v, why
}

// shortest is the beginning of a history that is in no order, with all that
// began before it ended.
func shortest(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	for n := range ops {
		short := slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool { return op.Call > ops[n].Return })
		if porcupine.CheckOperationsTimeout(deviceModel.ToModel(), short, 2*time.Second) == porcupine.Illegal {
			return tell(short)
		}
	}
	return tell(ops)
}

// Tell is a device's history in words.
func (h *History) Tell(device int) string { return tell(h.ops[device]) }

// tell leaves out what is neither a call nor among the last packets.
func tell(ops []porcupine.Operation) string {
	const most = 100
	var b strings.Builder
	for i, op := range ops {
		if op.Input.(Call).Verb == Pass && i < len(ops)-most {
			continue
		}
		fmt.Fprintf(&b, "\n%9.3f..%9.3f ms  %v -> %+v", float64(op.Call)/1e6, float64(op.Return)/1e6, op.Input, op.Output)
	}
	return b.String()
}
