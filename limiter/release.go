package limiter

import (
	"time"
)

// Release is what becomes of a frame that waited, or of its first wire packets.
type Release struct {
	Side   uint32
	Frame  uint32
	Count  int           // wire packets, from the first on
	Last   bool          // nothing of the frame is left behind
	Drop   bool          // they go: they waited too long for too long (CoDel, RFC 8289)
	Mark   bool          // likewise, but they leave marked (RFC 3168)
	Waited time.Duration // until now
}

// Next returns what conforms now and is next, and charges it; false when nothing does. Who gets a frame's Last gives its memory back by
// Left, once it is sent.
func (s *Shaper) Next(now time.Duration) (Release, bool) {
	for number := s.wheel.due(now); number != 0; number = s.wheel.due(now) {
		s.ready(number)
	}
	for direction := range s.totals {
		if t := &s.totals[direction]; t.due <= now {
			if r, ok := s.ofTotal(t, now); ok {
				return r, true
			}
		}
	}
	return Release{}, false
}

// ofTotal is Next in one direction: clients take turns (deficit round robin, Shreedhar and Varghese, 1995).
func (s *Shaper) ofTotal(t *total, now time.Duration) (Release, bool) {
	t.due = 0
	for {
		number := s.turnOf(t)
		if number == 0 {
			return Release{}, false
		}
		sd := &s.sides[number]
		fl := s.ofSide(sd)
		q := &s.queued[fl.first]
		piece := s.piece(number, q)
		cost := q.cost(piece)
		if sd.bucket.Next(cost, now) < cost {
			sd.waiting, sd.wants = true, int32(cost)
			t.weights -= int(sd.weight)
			s.wheel.set(number, now+sd.bucket.Wait(cost, now))
			continue
		}
		if t.rate != 0 && t.bucket.Next(cost, now) < cost {
			t.due = now + t.bucket.Wait(cost, now)
			return Release{}, false
		}
		return s.release(number, sd, t, fl, piece, now), true
	}
}

// turnOf is the side whose turn it is in a direction, which has something waiting that its own rate may grant; 0: none.
// One that has not had all of its turn since the ring came round is fresh when something comes for it, and goes first:
// who needs less than a share waits for nobody, and nobody has more than a turn each time round.
func (s *Shaper) turnOf(t *total) uint32 {
	for n := t.fresh.first; n != 0; n = t.fresh.first {
		sd := &s.sides[n]
		if sd.frames != 0 && !sd.waiting && (t.rate == 0 || sd.deficit > 0) {
			return n
		}
		s.leave(t)
	}
	for n := t.ring.first; n != 0; n = t.ring.first {
		sd := &s.sides[n]
		turn := quantum * sd.weight
		switch {
		case sd.waiting:
			s.out(t)
			continue
		case sd.frames == 0 && (t.rate == 0 || sd.deficit >= turn):
			s.out(t)
			t.weights -= int(sd.weight)
			sd.busy = false
			s.rest(sd)
			continue
		case sd.frames == 0:
			sd.deficit = turn
		case t.rate == 0 || sd.deficit > 0:
			return n
		default:
			sd.deficit += turn
		}
		s.out(t)
		s.in(t, n)
	}
	return 0
}

// rest gives up the places of a side's flows, nothing of which waits any more: others may need them.
func (s *Shaper) rest(sd *side) {
	for sd.fresh.first != 0 {
		s.flows.leave(&sd.fresh)
	}
	for sd.ring.first != 0 {
		s.flows.retire(s.flows.ring.pop(&sd.ring))
	}
	sd.flows = 0
}

// ofSide is the flow whose turn it is on a side that has something waiting: RFC 8290, 4.1, but that a flow which needs
// less than its turn stays sparse for as long as it does (see turnOf), and that one of small packets does again once what
// waits of it fits into its turn.
func (s *Shaper) ofSide(sd *side) *flow {
	for {
		for n := sd.fresh.first; n != 0; n = sd.fresh.first {
			if fl := &s.flows.all[n]; fl.first != 0 && fl.deficit > 0 {
				return fl
			}
			s.flows.leave(&sd.fresh)
		}
		n := s.flows.ring.pop(&sd.ring)
		fl := &s.flows.all[n]
		turn, most := s.turn(sd, fl)
		switch {
		case fl.first == 0 && fl.deficit >= most:
			s.flows.retire(n)
			sd.flows--
			continue
		case fl.first == 0:
			fl.deficit = min(fl.deficit+turn, most)
		case fl.deficit > 0:
			s.flows.ring.unpop(&sd.ring, n)
			return fl
		default:
			if fl.deficit += turn; fl.small && fl.bytes <= turn {
				s.flows.enter(&sd.fresh, n)
			}
		}
		s.flows.ring.push(&sd.ring, n)
	}
}

// piece is how many wire packets of a frame leave at once: what the rate serves in about a millisecond.
func (s *Shaper) piece(number uint32, q *queued) int {
	r := s.share(number)
	if r == 0 || r > wholeRate {
		return int(q.count)
	}
	return max(q.fit(int(r/Rate(time.Second/serveTime))), 1)
}

