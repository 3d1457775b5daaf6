package forwarder

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
	"gatewayd/limiter"
)

// Bounds of what waits for its client's rate.
const (
	backlogTime    = 50 * time.Millisecond  // of the client's rate, in one direction
	leastBacklog   = 16 << 10               // bytes: ten packets, at the lowest rates
	mostBacklog    = 512 << 10              // bytes
	mostWaiting    = 512                    // frames of one client in one direction
	releaseEvery   = 200 * time.Microsecond // not more often, however busy
	smallBuffer    = 2048                   // bytes: a frame of 1500 and its headers
	maxSmallFrames = 4096                   // of all clients together: 8 MiB
	maxLargeFrames = 160                    // likewise: 10 MiB
)

// waiting is a copy of a frame that its client's rate holds back, with what
// the steps before found out about it. It is numbered as its buffer is; number 0
// is none.
type waiting struct {
	next          uint64
	start, length int // of the frame in the buffer, bytes
	added         int
	behind        uint32 // the next one of its list
	external      uint16
	from, to      uint8
	direction     uint8
	hairpin       bool
}

// backlog is what waits for one client in one direction, in order.
type backlog struct {
	first, last uint32
	bytes       int32     // as they leave
	frames      uint16    // of them
	buffers     [2]uint16 // small, large
}

// pace names a backlog with something in it.
type pace struct {
	at        time.Duration // when its first wire packet conforms, since boot; 0: not known
	slot      uint32
	direction uint8
}

// pacer holds the frames of all backlogs, in buffers made at the start whose
// pages cost memory once something has waited there.
type pacer struct {
	due      []pace
	frames   []waiting
	small    []byte
	large    []byte
	idle     [2]uint32 // spare buffers: small, large
	leaving  uint32    // buffers of frames in the batches; spare once those are sent
	fresh    [2]uint32 // the first buffer that was never used
	used     [2]int
	released time.Duration
}

// newPacer makes room for what waits of so many slots' clients.
func newPacer(a *arena.Arena, slots int) (p pacer, err error) {
	err = errors.Join(
		arena.Make(a, &p.due, 3*slots), // both directions, and who is down twice while releaseDue goes through
		arena.Make(a, &p.frames, 1+maxSmallFrames+maxLargeFrames),
		arena.Make(a, &p.small, maxSmallFrames*smallBuffer),
		arena.Make(a, &p.large, maxLargeFrames*link.MaxFrame))
	if err != nil {
		return p, fmt.Errorf("buffers for what waits: %w", err)
	}
	p.due = p.due[:0]
	p.fresh = [2]uint32{1, 1 + maxSmallFrames}
	return p, nil
}

// backlogLimit is how much may wait at rate r, bytes.
func backlogLimit(r limiter.Rate) int {
	return int(min(max(int64(r)/int64(time.Second/backlogTime), leastBacklog), mostBacklog))
}

// buffer returns the number of a spare for n bytes of a backlog; 0 when it has
// as many as are left for all, so that one that fills leaves room for the others.
func (p *pacer) buffer(q *backlog, n int) uint32 {
	size, most := 0, maxSmallFrames
	if n > smallBuffer {
		size, most = 1, maxLargeFrames
	}
	if int(q.buffers[size]) >= most-p.used[size] {
		return 0
	}
	w := p.idle[size]
	switch {
	case w != 0:
		p.idle[size] = p.frames[w].behind
	case p.fresh[size] < p.end(size):
		w = p.fresh[size]
		p.fresh[size]++
	default: // all others leave just now
		return 0
	}
	q.buffers[size]++
	p.used[size]++
	return w
}

// end is the number behind the last buffer of a size.
func (p *pacer) end(size int) uint32 {
	return 1 + maxSmallFrames + uint32(size)*maxLargeFrames
}

// room is a buffer's memory.
func (p *pacer) room(w uint32) []byte {
	if i := int(w) - 1; i < maxSmallFrames {
		return p.small[i*smallBuffer : (i+1)*smallBuffer : (i+1)*smallBuffer]
	}
	i := int(w) - 1 - maxSmallFrames
	return p.large[i*link.MaxFrame : (i+1)*link.MaxFrame : (i+1)*link.MaxFrame]
}

// raw is the frame in a buffer, or what is left of it.
func (p *pacer) raw(w uint32) []byte {
	v := &p.frames[w]
	return p.room(w)[v.start : v.start+v.length]
}

// hold notes what is left of the frame in a buffer.
func (p *pacer) hold(w uint32, raw []byte) {
	v := &p.frames[w]
	v.start, v.length = cap(p.room(w))-cap(raw), len(raw) // both end where the buffer does
}

// spare takes a backlog's buffer back, whose frame may be in a batch.
func (p *pacer) spare(q *backlog, w uint32) {
	size := sizeOf(w)
	q.buffers[size]--
	p.used[size]--
	p.frames[w].behind = p.leaving
	p.leaving = w
}

// sent makes the buffers spare whose frames were in batches.
func (p *pacer) sent() {
	for w := p.leaving; w != 0; w = p.leaving {
		v, size := &p.frames[w], sizeOf(w)
		p.leaving, v.behind = v.behind, p.idle[size]
		p.idle[size] = w
	}
}

// sizeOf is 0 for a small buffer, 1 for a large one.
func sizeOf(w uint32) int {
	if w > maxSmallFrames {
		return 1
	}
	return 0
}

