package forwarder

import (
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

const (
	wan2IP = wanIP + 1
	wan3IP = wanIP + 2
)

// moves gives the gateway other addresses while it runs, and takes in what it says.
func (b *bench) moves(ips ...uint32) {
	b.Helper()
	b.addressed(ips...)
	b.round()
	b.pass(5 * time.Second)
	b.take(clients.WAN)
}

// several are alice and bob at a gateway of three addresses.
func several(t testing.TB) *bench {
	b := newBench(t)
	b.moves(wanIP, wan2IP, wan3IP)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(alice, free())
	b.grant(bob, free())
	return b
}

// from sends a client's packet and returns it as it left.
func (b *bench) from(w flow) *seen {
	b.Helper()
	b.in(clients.LAN, w.udp(10))
	return b.one(clients.WAN)
}

// source is the address that a packet is from.
func (s *seen) source() uint32 { return be32(s.ip.SrcIP.To4()) }

func TestClientsHaveAnAddressEach(t *testing.T) {
	b := several(t)
	of := map[uint32]uint32{}
	for _, w := range []flow{aliceUp, bobUp} {
		for i := range uint16(20) {
			w.srcPort, w.dst = 5000+i, serverIP+uint32(i)
			out := b.from(w)
			if own := of[w.src]; own != 0 && own != out.source() {
				t.Fatalf("%#x is seen as %#x and as %#x", w.src, own, out.source())
			}
			of[w.src] = out.source()
			b.in(clients.WAN, back(out).udp(10))
			if in := b.one(clients.LAN); be32(in.ip.DstIP.To4()) != w.src || in.dstPort != w.srcPort {
				t.Fatalf("the answer went to %v:%d", in.ip.DstIP, in.dstPort)
			}
			astray := back(out)
			astray.dst = wan3IP
			b.in(clients.WAN, astray.udp(10))
			b.silent(clients.LAN)
		}
	}
	if teamSize == 1 && of[aliceIP] == of[bobIP] {
		t.Errorf("both are seen as %#x", of[aliceIP])
	}
}

func TestEachAddressIsAnsweredForAndTold(t *testing.T) {
	b := newBench(t)
	b.addressed(wan2IP, wan3IP)
	b.round()
	b.pass(10 * time.Second)
	told := map[uint32]int{}
	for _, s := range b.out(clients.WAN) {
		if s.arp != nil && be32(s.arp.SourceProtAddress) == be32(s.arp.DstProtAddress) {
			told[be32(s.arp.DstProtAddress)]++
		}
	}
	if told[wanIP] != 0 || told[wan2IP] != 2 || told[wan3IP] != 2 {
		t.Errorf("announced: %v", told)
	}
	ask := arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: routerIP}
	for ip, answers := range map[uint32]bool{wanIP: false, wan2IP: true, wan3IP: true, routerIP + 9: false} {
		if ask.target = ip; !answers {
			b.in(clients.WAN, ask.raw())
			b.silent(clients.WAN)
			continue
		}
		b.in(clients.WAN, ask.raw())
		b.one(clients.WAN).says(t, 2, wanMAC, ip, routerMAC, routerIP)
	}
	b.pass(trustHop + time.Second) // the router is asked for from the first
	for _, s := range b.out(clients.WAN) {
		if s.arp == nil || be32(s.arp.SourceProtAddress) != wan2IP {
			t.Errorf("asked by %+v", s.arp)
		}
	}
}

func TestAnAddressThatGoesAwayTakesItsConversationsAlong(t *testing.T) {
	b := several(t)
	was, stays := b.from(aliceUp), b.from(bobUp)
	b.moves(stays.source(), wan3IP)
	b.in(clients.WAN, back(was).udp(10))
	b.silent(clients.LAN)
	b.in(clients.WAN, back(stays).udp(10))
	b.one(clients.LAN)
	if on := b.from(bobUp); on.source() != stays.source() || on.srcPort != stays.srcPort {
		t.Errorf("bob goes on at %v:%d, was at %v:%d", on.ip.SrcIP, on.srcPort, stays.ip.SrcIP, stays.srcPort)
	}
	on := b.from(aliceUp)
	if on.source() == was.source() {
		t.Errorf("alice is still seen as %v", on.ip.SrcIP)
	}
	b.in(clients.WAN, back(on).udp(10))
	b.one(clients.LAN)
}

