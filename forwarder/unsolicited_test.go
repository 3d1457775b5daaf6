package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
)

// stranger is a SYN for a port of the WAN address.
func stranger(port uint16) flow {
	return flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 4444, dstPort: port, ttl: 60, id: 500}
}

// RFC 5382, REQ-4: no answer to an unsolicited SYN for 6 s, then port
// unreachable.
func TestAnUnsolicitedSYNIsAnsweredAfterSixSeconds(t *testing.T) {
	for _, row := range []struct {
		name   string
		how    nat.Filtering
		port   func(mapped uint16) uint16
		reason Reason
	}{
		{"to a port that nobody has", nat.ByAddress, func(uint16) uint16 { return 22 }, NoMapping},
		{"to a port that is filtered", nat.ByAddress, func(mapped uint16) uint16 { return mapped }, Filtered},
		{"to a port that is filtered by address and port", nat.ByAddressAndPort,
			func(mapped uint16) uint16 { return mapped }, Filtered},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBench(t)
			b.table.Header().Filtering.Store(uint64(row.how))
			w := aliceUp
			w.dst = serverIP + 1
			b.in(clients.LAN, w.syn(false, 1460))
			w = stranger(row.port(b.one(clients.WAN).srcPort))
			sent := w.syn(false, 1460)
			b.in(clients.WAN, w.syn(false, 1460))
			b.dropped(row.reason, 1)
			b.pass(5900 * time.Millisecond)
			b.silent(clients.LAN, clients.WAN)
			b.pass(300 * time.Millisecond)
			b.one(clients.WAN).quotes(t, 3, 3, wanIP, serverIP, sent)
			b.pass(20 * time.Second)
			b.silent(clients.LAN, clients.WAN)
		})
	}
}

// RFC 5382, REQ-2 and REQ-4: an outbound SYN of the same connection makes it a
// simultaneous open; the early SYN is not answered.
func TestAnEarlySYNOfASimultaneousOpenIsDroppedInSilence(t *testing.T) {
	b := aliceBench(t)
	w := aliceUp
	w.dst = serverIP + 1
	b.in(clients.LAN, w.syn(false, 1460)) // a mapping
	early := stranger(b.one(clients.WAN).srcPort)
	b.in(clients.WAN, early.syn(false, 1460))
	b.dropped(Filtered, 1)
	b.pass(3 * time.Second)
	w.dst, w.dstPort = serverIP, early.srcPort
	b.in(clients.LAN, w.syn(false, 1460))
	if p := b.one(clients.WAN); p.srcPort != early.dstPort {
		t.Fatalf("left from port %d, the SYN came to %d", p.srcPort, early.dstPort)
	}
	b.in(clients.WAN, early.syn(false, 1460)) // sent again
	b.one(clients.LAN)
	b.in(clients.LAN, w.syn(true, 1460))
	b.one(clients.WAN)
	b.pass(20 * time.Second)
	b.silent(clients.LAN, clients.WAN)
}

// RFC 5382, REQ-4 is about SYNs: nothing else is answered.
func TestNoOtherUnsolicitedSegmentIsAnswered(t *testing.T) {
	b := aliceBench(t)
	damaged := stranger(22).syn(false, 1460)
	damaged[60]++
	fromUs := stranger(22)
	fromUs.src = wanIP
	b.in(clients.WAN, stranger(22).tcp(10), stranger(22).syn(true, 1460), stranger(22).udp(10), damaged, fromUs.syn(false, 1460))
	b.dropped(NoMapping, 4)
	b.pass(20 * time.Second)
	b.silent(clients.LAN, clients.WAN)
}

// A flood of SYNs is answered as far as the WAN's allowance goes, in bounded
// memory.
func TestAFloodOfSYNsIsAnsweredWithinBounds(t *testing.T) {
	b := aliceBench(t)
	for i := range 3 * maxUnsolicited {
		b.in(clients.WAN, stranger(uint16(10000+i)).syn(false, 1460))
	}
	b.dropped(NoMapping, 3*maxUnsolicited)
	if n := b.f.unsolicited.count; n != maxUnsolicited {
		t.Errorf("%d are remembered", n)
	}
	b.pass(20 * time.Second)
	if n := len(b.out(clients.WAN)); n == 0 || n > 600 {
		t.Errorf("%d answers", n)
	}
	b.in(clients.WAN, stranger(22).syn(false, 1460))
	b.pass(7 * time.Second)
	b.one(clients.WAN)
}
