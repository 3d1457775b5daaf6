package forwarder

import (
	"bytes"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// neighbours are alice and bob, online under terms of their own, each with a
// mapping on the WAN: from is how bob speaks to alice's.
func neighbours(t testing.TB, ofAlice, ofBob clients.Terms, change ...func(*Config)) (b *bench, from flow) {
	b = newBench(t, change...)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(alice, ofAlice)
	b.grant(bob, ofBob)
	from = bobUp
	from.dst = wanIP
	return b, from
}

// mapped opens a mapping of alice's and returns its port on the WAN.
func (b *bench) mapped(raw []byte) uint16 {
	b.Helper()
	b.in(clients.LAN, raw)
	return b.one(clients.WAN).srcPort
}

// RFC 4787 REQ-9, RFC 5382 REQ-8: what a client sends to another's mapping on the
// WAN arrives from the sender's external address and port, and so does the answer.
func TestAHairpinShowsTheExternalSource(t *testing.T) {
	for _, row := range []struct {
		name        string
		open        func(flow) []byte
		up          func(flow) []byte
		ip, packets uint64
	}{
		{"UDP", flow.open, func(w flow) []byte { return w.udp(100) }, 128, 1},
		{"UDP with the checksum left to hardware", flow.open, func(w flow) []byte { return offload(w.udp(100), 0, 0) }, 128, 1},
		{"a UDP super-packet", flow.open, func(w flow) []byte { return w.udpSuper(3000, 1200) }, 3000 + 3*28, 3},
		{"UDP fragments", flow.open, nil, 3000 + 28 + 2*20, 3},
		{"TCP", flow.begin, func(w flow) []byte { return w.syn(false, 1460) }, 44, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, from := neighbours(t, free(), free())
			from.dstPort = b.mapped(row.open(aliceUp))
			opened := b.use(alice, 1).Up
			raws := fragmentsOf(from.udp(3000), 1480)
			if row.up != nil {
				raws = [][]byte{row.up(from)}
			}
			b.in(clients.LAN, raws...)
			got := b.out(clients.LAN)
			if uint64(len(got)) != row.packets {
				t.Fatalf("%d packets: %v", len(got), b.allDrops())
			}
			for i, p := range got {
				if be32(p.ip.SrcIP.To4()) != wanIP || be32(p.ip.DstIP.To4()) != aliceIP || p.ip.TTL != 63 || p.srcMAC != lanMAC || p.dstMAC != aliceMAC {
					t.Errorf("packet %d: %v, TTL %d, from %x to %x", i, p, p.ip.TTL, p.srcMAC, p.dstMAC)
				}
			}
			p := got[0]
			if p.dstPort != 5000 || p.srcPort < 1024 || p.srcPort == from.dstPort {
				t.Errorf("to port %d from %d, alice has %d", p.dstPort, p.srcPort, from.dstPort)
			}
			answer := aliceUp
			answer.dst, answer.dstPort = wanIP, p.srcPort
			if row.up != nil {
				b.in(clients.LAN, row.up(answer))
				if q := b.out(clients.LAN); uint64(len(q)) != row.packets || q[0].srcPort != from.dstPort || q[0].dstPort != 5000 || q[0].dstMAC != bobMAC || be32(q[0].ip.SrcIP.To4()) != wanIP {
					t.Fatalf("the answer: %v %v", q, b.allDrops())
				}
			} else {
				b.in(clients.LAN, fragmentsOf(answer.udp(3000), 1480)...)
				whole(t, b.out(clients.LAN))
			}
			b.silent(clients.WAN, clients.Host)
			a, o := b.use(alice, 1), b.use(bob, 1)
			if a.Up != opened+row.ip || a.Down != row.ip || a.DownPackets != row.packets || o.Up != row.ip || o.Down != row.ip || o.UpPackets != row.packets {
				t.Errorf("alice is billed %+v, bob %+v", a, o)
			}
			if c := b.table.Header().Counters().Totals; c.HairpinBytes != 2*row.ip || c.HairpinPackets != 2*row.packets {
				t.Errorf("%+v", c)
			}
			b.witnessed()
		})
	}
}

