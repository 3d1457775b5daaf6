package forwarder

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// aliceBench has alice online without limits.
func aliceBench(t testing.TB, change ...func(*Config)) *bench {
	b := newBench(t, change...)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	return b
}

func TestUpAndDown(t *testing.T) {
	rows := []struct {
		name     string
		up, down func(flow) []byte
		ip       uint64 // layer 3 bytes of each
		packets  uint64
	}{
		{"UDP", func(w flow) []byte { return w.udp(100) }, func(w flow) []byte { return w.udp(100) }, 128, 1},
		{"an empty datagram, padded by Ethernet", func(w flow) []byte { return w.udp(0) }, func(w flow) []byte { return w.udp(0) }, 28, 1},
		{"TCP", func(w flow) []byte { return w.syn(false, 1460) }, func(w flow) []byte { return w.syn(true, 1460) }, 44, 1},
		{"echo", func(w flow) []byte { return w.echo(true, 56) }, func(w flow) []byte { return w.echo(false, 56) }, 84, 1},
		{"UDP with the checksum left to hardware", func(w flow) []byte { return offload(w.udp(100), 0, 0) }, func(w flow) []byte { return offload(w.udp(100), 0, 0) }, 128, 1},
		{"a TCP super-packet", func(w flow) []byte { return w.tcpSuper(3001, 1000) }, func(w flow) []byte { return w.tcpSuper(3001, 1000) }, 3001 + 4*40, 4},
		{"a UDP super-packet", func(w flow) []byte { return w.udpSuper(3000, 1200) }, func(w flow) []byte { return w.udpSuper(3000, 1200) }, 3000 + 3*28, 3},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBench(t)
			b.in(clients.LAN, row.up(aliceUp))
			all := b.out(clients.WAN)
			if uint64(len(all)) != row.packets {
				t.Fatalf("%d packets up", len(all))
			}
			p := all[0]
			if be32(p.ip.SrcIP.To4()) != wanIP || be32(p.ip.DstIP.To4()) != serverIP || p.ip.TTL != 63 ||
				p.srcMAC != wanMAC || p.dstMAC != routerMAC || p.icmp == nil && p.dstPort != 443 {
				t.Errorf("up: %v, TTL %d, from %x to %x", p, p.ip.TTL, p.srcMAC, p.dstMAC)
			}
			if p.srcPort < 1024 {
				t.Errorf("external port %d", p.srcPort)
			}
			b.in(clients.WAN, row.down(back(p)))
			all = b.out(clients.LAN)
			if uint64(len(all)) != row.packets {
				t.Fatalf("%d packets down: %v", len(all), b.allDrops())
			}
			p = all[0]
			if be32(p.ip.SrcIP.To4()) != serverIP || be32(p.ip.DstIP.To4()) != aliceIP || p.ip.TTL != 59 ||
				p.srcMAC != lanMAC || p.dstMAC != aliceMAC || p.dstPort != 5000 {
				t.Errorf("down: %v, TTL %d, from %x to %x", p, p.ip.TTL, p.srcMAC, p.dstMAC)
			}
			want := clients.Use{Started: 1000 * time.Second, Up: row.ip, Down: row.ip, UpPackets: row.packets, DownPackets: row.packets}
			if u := b.use(alice, 1); u != want {
				t.Errorf("billed %+v, want %+v", u, want)
			}
			b.witnessed()
		})
	}
}

