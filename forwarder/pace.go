package forwarder

import (
	"slices"
	"time"

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
// the steps before found out about it.
type waiting struct {
	behind    *waiting
	buffer    []byte
	raw       []byte // in buffer
	next      uint64
	added     int
	external  uint16
	from, to  uint8
	direction uint8
}

// backlog is what waits for one client in one direction, in order.
type backlog struct {
	first, last *waiting
	frames      int
	buffers     [2]int // of them small, large
	bytes       int    // as they leave
}

// pace names a backlog with something in it.
type pace struct {
	client    *client
	direction uint8
}

// pacer holds the frames of all backlogs.
type pacer struct {
	due      []pace
	idle     [2]*waiting // spare buffers: small, large
	leaving  *waiting    // buffers of frames in the batches; spare once those are sent
	used     [2]int
	released time.Duration
}

// backlogLimit is how much may wait at rate r, bytes.
func backlogLimit(r limiter.Rate) int {
	return int(min(max(int64(r)/int64(time.Second/backlogTime), leastBacklog), mostBacklog))
}

// buffer returns a spare for n bytes of a backlog; nil when it has as many as
// are left for all, so that one that fills leaves room for the others.
func (p *pacer) buffer(q *backlog, n int) *waiting {
	size, bytes, most := 0, smallBuffer, maxSmallFrames
	if n > smallBuffer {
		size, bytes, most = 1, link.MaxFrame, maxLargeFrames
	}
	if q.buffers[size] >= most-p.used[size] {
		return nil
	}
	q.buffers[size]++
	p.used[size]++
	w := p.idle[size]
	if w == nil {
		return &waiting{buffer: make([]byte, bytes)}
	}
	p.idle[size] = w.behind
	return w
}

// spare takes a backlog's buffer back, whose frame may be in a batch.
func (p *pacer) spare(q *backlog, w *waiting) {
	size := w.size()
	q.buffers[size]--
	p.used[size]--
	w.behind, w.raw = p.leaving, nil
	p.leaving = w
}

// sent makes the buffers spare whose frames were in batches.
func (p *pacer) sent() {
	for w := p.leaving; w != nil; w = p.leaving {
		size := w.size()
		p.leaving, w.behind = w.behind, p.idle[size]
		p.idle[size] = w
	}
}

// size is 0 for a small buffer, 1 for a large one.
func (w *waiting) size() int {
	if len(w.buffer) > smallBuffer {
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
	q, b := &c.backlogs[fr.direction], &c.buckets[fr.direction]
	room := backlogLimit(c.rates[fr.direction]) - q.bytes
	if q.first == nil {
		if c.rates[fr.direction] == 0 || b.Take(fr.wireLen(), f.now) {
			return Kept
		}
		room += min(b.Available(f.now), 1<<30) // what conforms of it leaves soon
	}
	n := fr.fit(room)
	var w *waiting
	if n > 0 && q.frames < mostWaiting {
		w = f.pacer.buffer(q, len(fr.Raw))
	}
	if w == nil {
		f.wait(c, fr.direction)
		return OverRate
	}
	if lost, cost := fr.Segments-n, fr.WireLen; lost > 0 {
		fr.Cut(n)
		f.drop(c, OverRate, lost, cost-fr.WireLen)
	}
	f.wait(c, fr.direction)
	w.raw = w.buffer[:copy(w.buffer, fr.Raw)]
	w.next, w.added, w.external = fr.next, fr.added, fr.external
	w.from, w.to, w.direction, w.behind = fr.from, fr.to, fr.direction, nil
	if q.first == nil {
		q.first = w
		f.pacer.due = append(f.pacer.due, pace{c, fr.direction})
	} else {
		q.last.behind = w
	}
	q.last = w
	q.frames++
	q.bytes += fr.wireLen()
	f.counters.queue(fr.Segments, fr.WireLen)
	return Taken
}

// wait notes that a client's rate held a frame back.
func (f *Forwarder) wait(c *client, direction uint8) {
	c.waited[direction] = f.now
	f.touch(c)
}

// releaseDue sends what waited and now conforms, each backlog in order.
func (f *Forwarder) releaseDue() {
	p := &f.pacer
	if len(p.due) == 0 || f.now-p.released < releaseEvery {
		return
	}
	p.released = f.now
	kept := p.due[:0]
	for _, d := range p.due {
		q := &d.client.backlogs[d.direction]
		for q.first != nil && f.releaseFirst(d.client, q, &d.client.buckets[d.direction]) {
		}
		if q.first != nil {
			kept = append(kept, d)
		}
	}
	clear(p.due[len(kept):])
	p.due = kept
	f.flushAll()
	p.sent()
}

// releaseFirst sends the first frame of a backlog, or as many of its wire
// packets as conform; false when the rest has to wait on.
func (f *Forwarder) releaseFirst(c *client, q *backlog, b *limiter.Bucket) bool {
	w, fr := q.first, &f.frame
	*fr = frame{Packet: packet.Packet{Raw: w.raw}, from: w.from, to: w.to, direction: w.direction, client: c,
		next: w.next, added: w.added, external: w.external}
	fr.Decode(w.raw) // as it was kept before
	n := fr.fit(b.Available(f.now))
	if c.grant == nil || f.stopped {
		n = fr.Segments // admit says why it goes no further
	}
	if n == 0 {
		return false
	}
	left := fr.Segments - n
	first := f.pacing[w.from] + 1
	if left > 0 {
		cost := int(fr.cost(n))
		b.Take(cost, f.now)
		q.bytes -= cost
		f.counters.unqueue(n, cost)
		f.passHead(fr, n, false, first)
		w.raw = fr.Raw
		return false
	}
	q.first = w.behind
	q.frames--
	q.bytes -= fr.wireLen()
	f.counters.unqueue(fr.Segments, fr.WireLen)
	if r := f.admit(fr); r != Kept {
		f.drop(c, r, fr.Segments, fr.WireLen)
	} else {
		b.Take(fr.wireLen(), f.now)
		f.run(fr, first)
	}
	f.pacer.spare(q, w)
	return true
}

// forget drops what waits for a client that is another one now.
func (f *Forwarder) forget(c *client) {
	for direction := range c.backlogs {
		q := &c.backlogs[direction]
		for w := q.first; w != nil; {
			fr, behind := &f.frame, w.behind
			*fr = frame{}
			fr.Decode(w.raw)
			f.counters.unqueue(fr.Segments, fr.WireLen)
			f.counters.drop(NoMapping, fr.Segments, fr.WireLen)
			f.pacer.spare(q, w)
			w = behind
		}
		*q = backlog{}
	}
	f.pacer.sent() // nothing is in flight when control's word is taken in
	f.pacer.due = slices.DeleteFunc(f.pacer.due, func(p pace) bool { return p.client == c })
}
