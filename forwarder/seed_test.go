package forwarder

import (
	"fmt"
	"testing"

	"gatewayd/forwarder/clients"
)

// What the table holds when a forwarder attaches is carried on from, however
// much it is: no bill, no total and no drop counter begins anew.
func TestCountersCarryOnFromAnySeed(t *testing.T) {
	for _, seed := range []uint64{1<<32 - 1, 1<<63 - 1} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := online(t, free())
			b.bind(bob, bobMAC, bobIP)
			g, h := b.record(alice, 1), b.table.Header()
			b.in(clients.LAN, aliceUp.udp(10))
			server := back(b.one(clients.WAN))
			g.Up.Store(seed)
			g.UpPackets.Store(seed)
			g.Down.Store(seed / 2)
			var c clients.Counters
			for i := range c.Ports {
				c.Ports[i] = clients.PortCounters{RxPackets: seed, RxBytes: seed, TxPackets: seed, TxBytes: seed}
			}
			c.Totals.BilledPackets, c.Totals.BilledBytes = 3*seed, 3*seed // what was transmitted
			c.Drops[NoGrant], c.DropBytes[NoGrant] = seed, seed
			c.Ports[clients.LAN].RxPackets += seed
			c.Ports[clients.LAN].RxBytes += seed
			clients.NewPublisher(&h.Worker[0]).Publish(&c)
			rx, billed := h.Counters().Ports[clients.LAN].RxPackets, h.Counters().Totals.BilledBytes
			if billed < 3*seed {
				t.Fatalf("%d billed of %d", billed, 3*seed)
			}
			for forwarder := uint64(1); forwarder <= 3; forwarder++ {
				b.start()
				b.resolve()
				b.in(clients.LAN, aliceUp.udp(10), aliceUp.udp(10), bobUp.udp(10))
				b.in(clients.WAN, server.udp(20))
				up, down := b.out(clients.WAN), b.out(clients.LAN)
				if len(up) != 2 || len(down) != 1 {
					t.Fatalf("%d packets passed up and %d down: %v", len(up), len(down), b.allDrops())
				}
				u := b.use(alice, 1)
				if u.Ended != 0 || u.Up != seed+forwarder*76 || u.Down != seed/2+forwarder*48 || u.UpPackets != seed+forwarder*2 {
					t.Errorf("the grant after %d forwarders: %+v", forwarder, u)
				}
				if got := h.Counters().Totals.BilledBytes; got != billed+forwarder*124 {
					t.Errorf("%d billed, want %d more than %d", got, forwarder*124, billed)
				}
				b.dropped(NoGrant, seed+forwarder)
				if got := h.Counters().Ports[clients.LAN].RxPackets; got != rx+3*forwarder {
					t.Errorf("%d received, want %d more than %d", got, 3*forwarder, rx)
				}
			}
		})
	}
}

// A data grant that has used almost 2^63 bytes ends at its byte.
func TestALimitHoldsAtAnySeed(t *testing.T) {
	const limit = 1<<63 - 2
	b := online(t, bytesOf(limit))
	b.in(clients.LAN, aliceUp.udp(10))
	b.one(clients.WAN)
	b.record(alice, 1).Up.Store(limit - 100)
	b.start()
	b.resolve()
	billed := b.table.Header().Counters().Totals.BilledBytes
	for range 5 {
		b.in(clients.LAN, aliceUp.udp(10))
	}
	if n := len(b.out(clients.WAN)); n != 2 {
		t.Errorf("%d packets of 38 bytes passed of 100 bytes", n)
	}
	if u := b.use(alice, 1); u.Ended == 0 || u.Reason != clients.EndData || u.Up != limit-24 {
		t.Errorf("%+v", u)
	}
	if got := b.table.Header().Counters().Totals.BilledBytes - billed; got != 76 {
		t.Errorf("%d bytes billed, want 76", got)
	}
}