func TestWhatTheWANMayNotSend(t *testing.T) {
	b := aliceBench(t)
	b.in(clients.LAN, aliceUp.udp(100))
	reply := back(b.one(clients.WAN))
	rows := []struct {
		name   string
		change func(*flow)
		want   Reason
	}{
		{"from 0/8", func(w *flow) { w.src = 1 }, BadSource},
		{"from 127/8", func(w *flow) { w.src = 0x7f000001 }, BadSource},
		{"from 169.254/16", func(w *flow) { w.src = 0xa9fe0001 }, BadSource},
		{"from 224/4", func(w *flow) { w.src = 0xe0000001 }, BadSource},
		{"from 240/4", func(w *flow) { w.src = 0xf0000001 }, BadSource},
		{"from the LAN's prefix", func(w *flow) { w.src = aliceIP }, BadSource},
		{"from the own address", func(w *flow) { w.src = wanIP }, BadSource},
		{"private sources pass to the filter", func(w *flow) { w.src = 0xc0a80001 }, Filtered},
		{"100.64/10 passes to the filter", func(w *flow) { w.src = 0x64400001 }, Filtered},
		{"to another address", func(w *flow) { w.dst++ }, NotForUs},
		{"to a client's address", func(w *flow) { w.dst = aliceIP }, NotForUs},
		{"to another station", func(w *flow) { w.dstMAC = lanMAC }, NotForUs},
		{"to a port nobody has", func(w *flow) { w.dstPort ^= 1 }, NoMapping},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := reply
			row.change(&w)
			before := b.drops(row.want)
			b.in(clients.WAN, w.udp(10))
			b.dropped(row.want, before+1)
			b.silent(clients.LAN, clients.WAN, clients.Host)
		})
	}
}

func TestThePacketWhoseHopsAreUsedUp(t *testing.T) {
	b := aliceBench(t)
	w := aliceUp
	w.ttl = 1
	sent := w.udp(1000)
	b.in(clients.LAN, w.udp(1000))
	b.one(clients.LAN).quotes(t, 11, 0, lanIP, aliceIP, sent)
	b.dropped(TTLExceeded, 1)

	b.in(clients.LAN, aliceUp.udp(10))
	r := back(b.one(clients.WAN))
	r.ttl = 1
	sent = r.udp(10)
	b.in(clients.WAN, r.udp(10))
	b.one(clients.WAN).quotes(t, 11, 0, wanIP, serverIP, sent)
	b.dropped(TTLExceeded, 2)
	if u := b.use(alice, 1); u.Up != 38 || u.Down != 0 {
		t.Errorf("billed %+v", u)
	}
	if own := b.table.Header().Counters().Totals.OwnPackets; own != 2 {
		t.Errorf("%d own packets", own)
	}
}

func TestHopsAreJudgedBeforeTheNextHopIsKnown(t *testing.T) {
	b := newColdBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	w := aliceUp
	w.ttl = 1
	sent := w.udp(10)
	b.in(clients.LAN, w.udp(10))
	b.one(clients.LAN).quotes(t, 11, 0, lanIP, aliceIP, sent)
}

func TestTooBigAndNotToBeFragmented(t *testing.T) {
	b := aliceBench(t)
	b.mtus(1500, 1400)
	w := aliceUp
	w.dont = true
	rows := []struct {
		name string
		raw  func() []byte
		fits bool
	}{
		{"a packet of the MTU", func() []byte { return w.udp(1400 - 28) }, true},
		{"a packet over the MTU", func() []byte { return w.udp(1401 - 28) }, false},
		{"segments of the MTU", func() []byte { return w.udpSuper(5000, 1400-28) }, true},
		{"segments over the MTU", func() []byte { return w.udpSuper(5000, 1401-28) }, false},
		{"TCP segments over the MTU", func() []byte { return w.tcpSuper(5000, 1401-40) }, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			sent := row.raw()
			b.in(clients.LAN, row.raw())
			if row.fits {
				if len(b.out(clients.WAN)) == 0 {
					t.Error("nothing came out")
				}
				b.silent(clients.LAN)
				return
			}
			b.silent(clients.WAN)
			e := b.one(clients.LAN)
			e.quotes(t, 3, 4, lanIP, aliceIP, sent)
			if e.icmp.Seq != 1400 {
				t.Errorf("next-hop MTU %d", e.icmp.Seq)
			}
		})
	}
}

