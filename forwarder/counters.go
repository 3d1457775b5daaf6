package forwarder

import (
	"gatewayd/forwarder/clients"
)

// counters are the forwarder's own copy of what it publishes after each round:
// plain adds on the packet path.
type counters struct{ clients.Counters }

// load takes over what the last forwarder published. What waited in it is
// lost, which is known now.
func (c *counters) load(w *clients.Worker) {
	c.Counters = w.Counters()
	t := &c.Totals
	c.drop(ForwarderEnded, int(t.QueuedPackets), int(t.QueuedBytes))
	t.QueuedPackets, t.QueuedBytes = 0, 0
}

// received counts a frame that a port gave us: wire packets and layer-3 bytes.
func (c *counters) received(port uint8, packets, bytes int) {
	p := &c.Ports[port]
	p.RxPackets += uint64(packets)
	p.RxBytes += uint64(bytes)
}

// queue and unqueue count wire packets that wait.
func (c *counters) queue(packets, bytes int) {
	c.Totals.QueuedPackets += uint64(packets)
	c.Totals.QueuedBytes += uint64(bytes)
}

func (c *counters) unqueue(packets, bytes int) {
	c.Totals.QueuedPackets -= uint64(packets)
	c.Totals.QueuedBytes -= uint64(bytes)
}

// drop counts wire packets that end here.
func (c *counters) drop(r Reason, packets, bytes int) {
	c.Drops[r] += uint64(packets)
	c.DropBytes[r] += uint64(bytes)
}

// drop counts wire packets that end here, and to their client, if that is
// known; c may be nil.
func (f *Forwarder) drop(c *client, r Reason, packets, bytes int) {
	f.counters.drop(r, packets, bytes)
	if c != nil && c.id.Slot != 0 {
		f.table.Losses(int(c.id.Slot)).Count(int(r), packets, f.now)
	}
}

// sender is the client that a dropped frame is counted to: the one that the
// steps have found, or who has its source MAC; nil if nobody is known.
func (f *Forwarder) sender(fr *frame) *client {
	if fr.client == nil && fr.turned {
		return &f.clients[fr.origin]
	}
	if fr.client == nil && fr.from == clients.LAN {
		if slot, ok := f.byMAC.find(fr.SrcMAC); ok {
			return &f.clients[slot]
		}
	}
	return fr.client
}
