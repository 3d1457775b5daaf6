package forwarder

import (
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"time"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/nat"
	"gatewayd/limiter"
)

// Bounds of what waits for its client's rate, or for its share of what all may have.
const (
	releaseEvery = 50 * time.Microsecond // not more often, however busy
	mostReleases = 256                   // a round, so that what comes in is looked at
	mostVictims  = 32                    // that one frame has go
)

// waiting is what the steps before found out about a frame that its client's
// rate holds back. It is numbered as the shaper numbers the frame.
type waiting struct {
	next          uint64
	start, length int // of the frame in its memory, bytes
	added         int
	external      nat.Endpoint
	from, to      uint8
	hairpin       bool
	turned        bool
}

// pacer is what a worker's shaper lets wait, and what is known of it.
type pacer struct {
	*limiter.Shaper
	frames   []waiting
	ended    []uint32 // slots of clients whose grant ended while something of theirs waited
	seed     uint64   // of flows' keys: who chooses ports does not choose his queue
	released time.Duration
}

// newPacer makes room for so many bytes of frames of so many slots' clients.
func newPacer(a *arena.Arena, slots, bytes int) (p pacer, err error) {
	if p.Shaper, err = limiter.New(a, slots, bytes); err != nil {
		return p, err
	}
	p.seed = rand.Uint64() | 1
	err = errors.Join(arena.Make(a, &p.frames, p.Frames()), arena.Make(a, &p.ended, slots))
	p.ended = p.ended[:0]
	return p, err
}

// raw is the frame that waits under a number, or what is left of it.
func (p *pacer) raw(number uint32) []byte {
	v := &p.frames[number]
	return p.Raw(number)[v.start : v.start+v.length]
}

// hold notes what is left of the frame that waits under a number.
func (p *pacer) hold(number uint32, raw []byte) {
	v := &p.frames[number]
	v.start, v.length = cap(p.Raw(number))-cap(raw), len(raw) // both end where the memory does
}

// flow is the key of the queue that a frame waits in: a conversation's, or, of
// fragments, which have no ports but the first, two hosts'.
func (p *pacer) flow(fr *frame) uint32 {
	ports := uint64(fr.SrcPort)<<16 | uint64(fr.DstPort)
	if fr.IsFragment() {
		ports = 0
	}
	hi, lo := bits.Mul64(fr.Hosts()^p.seed, 0x9e3779b97f4a7c15)
	hi, lo = bits.Mul64(hi^lo^ports<<8^uint64(fr.Proto), p.seed)
	return uint32(hi ^ lo)
}

// pace holds a frame to its client's rate: what conforms passes straight
// through, the rest waits in the queue of its flow until it does.
func (f *Forwarder) pace(fr *frame) Reason {
	if fr.exempt {
		f.pacer.Spend(fr.direction, fr.wireLen(), f.now)
		return Kept
	}
	if f.pacer.Pass(limiter.SideOf(fr.client.id.Slot, fr.direction), fr.wireLen(), f.now) {
		return Kept
	}
	return f.holdBack(fr)
}

// holdBack has a frame wait. What finds no room has the first of the longest queue
// go, and goes itself if that does not help.
func (f *Forwarder) holdBack(fr *frame) Reason {
	p, c := &f.pacer, fr.client
	side := limiter.SideOf(c.id.Slot, fr.direction)
	c.waited[fr.direction], c.paced = f.now, true
	f.touch(c)
	if n := fr.fit(p.Limit(side)); n < fr.Segments && n > 0 {
		lost, cost := fr.Segments-n, fr.WireLen
		fr.Cut(n)
		f.drop(c, OverRate, lost, cost-fr.WireLen)
		f.counters.Given[fr.direction].ObserveMany(0, lost)
	}
	what := limiter.Frame{Flow: p.flow(fr), Bytes: fr.wireLen(), Wire: int(fr.cost(1)), Count: fr.Segments, ECT: fr.ECT()}
	for range mostVictims {
		if w := p.Add(side, what, len(fr.Raw), f.now); w != 0 {
			p.frames[w] = waiting{length: copy(p.Raw(w), fr.Raw), next: fr.next, added: fr.added, external: fr.external,
				from: fr.from, to: fr.to, hairpin: fr.hairpin, turned: fr.turned}
			f.counters.queue(fr.Segments, fr.WireLen)
			return Taken
		}
		if f.halved || !f.giveRoom(side, what.Bytes) {
			break
		}
	}
	f.counters.Given[fr.direction].ObserveMany(0, fr.Segments)
	return OverRate
}

// giveRoom drops a frame that waits, so that another one of a side may; false
// when there is none.
func (f *Forwarder) giveRoom(side uint32, bytes int) bool {
	r, ok := f.pacer.Victim(side, bytes, f.now)
	if ok {
		c, direction := f.sideOf(r.Side)
		f.discard(&r, OverRate)
		f.counters.Given[direction].ObserveMany(r.Waited, r.Count)
		f.touch(c)
	}
	return ok
}

// sideOf is the client and direction of a side.
func (f *Forwarder) sideOf(side uint32) (c *client, direction uint8) {
	return &f.clients[side>>1], uint8(side & 1)
}