// whole puts fragments together, by definition.
func whole(t *testing.T, pieces []*seen) []byte {
	t.Helper()
	var body []byte
	for i, p := range pieces {
		if int(p.ip.FragOffset)*8 != len(body) || p.ip.Id != pieces[0].ip.Id {
			t.Fatalf("fragment %d: offset %d after %d bytes, id %d", i, p.ip.FragOffset*8, len(body), p.ip.Id)
		}
		if more := p.ip.Flags&layers.IPv4MoreFragments != 0; more == (i == len(pieces)-1) {
			t.Fatalf("fragment %d of %d: more is %v", i, len(pieces), more)
		}
		body = append(body, p.ip.Payload...)
	}
	ip := append([]byte(nil), pieces[0].packet[:20]...)
	if sum := naiveSum(append(pseudo(ip, len(body)), body...)); sum != 0xffff {
		t.Fatalf("checksum of the whole: %#x", sum)
	}
	return body
}

func TestTooBigIsFragmented(t *testing.T) {
	for _, partial := range []bool{false, true} {
		b := aliceBench(t)
		b.mtus(1500, 576)
		raw := aliceUp.udp(1400)
		if partial {
			raw = offload(raw, 0, 0)
		}
		b.in(clients.LAN, raw)
		pieces := b.out(clients.WAN)
		if len(pieces) != 3 {
			t.Fatalf("%d fragments", len(pieces))
		}
		if body := whole(t, pieces); !bytes.Equal(body[8:], text(1400)) {
			t.Error("the payload changed")
		}
		if u := b.use(alice, 1); u.Up != 1428+2*20 || u.UpPackets != 3 {
			t.Errorf("billed %+v", u)
		}
		if h := b.table.Header(); h.Counters().Totals.AddedBytes != 40 || h.Counters().Totals.AddedPackets != 2 {
			t.Error("added headers are not counted")
		}
		b.witnessed()
	}
}

func TestOptionsAreFragmentedToTheByte(t *testing.T) {
	b := aliceBench(t)
	b.mtus(1500, 576)
	ip := aliceUp.ip(layers.IPProtocolUDP)
	ip.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 39, OptionData: append([]byte{4}, make([]byte, 36)...)}, {OptionType: 0}}
	raw := serialize(aliceUp.ethernet(), ip, &layers.UDP{SrcPort: 5000, DstPort: 443}, payload(1400))
	b.in(clients.LAN, raw)
	pieces := b.out(clients.WAN)
	sum := uint64(0)
	for _, p := range pieces {
		sum += uint64(len(p.packet))
	}
	if u := b.use(alice, 1); u.Up != sum || u.UpPackets != uint64(len(pieces)) {
		t.Errorf("billed %+v, %d bytes in %d fragments left", u, sum, len(pieces))
	}
	b.witnessed()
}

func TestFragmentsInOrder(t *testing.T) {
	b := aliceBench(t)
	pieces := fragmentsOf(aliceUp.udp(3000), 1480)
	b.in(clients.LAN, pieces...)
	up := b.out(clients.WAN)
	if len(up) != 3 {
		t.Fatalf("%d fragments up: %v", len(up), b.allDrops())
	}
	if body := whole(t, up); !bytes.Equal(body[8:], text(3000)) {
		t.Error("the payload changed")
	}
	b.in(clients.WAN, fragmentsOf(back(up[0]).udp(3000), 1480)...)
	down := b.out(clients.LAN)
	if len(down) != 3 {
		t.Fatalf("%d fragments down: %v", len(down), b.allDrops())
	}
	if body := whole(t, down); !bytes.Equal(body[8:], text(3000)) || binary.BigEndian.Uint16(body[2:]) != 5000 {
		t.Error("the payload or the port changed")
	}
	for _, p := range append(up[1:], down[1:]...) {
		if a, d := be32(p.ip.SrcIP.To4()), be32(p.ip.DstIP.To4()); a != wanIP && d != aliceIP {
			t.Errorf("a later fragment from %x to %x", a, d)
		}
	}
	b.witnessed()
}

