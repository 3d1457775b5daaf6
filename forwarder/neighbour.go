package forwarder

import (
	"slices"
	"time"

	"gatewayd/forwarder/clients"
)

// Bounds of next-hop resolution on the WAN.
const (
	maxNeighbours = 1024
	maxHeld       = 64 // frames that wait, all next hops together
	maxHeldEach   = 16
	askEvery      = time.Second
	askTimes      = 3
	trustFor      = 30 * time.Second // then it is asked again, while used on
	trustHop      = 3 * time.Second  // likewise the gateway, whether used or not, since it was last heard
	failedFor     = time.Second      // no new question for a next hop that was silent
	forgetAfter   = 5 * time.Minute
)

// neighbour is a next hop on the WAN.
type neighbour struct {
	mac       uint64 // 0: not known
	asked     int    // questions since the last answer
	askedAt   time.Duration
	confirmed time.Duration
	usedAt    time.Duration
	failedAt  time.Duration
	held      []held
}

// held is a frame that waits, as decoded.
type held struct {
	raw     []byte
	port    uint8
	packets int // wire packets
	bytes   int // their layer 3
}

// neighbour returns the MAC of a next hop, or Taken: the frame is held until
// the hop answers, or Unresolved.
func (f *Forwarder) neighbour(ip uint32, fr *frame) (uint64, Reason) {
	if ip == f.gateway && f.hop.mac != 0 {
		f.hop.usedAt = f.now
		return f.hop.mac, Kept
	}
	n := f.neighbours[ip]
	if n != nil {
		n.usedAt = f.now
		if n.mac != 0 {
			return n.mac, Kept
		}
		if n.failedAt != 0 && f.now-n.failedAt < failedFor {
			f.unreachable(fr)
			return 0, Unresolved
		}
	}
	if f.heldFrames >= maxHeld || n != nil && len(n.held) >= maxHeldEach {
		return 0, ResolveFull
	}
	if n == nil {
		if len(f.neighbours) >= maxNeighbours {
			return 0, ResolveFull
		}
		n = &neighbour{usedAt: f.now}
		f.neighbours[ip] = n
	}
	h := held{slices.Clone(fr.Raw), fr.from, fr.Segments, fr.layer3()}
	n.held = append(n.held, h)
	f.heldFrames++
	f.counters.queue(h.packets, h.bytes)
	if n.asked == 0 {
		f.ask(ip, n)
	}
	return 0, Taken
}

// ask sends an ARP request for a next hop: to the one that is known, the last
// time to everybody (RFC 1122, 2.3.2.1).
func (f *Forwarder) ask(ip uint32, n *neighbour) {
	n.asked++
	n.askedAt = f.now
	to := n.mac
	if n.asked == askTimes {
		to = 0
	}
	f.request(clients.WAN, to, ip)
}

// hear notes that a frame for us came from a MAC on the WAN. The gateway's is as
// good as an answer (RFC 1122, 2.3.2.1: advice from other layers).
func (f *Forwarder) hear(mac uint64) {
	if mac == f.hop.mac && mac != 0 {
		f.hop.confirmed = f.now
	}
}

// claimed hears who says to be a next hop; answer: to our question. One that
// is known is not moved by another MAC's word: it is asked whether it is still
// there, and only when it is silent and everybody was asked does another's
// answer count.
func (f *Forwarder) claimed(ip uint32, n *neighbour, mac uint64, answer bool) {
	switch {
	case n.mac == mac, n.mac == 0 && n.asked > 0 && answer, n.asked == askTimes && answer:
		f.resolved(n, mac)
	case n.mac != 0 && n.asked == 0 && f.now-n.askedAt >= askEvery:
		f.ask(ip, n)
	}
}

// resolved notes a next hop's MAC and sends what waited for it.
func (f *Forwarder) resolved(n *neighbour, mac uint64) {
	n.mac, n.confirmed, n.asked, n.failedAt = mac, f.now, 0, 0
	f.release(n, f.reenter)
}

// release empties a next hop's queue.
func (f *Forwarder) release(n *neighbour, each func(held)) {
	waited := n.held
	n.held = nil
	f.heldFrames -= len(waited)
	for _, h := range waited {
		f.counters.unqueue(h.packets, h.bytes)
		each(h)
		f.flushAll()
	}
}

// reenter takes a frame that waited through its steps again.
func (f *Forwarder) reenter(h held) {
	f.again = true
	f.enter(h.port, h.raw)
	f.again = false
}

// mindNeighbours asks again, gives up and forgets; called a few times a second.
func (f *Forwarder) mindNeighbours() {
	for ip, n := range f.neighbours {
		switch {
		case n.asked > 0 && n.mac != 0 && n.confirmed > n.askedAt: // it was heard since
			n.asked = 0
		case n.asked > 0 && f.now-n.askedAt >= askEvery:
			if n.asked < askTimes {
				f.ask(ip, n)
				continue
			}
			n.mac, n.asked, n.failedAt = 0, 0, f.now
			f.release(n, f.silent)
		case n.mac != 0 && n.asked == 0 && f.now-n.confirmed >= trustFor && f.now-n.usedAt < trustFor:
			f.ask(ip, n)
		case ip == f.gateway && n.mac != 0 && n.asked == 0 && f.now-n.confirmed >= trustHop:
			f.ask(ip, n)
		case ip == f.gateway:
			if n.mac == 0 && n.asked == 0 {
				f.ask(ip, n)
			}
		case n.asked == 0 && (f.now-n.usedAt >= forgetAfter || n.mac == 0 && f.now-n.failedAt >= failedFor):
			delete(f.neighbours, ip)
		}
	}
	if heard := int64(f.hop.confirmed); heard > f.said.HopHeard.Load() {
		f.said.HopHeard.Store(heard)
	}
	ready := uint64(0)
	if f.hop.mac != 0 {
		ready = 1
	}
	if f.said.Resolved.Load() != ready {
		f.said.Resolved.Store(ready)
		f.ring = true
	}
}