// lift makes fr the frame that waits, and takes what goes of it out of what is queued.
func (f *Forwarder) lift(fr *frame, r *limiter.Release) {
	p := &f.pacer
	v := &p.frames[r.Frame]
	c, direction := f.sideOf(r.Side)
	*fr = frame{from: v.from, to: v.to, direction: direction, hairpin: v.hairpin, turned: v.turned, client: c,
		next: v.next, added: v.added, external: v.external}
	fr.Decode(p.raw(r.Frame)) // as it was kept before
	if r.Last {
		f.counters.unqueue(fr.Segments, fr.WireLen)
	} else {
		f.counters.unqueue(r.Count, int(fr.cost(r.Count)))
	}
}

// discard drops what the shaper let go of, for a reason. It is in no batch.
func (f *Forwarder) discard(r *limiter.Release, why Reason) {
	fr := &f.gone
	f.lift(fr, r)
	f.dropLifted(fr, r, why)
}

// dropLifted drops what goes of a frame that waited, and keeps the rest waiting.
func (f *Forwarder) dropLifted(fr *frame, r *limiter.Release, why Reason) {
	if r.Last {
		f.drop(fr.client, why, fr.Segments, fr.WireLen)
		f.pacer.Gone(r.Frame)
		return
	}
	f.drop(fr.client, why, r.Count, int(fr.cost(r.Count)))
	fr.Rest(r.Count)
	f.pacer.hold(r.Frame, fr.Raw)
}

// releaseDue sends what waited and now conforms.
func (f *Forwarder) releaseDue() {
	p := &f.pacer
	if len(p.ended) > 0 {
		f.drainEnded()
	}
	if p.Idle() || f.now-p.released < releaseEvery {
		return
	}
	p.released = f.now
	for range mostReleases {
		r, ok := p.Next(f.now)
		if !ok {
			break
		}
		f.letGo(&r)
	}
	f.flushAll()
	p.Sent()
}

// letGo sends what conforms, or drops or marks it.
func (f *Forwarder) letGo(r *limiter.Release) {
	c, direction := f.sideOf(r.Side)
	c.paced = true
	f.touch(c)
	if r.Drop {
		f.discard(r, QueueDelay)
		f.counters.Given[direction].ObserveMany(r.Waited, r.Count)
		return
	}
	f.counters.Delays[direction].ObserveMany(r.Waited, r.Count)
	fr := &f.lifted
	f.lift(fr, r)
	reason := f.admit(fr)
	if reason == Kept {
		reason = f.refit(fr, r.Last)
	}
	if reason != Kept {
		f.dropLifted(fr, r, reason)
		return
	}
	first := f.pacing[fr.from] + 1
	if r.Mark {
		c.marked += uint64(r.Count)
		f.counters.Marked[direction] += uint64(r.Count)
	}
	if !r.Last {
		f.halved = true
		f.passHead(fr, r.Count, false, r.Mark, first)
		f.halved = false
		f.pacer.hold(r.Frame, fr.Raw)
		return
	}
	if r.Mark {
		fr.MarkCE()
	}
	f.run(fr, first)
	f.pacer.Left(r.Frame)
}

// end notes that a client may not send any more what waits.
func (p *pacer) end(c *client) {
	if c.draining || p.waits(c) == 0 {
		return
	}
	c.draining = true
	p.ended = append(p.ended, c.id.Slot)
}

// waits is how many bytes of a client wait.
func (p *pacer) waits(c *client) int {
	return p.Waiting(limiter.SideOf(c.id.Slot, up)) + p.Waiting(limiter.SideOf(c.id.Slot, down))
}

// drainEnded drops what waits of those who may not send any more. No grant has followed.
func (f *Forwarder) drainEnded() {
	for _, slot := range f.pacer.ended {
		c := &f.clients[slot]
		c.draining = false
		switch {
		case f.stopped:
			f.drain(c, Stopped)
		case !c.running:
			f.drain(c, NoGrant)
		}
	}
	f.pacer.ended = f.pacer.ended[:0]
	f.pacer.Sent()
}

// drain drops all that waits of a client. Nothing of it is in a batch.
func (f *Forwarder) drain(c *client, why Reason) {
	for direction := range uint8(2) {
		side := limiter.SideOf(c.id.Slot, direction)
		for r, ok := f.pacer.Drain(side, f.now); ok; r, ok = f.pacer.Drain(side, f.now) {
			f.discard(&r, why)
		}
	}
}

// endAll has all drained that waits: admission is stopped.
func (f *Forwarder) endAll() {
	if f.pacer.Idle() {
		return
	}
	for slot := f.first; slot < len(f.clients); slot += f.step {
		f.pacer.end(&f.clients[slot])
	}
}

// forget drops what waits for a client that is another one now. Nothing is in flight when control's word is taken in.
func (f *Forwarder) forget(c *client) {
	f.drain(c, NoMapping)
	f.pacer.Sent()
}

// due is when something that waits may leave, since boot.
func (p *pacer) due() time.Duration {
	if len(p.ended) > 0 {
		return 0
	}
	if p.Idle() {
		return math.MaxInt64
	}
	return max(p.Due(), p.released+releaseEvery)
}
