package forwarder

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
)

// What RFCs ask of a router and of a NAT, done to the whole path; CONFORMANCE.md
// says which test stands for what.

// talking has alice online, with a mapping; down is what its remote answers by.
func talking(t testing.TB, change ...func(*Config)) (b *bench, down flow) {
	t.Helper()
	b = aliceBench(t, change...)
	b.in(clients.LAN, aliceUp.udp(300))
	return b, back(b.one(clients.WAN))
}

// patched changes octets of a frame's IPv4 header and makes its checksum right.
func patched(raw []byte, change func(ip []byte)) []byte {
	change(raw[l3:])
	return checksummed(raw)
}

func TestWhatIsMalformedIsDroppedInSilence(t *testing.T) {
	rows := []struct {
		name   string
		change func(raw []byte) []byte
		want   Reason
	}{
		{"an IHL of 4", func(r []byte) []byte { return patched(r, func(ip []byte) { ip[0] = 0x44 }) }, Malformed},
		{"an IHL of 15, beyond the packet", func(r []byte) []byte { return patched(r, func(ip []byte) { ip[0] = 0x4f }) }, Malformed},
		{"version 6 in an IPv4 frame", func(r []byte) []byte { return patched(r, func(ip []byte) { ip[0] = 0x65 }) }, Malformed},
		{"a bad header checksum", func(r []byte) []byte { r[l3+11]++; return r }, BadChecksum},
		{"a total length below the header's", func(r []byte) []byte { return patched(r, func(ip []byte) { ip[2], ip[3] = 0, 19 }) }, Malformed},
		{"a total length beyond the frame", func(r []byte) []byte { return patched(r, func(ip []byte) { ip[2], ip[3] = 0, 49 }) }, Malformed},
		{"a loose source route", func(r []byte) []byte { return withOptions(r, 131, 7, 4, 8, 8, 8, 8, 0) }, SourceRouted},
		{"a strict source route", func(r []byte) []byte { return withOptions(r, 137, 7, 4, 8, 8, 8, 8, 0) }, SourceRouted},
		{"options cut off by the packet's end", func(r []byte) []byte { return patched(withOptions(r, 7, 0, 4, 0), func(ip []byte) { ip[0] = 0x4f }) }, Malformed},
		{"options that make nothing, and a bad header checksum", func(r []byte) []byte { r = withOptions(r, 7, 0, 4, 0); r[l3+11]++; return r }, BadChecksum},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b, down := talking(t)
			up := aliceUp
			up.ttl, down.ttl = 1, 1 // so that an answer would be seen
			b.in(clients.LAN, row.change(up.udp(20)))
			b.in(clients.WAN, row.change(down.udp(20)))
			b.dropped(row.want, 2)
			b.silent(clients.LAN, clients.WAN, clients.Host)
		})
	}
}

func TestNoErrorToOrAboutMany(t *testing.T) {
	rows := []struct {
		name   string
		change func(*flow)
		want   Reason
	}{
		{"to everybody on the cable", func(w *flow) { w.dstMAC = broadcast }, NotForUs},
		{"to a group on the cable", func(w *flow) { w.dstMAC = 0x01005e000001 }, NotForUs},
		{"to a group", func(w *flow) { w.dst = 0xe0000001 }, NotForUs},
		{"to everybody", func(w *flow) { w.dst = 0xffffffff }, NotForUs},
		{"to everybody on the LAN", func(w *flow) { w.dst = 0x0a0000ff }, LANDestination},
		{"from nobody", func(w *flow) { w.src = 0 }, BadSource},
		{"from a group", func(w *flow) { w.src = 0xe0000001 }, BadSource},
		{"from everybody", func(w *flow) { w.src = 0xffffffff }, BadSource},
		{"from loopback", func(w *flow) { w.src = 0x7f000001 }, BadSource},
		{"from elsewhere", func(w *flow) { w.src = serverIP }, BadSource},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBench(t)
			w := aliceUp
			w.ttl, w.dont = 1, true
			row.change(&w)
			b.in(clients.LAN, w.udp(2000))
			b.dropped(row.want, 1)
			b.silent(clients.LAN, clients.WAN, clients.Host)
		})
	}
}

