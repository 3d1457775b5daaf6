package forwarder

import (
	"net"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

func (s *seen) says(t *testing.T, op uint16, mac uint64, ip uint32, toMAC uint64, toIP uint32) {
	t.Helper()
	a := s.arp
	if a == nil {
		t.Fatalf("not ARP: %v", s)
	}
	if a.Operation != op || packet.MAC(a.SourceHwAddress) != mac || be32(a.SourceProtAddress) != ip || packet.MAC(a.DstHwAddress) != toMAC || be32(a.DstProtAddress) != toIP {
		t.Fatalf("ARP %d: %v at %v tells %v at %v", a.Operation, net.IP(a.SourceProtAddress), net.HardwareAddr(a.SourceHwAddress), net.IP(a.DstProtAddress), net.HardwareAddr(a.DstHwAddress))
	}
}

func TestARPOnTheLAN(t *testing.T) {
	ask := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}
	with := func(change func(*arp)) arp { a := ask; change(&a); return a }
	rows := []struct {
		name     string
		arp      arp
		answered bool
		sighted  clients.Kind
	}{
		{"the own address is answered", ask, true, clients.UnknownMAC},
		{"a probe of the own address is answered", with(func(a *arp) { a.ip = 0 }), true, 0},
		{"another address is not", with(func(a *arp) { a.target = bobIP }), false, clients.UnknownMAC},
		{"a probe of another address is not", with(func(a *arp) { a.ip, a.target = 0, bobIP }), false, 0},
		{"a reply is not", with(func(a *arp) { a.op = 2 }), false, clients.UnknownMAC},
		{"who claims the gateway's address is not", with(func(a *arp) { a.ip = lanIP }), false, 0},
		{"an address elsewhere is nobody's binding", with(func(a *arp) { a.ip = serverIP; a.target = bobIP }), false, 0},
		{"the broadcast address is nobody's binding", with(func(a *arp) { a.ip = 0x0a0000ff; a.target = bobIP }), false, 0},
		{"what comes back to us is nobody", with(func(a *arp) { a.from, a.mac = lanMAC, lanMAC }), false, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			b.in(clients.LAN, row.arp.raw())
			if row.answered {
				got := b.one(clients.LAN)
				got.says(t, 2, lanMAC, lanIP, aliceMAC, row.arp.ip)
				if got.dstMAC != aliceMAC || got.srcMAC != lanMAC {
					t.Errorf("from %x to %x", got.srcMAC, got.dstMAC)
				}
			}
			b.silent(clients.LAN, clients.WAN, clients.Host)
			var kind clients.Kind
			if s := b.sightings(); len(s) > 0 {
				kind = s[0].Kind
			}
			if kind != row.sighted {
				t.Errorf("sighting %d, want %d", kind, row.sighted)
			}
		})
	}
}

func TestContradictoryARPIsDropped(t *testing.T) {
	good := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}
	rows := []struct {
		name   string
		change func(raw []byte) []byte
	}{
		{"a sender that is not the frame's", func(r []byte) []byte { r[24+13]++; return r }},
		{"a hardware address of 7 bytes", func(r []byte) []byte { r[24+4] = 7; return r }},
		{"a protocol address of 5 bytes", func(r []byte) []byte { r[24+5] = 5; return r }},
		{"another hardware", func(r []byte) []byte { r[24+1] = 6; return r }},
		{"lengths that wrap in 8 bits", func(r []byte) []byte { r[24+4], r[24+5] = 200, 100; return append(r, make([]byte, 500)...) }},
		{"another protocol", func(r []byte) []byte { r[24+2]++; return r }},
		{"another operation", func(r []byte) []byte { r[24+7] = 3; return r }},
		{"cut short", func(r []byte) []byte { return r[:24+27] }},
		{"without a body", func(r []byte) []byte { return r[:24] }},
		{"a group as the sender", func(r []byte) []byte { r[10+6], r[24+8] = 3, 3; return r }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			b.in(clients.LAN, row.change(good.raw()))
			b.dropped(BadARP, 1)
			b.silent(clients.LAN)
			if s := b.sightings(); len(s) != 0 {
				t.Errorf("sightings %v", s)
			}
		})
	}
}