func (w flow) open() []byte  { return w.udp(0) }
func (w flow) begin() []byte { return w.syn(false, 1460) }

// RFC 5382 REQ-8: a connection through a hairpin, super-packets and all.
func TestATCPConnectionThroughAHairpin(t *testing.T) {
	b, from := neighbours(t, free(), free())
	from.dstPort = b.mapped(aliceUp.syn(false, 1460))
	b.in(clients.LAN, from.syn(false, 1460))
	answer := aliceUp
	answer.dst, answer.dstPort = wanIP, b.one(clients.LAN).srcPort
	b.in(clients.LAN, answer.syn(true, 1460))
	b.one(clients.LAN)
	b.in(clients.LAN, from.tcpSuper(50000, 1400))
	var body []byte
	for i, p := range b.out(clients.LAN) {
		if p.dstMAC != aliceMAC || p.srcPort != answer.dstPort || p.tcp.Seq != 1000+uint32(i)*1400 {
			t.Fatalf("packet %d: %v, sequence %d", i, p, p.tcp.Seq)
		}
		body = append(body, p.payload...)
	}
	if !bytes.Equal(body, text(50000)) {
		t.Errorf("%d bytes came: %v", len(body), b.allDrops())
	}
	b.witnessed()
}

// RFC 5508 REQ-7: an ICMP error about what came by a hairpin turns round, too, and
// quotes what its receiver had sent.
func TestAnICMPErrorTurnsRound(t *testing.T) {
	b, from := neighbours(t, free(), free())
	from.dstPort = b.mapped(aliceUp.udp(0))
	arrived := from
	arrived.ttl--
	sent := arrived.udp(100)
	b.in(clients.LAN, from.udp(100))
	came := b.one(clients.LAN)
	answer := aliceUp
	answer.dst = wanIP
	b.in(clients.LAN, answer.icmpError(3, 3, 0, came.packet))
	e := b.one(clients.LAN)
	if e.dstMAC != bobMAC || e.ip.TTL != 63 {
		t.Errorf("to %x, TTL %d", e.dstMAC, e.ip.TTL)
	}
	e.quotes(t, 3, 3, wanIP, bobIP, sent)
	b.in(clients.LAN, answer.icmpError(3, 3, 0, fragmentsOf(bobUp.udp(100), 48)[0][24:])) // about nothing that came
	b.silent(clients.LAN, clients.WAN)
	b.witnessed()
}

// RFC 1812, 5.3.1: one router, one hop.
func TestAHairpinIsOneHop(t *testing.T) {
	b, from := neighbours(t, free(), free())
	from.dstPort = b.mapped(aliceUp.udp(0))
	from.ttl = 2
	b.in(clients.LAN, from.udp(10))
	if p := b.one(clients.LAN); p.ip.TTL != 1 || p.dstMAC != aliceMAC {
		t.Errorf("TTL %d to %x", p.ip.TTL, p.dstMAC)
	}
	from.ttl = 1
	sent := from.udp(10)
	b.in(clients.LAN, from.udp(10))
	e := b.one(clients.LAN)
	if e.quotes(t, 11, 0, lanIP, bobIP, sent); e.dstMAC != bobMAC {
		t.Errorf("to %x", e.dstMAC)
	}
	if u := b.use(bob, 1); u.Up != 38 {
		t.Errorf("billed %+v", u)
	}
}

