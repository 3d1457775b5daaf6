package forwarder

import (
	"testing"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// toBox is alice talking to the box, fromBox the answer.
var (
	toBox   = flow{srcMAC: aliceMAC, dstMAC: lanMAC, src: aliceIP, dst: lanIP, srcPort: 5000, dstPort: 80, ttl: 1, id: 1}
	fromBox = flow{srcMAC: lanMAC, dstMAC: aliceMAC, src: lanIP, dst: aliceIP, srcPort: 80, dstPort: 5000, ttl: 64, id: 1}
)

func TestTheBoxIsInReachWithAndWithoutASession(t *testing.T) {
	for _, granted := range []bool{false, true} {
		b := newBench(t)
		b.bind(alice, aliceMAC, aliceIP)
		if granted {
			b.grant(alice, bytesOf(1000))
		}
		for range 100 { // far more than the grant
			b.in(clients.LAN, toBox.tcp(1000))
			p := b.one(clients.Host)
			if p.dstMAC != lanMAC || be32(p.ip.SrcIP.To4()) != aliceIP || p.srcPort != 5000 || p.ip.TTL != 1 {
				t.Fatalf("%v", p)
			}
			b.in(clients.Host, fromBox.tcp(1000))
			p = b.one(clients.LAN)
			if p.dstMAC != aliceMAC || p.srcMAC != lanMAC || be32(p.ip.SrcIP.To4()) != lanIP {
				t.Fatalf("%v", p)
			}
		}
		s := b.table.Slot(alice)
		if s.ExemptUp.Load() != 104000 || s.ExemptDn.Load() != 104000 {
			t.Errorf("exempt %d up, %d down", s.ExemptUp.Load(), s.ExemptDn.Load())
		}
		if u := b.use(alice, 1); u.Up+u.Down != 0 || u.Ended != 0 {
			t.Errorf("billed %+v", u)
		}
		b.witnessed()
	}
}

func TestHostPorts(t *testing.T) {
	b := newBench(t)
	b.table.Header().SetOpen(false, []clients.PortRange{{First: 80, Last: 81}, {UDP: true, First: 53, Last: 53}})
	b.bind(alice, aliceMAC, aliceIP)
	port := func(p uint16) flow { w := toBox; w.dstPort = p; return w }
	for _, raw := range [][]byte{port(80).tcp(1), port(81).tcp(1), port(53).udp(1), toBox.echo(true, 1)} {
		b.in(clients.LAN, raw)
		b.one(clients.Host)
	}
	b.in(clients.LAN, port(22).tcp(1), port(82).tcp(1), port(53).tcp(1), port(80).udp(1))
	b.silent(clients.Host, clients.LAN, clients.WAN)
	b.dropped(LocalClosed, 4)
}

func TestTheBoxesOwnRouteIsExempt(t *testing.T) {
	b := newBench(t)
	b.in(clients.Host, boxUp.udp(100))
	p := b.one(clients.WAN)
	if be32(p.ip.SrcIP.To4()) != wanIP || p.dstMAC != routerMAC || p.ip.TTL != 64 {
		t.Fatalf("%v, TTL %d", p, p.ip.TTL)
	}
	b.in(clients.WAN, back(p).udp(200))
	q := b.one(clients.Host)
	if be32(q.ip.DstIP.To4()) != lanIP || q.dstPort != 6000 || q.dstMAC != lanMAC {
		t.Fatalf("%v", q)
	}
	tot := b.table.Header().Counters().Totals
	if tot.ExemptBytes != 128+228 || tot.BilledBytes != 0 {
		t.Errorf("%d exempt, %d billed", tot.ExemptBytes, tot.BilledBytes)
	}
}

func TestWhatTheBoxMayNotSend(t *testing.T) {
	b := newBench(t, func(c *Config) { c.HostRoute = false })
	to := func(dst uint32) flow { w := boxUp; w.dst = dst; return w }
	foreign := boxUp
	foreign.src = 0xc0a80001
	b.in(clients.Host, boxUp.udp(1), to(bobIP).udp(1), to(0xe00000fb).udp(1), to(0xffffffff).udp(1), foreign.udp(1))
	b.silent(clients.LAN, clients.WAN, clients.Host)
	b.dropped(LocalClosed, 1)
	b.dropped(HostUnknown, 1)
	b.dropped(NotForUs, 2)
	b.dropped(BadSource, 1)
}

func TestDHCPGoesToTheHostLink(t *testing.T) {
	b := newBench(t)
	discover := flow{srcMAC: aliceMAC, dstMAC: broadcast, dst: 0xffffffff, srcPort: 68, dstPort: 67, ttl: 64}
	b.in(clients.LAN, discover.udp(300))
	p := b.one(clients.Host)
	if p.dstMAC != broadcast || p.dstPort != 67 || p.ip.DstIP.String() != "255.255.255.255" {
		t.Fatalf("%v to %x", p, p.dstMAC)
	}
	for _, to := range []flow{
		{srcMAC: lanMAC, dstMAC: broadcast, src: lanIP, dst: 0xffffffff, srcPort: 67, dstPort: 68, ttl: 64},
		{srcMAC: lanMAC, dstMAC: aliceMAC, src: lanIP, dst: aliceIP, srcPort: 67, dstPort: 68, ttl: 64},
	} {
		b.in(clients.Host, to.udp(300))
		if p := b.one(clients.LAN); p.dstMAC != to.dstMAC || p.dstPort != 68 {
			t.Fatalf("%v to %x", p, p.dstMAC)
		}
	}
	if s := b.sightings(); len(s) != 0 {
		t.Errorf("sightings %v", s)
	}
	b.silent(clients.WAN)
}

func TestWithoutAHostLink(t *testing.T) {
	b := newBench(t)
	b.links[clients.Host] = nil
	b.start()
	b.resolve()
	b.bind(alice, aliceMAC, aliceIP)
	b.in(clients.LAN, toBox.tcp(10))
	b.dropped(NoHost, 1)
	discover := flow{srcMAC: aliceMAC, dstMAC: broadcast, dst: 0xffffffff, srcPort: 68, dstPort: 67, ttl: 64}
	b.in(clients.LAN, discover.udp(300))
	b.dropped(NotForUs, 1)
}

func TestABoxPacketOverTheMTU(t *testing.T) {
	b := newBench(t)
	b.mtus(1500, 1000)
	w := boxUp
	w.dont = true
	sent := w.udp(1200)
	b.in(clients.Host, w.udp(1200))
	e := b.one(clients.Host)
	e.quotes(t, 3, 4, lanIP, lanIP, sent)
	if e.icmp.Seq != 1000 || e.icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 4) {
		t.Errorf("%v", e.icmp)
	}
	b.in(clients.Host, boxUp.udp(1200))
	if n := len(b.out(clients.WAN)); n != 2 {
		t.Errorf("%d fragments", n)
	}
}