func TestARPFromAClientIsHeard(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.now += time.Minute
	b.in(clients.LAN, arp{from: aliceMAC, to: lanMAC, op: 2, mac: aliceMAC, ip: aliceIP, targetMAC: lanMAC, target: lanIP}.raw())
	if got := time.Duration(b.table.Slot(alice).Heard.Load()); got != b.now {
		t.Errorf("heard at %v, want %v", got, b.now)
	}
	b.in(clients.LAN, arp{from: bobMAC, to: lanMAC, op: 2, mac: bobMAC, ip: aliceIP, targetMAC: lanMAC, target: lanIP}.raw())
	if slot, ok := b.f.byIP.find(aliceIP); !ok || slot != alice {
		t.Error("an ARP moved a binding")
	}
}

func TestControlHasAClientProbed(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.table.Slot(alice).Probe.Add(1)
	b.changed(alice)
	b.one(clients.LAN).says(t, 1, lanMAC, lanIP, 0, aliceIP)
	b.changed(alice)
	b.silent(clients.LAN)
}

func TestTheKernelLearnsFromTheTable(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	ask := arp{from: lanMAC, to: broadcast, op: 1, mac: lanMAC, ip: lanIP, target: aliceIP}
	b.in(clients.Host, ask.raw())
	b.one(clients.Host).says(t, 2, aliceMAC, aliceIP, lanMAC, lanIP)
	ask.target = bobIP
	b.in(clients.Host, ask.raw())
	ask.target = lanIP
	b.in(clients.Host, ask.raw())
	b.silent(clients.LAN, clients.WAN, clients.Host)
}

func TestARPOnTheWAN(t *testing.T) {
	b := newBench(t)
	ask := arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: routerIP, target: wanIP}
	b.in(clients.WAN, ask.raw())
	b.one(clients.WAN).says(t, 2, wanMAC, wanIP, routerMAC, routerIP)
	ask.target = wanIP + 1
	b.in(clients.WAN, ask.raw())
	b.silent(clients.LAN, clients.WAN, clients.Host)
}

func TestOneFloodOfARPLeavesTheOthersTheirAnswers(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	flood := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}.raw()
	stranger := arp{from: 0x020000000099, to: broadcast, op: 1, mac: 0x020000000099, target: lanIP}.raw()
	for range 1000 {
		b.in(clients.LAN, flood, stranger)
	}
	if n := len(b.take(clients.LAN)); n > clientRation.burst+500 {
		t.Errorf("%d answers", n)
	}
	b.in(clients.LAN, arp{from: bobMAC, to: broadcast, op: 1, mac: bobMAC, ip: bobIP, target: lanIP}.raw())
	b.one(clients.LAN).says(t, 2, lanMAC, lanIP, bobMAC, bobIP)
	b.in(clients.Host, arp{from: lanMAC, to: broadcast, op: 1, mac: lanMAC, ip: lanIP, target: aliceIP}.raw())
	b.one(clients.Host)
	b.in(clients.WAN, arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: routerIP, target: wanIP}.raw())
	b.one(clients.WAN)
}

func TestFramesWaitForTheNextHop(t *testing.T) {
	b := newColdBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	b.one(clients.WAN).says(t, 1, wanMAC, wanIP, 0, routerIP)
	for i := range 20 {
		w := aliceUp
		w.id = uint16(i)
		b.in(clients.LAN, w.udp(100))
	}
	h := b.table.Header()
	if got := h.Counters().Totals.QueuedPackets; got != maxHeldEach {
		t.Errorf("%d packets wait", got)
	}
	b.dropped(ResolveFull, 20-maxHeldEach)
	if h.Resolved() {
		t.Error("resolved without an answer")
	}
	b.silent(clients.WAN, clients.LAN)

	stranger := arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: routerIP + 1, targetMAC: wanMAC, target: wanIP}
	b.in(clients.WAN, stranger.raw())
	b.silent(clients.WAN)
	stranger.ip = routerIP
	b.in(clients.WAN, stranger.raw())
	got := b.out(clients.WAN)
	if len(got) != maxHeldEach {
		t.Fatalf("%d packets after the answer", len(got))
	}
	for i, p := range got {
		if p.ip.Id != uint16(i) || p.dstMAC != routerMAC || p.ip.TTL != 63 {
			t.Errorf("packet %d has id %d, TTL %d, goes to %x", i, p.ip.Id, p.ip.TTL, p.dstMAC)
		}
	}
	if u := b.use(alice, 1); u.UpPackets != maxHeldEach || u.Up != maxHeldEach*128 {
		t.Errorf("billed %+v", u)
	}
	if h.Counters().Totals.QueuedPackets != 0 || h.Counters().Totals.QueuedBytes != 0 {
		t.Error("still queued")
	}
	b.pass(100 * time.Millisecond)
	if !h.Resolved() {
		t.Error("not resolved")
	}
}