// What is over the LAN's MTU is answered on the way out, or cut on the way back.
func TestAHairpinOverTheMTU(t *testing.T) {
	b, from := neighbours(t, free(), bytesOf(1000+1428))
	b.mtus(1000, 576)
	from.dstPort = b.mapped(aliceUp.udp(0))
	from.dont = true
	b.in(clients.LAN, from.udp(972))
	b.one(clients.LAN) // the WAN's MTU is nobody's here
	sent := from.udp(973)
	b.in(clients.LAN, from.udp(973))
	e := b.one(clients.LAN)
	if e.quotes(t, 3, 4, lanIP, bobIP, sent); e.icmp.Seq != 1000 {
		t.Errorf("next-hop MTU %d", e.icmp.Seq)
	}
	from.dont = false
	b.in(clients.LAN, from.udp(1400))
	pieces := b.out(clients.LAN)
	if body := whole(t, pieces); !bytes.Equal(body[8:], text(1400)) {
		t.Error("the payload changed")
	}
	if a, o := b.use(alice, 1), b.use(bob, 1); o.Up != 1000+1428 || a.Down != 1000+1428+20 || a.DownPackets != 3 {
		t.Errorf("alice is billed %+v, bob %+v", a, o)
	}
	b.witnessed()
}

func TestAClientReachesItsOwnMapping(t *testing.T) {
	b := online(t, bytesOf(10_000), bytesOf(200_000))
	w := aliceUp
	w.dst, w.dstPort = wanIP, b.mapped(aliceUp.udp(72)) // 100 bytes
	for _, port := range []uint16{5000, 5001} {         // from the very socket, from another
		w.srcPort = port
		b.in(clients.LAN, w.udp(72))
		if p := b.one(clients.LAN); p.dstPort != 5000 || p.dstMAC != aliceMAC || (p.srcPort == w.dstPort) != (port == 5000) {
			t.Errorf("from %d: %v", port, p)
		}
	}
	b.running(alice, 1, 500)
	b.in(clients.LAN, w.udpSuper(60000, 1000)) // over the edge, both ways
	if n, _ := b.delivered(clients.LAN); n != 60 {
		t.Errorf("%d packets: %v", n, b.allDrops())
	}
	b.ended(alice, 1, clients.EndData, 10_000)
	b.running(alice, 2, 500+2*60*1028-10_000)
	b.witnessed()
}

func TestAHairpinIsHeldToTheGrantsOfBoth(t *testing.T) {
	paused := func(b *bench, slot int) {
		b.record(slot, 1).Revoke(b.now)
		b.changed(slot)
	}
	b, from := neighbours(t, free(), free())
	from.dstPort = b.mapped(aliceUp.udp(0))
	paused(b, alice)
	b.in(clients.LAN, from.udp(72))
	b.silent(clients.LAN, clients.WAN)
	b.dropped(NoGrant, 1)
	if u := b.use(bob, 1); u.Up != 100 { // as if it had gone out
		t.Errorf("billed %+v", u)
	}
	paused(b, bob)
	b.in(clients.LAN, from.udp(72))
	b.silent(clients.LAN, clients.WAN)
	b.dropped(NoGrant, 2)
	if u := b.use(bob, 1); u.Up != 100 {
		t.Errorf("billed %+v", u)
	}
}

// Each half has an edge of its own: what fits, and to the byte.
func TestAHairpinAtTheEdgeOfAGrant(t *testing.T) {
	const packet = 1028
	for _, row := range []struct {
		name       string
		alice, bob uint64 // limits
		came, sent uint64 // packets
	}{
		{"the sender's", clients.NoLimit, 10*packet + 5, 10, 10},
		{"the receiver's", 28 + 7*packet + 5, clients.NoLimit, 7, 60},
		{"both, the sender's first", 28 + 12*packet + 5, 10*packet + 5, 10, 10},
		{"both, the receiver's first", 28 + 7*packet + 5, 10*packet + 5, 7, 10},
		{"the same", 28 + 9*packet + 5, 9*packet + 5, 9, 9},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, from := neighbours(t, bytesOf(row.alice), bytesOf(row.bob))
			from.dstPort = b.mapped(aliceUp.udp(0))
			b.in(clients.LAN, from.udpSuper(60000, 1000))
			if n, _ := b.delivered(clients.LAN); n != int(row.came) {
				t.Errorf("%d packets came: %v", n, b.allDrops())
			}
			if u := b.use(alice, 1); u.Down != row.came*packet {
				t.Errorf("alice is billed %+v", u)
			}
			if u := b.use(bob, 1); u.Up != row.sent*packet {
				t.Errorf("bob is billed %+v", u)
			}
			b.witnessed()
		})
	}
}

