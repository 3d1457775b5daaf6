package limiter

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"gatewayd/forwarder/arena"
)

// Directions of a client's traffic.
const (
	Up = iota
	Down
)

const (
	serveTime  = time.Millisecond       // of the rate: what leaves in one piece
	wholeRate  = Rate(500_000_000 / 8)  // above it, super-packets leave whole
	quantum    = 1500                   // bytes that a flow may send in its turn at a slow rate (RFC 8290, 5.2.2): one packet, no more
	small      = 300                    // bytes of the packets of speech, games, names and acknowledgements, at most
	mostPiece  = 64 << 10               // bytes
	waitTime   = 400 * time.Millisecond // of the rate: the most that waits of one client in one direction
	leastQueue = 64 << 10               // bytes, likewise, at slow rates
	looked     = 64                     // flows of each list among which the longest is sought
	// MaxWeight is the largest weight of a client.
	MaxWeight = 100
)

// side is one direction of a client's traffic. Numbered from 2, by SideOf.
type side struct {
	bucket Bucket
	rate   Rate

	// What waits.
	frames  int32 // the first that a frame that passes straight through needs, and the last
	bytes   int32
	weight  int32
	deficit int32 // of its turn of the total, bytes
	fresh   list  // flows that have something waiting and had less than their turn of late
	ring    list  // all flows of late, in turn
	flows   int32 // of those
	busy    bool  // something waited of late: it is in the ring, or
	waiting bool  // for its own rate: its timer is set
	ringed  bool
	isFresh bool
	class   uint8  // bits of bytes
	longer  uint32 // the ones of the same class before and after it
	shorter uint32
	wants   int32 // bytes of what its timer waits for
	delay   time.Duration
	_       [16]byte
}

// total is what all clients together may have in one direction, in turns.
type total struct {
	bucket  Bucket
	rate    Rate
	fresh   list // sides, as flows are of a side
	ring    list
	weights int           // of those with something waiting, but not for their own rate, summed
	due     time.Duration // when there is enough for the next one; 0: now
	spent   uint64
}

// Shaper holds all clients of a worker to their rates. One goroutine owns it.
type Shaper struct {
	sides   []side
	ring    links    // of totals' rings
	fresh   links    // of totals' fresh ones
	queued  []queued // by block
	flows   flows
	memory  memory
	wheel   wheel
	totals  [2]total
	classes [32]uint32 // sides with something waiting, by class; the last that came first
	leaving []uint32   // blocks of what has left, which may be in a batch
	frames  int
	limit   int // bytes of memory
}

// SideOf is the number of a client's side, by the slot of the client, from 1.
func SideOf(slot uint32, direction uint8) uint32 { return slot<<1 | uint32(direction) }

// New makes a Shaper for the slots below slots, of whose frames so many bytes at most wait, a multiple of MemoryUnit, and beside which
// about a tenth more is used for what is known of them.
func New(a *arena.Arena, slots, bytes int) (*Shaper, error) {
	s := &Shaper{}
	var err [7]error
	s.memory, err[0] = newMemory(a, bytes)
	blocks := len(s.memory.units)
	s.flows, err[1] = newFlows(a, 1<<bits.Len(uint(max(blocks/4, 64)-1)), 2*slots)
	s.wheel, err[2] = newWheel(a, 2*slots)
	err[3] = errors.Join(arena.Make(a, &s.sides, 2*slots), newLinks(a, &s.ring, 2*slots), newLinks(a, &s.fresh, 2*slots))
	err[4] = arena.Make(a, &s.queued, blocks+1)
	err[5] = arena.Make(a, &s.leaving, blocks)
	s.leaving = s.leaving[:0]
	s.limit = len(s.memory.region)
	for i := range s.totals {
		s.totals[i].bucket.Set(0, 0)
	}
	if err := errors.Join(err[:]...); err != nil {
		return nil, fmt.Errorf("room for what waits for its rate: %w", err)
	}
	return s, nil
}

// Set gives a side a rate and a weight beside others', 1 to MaxWeight, by which what waits already leaves, too.
func (s *Shaper) Set(number uint32, r Rate, weight int, now time.Duration) {
	sd := &s.sides[number]
	weight = min(max(weight, 1), MaxWeight)
	if sd.rate != r || !sd.bucket.made {
		sd.rate = max(r, 0)
		sd.bucket.Set(sd.rate, now)
	}
	if sd.busy && !sd.waiting {
		s.totals[number&1].weights += weight - int(sd.weight)
	}
	sd.weight = int32(weight)
	s.totals[number&1].due = 0 // what leaves in a piece is another
	s.wake(number)
}

