package clients

import "time"

// workers are those there are. The forwarder can write to the header, so its word
// is bounded.
func (h *Header) workers() []Worker { return h.Worker[:min(max(h.Workers, 1), MaxWorkers)] }

// GoesRound says whether the forwarder runs and each of its workers has gone round
// in the time before now, which is since boot.
func (h *Header) GoesRound(now, within time.Duration) bool {
	alive := h.Alive.Load()
	for i := range h.workers() {
		w := &h.Worker[i]
		if alive == 0 || w.Attached.Load() != alive || now-time.Duration(w.Beat.Load()) >= within {
			return false
		}
	}
	return true
}

// Final says whether all workers have ended in order: counters are final.
func (h *Header) Final() bool {
	for i := range h.workers() {
		if h.Worker[i].Attached.Load() != 0 {
			return false
		}
	}
	return true
}

// Resolved says whether the WAN's next hop answers ARP to every worker.
func (h *Header) Resolved() bool {
	for i := range h.workers() {
		if h.Worker[i].Resolved.Load() == 0 {
			return false
		}
	}
	return true
}

// Looped says whether the sides of a bridge count as joined elsewhere at a moment since
// boot.
func (h *Header) Looped(now time.Duration) bool { return int64(now) < h.Worker[0].Looped.Load() }

// Loops returns how often they were found to be joined elsewhere.
func (h *Header) Loops() uint64 { return h.Worker[0].Loops.Load() }

// HopHeard returns when a worker last heard the WAN's next hop, since boot; 0:
// never.
func (h *Header) HopHeard() (last time.Duration) {
	for i := range h.workers() {
		last = max(last, time.Duration(h.Worker[i].HopHeard.Load()))
	}
	return last
}

// Translations returns how many mappings and flows the NAT has.
func (h *Header) Translations() (mappings, flows uint64) {
	for i := range h.workers() {
		mappings += h.Worker[i].Mappings.Load()
		flows += h.Worker[i].Flows.Load()
	}
	return mappings, flows
}

// LostSightings returns how many sightings found no room.
func (h *Header) LostSightings() (n uint64) {
	for i := range h.workers() {
		n += h.Worker[i].Lost.Load()
	}
	return n
}

// Counters returns the sums of what the workers published last, each worker's of
// one moment. What one has taken from another, the other has sent: a look that
// caught the second half only is taken again.
func (h *Header) Counters() (c Counters) {
	all := h.workers()
	for range looks {
		c = all[0].Counters()
		for i := range all[1:] {
			next := all[1+i].Counters()
			c.add(&next)
		}
		if int64(c.Totals.QueuedPackets) >= 0 && int64(c.Totals.QueuedBytes) >= 0 {
			return c
		}
	}
	return c
}

// looks is how often the workers' counters are read until nothing is caught half
// way: more than any forwarder of ours needs.
const looks = 10000

// add sums up.
func (c *Counters) add(other *Counters) {
	to, from := c.words(), other.words()
	for i := range to {
		to[i] += from[i]
	}
}
