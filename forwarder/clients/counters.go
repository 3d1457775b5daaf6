package clients

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Counters are what the packet path counts, since the table was formatted and
// over all forwarders; each worker has its own, and sums are what is said. Bytes
// are layer 3; packets are wire packets, a super-packet the packets it becomes. No
// packet and no byte comes from nowhere or is lost:
//
//	received + hairpin + own + added = transmitted + hairpin + dropped + queued + local
//	transmitted + hairpin = billed + exempt + own
//
// Received and transmitted are sums over the ports. What turned round at the WAN
// address is sent once and received once more, without a port. What is local is
// control's; what is for the rest of the box is transmitted on the host link.
type Counters struct {
	Totals    Totals
	Ports     [NumPorts]PortCounters
	Drops     [MaxReasons]uint64 // packets, by the forwarder's Reason
	DropBytes [MaxReasons]uint64
	Batches   Histogram    // how long rounds that had frames took
	Delays    [2]Histogram // by direction: how long wire packets that waited for the rate did so, as they leave
	Given     [2]Histogram // likewise of those that were dropped there
	Marked    [2]uint64    // by direction: wire packets marked with congestion experienced
	_         [6]uint64    // to a whole block
}

// Totals are sums over all ports.
type Totals struct {
	BilledBytes   uint64
	BilledPackets uint64
	ExemptBytes   uint64 // the box's own traffic and clients' traffic with the box
	ExemptPackets uint64
	OwnBytes      uint64 // made by the gateway and taken by the kernel: ICMP errors; ARP is not layer 3
	OwnPackets    uint64
	AddedBytes    uint64 // headers added by fragmenting
	AddedPackets  uint64 // fragments beyond the first of each packet
	// Waiting now: for a next hop, for a client's rate, or on the way to another
	// worker. Who sends there counts up, who takes counts down, so that one worker's
	// may be below zero; their sum is not.
	QueuedBytes    uint64
	QueuedPackets  uint64
	HairpinBytes   uint64 // turned round at the WAN address, from client to client
	HairpinPackets uint64
	LocalBytes     uint64 // given to control: DHCP servers' answers
	LocalPackets   uint64
}

// PortCounters count what a port received and transmitted.
type PortCounters struct {
	RxPackets uint64
	RxBytes   uint64
	TxPackets uint64
	TxBytes   uint64
	Refused   uint64 // packets the kernel did not take
	Overflow  uint64 // packets the kernel lost before they were read: never received
	Truncated uint64 // frames longer than a buffer, or of a kind the kernel cannot tell of: never received
}

// Bounds are the upper bounds of a Histogram's buckets but the last, which
// has none.
var Bounds = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

// Histogram counts durations.
type Histogram struct {
	Buckets [len(Bounds) + 1]uint64 // each without the ones before
	Nanos   uint64                  // their sum
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) { h.ObserveMany(d, 1) }

// ObserveMany counts n times the same duration.
func (h *Histogram) ObserveMany(d time.Duration, n int) {
	d = max(d, 0)
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.Buckets[i] += uint64(n)
	h.Nanos += uint64(d) * uint64(n)
}

// Counters as 64-bit words, in blocks: most of them have not changed, which is
// seen of a whole block at once.
const (
	words = int(unsafe.Sizeof(Counters{}) / 8)
	block = 16
)

var _ [0]struct{} = [words % block]struct{}{} // there is no rest

// published is one copy of Counters in the table.
type published [words]atomic.Uint64

func (c *Counters) words() *[words]uint64 { return (*[words]uint64)(unsafe.Pointer(c)) }

func (c *Counters) blocks() *[words / block][block]uint64 {
	return (*[words / block][block]uint64)(unsafe.Pointer(c))
}

// Counters returns what a worker published last, all of the same moment.
func (w *Worker) Counters() (c Counters) {
	for {
		n := w.counted.Load()
		from, to := &w.counters[n%2], c.words()
		for i := range from {
			to[i] = from[i].Load()
		}
		if w.counted.Load() == n { // else the copy may have been written to meanwhile
			return c
		}
	}
}

// A Publisher is a worker's way of publishing Counters. The table holds
// two copies: one is valid while the other is written, so that neither a reader
// nor who comes after a worker that was killed sees a half of each.
type Publisher struct {
	worker *Worker
	copies [2]Counters // what the table holds
}

// NewPublisher goes on from what the last worker of this number published.
func NewPublisher(w *Worker) *Publisher {
	p := &Publisher{worker: w}
	for i := range p.copies {
		for j := range w.counters[i] {
			p.copies[i].words()[j] = w.counters[i][j].Load()
		}
	}
	return p
}

// Publish stores the counters.
func (p *Publisher) Publish(c *Counters) {
	n := p.worker.counted.Load() + 1
	last, to := p.copies[n%2].blocks(), &p.worker.counters[n%2]
	from := c.blocks()
	for i := range from {
		if from[i] == last[i] {
			continue
		}
		for j := range from[i] {
			if w := from[i][j]; w != last[i][j] {
				last[i][j] = w
				to[i*block+j].Store(w)
			}
		}
	}
	p.worker.counted.Store(n)
}
