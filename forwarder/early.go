package forwarder

import (
	"errors"
	"fmt"
	"time"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// Later fragments that come before their first (RFC 4787 REQ-14) wait for it in
// copies, each side's in half of the memory: what comes from outside takes no
// room from the clients. Fragments in order never wait, so that whoever fills this
// keeps from passing what is out of order, and no more.
const (
	earlyFor     = 2 * time.Second // a first one that is later than that was lost
	maxEarly     = 512             // buffers, both halves: 1 MiB
	maxEarlyEach = 64              // of one source, and no more than are free for all
	earlyBuffer  = 2048            // bytes: a frame of 1500 and its headers; a longer one has several
	earlySources = 1 << 8          // sources told apart, by hash
	earlyHalf    = maxEarly / 2
)

// The halves.
const (
	fromClients = iota
	fromOutside
)

// early is a fragment that waits for its first, with what the steps before found
// out about it. It is numbered as its first buffer is; number 0 is none.
type early struct {
	key       fragmentKey
	until     time.Duration // since boot
	next      uint64
	length    int // of the frame, bytes
	added     int
	client    nat.Client // whose it is, from inside
	behind    uint16     // the next one of its list
	more      uint16     // of a buffer: the next one of the same frame
	to        uint8
	direction uint8
	hairpin   bool
	turned    bool
	exempt    bool
}

// earlySource is what waits of one source, in the order of arrival.
type earlySource struct {
	first, last uint16
	count       int
	buffers     int
}

// earlies holds the fragments that came before their first.
type earlies struct {
	frames  []early
	memory  []byte
	whole   []byte // a frame of several buffers while it is looked at
	sources [2][earlySources]earlySource
	spare   [2]uint16 // lists of buffers used before
	fresh   [2]uint16 // the first buffer that was never used
	held    [2]int
	due     earlySource // those whose first has come, not sent yet
}

// newEarlies makes room for them.
func newEarlies(a *arena.Arena) (x earlies, err error) {
	err = errors.Join(arena.Make(a, &x.frames, 1+maxEarly), arena.Make(a, &x.memory, maxEarly*earlyBuffer), arena.Make(a, &x.whole, link.MaxFrame))
	if err != nil {
		return x, fmt.Errorf("buffers for fragments: %w", err)
	}
	x.fresh = [2]uint16{fromClients: 1, fromOutside: 1 + earlyHalf}
	return x, nil
}

// half is the half of the memory that a buffer or a frame belongs to.
func half(w uint16) int { return (int(w) - 1) / earlyHalf }

func (fr *frame) half() int {
	if fr.from == clients.WAN && !fr.turned {
		return fromOutside
	}
	return fromClients
}

// room is a buffer's memory.
func (x *earlies) room(w uint16) []byte {
	i := int(w) - 1
	return x.memory[i*earlyBuffer : (i+1)*earlyBuffer : (i+1)*earlyBuffer]
}

// buffersOf is how many buffers a frame of so many bytes has.
func buffersOf(length int) int { return (length + earlyBuffer - 1) / earlyBuffer }

// take copies a frame of a source into buffers of a half, and returns their number; 0
// if there are not enough, or the source would have more than are left for all.
func (x *earlies) take(s *earlySource, h int, raw []byte) (first uint16) {
	n := buffersOf(len(raw))
	if free := earlyHalf - x.held[h]; s.buffers+n > min(free, maxEarlyEach) {
		return 0
	}
	for at := (n - 1) * earlyBuffer; at >= 0; at -= earlyBuffer { // the last one first: each knows the next
		w := x.buffer(h)
		if w == 0 { // all others leave just now
			x.giveBack(first)
			return 0
		}
		x.frames[w].more = first
		copy(x.room(w), raw[at:])
		first = w
	}
	x.held[h] += n
	return first
}

// buffer is one that is not in use; 0: there is none.
func (x *earlies) buffer(h int) uint16 {
	w := x.spare[h]
	switch {
	case w != 0:
		x.spare[h] = x.frames[w].behind
	case int(x.fresh[h]) <= (h+1)*earlyHalf:
		w = x.fresh[h]
		x.fresh[h]++
	}
	return w
}

// giveBack makes a frame's buffers spare, which are in no batch.
func (x *earlies) giveBack(w uint16) {
	for w != 0 {
		h, next := half(w), x.frames[w].more
		x.frames[w].behind = x.spare[h]
		x.spare[h] = w
		w = next
	}
}

// raw is a frame, in one piece until it is asked for another of several buffers.
func (x *earlies) raw(w uint16) []byte {
	n := x.frames[w].length
	if n <= earlyBuffer {
		return x.room(w)[:n]
	}
	for at := 0; at < n; at += earlyBuffer {
		copy(x.whole[at:n], x.room(w))
		w = x.frames[w].more
	}
	return x.whole[:n]
}

// push and shift add at the end of a list and take its first.
func (x *earlies) push(s *earlySource, w uint16) {
	x.frames[w].behind = 0
	if s.count == 0 {
		s.first = w
	} else {
		x.frames[s.last].behind = w
	}
	s.last = w
	s.count++
	s.buffers += buffersOf(x.frames[w].length)
}

func (x *earlies) shift(s *earlySource) (w uint16) {
	w = s.first
	s.first = x.frames[w].behind
	s.count--
	s.buffers -= buffersOf(x.frames[w].length)
	return w
}

// sourceOf is the list that a packet's fragments wait in: that of their sender.
func (f *Forwarder) sourceOf(k *fragmentKey, h int) *earlySource {
	return &f.earlies.sources[h][f.byMAC.hash(uint64(k.src)<<32|uint64(k.origin))>>(64-8)]
}

// awaitFirst keeps a fragment whose first has not come.
func (f *Forwarder) awaitFirst(fr *frame, k fragmentKey, id nat.Client) Reason {
	if fr.followed || fr.Proto != packet.TCP && fr.Proto != packet.UDP && fr.Proto != packet.ICMP {
		return StrayFragment
	}
	x, h := &f.earlies, fr.half()
	s := f.sourceOf(&k, h)
	w := x.take(s, h, fr.Raw)
	if w == 0 {
		return FragmentsFull
	}
	x.frames[w] = early{key: k, until: f.now + earlyFor, next: fr.next, length: len(fr.Raw), added: fr.added, client: id,
		more: x.frames[w].more, to: fr.to, direction: fr.direction, hairpin: fr.hairpin, turned: fr.turned, exempt: fr.exempt}
	x.push(s, w)
	f.counters.queue(1, fr.WireLen)
	return Taken
}

// arrived notes that a packet's first fragment goes out, or to the worker whose it
// is: what waits for it follows.
func (f *Forwarder) arrived(fr *frame, k fragmentKey) {
	x, h := &f.earlies, fr.half()
	s := f.sourceOf(&k, h)
	for range s.count {
		w := x.shift(s)
		if x.frames[w].key == k {
			x.push(&x.due, w)
		} else {
			x.push(s, w)
		}
	}
}

// followFirsts sends the fragments whose first has gone, in the order in which they came.
func (f *Forwarder) followFirsts() {
	x := &f.earlies
	if x.due.count == 0 {
		return
	}
	leaving := earlySource{}
	for x.due.count > 0 {
		w := x.shift(&x.due)
		e := &x.frames[w]
		f.resume(e, x.raw(w))
		if e.length > earlyBuffer {
			f.flushAll() // the next one takes the same room
		}
		x.held[half(w)] -= buffersOf(e.length)
		x.push(&leaving, w)
	}
	f.flushAll()
	for leaving.count > 0 {
		x.giveBack(x.shift(&leaving))
	}
}

// resume takes a fragment that waited through the steps that it has not met.
func (f *Forwarder) resume(e *early, raw []byte) {
	fr := &f.frame
	*fr = frame{from: e.key.from, to: e.to, direction: e.direction, hairpin: e.hairpin, turned: e.turned, origin: e.key.origin,
		exempt: e.exempt, followed: true, next: e.next, added: e.added}
	fr.Decode(raw) // as it was kept before
	f.counters.unqueue(1, fr.WireLen)
	if fr.from == clients.LAN {
		c := &f.clients[e.client.Slot]
		if c.id != e.client {
			f.counters.drop(NoMapping, 1, fr.WireLen)
			return
		}
		fr.client = c
		r := f.admit(fr)
		if r == Kept {
			r = f.fitMTU(fr)
		}
		if r != Kept {
			f.drop(c, r, 1, fr.WireLen)
			return
		}
	}
	if f.crew != nil && fr.from == clients.WAN { // it waited where all fragments come, or turn round
		if home := f.homeWAN(fr); home != f.worker {
			if r := f.cross(home, fr); r != Taken {
				f.drop(f.sender(fr), r, 1, fr.WireLen)
			}
			return
		}
	}
	f.run(fr, f.following[fr.from])
}

// giveUp drops the fragments whose first did not come; called a few times a second.
func (f *Forwarder) giveUp() {
	x := &f.earlies
	for h := range x.sources {
		if x.held[h] == 0 {
			continue
		}
		for i := range x.sources[h] {
			for s := &x.sources[h][i]; s.count > 0 && x.frames[s.first].until <= f.now; {
				f.lose(x.shift(s))
			}
		}
	}
}

// lose drops one.
func (f *Forwarder) lose(w uint16) {
	x := &f.earlies
	e, fr := &x.frames[w], &f.frame
	*fr = frame{from: e.key.from, turned: e.turned, origin: e.key.origin}
	fr.Decode(x.raw(w))
	if c := &f.clients[e.client.Slot]; fr.from == clients.LAN && c.id == e.client {
		fr.client = c
	}
	f.counters.unqueue(1, fr.WireLen)
	f.drop(f.sender(fr), StrayFragment, 1, fr.WireLen)
	x.held[half(w)] -= buffersOf(e.length)
	x.giveBack(w)
}