func TestNoHopIsLeft(t *testing.T) {
	for ttl := range uint8(3) {
		b, down := talking(t)
		up := aliceUp
		up.ttl, down.ttl = ttl, ttl
		b.in(clients.LAN, up.udp(10))
		b.in(clients.WAN, down.udp(10))
		lan, wan := b.one(clients.LAN), b.one(clients.WAN)
		if ttl > 1 { // each passed, with a hop less
			if lan.ip.TTL != 1 || wan.ip.TTL != 1 || lan.udp == nil || wan.udp == nil {
				t.Errorf("of 2 hops %d and %d are left", lan.ip.TTL, wan.ip.TTL)
			}
			continue
		}
		lan.quotes(t, 11, 0, lanIP, aliceIP, up.udp(10))
		wan.quotes(t, 11, 0, wanIP, serverIP, down.udp(10))
		b.dropped(TTLExceeded, 2)
	}
}

// RFC 6864: an error is an atomic datagram, and so no longer than its link takes.
func TestAnErrorFitsItsLink(t *testing.T) {
	for _, mtu := range []int{68, 300, 576, 1500} {
		b := aliceBench(t)
		b.mtus(mtu, mtu)
		b.in(clients.LAN, aliceUp.udp(0))
		up, down := aliceUp, back(b.one(clients.WAN))
		up.ttl, down.ttl = 1, 1
		for port, raw := range map[int][]byte{clients.LAN: up.udp(1000), clients.WAN: down.udp(1000)} {
			b.in(port, raw)
			if e := b.one(port); len(e.packet) != min(mtu, 576) || e.ip.Flags != layers.IPv4DontFragment || string(e.payload) != string(raw[l3:][:len(e.payload)]) {
				t.Errorf("MTU %d, port %d: %d bytes, flags %v", mtu, port, len(e.packet), e.ip.Flags)
			}
		}
	}
}

func TestTooBigForTheLAN(t *testing.T) {
	b, down := talking(t)
	b.mtus(1400, 1500)
	down.dont = true
	b.in(clients.WAN, down.udp(1373))
	e := b.one(clients.WAN)
	e.quotes(t, 3, 4, wanIP, serverIP, down.udp(1373))
	if e.icmp.Seq != 1400 {
		t.Errorf("next-hop MTU %d", e.icmp.Seq)
	}
	b.silent(clients.LAN)
	b.in(clients.WAN, down.udp(1372))
	b.one(clients.LAN)
	down.dont = false
	b.in(clients.WAN, down.udp(1373))
	if body := whole(t, b.out(clients.LAN)); !bytes.Equal(body[8:], text(1373)) {
		t.Error("the payload changed")
	}
}

// flowsOut are one packet of each protocol out, and its answer.
var flowsOut = map[string]struct {
	up   func(flow) []byte
	down func(flow) []byte
	port int // of the internal endpoint, behind the inner IPv4 header: up
	peer int // likewise, down
}{
	"UDP":  {func(w flow) []byte { return w.udp(300) }, func(w flow) []byte { return w.udp(300) }, 0, 2},
	"TCP":  {func(w flow) []byte { return w.syn(false, 1460) }, func(w flow) []byte { return w.syn(true, 1460) }, 0, 2},
	"echo": {func(w flow) []byte { return w.echo(true, 300) }, func(w flow) []byte { return w.echo(false, 300) }, 4, 4},
}

// errorKinds are the ICMP errors that a host or a router sends.
var errorKinds = []struct{ icmpType, code uint8 }{
	{3, 0}, {3, 1}, {3, 2}, {3, 3}, {3, 4}, {3, 9}, {3, 10}, {3, 13}, {11, 0}, {11, 1}, {12, 0},
}

// judgeQuote fails unless an error quotes a packet between two ends, both
// checksums of it right as far as they are quoted.
func judgeQuote(t *testing.T, quote []byte, src, dst uint32, portAt int, port uint16, complete bool) {
	t.Helper()
	if be32(quote[12:]) != src || be32(quote[16:]) != dst || binary.BigEndian.Uint16(quote[20+portAt:]) != port {
		t.Errorf("quotes %x: want %x to %x, %d", quote[:28], src, dst, port)
	}
	if naiveSum(quote[:20]) != 0xffff {
		t.Errorf("quotes a header whose checksum is wrong: %x", quote[:20])
	}
	if body := quote[20:]; complete {
		sum := append(pseudo(quote, len(body)), body...)
		if quote[9] == 1 {
			sum = body
		}
		if naiveSum(sum) != 0xffff {
			t.Errorf("quotes a packet whose checksum is wrong: %x", quote)
		}
	}
}