func TestHeldFramesOfARevokedGrantDoNotPass(t *testing.T) {
	b := newColdBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(alice, free())
	b.grant(bob, free())
	b.in(clients.LAN, aliceUp.udp(100), bobUp.udp(100))
	b.record(alice, 1).Revoke(b.now)
	b.changed(alice)
	b.table.Slot(bob).State.Store(clients.SlotFree)
	b.changed(bob)
	b.resolve()
	b.dropped(NoGrant, 1)
	b.dropped(UnknownClient, 1)
	if b.table.Header().Counters().Totals.BilledBytes != 0 {
		t.Error("billed")
	}
}

func TestASilentNextHopIsGivenUp(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	w := aliceUp
	w.dst = routerIP + 9 // on the WAN's own network
	sent := w.udp(100)
	b.in(clients.LAN, w.udp(100))
	b.one(clients.WAN).says(t, 1, wanMAC, wanIP, 0, w.dst)
	b.pass(2900 * time.Millisecond)
	if got := b.out(clients.WAN); len(got) != 2 {
		t.Errorf("asked %d times more", len(got))
	}
	b.silent(clients.LAN)
	b.pass(200 * time.Millisecond)
	e := b.one(clients.LAN)
	e.quotes(t, 3, 1, lanIP, aliceIP, sent)
	b.dropped(Unresolved, 1)
	b.in(clients.LAN, w.udp(100)) // known to be silent
	b.one(clients.LAN).quotes(t, 3, 1, lanIP, aliceIP, sent)
	b.dropped(Unresolved, 2)
	if u := b.use(alice, 1); u.Up != 0 {
		t.Errorf("billed %+v", u)
	}
	b.pass(1500 * time.Millisecond)
	b.silent(clients.WAN)
	b.in(clients.LAN, w.udp(100))
	b.one(clients.WAN).says(t, 1, wanMAC, wanIP, 0, w.dst)
}

// quotes fails unless s is an ICMP error about a packet as it was sent.
func (s *seen) quotes(t *testing.T, icmpType, code uint8, from, to uint32, sent []byte) {
	t.Helper()
	if s.icmp == nil || s.icmp.TypeCode != layers.CreateICMPv4TypeCode(icmpType, code) {
		t.Fatalf("not ICMP %d/%d: %v %v", icmpType, code, s, s.icmp)
	}
	if be32(s.ip.SrcIP.To4()) != from || be32(s.ip.DstIP.To4()) != to {
		t.Errorf("from %v to %v", s.ip.SrcIP, s.ip.DstIP)
	}
	if s.ip.TOS == 0xc0 && (s.ip.Flags != layers.IPv4DontFragment || s.ip.FragOffset != 0) { // the gateway's own; else it needed an id (RFC 6864, 4.3)
		t.Errorf("no atomic datagram: flags %v, offset %d", s.ip.Flags, s.ip.FragOffset)
	}
	want := sent[24:]
	want = want[:min(len(want), maxQuote, int(want[2])<<8|int(want[3]))]
	if string(s.payload) != string(want) {
		t.Errorf("quotes\n%x, sent was\n%x", s.payload, want)
	}
}

// A router that says nothing is asked soon, whether there is traffic to it or
// not, and when it was last heard stands in the table.
func TestTheRouterIsAskedAgain(t *testing.T) {
	b := newBench(t)
	b.round()
	heard := b.now
	b.mute = true
	b.pass(trustHop)
	b.one(clients.WAN).says(t, 1, wanMAC, wanIP, 0, routerIP)
	b.pass(2 * time.Second)
	asked := b.out(clients.WAN)
	if len(asked) != 2 || asked[0].dstMAC != routerMAC || asked[1].dstMAC != broadcast {
		t.Fatalf("asked %v", asked)
	}
	b.pass(1100 * time.Millisecond)
	if b.table.Header().Resolved() {
		t.Error("a silent router is resolved")
	}
	if at := b.table.Header().HopHeard(); at != heard {
		t.Errorf("heard at %v, want %v", at, heard)
	}
	b.resolve()
	heard = b.now
	b.pass(100 * time.Millisecond)
	if at := b.table.Header().HopHeard(); at != heard {
		t.Errorf("heard at %v, want %v", at, heard)
	}
	if !b.table.Header().Resolved() {
		t.Error("not resolved again")
	}
}