// pace holds a frame to its client's rate: what conforms passes straight
// through, the rest waits until it does, and what finds no room is dropped.
func (f *Forwarder) pace(fr *frame) Reason {
	if fr.exempt {
		return Kept
	}
	c := fr.client
	rate, q, b := c.rates[fr.direction], &c.sides[fr.direction].backlog, &c.sides[fr.direction].bucket
	if q.first == 0 && (rate == 0 || b.Take(fr.wireLen(), f.now)) {
		return Kept
	}
	room := backlogLimit(rate) - int(q.bytes)
	if q.first == 0 {
		room += min(b.Available(f.now), 1<<30) // what conforms of it leaves soon
	}
	n := fr.fit(room)
	var w uint32
	if n > 0 && q.frames < mostWaiting {
		w = f.pacer.buffer(q, len(fr.Raw))
	}
	if w == 0 {
		f.wait(c, fr.direction)
		return OverRate
	}
	if lost, cost := fr.Segments-n, fr.WireLen; lost > 0 {
		fr.Cut(n)
		f.drop(c, OverRate, lost, cost-fr.WireLen)
	}
	f.wait(c, fr.direction)
	f.pacer.frames[w] = waiting{length: copy(f.pacer.room(w), fr.Raw), next: fr.next, added: fr.added, external: fr.external,
		from: fr.from, to: fr.to, direction: fr.direction, hairpin: fr.hairpin}
	if q.first == 0 {
		q.first = w
		f.pacer.due = append(f.pacer.due, pace{slot: c.id.Slot, direction: fr.direction})
	} else {
		f.pacer.frames[q.last].behind = w
	}
	q.last = w
	q.frames++
	q.bytes += int32(fr.wireLen())
	f.counters.queue(fr.Segments, fr.WireLen)
	return Taken
}

// wait notes that a client's rate held a frame back.
func (f *Forwarder) wait(c *client, direction uint8) {
	c.waited[direction] = f.now
	f.touch(c)
}

// releaseDue sends what waited and now conforms, each backlog in order. What
// turns round may have to wait again, for its receiver: due may grow meanwhile.
func (f *Forwarder) releaseDue() {
	p := &f.pacer
	if len(p.due) == 0 || f.now-p.released < releaseEvery {
		return
	}
	p.released = f.now
	kept := 0
	for i := 0; i < len(p.due); i++ {
		d := p.due[i]
		if d.at > f.now {
			p.due[kept] = d
			kept++
			continue
		}
		c := &f.clients[d.slot]
		s := &c.sides[d.direction]
		for s.backlog.first != 0 && f.releaseFirst(c, s) {
		}
		if s.backlog.first != 0 {
			d.at = f.now + f.conforms(s)
			p.due[kept] = d
			kept++
		}
	}
	p.due = p.due[:kept]
	f.flushAll()
	p.sent()
}

// releaseFirst sends the first frame of a backlog, or as many of its wire
// packets as conform; false when the rest has to wait on.
func (f *Forwarder) releaseFirst(c *client, s *side) bool {
	p, q, b, fr := &f.pacer, &s.backlog, &s.bucket, &f.frame
	w := q.first
	v, raw := &p.frames[w], p.raw(w)
	*fr = frame{Packet: packet.Packet{Raw: raw}, from: v.from, to: v.to, direction: v.direction, hairpin: v.hairpin, client: c,
		next: v.next, added: v.added, external: v.external}
	fr.Decode(raw) // as it was kept before
	n := fr.fit(b.Available(f.now))
	if !c.running || f.stopped {
		n = fr.Segments // admit says why it goes no further
	}
	if n == 0 {
		return false
	}
	left := fr.Segments - n
	first := f.pacing[v.from] + 1
	if left > 0 {
		cost := int(fr.cost(n))
		b.Take(cost, f.now)
		q.bytes -= int32(cost)
		f.counters.unqueue(n, cost)
		f.passHead(fr, n, false, first)
		p.hold(w, fr.Raw)
		return false
	}
	q.first = v.behind
	q.frames--
	q.bytes -= int32(fr.wireLen())
	f.counters.unqueue(fr.Segments, fr.WireLen)
	if r := f.admit(fr); r != Kept {
		f.drop(c, r, fr.Segments, fr.WireLen)
	} else {
		b.Take(fr.wireLen(), f.now)
		f.run(fr, first)
	}
	p.spare(q, w)
	return true
}

// conforms is how long it takes until the first wire packet of a backlog does.
func (f *Forwarder) conforms(s *side) time.Duration {
	v, fr := &f.pacer.frames[s.backlog.first], &f.frame
	*fr = frame{added: v.added}
	fr.Decode(f.pacer.raw(s.backlog.first)) // as it was kept before
	return s.bucket.Wait(int(fr.cost(1)), f.now)
}

// hurry has what waits of a client looked at soon: its grant or rate is another.
func (f *Forwarder) hurry(c *client) {
	if c.sides[up].backlog.first == 0 && c.sides[down].backlog.first == 0 {
		return
	}
	for i := range f.pacer.due {
		if d := &f.pacer.due[i]; d.slot == c.id.Slot {
			d.at = 0
		}
	}
}

// hurryAll does so for all clients.
func (f *Forwarder) hurryAll() {
	for i := range f.pacer.due {
		f.pacer.due[i].at = 0
	}
}

// forget drops what waits for a client that is another one now.
func (f *Forwarder) forget(c *client) {
	p := &f.pacer
	for direction := range c.sides {
		q := &c.sides[direction].backlog
		for w := q.first; w != 0; {
			fr, behind := &f.frame, p.frames[w].behind
			*fr = frame{}
			fr.Decode(p.raw(w))
			f.counters.unqueue(fr.Segments, fr.WireLen)
			f.counters.drop(NoMapping, fr.Segments, fr.WireLen)
			p.spare(q, w)
			w = behind
		}
		*q = backlog{}
	}
	p.sent() // nothing is in flight when control's word is taken in
	p.due = slices.DeleteFunc(p.due, func(d pace) bool { return d.slot == c.id.Slot })
}