func TestEveryICMPErrorFromOutsideIsTranslated(t *testing.T) {
	for name, row := range flowsOut {
		t.Run(name, func(t *testing.T) {
			b := aliceBench(t)
			b.in(clients.LAN, row.up(aliceUp))
			p := b.one(clients.WAN)
			for _, kind := range errorKinds {
				for _, n := range []int{28, len(p.packet)} {
					w := back(p)
					w.src = 0x08080808 // a router on the way
					b.in(clients.WAN, w.icmpError(kind.icmpType, kind.code, 1300, p.packet[:n]))
					e := b.one(clients.LAN)
					if e.icmp.TypeCode != layers.CreateICMPv4TypeCode(kind.icmpType, kind.code) || e.icmp.Seq != 1300 ||
						be32(e.ip.SrcIP.To4()) != w.src || be32(e.ip.DstIP.To4()) != aliceIP || e.ip.TTL != w.ttl-1 {
						t.Errorf("%v: %v %v", kind, e, e.icmp.TypeCode)
					}
					judgeQuote(t, e.payload, aliceIP, serverIP, row.port, 5000, n > 28)
				}
			}
			b.in(clients.WAN, row.down(back(p))) // none of them removed the mapping
			b.one(clients.LAN)
		})
	}
}

func TestEveryICMPErrorFromAClientIsTranslated(t *testing.T) {
	for name, row := range flowsOut {
		t.Run(name, func(t *testing.T) {
			b := aliceBench(t)
			b.in(clients.LAN, row.up(aliceUp))
			p := b.one(clients.WAN)
			b.in(clients.WAN, row.down(back(p)))
			got := b.one(clients.LAN)
			for _, kind := range errorKinds {
				for _, n := range []int{28, len(got.packet)} {
					b.in(clients.LAN, aliceUp.icmpError(kind.icmpType, kind.code, 1300, got.packet[:n]))
					e := b.one(clients.WAN)
					if e.icmp.TypeCode != layers.CreateICMPv4TypeCode(kind.icmpType, kind.code) || e.icmp.Seq != 1300 ||
						be32(e.ip.SrcIP.To4()) != wanIP || be32(e.ip.DstIP.To4()) != serverIP || e.ip.TTL != aliceUp.ttl-1 {
						t.Errorf("%v: %v %v", kind, e, e.icmp.TypeCode)
					}
					judgeQuote(t, e.payload, serverIP, wanIP, row.peer, p.srcPort, n > 28)
				}
			}
			b.in(clients.WAN, row.down(back(p)))
			b.one(clients.LAN)
		})
	}
}

func TestAFullTableIsSaidAndEvictsNobody(t *testing.T) {
	rows := []struct {
		name              string
		all, flows, ports int              // how many all may have, and one client; 0: the default
		next              func(*flow, int) // the i-th flow
		want              Reason
	}{
		{"no flow is left", 8, 0, 0, func(w *flow, i int) { w.dst += uint32(i) }, FlowsFull},
		{"the client has its flows", 4096, 8, 0, func(w *flow, i int) { w.dst += uint32(i) }, ClientCap},
		{"the client has its ports", 4096, 0, 8, func(w *flow, i int) { w.srcPort += uint16(i) }, ClientCap},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBench(t, func(c *Config) { c.NATFlows = row.all })
			b.cap(row.flows, row.ports)
			var answers []flow
			for i := range 8 {
				w := aliceUp
				row.next(&w, i)
				b.in(clients.LAN, w.udp(10))
				answers = append(answers, back(b.one(clients.WAN)))
			}
			w := aliceUp
			row.next(&w, 8)
			b.in(clients.LAN, w.udp(10))
			e := b.one(clients.LAN)
			w.ttl-- // that much may be changed already (RFC 1812, 4.3.2.3)
			e.quotes(t, 3, 1, lanIP, aliceIP, w.udp(10))
			b.silent(clients.WAN)
			b.dropped(row.want, 1)
			for _, a := range answers {
				b.in(clients.WAN, a.udp(10))
				b.one(clients.LAN)
			}
		})
	}
}