// The rate of each half holds it: what does not conform waits, in order.
func TestAHairpinIsHeldToTheRatesOfBoth(t *testing.T) {
	for _, row := range []struct {
		name       string
		alice, bob clients.Terms
	}{
		{"the sender's", free(), briskly(clients.NoLimit)},
		{"the receiver's", briskly(clients.NoLimit), free()},
		{"both", briskly(clients.NoLimit), briskly(clients.NoLimit)},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, from := neighbours(t, row.alice, row.bob)
			from.dstPort = b.mapped(aliceUp.udp(0))
			b.in(clients.LAN, from.udpSuper(60000, 1000), from.udpSuper(34000, 1000), from.udpSuper(10000, 1000))
			n, _ := b.delivered(clients.LAN)
			if n >= 104 {
				t.Fatalf("%d packets at once", n)
			}
			for range 1000 {
				b.now += time.Millisecond
				b.round()
			}
			rest, _ := b.delivered(clients.LAN)
			if n+rest != 104 {
				t.Errorf("%d packets at once, %d later: %v", n, rest, b.allDrops())
			}
			a, o := b.use(alice, 1), b.use(bob, 1)
			if o.Up != 104*1028 || a.Down != 104*1028 {
				t.Errorf("alice is billed %+v, bob %+v", a, o)
			}
			if q := b.table.Header().Counters().Totals.QueuedPackets; q != 0 || !b.f.pacer.Idle() {
				t.Errorf("%d packets still wait", q)
			}
			b.witnessed()
		})
	}
}

// A super-packet that waited, is released in portions, and meets an edge of its
// sender's within one and of its receiver's within that.
func TestAHairpinInPortionsOfPortions(t *testing.T) {
	b, from := neighbours(t, bytesOf(28+96*1028+700), briskly(98*1028+5))
	b.grant(alice, bytesOf(1028+100), bytesOf(1_000_000))
	b.grant(bob, briskly(2*1028), briskly(1_000_000))
	from.dstPort = b.mapped(aliceUp.udp(0))
	b.in(clients.LAN, from.udpSuper(60000, 1000), from.udpSuper(34000, 1000), from.udpSuper(15000, 1000))
	for range 5 {
		b.now += 40 * time.Millisecond
		b.round()
	}
	var body []byte
	for _, p := range b.out(clients.LAN) {
		body = append(body, p.payload...)
	}
	if want := append(append(text(60000), text(34000)...), text(15000)...); !bytes.Equal(body, want) {
		t.Errorf("%d bytes came of %d: %v", len(body), len(want), b.allDrops())
	}
	b.ended(bob, 1, clients.EndData, 98*1028+5)
	b.ended(bob, 2, clients.EndData, 2*1028)
	b.running(bob, 3, 109*1028-100*1028-5)
	b.ended(alice, 1, clients.EndData, 28+96*1028+700)
	b.ended(alice, 2, clients.EndData, 1028+100)
	b.running(alice, 3, 109*1028-97*1028-800)
	b.witnessed()
}

func TestAHairpinToNobody(t *testing.T) {
	b, from := neighbours(t, free(), free())
	from.dstPort = 9
	b.in(clients.LAN, from.udp(72), from.syn(false, 1460), from.tcp(0))
	b.pass(10 * time.Second)
	b.silent(clients.LAN, clients.WAN)
	b.dropped(NoMapping, 3)
	if n := b.lost(bob, NoMapping); n != 3 {
		t.Errorf("%d of bob's packets lost", n)
	}
	b.in(clients.LAN, from.echo(true, 56), from.echo(false, 56))
	b.silent(clients.LAN, clients.WAN)
	b.dropped(NoMapping, 5)
	if u := b.use(bob, 1); u.Up != 100+44+40 {
		t.Errorf("billed %+v", u)
	}
}