func TestFragmentedEcho(t *testing.T) {
	b := aliceBench(t)
	b.in(clients.LAN, fragmentsOf(aliceUp.echo(true, 3000), 1480)...)
	if up := b.out(clients.WAN); len(up) != 3 {
		t.Fatalf("%d fragments: %v", len(up), b.allDrops())
	}
}

func TestFragmentsAreForgottenAndBounded(t *testing.T) {
	b := aliceBench(t)
	b.bind(bob, bobMAC, bobIP)
	b.grant(bob, free())
	for i := range 200 {
		w := aliceUp
		w.id = uint16(i)
		b.in(clients.LAN, fragmentsOf(w.udp(2000), 1480)[0])
	}
	b.dropped(FragmentsFull, 200-maxFragmentedEach)
	b.in(clients.LAN, fragmentsOf(bobUp.udp(2000), 1480)...)
	b.take(clients.WAN)
	b.dropped(StrayFragment, 0)
	b.pass(fragmentedFor + time.Second)
	b.in(clients.LAN, fragmentsOf(bobUp.udp(2000), 1480)[1])
	b.pass(earlyFor + time.Second)
	b.dropped(StrayFragment, 1)
	if len(b.f.fragments.seen) != 0 || len(b.f.fragments.each) != 0 {
		t.Error("not forgotten")
	}
}

func TestAPacketThatIsThroughIsForgotten(t *testing.T) {
	b := aliceBench(t)
	for i := range 3 * maxFragmentedEach {
		w := aliceUp
		w.id = uint16(i)
		b.in(clients.LAN, fragmentsOf(w.udp(3000), 1480)...)
		if n := len(b.out(clients.WAN)); n != 3 {
			t.Fatalf("packet %d: %d fragments: %v", i, n, b.allDrops())
		}
	}
	if len(b.f.fragments.seen) != 0 || len(b.f.fragments.each) != 0 {
		t.Error("not forgotten")
	}
	b.witnessed()
}

func TestALaterFragmentIsItsFirstOnesClients(t *testing.T) {
	b := aliceBench(t)
	pieces := fragmentsOf(aliceUp.udp(3000), 1480)
	b.in(clients.LAN, pieces[0])
	b.one(clients.WAN)
	b.table.Slot(alice).State.Store(clients.SlotFree)
	b.changed(alice)
	b.bind(bob, aliceMAC, aliceIP) // the address is somebody else's now
	b.grant(bob, free())
	b.in(clients.LAN, pieces[1])
	b.silent(clients.WAN)
	b.dropped(StrayFragment, 1)
}

func TestSegmentSizesAreClamped(t *testing.T) {
	b := aliceBench(t)
	b.mtus(1500, 1400)
	mss := func(p *seen) uint16 { return binary.BigEndian.Uint16(p.tcp.Options[0].OptionData) }
	b.in(clients.LAN, aliceUp.syn(false, 1460))
	p := b.one(clients.WAN)
	if mss(p) != 1360 {
		t.Errorf("SYN: %d", mss(p))
	}
	b.in(clients.WAN, back(p).syn(true, 9000))
	if p := b.one(clients.LAN); mss(p) != 1360 {
		t.Errorf("SYN-ACK: %d", mss(p))
	}
	w := aliceUp
	w.srcPort++
	b.in(clients.LAN, w.syn(false, 500))
	if p := b.one(clients.WAN); mss(p) != 500 {
		t.Errorf("raised to %d", mss(p))
	}
}