// Renew makes a side's bucket a new one, full with the next Set.
func (s *Shaper) Renew(number uint32) { s.sides[number].bucket, s.sides[number].rate = Bucket{}, 0 }

// SetTotal is what all clients together may have in one direction.
func (s *Shaper) SetTotal(direction uint8, r Rate, now time.Duration) {
	t := &s.totals[direction]
	if r = max(r, 0); r != t.rate {
		t.rate = r
		t.bucket.Set(r, now)
		t.due = 0
	}
}

// Pass says whether so many bytes of a side pass straight through: nothing waits before them, and they conform.
func (s *Shaper) Pass(number uint32, bytes int, now time.Duration) bool {
	sd := &s.sides[number]
	if sd.frames != 0 {
		return false
	}
	t := &s.totals[number&1]
	if t.rate == 0 {
		return sd.rate == 0 && sd.bucket.made || sd.bucket.Take(bytes, now)
	}
	if t.ring.first != 0 || t.bucket.Available(now) < bytes {
		return false
	}
	if !(sd.rate == 0 && sd.bucket.made) && !sd.bucket.Take(bytes, now) {
		return false
	}
	t.take(bytes, now)
	return true
}

// Spend charges to the total what passes without being asked, the box's own traffic; a burst ahead at most, so that
// clients have to wait for no more when it ends.
func (s *Shaper) Spend(direction uint8, bytes int, now time.Duration) {
	if t := &s.totals[direction]; !t.bucket.InDebt(now) {
		t.take(bytes, now)
	}
}

// take charges what leaves, if there is a total.
func (t *total) take(bytes int, now time.Duration) {
	if t.rate != 0 {
		t.bucket.Charge(bytes, now)
		t.spent += uint64(bytes)
	}
}

// Add has a frame wait at a side, in so many bytes of memory. It returns the frame's number, whose memory Raw is; 0 when
// something else has to go for it, which Victim tells.
func (s *Shaper) Add(number uint32, fr Frame, raw int, now time.Duration) (frame uint32) {
	sd := &s.sides[number]
	if int(sd.bytes)+fr.Bytes > s.Limit(number) {
		return 0
	}
	w := s.memory.take(raw)
	if w == 0 {
		return 0
	}
	n := s.flows.of(number, fr.Flow)
	fl := &s.flows.all[n]
	s.queued[w] = queued{bytes: int32(fr.Bytes), wire: int32(fr.Wire), count: uint16(fr.Count), ect: fr.ECT, at: now}
	if fl.first == 0 {
		fl.first = w
	} else {
		s.queued[fl.last].behind = w
	}
	fl.last = w
	s.grow(number, fl, fr.Bytes, 1)
	fl.small = fr.Wire <= small
	if !fl.listed {
		fl.listed = true
		fl.deficit, _ = s.turn(sd, fl)
		sd.flows++
		s.flows.ring.push(&sd.ring, n)
	}
	if fl.first == w && fl.deficit > 0 && !fl.fresh {
		s.flows.enter(&sd.fresh, n)
		s.totals[number&1].due = 0 // it may take less than what is waited for
		if sd.waiting && int32(s.queued[w].cost(s.piece(number, &s.queued[w]))) < sd.wants {
			s.wake(number) // it goes first, and conforms sooner
		}
	}
	t := &s.totals[number&1]
	if !sd.busy {
		sd.busy = true
		sd.weight = max(sd.weight, 1) // of one that was not Set yet
		sd.deficit = quantum * sd.weight
		t.weights += int(sd.weight)
		s.in(t, number)
	}
	if sd.frames == 1 && sd.deficit > 0 && !sd.isFresh && !sd.waiting {
		s.enter(t, number)
	}
	return w
}

// grow counts what comes to a side and flow, or with negative numbers goes.
func (s *Shaper) grow(number uint32, fl *flow, bytes, frames int) {
	sd := &s.sides[number]
	fl.bytes += int32(bytes)
	sd.bytes += int32(bytes)
	sd.frames += int32(frames)
	s.frames += frames
	class := uint8(bits.Len32(uint32(sd.bytes)))
	if class == sd.class {
		return
	}
	if sd.class != 0 {
		if sd.longer != 0 {
			s.sides[sd.longer].shorter = sd.shorter
		} else {
			s.classes[sd.class] = sd.shorter
		}
		if sd.shorter != 0 {
			s.sides[sd.shorter].longer = sd.longer
		}
	}
	sd.class, sd.longer, sd.shorter = class, 0, 0
	if class != 0 {
		if sd.shorter = s.classes[class]; sd.shorter != 0 {
			s.sides[sd.shorter].longer = number
		}
		s.classes[class] = number
	}
}

