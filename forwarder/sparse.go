package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// Sparse flows first (RFC 8290) at the ports. What is over a rate waits in the
// limiter; what is not waits for the worker, in the ports' rings, behind all that came
// before. There a ping would wait for a millisecond of bulk.

// sparseEvery is for how long a worker sends at most until it lets those pass that are
// sparse. Longer batches are sent in parts.
const sparseEvery = 50 * time.Microsecond

// sparser is a link that can say which frames that wait may go before others.
type sparser interface {
	Sparse() [][]byte
}

// serve takes in the frames that a port received.
func (f *Forwarder) serve(port uint8, frames [][]byte, crowded bool) {
	f.takeIn(port, frames, crowded, true)
	f.flushAll()
}

func (f *Forwarder) takeIn(port uint8, frames [][]byte, crowded, yields bool) {
	for _, raw := range frames {
		if crowded && f.overShare(raw) {
			continue
		}
		f.enter(port, raw)
		if yields && f.sending >= sparseEvery {
			f.yield()
		}
	}
}

// yield lets the sparse flows' frames pass that have come meanwhile.
func (f *Forwarder) yield() {
	f.flushAll()
	for port, l := range f.links {
		if s, ok := l.(sparser); ok {
			f.takeIn(uint8(port), s.Sparse(), port == clients.LAN && f.turn.left > 0, false)
		}
	}
	f.flushAll()
	f.sending = 0
}

// sent notes how long the first n frames of a batch took, and how many may leave
// together next time.
func (f *Forwarder) sent(q *queue, n int, took time.Duration) {
	f.sending += took
	q.each += (took/time.Duration(n) - q.each) / 4
	q.most = int(min(max(sparseEvery/max(q.each, 1), 1), link.Batch))
}