// RFC 6888 REQ-11, of the WAN address's ports.
func TestTheLastPortIsSaid(t *testing.T) {
	b := aliceBench(t, dropRows[NoPort].change)
	dropRows[NoPort].drop(b)
	w := aliceUp
	w.srcPort, w.ttl = allPorts+1, w.ttl-1
	b.one(clients.LAN).quotes(t, 3, 1, lanIP, aliceIP, w.udp(0))
	b.dropped(NoPort, 1)
}

// The timers of the translations, as the forwarder runs them: what came in a
// second before they end passes, and refreshes nothing.
func TestTimersThroughThePath(t *testing.T) {
	rows := []struct {
		name  string
		opens func(b *bench) (down flow)
		down  func(flow) []byte
		lasts time.Duration
	}{
		{"a UDP mapping lasts 300 s", func(b *bench) flow {
			b.in(clients.LAN, aliceUp.udp(10))
			return back(b.one(clients.WAN))
		}, func(w flow) []byte { return w.udp(10) }, 300 * time.Second},
		{"an echo lasts 60 s", func(b *bench) flow {
			b.in(clients.LAN, aliceUp.echo(true, 10))
			return back(b.one(clients.WAN))
		}, func(w flow) []byte { w.srcPort = w.dstPort; return w.echo(false, 10) }, 60 * time.Second},
		{"a SYN lasts 240 s", func(b *bench) flow {
			b.in(clients.LAN, aliceUp.syn(false, 1460))
			return back(b.one(clients.WAN))
		}, func(w flow) []byte { return w.tcp(10) }, 240 * time.Second},
		{"an established connection lasts 7440 s", func(b *bench) flow {
			b.in(clients.LAN, aliceUp.tcp(10))
			down := back(b.one(clients.WAN))
			b.in(clients.WAN, down.tcp(10))
			b.one(clients.LAN)
			return down
		}, func(w flow) []byte { return w.tcp(10) }, 7440 * time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBench(t)
			down := row.opens(b)
			b.now += row.lasts - time.Second
			b.in(clients.WAN, row.down(down))
			b.one(clients.LAN)
			b.now += 3 * time.Second
			b.in(clients.WAN, row.down(down))
			b.dropped(NoMapping, 1)
			b.silent(clients.LAN)
		})
	}
}

func TestSourcesThatMayBeOnTheWAN(t *testing.T) {
	rows := []struct {
		name string
		src  uint32
	}{
		{"10/8 beside the LAN", 0x0a000101},
		{"172.16/12", 0xac100001},
		{"192.168/16", 0xc0a80001},
		{"100.64/10, shared", 0x64400001},
		{"192.0.2/24, documentation", 0xc0000201},
		{"198.51.100/24, documentation", 0xc6336409},
		{"203.0.113/24, documentation, and the WAN's own", routerIP},
		{"198.18/15, benchmarks", 0xc6120001},
		{"the first behind 0/8", 0x01000000},
		{"the last before 127/8", 0x7effffff},
		{"the first behind 127/8", 0x80000000},
		{"the last before 169.254/16", 0xa9fdffff},
		{"the first behind 169.254/16", 0xa9ff0000},
		{"the last before 224/4", 0xdfffffff},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBench(t)
			w := aliceUp
			w.dst = row.src
			b.in(clients.LAN, w.udp(10))
			down := back(b.one(clients.WAN))
			b.in(clients.WAN, down.udp(10))
			if p := b.one(clients.LAN); be32(p.ip.SrcIP.To4()) != row.src {
				t.Errorf("from %v", p.ip.SrcIP)
			}
		})
	}
}