func TestWithoutAnAddressNothingPassesAndNobodyIsBilled(t *testing.T) {
	b := several(t)
	was := b.from(aliceUp)
	billed := b.use(alice, 1).Up
	b.table.Header().SetAddressing(clients.Addressing{})
	b.round()
	b.pass(20 * time.Second)
	b.silent(clients.WAN) // nobody asks for a router, or says where it is
	b.in(clients.LAN, aliceUp.udp(10))
	if s := b.one(clients.LAN); s.icmp == nil || s.icmp.TypeCode != layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeHost) {
		t.Errorf("answered by %+v", s)
	}
	b.dropped(NoAddress, 1)
	b.in(clients.Host, boxUp.udp(10))
	b.in(clients.WAN, back(was).udp(10))
	w := aliceUp
	w.dst = wanIP
	b.in(clients.LAN, w.udp(10)) // nobody's
	b.silent(clients.WAN)
	if now := b.use(alice, 1).Up; now != billed {
		t.Errorf("billed %d bytes, %d before", now, billed)
	}
	b.take(clients.LAN)
	b.take(clients.Host)

	b.addressed(wan2IP)
	b.round()
	b.in(clients.WAN, arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: routerIP, targetMAC: wanMAC, target: wan2IP}.raw())
	b.pass(5 * time.Second)
	b.take(clients.WAN)
	on := b.from(aliceUp)
	if on.source() != wan2IP {
		t.Errorf("alice is seen as %v", on.ip.SrcIP)
	}
	b.in(clients.WAN, back(on).udp(10))
	b.one(clients.LAN)
}

func TestAnotherNextRouter(t *testing.T) {
	const other, otherMAC = 0xc0000201, 0x020000000103
	for _, row := range []struct {
		name string
		to   clients.Addressing
		own  uint32
	}{
		{"in the same network", clients.Addressing{Addresses: []uint32{wanIP}, Bits: 24, Gateway: routerIP + 1}, wanIP},
		{"in another", clients.Addressing{Addresses: []uint32{other + 8}, Bits: 28, Gateway: other}, other + 8},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			b.bind(alice, aliceMAC, aliceIP)
			b.grant(alice, free())
			b.f.hop.mac = 0 // the former one is just being asked
			b.in(clients.LAN, aliceUp.udp(10))
			b.take(clients.WAN)
			b.table.Header().SetAddressing(row.to)
			b.round()
			b.pass(200 * time.Millisecond)
			asked := false
			for _, s := range b.out(clients.WAN) {
				asked = asked || s.arp != nil && be32(s.arp.DstProtAddress) == row.to.Gateway && be32(s.arp.SourceProtAddress) == row.own
			}
			if !asked {
				t.Error("nobody asks for the new one")
			}
			b.in(clients.WAN, arp{from: otherMAC, to: wanMAC, op: 2, mac: otherMAC, ip: row.to.Gateway, targetMAC: wanMAC, target: row.own}.raw())
			if s := b.one(clients.WAN); s.dstMAC != otherMAC || s.source() != row.own {
				t.Errorf("what waited went to %x from %v", s.dstMAC, s.ip.SrcIP)
			}
			b.pass(10 * time.Second)
			for _, s := range b.out(clients.WAN) {
				if s.arp != nil && be32(s.arp.DstProtAddress) == routerIP {
					t.Error("the former one is asked for still")
				}
			}
		})
	}
}

func TestErrorsKeepTheirAddress(t *testing.T) {
	b := several(t)
	b.from(aliceUp)
	out := b.from(bobUp)
	b.in(clients.LAN, bobUp.udp(10))
	sent := b.take(clients.WAN)[0]
	e := flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP + 7, dst: out.source(), ttl: 60}
	b.in(clients.WAN, e.icmpError(3, 3, 0, sent[24:]))
	if s := b.one(clients.LAN); be32(s.ip.DstIP.To4()) != bobIP {
		t.Errorf("the error went to %v", s.ip.DstIP)
	}
	e.dst = wan3IP // which did not send it
	b.in(clients.WAN, e.icmpError(3, 3, 0, sent[24:]))
	b.silent(clients.LAN)

	b.in(clients.WAN, back(out).udp(10))
	got := b.take(clients.LAN)[0]
	about := flow{srcMAC: bobMAC, dstMAC: lanMAC, src: bobIP, dst: serverIP, ttl: 64}
	b.in(clients.LAN, about.icmpError(3, 3, 0, got[24:]))
	if s := b.one(clients.WAN); s.source() != out.source() {
		t.Errorf("bob's error is from %v, his packets from %v", s.ip.SrcIP, out.ip.SrcIP)
	}

	late := back(out)
	late.ttl = 1
	b.in(clients.WAN, late.udp(10))
	if s := b.one(clients.WAN); s.icmp == nil || s.source() != wanIP {
		t.Errorf("the router's own error is from %v", s.ip.SrcIP)
	}

	syn := flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wan3IP, srcPort: 9, dstPort: 9999, ttl: 60}
	b.in(clients.WAN, syn.syn(false, 1460))
	b.pass(unsolicitedFor + time.Second)
	for _, s := range b.out(clients.WAN) {
		if s.arp == nil && s.source() != wan3IP {
			t.Errorf("port unreachable from %v, to which nobody spoke", s.ip.SrcIP)
		}
	}
}

