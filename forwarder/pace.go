package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
	"gatewayd/limiter"
)

// Bounds of what waits for its client's rate.
const (
	backlogTime    = 50 * time.Millisecond  // of the client's rate, a direction
	leastBacklog   = 16 << 10               // bytes: ten packets at the lowest rates
	mostBacklog    = 512 << 10              // bytes
	mostWaiting    = 512                    // frames of a client and direction
	releaseEvery   = 200 * time.Microsecond // not more often, however busy
	smallBuffer    = 2048                   // bytes; holds a frame of 1500 and its headers
	maxSmallFrames = 4096                   // all clients together: 8 MiB
	maxLargeFrames = 160                    // likewise: 10 MiB
)

// waiting is a copy of a frame that its client's rate holds back, and what the
// steps before found out about it.
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
	bytes       int // as they leave
	listed      bool
}

// pacer holds the frames of all backlogs.
type pacer struct {
	due          []pace // backlogs with something in them
	small, large *waiting
	smalls       int // buffers made
	larges       int
	released     time.Duration
}

// pace names a backlog.
type pace struct {
	client    *client
	direction uint8
}

// backlogLimit is how much may wait at rate r, bytes.
func backlogLimit(r limiter.Rate) int {
	return int(min(max(int64(r)/int64(time.Second/backlogTime), leastBacklog), mostBacklog))
}

// pace holds a frame to its client's rate: what conforms passes straight
// through, the rest waits until it does, and what finds no room is dropped.
func (f *Forwarder) pace(fr *frame) Reason {
	if fr.exempt {
		return Kept
	}
	c := fr.client
	q := &c.backlogs[fr.direction]
	if q.first == nil && c.buckets[fr.direction].Take(fr.wireLen(), f.now) {
		return Kept
	}
	n, cost := fr.fit(backlogLimit(c.rates[fr.direction])-q.bytes), fr.WireLen
	if q.frames >= mostWaiting {
		n = 0
	}
	var w *waiting
	if n > 0 {
		lost := fr.Segments - n
		fr.Cut(n)
		if w = f.pacer.take(len(fr.Raw)); w != nil && lost > 0 {
			f.counters.drop(OverRate, lost, cost-fr.WireLen)
			c.over(fr.direction, lost)
		}
	}
	if w == nil {
		f.counters.drop(OverRate, fr.Segments+lostOf(cost, fr), cost)
		c.over(fr.direction, fr.Segments)
		return Taken
	}
	return Taken
}
