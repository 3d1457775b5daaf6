package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// Which worker's a frame is. As a rule the one's that has it: the kernel gives
// frames to workers by the same rules (fanout.go). What it cannot see crosses over:
// fragments, a client that was given another MAC, what the box sends to clients, and
// whatever came while sockets joined their group in another order.

// away sends a frame that is another worker's there; Kept if it is not.
func (f *Forwarder) away(fr *frame) Reason {
	if f.again && !(f.worker == 0 && fr.from == clients.WAN && fr.IsFragment()) {
		return Kept // it has waited here, or came over
	}
	if home := f.home(fr); home != f.worker {
		return f.cross(home, fr)
	}
	return Kept
}

// home is the worker whose a decoded frame is.
func (f *Forwarder) home(fr *frame) int {
	switch fr.from {
	case clients.LAN:
		return f.homeOf(fr.SrcMAC)
	case clients.WAN:
		return f.homeWAN(fr)
	}
	return f.worker
}

// homeWAN is the worker whose port a frame is for or about; this one when there is
// no telling, and worker 0 for what it alone can tell.
func (f *Forwarder) homeWAN(fr *frame) int {
	switch {
	case f.cfg.Bridge && f.forAll(fr):
		return 0
	case f.cfg.Bridge:
		return f.homeOf(fr.DstMAC)
	case f.isARP(fr):
		return 0
	case fr.EtherType != packet.EtherTypeIPv4 || fr.Tagged:
		return f.worker
	case fr.IsFragment():
		return f.homeFragment(fr)
	case fr.IsICMPError():
		var in packet.Inner
		if !fr.Embedded(&in) {
			return f.worker
		}
		return f.homePort(in.Proto, nat.Endpoint{Addr: in.Src, Port: in.SrcPort})
	case !fr.HasPorts() || fr.Proto == packet.ICMP && !fr.Answers():
		return f.worker
	}
	return f.homePort(fr.Proto, cameTo(fr))
}

// homePort is the worker that an external port leads to: by a forward its client's,
// worker 0 if that is the box.
func (f *Forwarder) homePort(proto uint8, ext nat.Endpoint) int {
	to, ok := f.nat.Forwarded(proto, ext)
	if !ok {
		return f.portOwner(ext.Port)
	}
	if to == f.lan {
		return 0
	}
	if slot, ok := f.elsewhere(to); ok {
		return f.table.Owner(int(slot))
	}
	return f.worker // its own client's, or nobody's
}

// portOwner is the worker whose external port it is; this one if it is nobody's.
func (f *Forwarder) portOwner(port uint16) int {
	if port < firstPort {
		return f.worker
	}
	return portOwner(port, f.crew.size())
}

// cross hands a frame to another worker.
func (f *Forwarder) cross(to int, fr *frame) Reason {
	packets, bytes := fr.Segments, fr.layer3()
	if f.isARP(fr) { // not layer 3: not counted unless it is dropped
		packets, bytes = 0, 0
	}
	c := crossed{port: fr.from, packets: packets, bytes: bytes, raw: fr.Raw}
	if fr.turned {
		c.turned = fr.origin + 1
	}
	if !f.crew.ways[f.worker][to].send(c) {
		if packets == 0 {
			f.counters.received(fr.from, fr.Segments, fr.layer3())
		}
		return HandoverFull
	}
	f.counters.queue(packets, bytes)
	return Taken
}

// takeOver takes in what other workers have handed over, a batch of each; true if
// there was something.
func (f *Forwarder) takeOver() (busy bool) {
	for from := range f.crew.size() {
		way := f.crew.ways[from][f.worker]
		if from == f.worker || !way.waits() {
			continue
		}
		busy = true
		for range handedBatch {
			c, ok := way.next()
			if !ok {
				break
			}
			f.counters.unqueue(c.packets, c.bytes)
			if c.turned != 0 {
				f.comeBackHere(c.raw, c.turned-1)
				continue
			}
			f.again = true
			f.enter(c.port, c.raw)
			f.again = false
		}
		f.flushAll() // the frames lie in the way
		way.giveBack()
	}
	return busy
}

// handedBatch is how many frames of one other worker are taken in a round.
const handedBatch = 64

// handOver lets the others see what was sent to them, and wakes who sleeps. What was
// sent has been published as waiting before.
func (f *Forwarder) handOver() {
	for to := range f.crew.size() {
		if to != f.worker && f.crew.ways[f.worker][to].handOver() {
			f.crew.beds[to].wake()
		}
	}
}

// waits says whether another worker has handed something over.
func (f *Forwarder) waits() bool {
	for from := range f.crew.size() {
		if from != f.worker && f.crew.ways[from][f.worker].waits() {
			return true
		}
	}
	return false
}

// tellOthers gives the other workers an ARP frame about a next hop, of which each
// keeps what it knows. Worker 0 alone gets them from the kernel, and answers. What
// finds no room is lost: the next hop is asked again.
func (f *Forwarder) tellOthers(fr *frame) {
	for to := 1; to < f.crew.size(); to++ {
		f.crew.ways[f.worker][to].send(crossed{port: fr.from, raw: fr.Raw})
	}
}

// Bounds of following fragments to other workers.
const maxLed = 1024

// led is where a packet's first fragment went.
type led struct {
	to     int
	until  time.Duration
	passed passed
}

// homeFragment is the worker of a fragment from the WAN, by its packet's first one,
// which worker 0 sees as it sees all fragments, and of one that turns round there,
// of which its sender's worker sees all.
func (f *Forwarder) homeFragment(fr *frame) int {
	if f.worker != 0 && !fr.turned {
		return 0
	}
	k := keyOf(fr)
	v, known := f.ledTo[k]
	if fr.FragOffset == 0 {
		if !fr.HasPorts() {
			return f.worker
		}
		to := f.homePort(fr.Proto, cameTo(fr))
		if to == f.worker || !known && len(f.ledTo) >= maxLed {
			delete(f.ledTo, k)
			return to
		}
		v = led{to: to, until: f.now + fragmentedFor}
		f.arrived(fr, k)
	} else if !known {
		return f.worker
	}
	if v.passed.note(fr) {
		delete(f.ledTo, k)
	} else {
		f.ledTo[k] = v
	}
	return v.to
}

// mindLed forgets packets whose fragments did not all come.
func (f *Forwarder) mindLed() {
	for k, v := range f.ledTo {
		if v.until <= f.now {
			delete(f.ledTo, k)
		}
	}
}
