package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
)

// What a queued frame is charged to.
const (
	unbilled = iota // ARP: not layer 3
	own
	exempt
	billed
	billedEdge // the rest of a grant and the beginning of the next
)

// queued is one frame in a port's batch.
type queued struct {
	client    *client // nil: none
	bytes     uint32  // layer 3, as it leaves
	packets   uint32  // wire packets
	charge    uint8
	direction uint8
}

// queue is a port's batch; the frames belong to the receiving link.
type queue struct {
	n      int
	most   int           // frames that leave together; 0: not known yet
	each   time.Duration // to send one, about
	frames [link.Batch][]byte
	taken  [link.Batch]bool
	what   [link.Batch]queued
	joins  *joins // nil on a port where each wire packet leaves by itself
}

// send puts a frame into its port's batch, or has it turn round.
func (f *Forwarder) send(fr *frame) Reason {
	charge := uint8(billed)
	switch {
	case fr.own:
		charge = own
	case fr.exempt:
		charge = exempt
	case fr.edge:
		charge = billedEdge
	}
	if fr.hairpin {
		return f.turnRound(fr, charge)
	}
	switch {
	case !f.cfg.Bridge:
		fr.SetMACs(fr.next, f.mac[fr.to])
	case f.isARP(fr):
		charge = unbilled
	}
	if fr.added != 0 {
		f.sendPieces(fr, charge)
		return Taken
	}
	p := &fr.Packet
	if !fr.HasPorts() || fr.Proto != packet.TCP && fr.Proto != packet.UDP {
		p = nil
	}
	f.enqueue(fr.to, fr.Raw, p, queued{fr.client, uint32(fr.WireLen), uint32(fr.Segments), charge, fr.direction})
	return Taken
}

// enqueue adds a frame to a batch that has room, and sends a full one. p is what
// is known of a packet that may leave joined with others, else nil.
func (f *Forwarder) enqueue(port uint8, raw []byte, p *packet.Packet, what queued) {
	if what.charge >= billed {
		if what.client.flight+uint64(what.bytes) > maxUncounted {
			f.flushAll()
		}
		what.client.flight += uint64(what.bytes)
	}
	q := &f.queues[port]
	q.frames[q.n], q.what[q.n] = raw, what
	if q.joins != nil {
		q.joins.add(q.n, p)
	}
	if q.n++; q.n == link.Batch || q.n == q.most {
		f.flush(port)
	}
}

func (f *Forwarder) flushAll() {
	for port := range f.queues {
		f.flush(uint8(port))
	}
}

// flush sends a port's batch and bills what the kernel took of it, in the table
// at once: a killed forwarder has forgotten no more than was in flight.
func (f *Forwarder) flush(port uint8) {
	q := &f.queues[port]
	if q.n == 0 {
		return
	}
	n := q.n
	q.n = 0
	reason := TxRefused
	began := f.clock()
	if f.unlinked(port) {
		reason = NoLink
		clear(q.taken[:n])
	} else if err := q.offer(f.links[port], n); err != nil {
		f.lost(port)
	}
	f.sent(q, n, f.clock()-began)
	if f.captures.n > 0 {
		f.captureSent(port, q, n)
	}
	if q.joins != nil {
		q.joins.begin()
	}
	p := &f.counters.Ports[port]
	for i := range q.what[:n] {
		what := &q.what[i]
		if what.charge >= billed {
			what.client.flight -= uint64(what.bytes)
		}
		if what.charge == unbilled {
			continue
		}
		bytes, packets := uint64(what.bytes), uint64(what.packets)
		if !q.taken[i] {
			if reason == TxRefused {
				p.Refused += packets
			}
			if what.charge != own {
				f.drop(what.client, reason, int(packets), int(bytes))
			}
			continue
		}
		p.TxPackets += packets
		p.TxBytes += bytes
		f.account(what, bytes, packets)
	}
	for i := range q.what[:n] {
		if what := &q.what[i]; what.charge >= billed {
			f.store(what.client)
		}
	}
}

// offer hands the first n frames to the kernel.
func (q *queue) offer(l link.Link, n int) error {
	if q.joins == nil {
		return l.Send(q.frames[:n], q.taken[:n])
	}
	return q.joins.send(l, q.frames[:n], q.taken[:n])
}

// account charges a frame that the kernel took.
func (f *Forwarder) account(what *queued, bytes, packets uint64) {
	t := &f.counters.Totals
	switch what.charge {
	case own:
		t.OwnBytes += bytes
		t.OwnPackets += packets
	case exempt:
		t.ExemptBytes += bytes
		t.ExemptPackets += packets
		if cl := what.client; cl != nil {
			if what.direction == up {
				cl.exemptUp += bytes
			} else {
				cl.exemptDn += bytes
			}
			f.touch(cl)
		}
	case billedEdge:
		t.BilledBytes += bytes
		t.BilledPackets += packets
		f.crossEdge(what.client, what.direction, bytes)
		what.client.came(what.direction, f.now)
	case billed:
		t.BilledBytes += bytes
		t.BilledPackets += packets
		what.client.charge(what.direction, bytes, packets)
		what.client.came(what.direction, f.now)
		f.touch(what.client)
	}
}

// came notes when something last came down to a client.
func (c *client) came(direction uint8, now time.Duration) {
	if direction == down {
		c.lastDown = now
	}
}

// charge adds to the active grant's use.
func (c *client) charge(direction uint8, bytes, packets uint64) {
	c.used += bytes
	c.unstored = true
	if direction == up {
		c.use.up += bytes
		c.use.upPackets += packets
	} else {
		c.use.down += bytes
		c.use.downPackets += packets
	}
}

// crossEdge charges one wire packet to the rest of the active grant and to those
// that were promised, the last of which pays what is left. The packet counts where
// its last byte does.
func (f *Forwarder) crossEdge(c *client, direction uint8, bytes uint64) {
	f.touch(c)
	for {
		rest := c.limit - min(c.used, c.limit)
		if bytes <= rest || !c.pledged() {
			c.charge(direction, bytes, 1)
			return
		}
		c.charge(direction, rest, 0)
		bytes -= rest
		f.end(c, clients.EndData, f.now)
		f.next(c, f.now)
	}
}
