package forwarder

import (
	"gatewayd/forwarder/clients"
)

// counters are the forwarder's own copies of what it stores in the header
// after each batch: plain adds on the packet path.
type counters struct {
	drops, dropBytes            [numReasons]uint64
	rxPackets, rxBytes          [clients.NumPorts]uint64
	txPackets, txBytes, refused [clients.NumPorts]uint64
	billedPackets, billedBytes  uint64
	exemptPackets, exemptBytes  uint64
	ownPackets, ownBytes        uint64
	addedPackets, addedBytes    uint64
	queuedPackets, queuedBytes  uint64
	mappings, flows             uint64
	overflow, truncated         [clients.NumPorts]uint64
}

// load takes over what the last forwarder counted.
func (c *counters) load(h *clients.Header) {
	for i := range c.drops {
		c.drops[i], c.dropBytes[i] = h.Drops[i].Load(), h.DropBytes[i].Load()
	}
	for i := range c.rxPackets {
		p := &h.Ports[i]
		c.rxPackets[i], c.rxBytes[i] = p.RxPackets.Load(), p.RxBytes.Load()
		c.txPackets[i], c.txBytes[i], c.refused[i] = p.TxPackets.Load(), p.TxBytes.Load(), p.Refused.Load()
		c.overflow[i], c.truncated[i] = p.Overflow.Load(), p.Truncated.Load()
	}
	t := &h.Totals
	c.billedPackets, c.billedBytes = t.BilledPackets.Load(), t.BilledBytes.Load()
	c.exemptPackets, c.exemptBytes = t.ExemptPackets.Load(), t.ExemptBytes.Load()
	c.ownPackets, c.ownBytes = t.OwnPackets.Load(), t.OwnBytes.Load()
	c.addedPackets, c.addedBytes = t.AddedPackets.Load(), t.AddedBytes.Load()
}

// store publishes the counters.
func (c *counters) store(h *clients.Header) {
	for i := range c.drops {
		if c.drops[i] != h.Drops[i].Load() {
			h.Drops[i].Store(c.drops[i])
			h.DropBytes[i].Store(c.dropBytes[i])
		}
	}
	for i := range c.rxPackets {
		p := &h.Ports[i]
		p.RxPackets.Store(c.rxPackets[i])
		p.RxBytes.Store(c.rxBytes[i])
		p.TxPackets.Store(c.txPackets[i])
		p.TxBytes.Store(c.txBytes[i])
		p.Refused.Store(c.refused[i])
		p.Overflow.Store(c.overflow[i])
		p.Truncated.Store(c.truncated[i])
	}
	t := &h.Totals
	t.BilledBytes.Store(c.billedBytes)
	t.BilledPackets.Store(c.billedPackets)
	t.ExemptBytes.Store(c.exemptBytes)
	t.ExemptPackets.Store(c.exemptPackets)
	t.OwnBytes.Store(c.ownBytes)
	t.OwnPackets.Store(c.ownPackets)
	t.AddedBytes.Store(c.addedBytes)
	t.AddedPackets.Store(c.addedPackets)
	t.QueuedBytes.Store(c.queuedBytes)
	t.QueuedPackets.Store(c.queuedPackets)
	h.Mappings.Store(c.mappings)
	h.Flows.Store(c.flows)
}

// received counts a frame that a port gave us: wire packets and layer-3 bytes.
func (c *counters) received(port uint8, packets, bytes int) {
	c.rxPackets[port] += uint64(packets)
	c.rxBytes[port] += uint64(bytes)
}

// queue and unqueue count wire packets that wait.
func (c *counters) queue(packets, bytes int) {
	c.queuedPackets += uint64(packets)
	c.queuedBytes += uint64(bytes)
}

func (c *counters) unqueue(packets, bytes int) {
	c.queuedPackets -= uint64(packets)
	c.queuedBytes -= uint64(bytes)
}

// drop counts wire packets that end here.
func (c *counters) drop(r Reason, packets, bytes int) {
	c.drops[r] += uint64(packets)
	c.dropBytes[r] += uint64(bytes)
}