func TestIPv6IsDroppedAndCountedOnEveryPort(t *testing.T) {
	b, down := talking(t)
	six := func(raw []byte) []byte { raw[22], raw[23] = 0x86, 0xdd; return raw }
	group := aliceUp
	group.dstMAC = 0x333300000001
	b.in(clients.LAN, six(aliceUp.udp(100)), six(group.udp(100)))
	b.in(clients.WAN, six(down.udp(100)))
	b.in(clients.Host, six(boxUp.udp(100)))
	b.dropped(IPv6, 4)
	b.silent(clients.LAN, clients.WAN, clients.Host)
}

func TestUDPChecksumsThroughThePath(t *testing.T) {
	const checksum = l4 + 6
	without := func(raw []byte) []byte { raw[checksum], raw[checksum+1] = 0, 0; return raw }
	b, down := talking(t)
	b.in(clients.LAN, without(aliceUp.udp(100)))
	if p := b.one(clients.WAN); p.udp.Checksum != 0 {
		t.Errorf("up: none became %#x", p.udp.Checksum)
	}
	b.in(clients.WAN, without(down.udp(100)))
	if p := b.one(clients.LAN); p.udp.Checksum != 0 {
		t.Errorf("down: none became %#x", p.udp.Checksum)
	}
	// A payload for which the restored checksum comes out as 0: as 0xffff it is sent.
	raw := down.udp(100)
	b.in(clients.WAN, append([]byte(nil), raw...))
	p := b.one(clients.LAN)
	pair := raw[len(raw)-2:]
	word := binary.BigEndian.Uint16(pair)
	binary.BigEndian.PutUint16(pair, onesSum(word, p.udp.Checksum))
	sum := binary.BigEndian.Uint16(raw[checksum:])
	binary.BigEndian.PutUint16(raw[checksum:], onesSum(sum, ^p.udp.Checksum))
	b.in(clients.WAN, raw)
	if p := b.one(clients.LAN); p.udp.Checksum != 0xffff {
		t.Errorf("a computed 0 is sent as %#x", p.udp.Checksum)
	}
}

// onesSum adds in one's complement.
func onesSum(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s>>16 + s&0xffff)
}

func TestAProbeOfTheWANAddressIsAnswered(t *testing.T) {
	b := newBench(t)
	probe := arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, target: wanIP}
	b.in(clients.WAN, probe.raw())
	b.one(clients.WAN).says(t, 2, wanMAC, wanIP, routerMAC, 0)
	probe.target++
	b.in(clients.WAN, probe.raw())
	b.silent(clients.LAN, clients.WAN, clients.Host)
}

// RFC 1812, 4.3.2.7: no error about a packet to an IP broadcast address.
func TestNoErrorAboutABroadcastOnTheWAN(t *testing.T) {
	b := aliceBench(t)
	w := aliceUp
	w.dst, w.ttl = wanIP|0xff, 1
	b.in(clients.LAN, w.udp(10))
	w.ttl, w.dont = 64, true
	b.in(clients.LAN, w.udp(2000))
	b.silent(clients.LAN, clients.WAN)
	b.dropped(NotForUs, 2)
}

// RFC 1812, 5.3.7 and 4.3.2.7: a broadcast address is no source, and gets no error.
func TestABroadcastIsNoSourceOnTheWAN(t *testing.T) {
	b := aliceBench(t)
	b.table.Header().Filtering.Store(uint64(nat.AnyRemote))
	b.in(clients.LAN, aliceUp.udp(10))
	down := back(b.one(clients.WAN))
	down.src = wanIP | 0xff
	b.in(clients.WAN, down.udp(10))
	down.ttl = 1
	b.in(clients.WAN, down.udp(10))
	b.silent(clients.LAN, clients.WAN)
	b.dropped(BadSource, 2)
}

// RFC 5508 REQ-1: a client's ICMP queries pass, and their answers; timestamp is one.
func TestATimestampIsTranslated(t *testing.T) {
	b := aliceBench(t)
	query := func(w flow, kind uint8, id uint16) []byte {
		return serialize(w.ethernet(), w.ip(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: id, Seq: 1}, payload(12))
	}
	b.in(clients.LAN, query(aliceUp, 13, 77))
	up := b.one(clients.WAN)
	b.in(clients.WAN, query(back(up), 14, up.icmp.Id))
	if p := b.one(clients.LAN); p.icmp.Id != 77 {
		t.Errorf("id %d", p.icmp.Id)
	}
}