func TestFragmentsKeepTheirAddress(t *testing.T) {
	b := several(t)
	b.from(aliceUp)
	out := b.from(bobUp)
	w := bobUp
	w.id = 77
	parts := fragmentsOf(w.udp(3000), 1480)
	for _, raw := range [][]byte{parts[1], parts[0], parts[2]} {
		b.in(clients.LAN, raw)
	}
	for i, s := range b.out(clients.WAN) {
		if s.source() != out.source() {
			t.Errorf("fragment %d is from %v", i, s.ip.SrcIP)
		}
	}
	w.id = 78
	parts = fragmentsOf(w.udp(3000), 1480)
	b.in(clients.LAN, parts[0])
	b.take(clients.WAN)
	b.moves(wan3IP)
	b.in(clients.LAN, parts[1])
	b.silent(clients.WAN)
	b.dropped(StrayFragment, 1)
}

func TestAHairpinBetweenAddresses(t *testing.T) {
	b := several(t)
	atAlice, atBob := b.from(aliceUp), b.from(bobUp)
	for _, own := range []uint32{wanIP, wan2IP, wan3IP} {
		w := bobUp
		w.dst, w.dstPort = own, atAlice.srcPort
		b.in(clients.LAN, w.udp(10))
		if own != atAlice.source() {
			b.silent(clients.LAN, clients.WAN)
			continue
		}
		if s := b.one(clients.LAN); s.source() != atBob.source() || be32(s.ip.DstIP.To4()) != aliceIP {
			t.Errorf("from %v to %v", s.ip.SrcIP, s.ip.DstIP)
		}
	}
	spoofed := flow{srcMAC: routerMAC, dstMAC: wanMAC, src: wan3IP, dst: atAlice.source(), srcPort: 1, dstPort: atAlice.srcPort, ttl: 60}
	b.in(clients.WAN, spoofed.udp(10))
	b.silent(clients.LAN)
	b.dropped(BadSource, 1)
}

func TestTheNextForwarderKeepsWhatIsThere(t *testing.T) {
	b := several(t)
	first, second := b.from(aliceUp), b.from(bobUp)
	b.addressed(second.source(), wan3IP)
	b.start()
	b.resolve()
	b.pass(5 * time.Second)
	b.take(clients.WAN)
	b.in(clients.WAN, back(second).udp(10))
	b.one(clients.LAN)
	if first.source() != second.source() {
		b.in(clients.WAN, back(first).udp(10))
		b.silent(clients.LAN)
	}
}

func TestMappingsAreCountedByAddress(t *testing.T) {
	b := several(t)
	carolUp := bobUp
	carolUp.srcMAC, carolUp.src = bobMAC+1, bobIP+1
	b.bind(3, carolUp.srcMAC, carolUp.src)
	b.grant(3, free())
	for _, w := range []flow{aliceUp, bobUp, carolUp} {
		b.from(w)
	}
	b.pass(time.Second)
	h, sum := b.table.Header(), uint64(0)
	for _, own := range []uint32{wanIP, wan2IP, wan3IP} {
		sum += h.Use(own)
	}
	if sum != 3 || teamSize == 1 && (h.Use(wanIP) != 1 || h.Use(wan2IP) != 1 || h.Use(wan3IP) != 1) {
		t.Errorf("%d, %d and %d mappings", h.Use(wanIP), h.Use(wan2IP), h.Use(wan3IP))
	}
	b.moves(wan3IP)
	if h.Use(wanIP) != 0 || h.Use(wan2IP) != 0 {
		t.Errorf("%d and %d mappings at addresses that went away", h.Use(wanIP), h.Use(wan2IP))
	}
}