func TestICMPErrorsFromOutside(t *testing.T) {
	for _, quote := range []int{28, 200} {
		b := aliceBench(t)
		b.in(clients.LAN, aliceUp.udp(300))
		p := b.one(clients.WAN)
		w := back(p)
		w.src = 0x08080808 // a router on the way
		b.in(clients.WAN, w.icmpError(3, 4, 1300, p.packet[:quote]))
		e := b.one(clients.LAN)
		if e.icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 4) || e.icmp.Seq != 1300 || be32(e.ip.SrcIP.To4()) != 0x08080808 || be32(e.ip.DstIP.To4()) != aliceIP {
			t.Fatalf("%v", e)
		}
		in := e.payload
		if be32(in[12:]) != aliceIP || be32(in[16:]) != serverIP || binary.BigEndian.Uint16(in[20:]) != 5000 || naiveSum(in[:20]) != 0xffff {
			t.Errorf("quotes %x", in)
		}
		bad := w.icmpError(3, 1, 0, p.packet[:28])
		bad[len(bad)-1]++
		b.in(clients.WAN, bad)
		b.dropped(BadChecksum, 1)
		b.in(clients.WAN, w.icmpError(3, 4, 67, p.packet[:28])) // no link has such an MTU
		b.dropped(Malformed, 1)
		other := append([]byte(nil), p.packet[:28]...)
		other[20] ^= 0xff
		b.in(clients.WAN, w.icmpError(3, 1, 0, other))
		b.dropped(NoMapping, 1)
		b.silent(clients.LAN, clients.WAN)
		b.in(clients.WAN, back(p).udp(1)) // the flow lives on
		b.one(clients.LAN)
	}
}

func TestICMPErrorsFromAClient(t *testing.T) {
	b := aliceBench(t)
	b.in(clients.LAN, aliceUp.udp(300))
	p := b.one(clients.WAN)
	b.in(clients.WAN, back(p).udp(100))
	got := b.one(clients.LAN)
	b.in(clients.LAN, aliceUp.icmpError(3, 3, 0, got.packet))
	e := b.one(clients.WAN)
	in := e.payload
	if be32(e.ip.SrcIP.To4()) != wanIP || be32(in[16:]) != wanIP || be32(in[12:]) != serverIP || binary.BigEndian.Uint16(in[22:]) != p.srcPort {
		t.Fatalf("%v quotes %x", e, in)
	}
	b.in(clients.LAN, aliceUp.icmpError(3, 3, 0, bobUp.udp(100)[24:])) // about somebody else's
	b.dropped(NotTranslatable, 1)
	b.silent(clients.LAN, clients.WAN)
}

func TestNoErrorAboutAnError(t *testing.T) {
	b := aliceBench(t)
	b.in(clients.LAN, aliceUp.udp(300))
	p := b.one(clients.WAN)
	e := back(p)
	e.ttl = 1
	b.in(clients.WAN, e.icmpError(3, 1, 0, p.packet))
	b.dropped(TTLExceeded, 1)
	later := back(p)
	later.ttl = 1
	pieces := fragmentsOf(later.udp(3000), 1480)
	b.in(clients.WAN, pieces...)
	b.dropped(TTLExceeded, 4)
	if n := len(b.out(clients.WAN)); n != 1 { // about the first fragment
		t.Errorf("%d errors", n)
	}
	b.silent(clients.LAN)
}

func TestErrorsToOneClientLeaveTheOthersTheirs(t *testing.T) {
	b := aliceBench(t)
	b.bind(bob, bobMAC, bobIP)
	b.grant(bob, free())
	w := aliceUp
	w.ttl = 1
	for range 1000 {
		b.in(clients.LAN, w.udp(10))
	}
	if n := len(b.take(clients.LAN)); n != clientRation.burst {
		t.Errorf("%d errors in one moment", n)
	}
	w = bobUp
	w.ttl = 1
	b.in(clients.LAN, w.udp(10))
	b.one(clients.LAN)
	b.pass(time.Second)
	b.in(clients.LAN, w.udp(10))
	b.one(clients.LAN)
}