// in adds a side to the end of its direction's ring, and out takes the first one out; enter and leave do so with the fresh ones.
func (s *Shaper) in(t *total, number uint32) {
	s.sides[number].ringed = true
	s.ring.push(&t.ring, number)
}

func (s *Shaper) out(t *total) { s.sides[s.ring.pop(&t.ring)].ringed = false }

func (s *Shaper) enter(t *total, number uint32) {
	s.sides[number].isFresh = true
	s.fresh.push(&t.fresh, number)
}

func (s *Shaper) leave(t *total) { s.sides[s.fresh.pop(&t.fresh)].isFresh = false }

// wake has a side looked at now that waits for its rate: its rate is another, or something else goes first.
func (s *Shaper) wake(number uint32) {
	if s.sides[number].waiting {
		s.wheel.stop(number)
		s.ready(number)
	}
}

// ready notes that a side waits for its rate no more.
func (s *Shaper) ready(number uint32) {
	sd := &s.sides[number]
	t := &s.totals[number&1]
	t.weights += int(sd.weight)
	t.due = 0 // it may take less than what is waited for
	if sd.waiting = false; !sd.ringed {
		s.in(t, number)
	}
}

// Limit is how many bytes of a side may wait.
func (s *Shaper) Limit(number uint32) int {
	r := s.share(number)
	if r == 0 {
		return s.limit / 2
	}
	return int(min(max(float64(r)*waitTime.Seconds(), leastQueue), float64(s.limit/2)))
}

// share is the rate that a side can have at the moment: its own, or its share of the total; 0: no limit.
func (s *Shaper) share(number uint32) Rate {
	sd, t := &s.sides[number], &s.totals[number&1]
	if t.rate == 0 {
		return sd.rate
	}
	weight := uint64(max(sd.weight, 1))
	high, low := bits.Mul64(uint64(t.rate), weight)
	quotient, _ := bits.Div64(high, low, max(uint64(t.weights), weight))
	of := Rate(quotient)
	if sd.rate == 0 || of < sd.rate {
		return max(of, 1)
	}
	return sd.rate
}

// turn is how many bytes a flow of a side may send in its turn: what the rate serves in about a millisecond, or twice that
// if its packets are small and no more than so much of it waits. most is what it may save up while it sends less.
func (s *Shaper) turn(sd *side, fl *flow) (turn, most int32) {
	turn = mostPiece
	if sd.rate != 0 {
		turn = int32(min(max(sd.rate/Rate(time.Second/serveTime), quantum), mostPiece))
	}
	if fl.small && fl.bytes <= 2*turn {
		return 2 * turn, 4 * turn
	}
	return turn, turn
}

// Delay is how long what left a side last had waited, smoothed; Waiting is how many bytes wait.
func (s *Shaper) Delay(number uint32) time.Duration { return s.sides[number].delay }
func (s *Shaper) Waiting(number uint32) int         { return int(s.sides[number].bytes) }

// Demand is the weights of those with something waiting in a direction for the total, summed; Spent is how many bytes the total was
// charged, ever.
func (s *Shaper) Demand(direction uint8) uint64 { return uint64(s.totals[direction].weights) }
func (s *Shaper) Spent(direction uint8) uint64  { return s.totals[direction].spent }

// Idle says whether nothing waits at all, nor is to be noted of what did.
func (s *Shaper) Idle() bool {
	return s.frames == 0 && s.totals[Up].ring.first == 0 && s.totals[Down].ring.first == 0
}

// Due is when something may leave, since boot; the end of time if nothing waits.
func (s *Shaper) Due() time.Duration {
	if s.Idle() {
		return math.MaxInt64
	}
	due := s.wheel.next()
	for i := range s.totals {
		if t := &s.totals[i]; t.ring.first != 0 {
			due = min(due, t.due)
		}
	}
	return due
}

// Raw is the memory of a frame that waits, at least as long as Add was told.
func (s *Shaper) Raw(frame uint32) []byte { return s.memory.bytes(frame) }

// Frames is how many numbers frames may have, 0 included.
func (s *Shaper) Frames() int { return len(s.queued) }

// Ahead reads what Pass will need of a side, before it is needed. What it returns means nothing.
func (s *Shaper) Ahead(number uint32) uint64 {
	sd := &s.sides[number]
	return uint64(sd.bucket.last) + uint64(sd.frames)
}