// What the router forwards to us says that it is there: it is not asked.
func TestARouterThatIsHeardIsNotAsked(t *testing.T) {
	b := online(t, free())
	b.mute = true
	b.in(clients.LAN, aliceUp.udp(10))
	down := back(b.one(clients.WAN))
	for range 20 {
		b.pass(trustHop - 500*time.Millisecond)
		b.in(clients.WAN, down.udp(10))
		b.one(clients.LAN)
	}
	b.silent(clients.WAN)
	another, elsewhere := down, down
	another.srcMAC, elsewhere.dstMAC = 0x020000000666, 0x020000000666
	for name, w := range map[string]flow{"another's frame to us": another, "the router's frame to others": elsewhere} {
		b.in(clients.WAN, down.udp(10))
		b.pass(trustHop - 500*time.Millisecond)
		b.in(clients.WAN, w.udp(10))
		b.pass(time.Second)
		if asked := b.take(clients.WAN); len(asked) == 0 {
			t.Errorf("%s counts as the router's word", name)
		}
		b.resolve()
	}
	b.pass(trustHop)
	b.one(clients.WAN).says(t, 1, wanMAC, wanIP, 0, routerIP)
	b.pass(time.Millisecond)
	b.in(clients.WAN, down.udp(10)) // it is heard before it answers
	b.pass(trustHop - 500*time.Millisecond)
	b.silent(clients.WAN)
}

func TestAScanOfTheWANCostsNobodyElse(t *testing.T) {
	b := newBench(t)
	b.table.Header().SetAddressing(clients.Addressing{Addresses: []uint32{0xcb000007}, Bits: 16, Gateway: 0xcb000001})
	b.round()
	b.in(clients.WAN, arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: 0xcb000001, targetMAC: wanMAC, target: 0xcb000007}.raw())
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(alice, free())
	b.grant(bob, free())
	b.take(clients.WAN)
	for i := range 5000 {
		w := aliceUp
		w.dst = 0xcb001000 + uint32(i)
		b.in(clients.LAN, w.udp(10))
	}
	if n := len(b.take(clients.WAN)); n > maxHeld {
		t.Errorf("%d questions at once", n)
	}
	if len(b.f.neighbours) > maxHeld+1 || b.f.heldFrames > maxHeld {
		t.Errorf("%d neighbours, %d frames held", len(b.f.neighbours), b.f.heldFrames)
	}
	b.in(clients.LAN, bobUp.udp(10)) // by the router
	b.one(clients.WAN)
	b.pass(5 * time.Second)
	if len(b.f.neighbours) != 1 || b.f.heldFrames != 0 {
		t.Errorf("later: %d neighbours, %d frames held", len(b.f.neighbours), b.f.heldFrames)
	}
}

func TestABroadcastOnTheWANIsNotForwarded(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	w := aliceUp
	w.dst = wanIP | 0xff
	b.in(clients.LAN, w.udp(10))
	b.silent(clients.WAN, clients.LAN)
	b.dropped(NotForUs, 1)
}

func TestTheRouterIsNotMovedByAnother(t *testing.T) {
	const rogueMAC = 0x020000000666
	claim := func(op uint16, from, to uint64) []byte {
		return arp{from: from, to: to, op: op, mac: from, ip: routerIP, targetMAC: wanMAC, target: wanIP}.raw()
	}
	b := online(t, free())
	toRouter := func(mac uint64) {
		t.Helper()
		b.in(clients.LAN, aliceUp.udp(10))
		if p := b.one(clients.WAN); p.dstMAC != mac {
			t.Fatalf("sent to %012x, want %012x", p.dstMAC, mac)
		}
	}
	for range 20 {
		b.in(clients.WAN, claim(2, rogueMAC, wanMAC), claim(1, rogueMAC, broadcast), claim(2, rogueMAC, broadcast))
		for _, p := range b.out(clients.WAN) {
			if p.arp != nil && p.arp.Operation == 1 {
				if p.dstMAC != routerMAC {
					t.Fatalf("asks %012x whether it is there", p.dstMAC)
				}
				b.in(clients.WAN, claim(2, routerMAC, wanMAC))
			}
		}
		toRouter(routerMAC)
		b.pass(500 * time.Millisecond)
	}
	b.take(clients.WAN)
	b.mute = true
	b.in(clients.WAN, claim(2, rogueMAC, broadcast)) // another router takes over: the old one is silent
	for range 40 {
		b.pass(100 * time.Millisecond)
		for _, p := range b.out(clients.WAN) {
			if p.arp != nil && p.dstMAC == broadcast {
				b.in(clients.WAN, claim(2, rogueMAC, wanMAC))
			}
		}
	}
	toRouter(rogueMAC)
}