// release charges the first n wire packets of a flow, unless they have waited too long: then it is one that goes.
func (s *Shaper) release(number uint32, sd *side, t *total, fl *flow, n int, now time.Duration) Release {
	w := fl.first
	q := &s.queued[w]
	r := Release{Side: number, Frame: w, Count: n, Waited: now - q.at}
	share := s.share(number)
	most := patience(share, int(q.cost(1)), int(sd.flows), share != sd.rate)
	if fl.codel.congested(r.Waited, most, int(fl.bytes) <= q.cost(1), now) {
		r.Count, r.Drop, r.Mark = 1, !q.ect, q.ect
	}
	cost := q.cost(r.Count)
	if !r.Drop {
		sd.bucket.Charge(cost, now)
		t.take(cost, now)
		if t.rate != 0 { // without a total there are no turns to pay for
			sd.deficit -= int32(cost)
		}
		fl.deficit -= int32(cost)
		sd.delay += (r.Waited - sd.delay) / 8
	}
	r.Last = s.cut(number, fl, r.Count)
	return r
}

// cut takes the first n wire packets of a flow out, and says whether nothing is left of their frame.
func (s *Shaper) cut(number uint32, fl *flow, n int) bool {
	q := &s.queued[fl.first]
	cost := q.cost(n)
	if n < int(q.count) {
		q.bytes -= int32(cost)
		q.count -= uint16(n)
		s.grow(number, fl, -cost, 0)
		return false
	}
	fl.first = q.behind
	s.grow(number, fl, -cost, -1)
	return true
}

// Left has a frame's memory used again after the next Sent.
func (s *Shaper) Left(frame uint32) { s.leaving = append(s.leaving, frame) }

// Gone is Left of what is needed no more already.
func (s *Shaper) Gone(frame uint32) { s.memory.give(frame) }

// Sent says that nothing of what has left is needed any more.
func (s *Shaper) Sent() {
	for _, frame := range s.leaving {
		s.memory.give(frame)
	}
	s.leaving = s.leaving[:0]
}

// Victim takes out what has to go so that so many bytes of a side find room, from the head of a longest queue: of the side's,
// as many wire packets as are too many, if that holds all it may; else a frame of all. False: nothing waits. The
// memory of a frame's Last is to be given back by Gone.
func (s *Shaper) Victim(number uint32, bytes int, now time.Duration) (r Release, ok bool) {
	over := int(s.sides[number].bytes) + bytes - s.Limit(number)
	if over <= 0 {
		if number = s.longest(); number == 0 {
			return r, false
		}
	}
	sd := &s.sides[number]
	longest, most := uint32(0), int32(0)
	for n, i := sd.ring.first, 0; n != 0 && (i < looked || longest == 0); n, i = s.flows.ring[n], i+1 {
		if fl := &s.flows.all[n]; fl.bytes > most {
			longest, most = n, fl.bytes
		}
	}
	if longest == 0 {
		return r, false
	}
	fl := &s.flows.all[longest]
	q := &s.queued[fl.first]
	n := int(q.count)
	if over > 0 {
		n = min(n, (over+int(q.wire)-1)/int(q.wire))
	}
	return s.take(number, fl, n, now), true
}

// longest is the side with the most bytes waiting, among as many as are looked at.
func (s *Shaper) longest() (longest uint32) {
	for class := len(s.classes) - 1; class > 0; class-- {
		most := int32(0)
		for n, i := s.classes[class], 0; n != 0 && i < looked; n, i = s.sides[n].shorter, i+1 {
			if s.sides[n].bytes > most {
				longest, most = n, s.sides[n].bytes
			}
		}
		if longest != 0 {
			break
		}
	}
	return longest
}

// take takes the first n wire packets of a flow's first frame out, uncharged. What is next then may conform sooner.
func (s *Shaper) take(number uint32, fl *flow, n int, now time.Duration) Release {
	q := &s.queued[fl.first]
	r := Release{Side: number, Frame: fl.first, Count: n, Waited: now - q.at}
	r.Last = s.cut(number, fl, n)
	s.totals[number&1].due = 0
	if s.sides[number].waiting { // for its rate still, as long as nobody looks: it wants nothing of the total
		s.wheel.set(number, now)
	}
	return r
}

// Drain takes out any frame of a side, each flow's in order, uncharged: what waits for who may not send any more.
func (s *Shaper) Drain(number uint32, now time.Duration) (r Release, ok bool) {
	sd := &s.sides[number]
	if sd.frames == 0 {
		return r, false
	}
	for sd.fresh.first != 0 {
		s.flows.leave(&sd.fresh)
	}
	for s.flows.all[sd.ring.first].first == 0 { // one is not: frames says so
		s.flows.retire(s.flows.ring.pop(&sd.ring))
		sd.flows--
	}
	fl := &s.flows.all[sd.ring.first]
	return s.take(number, fl, int(s.queued[fl.first].count), now), true
}