func TestTheBoxAndAClientByAHairpin(t *testing.T) {
	b, from := neighbours(t, free(), free())
	box := boxUp
	box.dst, box.dstPort = wanIP, b.mapped(aliceUp.udp(0))
	b.in(clients.Host, box.udp(72))
	p := b.one(clients.LAN)
	if p.dstMAC != aliceMAC || p.ip.TTL != 64 {
		t.Errorf("%v, TTL %d", p, p.ip.TTL)
	}
	from.dstPort = p.srcPort
	b.in(clients.LAN, from.udp(72))
	if p := b.one(clients.Host); p.dstPort != box.srcPort || be32(p.ip.DstIP.To4()) != lanIP || be32(p.ip.SrcIP.To4()) != wanIP {
		t.Errorf("%v", p)
	}
	a, o := b.use(alice, 1), b.use(bob, 1)
	if c := b.table.Header().Counters().Totals; a.Down != 100 || o.Up != 100 || c.ExemptBytes != 200 || c.HairpinBytes != 200 {
		t.Errorf("alice is billed %+v, bob %+v: %+v", a, o, c)
	}
	b.witnessed()
}

// Two senders whose packets have one identification do not get into each
// other's way at the WAN address.
func TestFragmentsOfTwoSendersTurnRound(t *testing.T) {
	b, from := neighbours(t, free(), free())
	from.dstPort = b.mapped(aliceUp.udp(0))
	w := bobUp
	w.dst = serverIP
	toBob := aliceUp
	toBob.dst, toBob.dstPort = wanIP, b.mapped(w.udp(0))
	x, y := fragmentsOf(from.udp(2000), 1480), fragmentsOf(toBob.udp(2000), 1480)
	b.in(clients.LAN, x[0], y[0], x[1], y[1])
	for i, p := range b.out(clients.LAN) {
		if want := []uint64{aliceMAC, bobMAC}[i%2]; p.dstMAC != want {
			t.Errorf("fragment %d went to %x, not %x", i, p.dstMAC, want)
		}
	}
	b.dropped(StrayFragment, 0)
	b.witnessed()
}

// A forwarder that ends while frames wait on either half forgets none of them.
func TestWhatWaitsOnAHairpinWhenTheForwarderEnds(t *testing.T) {
	b, from := neighbours(t, briskly(clients.NoLimit), briskly(clients.NoLimit))
	from.dstPort = b.mapped(aliceUp.udp(0))
	b.in(clients.LAN, from.udpSuper(60000, 1000), from.udpSuper(40000, 1000))
	n, _ := b.delivered(clients.LAN)
	b.start()
	b.resolve()
	b.pass(time.Second)
	b.silent(clients.LAN)
	b.dropped(ForwarderEnded, uint64(100-n))
	if a := b.use(alice, 1); a.Down != uint64(n)*1028 {
		t.Errorf("%d came, alice is billed %+v", n, a)
	}
}

// turning gives a batch of bob's small packets to alice's mapping a round.
func turning(t testing.TB) (b *bench, lan *mill, round func()) {
	b, from := neighbours(t, free(), free())
	from.dstPort = b.mapped(aliceUp.udp(0))
	lan = newMill(batchOf(small(from))...)
	b.f.links = Links{lan, newMill(), newMill()}
	return b, lan, func() {
		b.now += 10 * time.Microsecond
		b.f.ready = [clients.NumPorts]bool{true, true, true}
		b.f.Round()
		b.f.Round()
	}
}

func BenchmarkHairpin(b *testing.B) {
	_, lan, run := turning(b)
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lan.sent), "ns/packet")
}

func TestAHairpinAllocatesNothing(t *testing.T) {
	b, mill, run := turning(t)
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations in a batch", n)
	}
	if mill.sent == 0 {
		t.Error("nothing came back")
	}
	b.conserve()
}
