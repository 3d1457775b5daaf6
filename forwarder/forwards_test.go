package forwarder

import (
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

var (
	// web is alice's, call bob's, door the box's; web is nobody's to draw, and call anybody's.
	web  = clients.Forward{First: 80, Last: 80, To: aliceIP, Port: 8080}
	call = clients.Forward{UDP: true, First: 40000, Last: 40009, To: bobIP, Port: 5000}
	cast = clients.Forward{UDP: true, First: 40010, Last: 40010, To: aliceIP, Port: 5000} // in the same worker's slice
	door = clients.Forward{First: 60022, Last: 60022, Port: 22}

	// caller is somebody on the WAN who comes by the first.
	caller = flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 1234, dstPort: 80, ttl: 60, id: 900}
)

// forwards gives the gateway forwards while it runs.
func (b *bench) forwards(list ...clients.Forward) {
	b.Helper()
	b.table.Header().SetForwards(list)
	b.round()
	for range 50 { // what they end is swept away
		b.pass(100 * time.Millisecond)
	}
	for port := range b.ends {
		b.take(port)
	}
}

// forwarding are alice and bob behind forwards.
func forwarding(t testing.TB) *bench {
	b := newBench(t)
	b.forwards(web, call, door)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(alice, free())
	b.grant(bob, free())
	return b
}

func TestWhoComesByAForwardIsBilledToTheClient(t *testing.T) {
	b := forwarding(t)
	b.in(clients.WAN, caller.syn(false, 1460))
	in := b.one(clients.LAN)
	if be32(in.ip.DstIP.To4()) != aliceIP || in.dstPort != 8080 || in.srcPort != 1234 || be32(in.ip.SrcIP.To4()) != serverIP || in.dstMAC != aliceMAC || in.ip.TTL != 59 {
		t.Fatalf("came in as %v", in)
	}
	answer := flow{srcMAC: aliceMAC, dstMAC: lanMAC, src: aliceIP, dst: serverIP, srcPort: 8080, dstPort: 1234, ttl: 64, id: 1}
	b.in(clients.LAN, answer.syn(true, 1460))
	if out := b.one(clients.WAN); be32(out.ip.SrcIP.To4()) != wanIP || out.srcPort != 80 || out.dstPort != 1234 {
		t.Fatalf("answered as %v", out)
	}
	b.in(clients.WAN, caller.tcp(1000))
	b.one(clients.LAN)
	if u := b.use(alice, 1); u.Down != 44+1040 || u.Up != 44 {
		t.Errorf("billed %d down and %d up", u.Down, u.Up)
	}
	toBob := caller
	toBob.dstPort = 40007
	b.in(clients.WAN, toBob.udp(100))
	if in := b.one(clients.LAN); be32(in.ip.DstIP.To4()) != bobIP || in.dstPort != 5007 {
		t.Fatalf("came in as %v", in)
	}
	if u := b.use(bob, 1); u.Down != 128 {
		t.Errorf("bob is billed %d", u.Down)
	}
	b.in(clients.WAN, fragmentsOf(toBob.udp(3000), 1480)...)
	whole(t, b.out(clients.LAN))
	b.forwards(web, call, cast)
	toAlice := toBob
	toAlice.dstPort, toAlice.id = cast.First, 901
	b.in(clients.WAN, fragmentsOf(toAlice.udp(3000), 1480)...)
	whole(t, b.out(clients.LAN))
	b.forwards(web, call, door)
	from := flow{srcMAC: bobMAC, dstMAC: lanMAC, src: bobIP, dst: serverIP + 9, srcPort: 5003, dstPort: 7, ttl: 64}
	b.in(clients.LAN, from.udp(1))
	if out := b.one(clients.WAN); out.srcPort != 40003 {
		t.Errorf("what bob sends from there leaves by %d", out.srcPort)
	}
	b.witnessed()
}

func TestAForwardHoldsAsLongAsTheSessionRuns(t *testing.T) {
	b := newBench(t)
	b.forwards(web)
	for n, then := range []func(){
		func() {}, // nobody has the address
		func() { b.bind(alice, aliceMAC, aliceIP) },
	} {
		then()
		b.in(clients.WAN, caller.syn(false, 1460))
		b.silent(clients.LAN, clients.Host)
		b.dropped(NoGrant, uint64(1+n))
	}
	b.grant(alice, bytesOf(44+1040))
	b.in(clients.WAN, caller.syn(false, 1460))
	b.one(clients.LAN)
	b.in(clients.WAN, caller.tcp(1000), caller.tcp(1000))
	b.one(clients.LAN)
	b.ended(alice, 1, clients.EndData, 44+1040)
	late := caller
	late.srcPort++
	b.in(clients.WAN, late.syn(false, 1460))
	b.silent(clients.LAN)
	if _, flows := b.translations(); flows != 1 {
		t.Errorf("%d flows: who came too late has one", flows)
	}
	b.witnessed()
}

// translations sums what all workers hold.
func (b *bench) translations() (mappings, flows int) {
	for _, f := range b.workers() {
		m, n := f.nat.Counts()
		mappings, flows = mappings+m, flows+n
	}
	return mappings, flows
}

func TestAForwardedClientIsHeldToItsRate(t *testing.T) {
	b := newBench(t)
	b.forwards(call)
	b.bind(bob, bobMAC, bobIP)
	terms := free()
	terms.Down = 100_000
	b.grant(bob, terms)
	w := caller
	w.dstPort = 40000
	for range 100 {
		b.in(clients.WAN, w.udp(972))
	}
	if n := len(b.out(clients.LAN)); n == 0 || n > 10 {
		t.Errorf("%d of 100 passed at once", n)
	}
	if b.table.Slot(bob).Waiting[down].Load() == 0 {
		t.Error("nothing waits")
	}
}

func TestAForwardToTheBox(t *testing.T) {
	b := forwarding(t)
	w := caller
	w.dstPort = 60022
	b.in(clients.WAN, w.syn(false, 1460))
	in := b.one(clients.Host)
	if be32(in.ip.DstIP.To4()) != lanIP || in.dstPort != 22 || be32(in.ip.SrcIP.To4()) != serverIP {
		t.Fatalf("came in as %v", in)
	}
	answer := flow{srcMAC: lanMAC, dstMAC: lanMAC, src: lanIP, dst: serverIP, srcPort: 22, dstPort: 1234, ttl: 64}
	b.in(clients.Host, answer.syn(true, 1460))
	if out := b.one(clients.WAN); out.srcPort != 60022 || be32(out.ip.SrcIP.To4()) != wanIP {
		t.Fatalf("answered as %v", out)
	}
	b.in(clients.WAN, w.tcp(10))
	b.one(clients.Host)
	if a, o := b.use(alice, 1), b.use(bob, 1); a.Up+a.Down+o.Up+o.Down != 0 {
		t.Error("a client is billed")
	}
	if _, flows := b.translations(); flows != 1 {
		t.Errorf("%d flows of one connection", flows)
	}
	b.witnessed()
}

func TestAForwardToABoxThatIsNotThere(t *testing.T) {
	b := newBench(t, func(c *Config) { c.HostRoute = false })
	b.links[clients.Host] = nil
	b.start()
	b.resolve()
	b.forwards(door)
	w := caller
	w.dstPort = 60022
	b.in(clients.WAN, w.syn(false, 1460))
	b.dropped(NoGrant, 1)
	if _, flows := b.translations(); flows != 0 {
		t.Errorf("%d flows", flows)
	}
}

func TestAClientComesByAForwardOfAnothers(t *testing.T) {
	b := forwarding(t)
	w := bobUp
	w.dst, w.dstPort = wanIP, 80
	b.in(clients.LAN, w.syn(false, 1460))
	in := b.one(clients.LAN)
	if be32(in.ip.DstIP.To4()) != aliceIP || in.dstPort != 8080 || be32(in.ip.SrcIP.To4()) != wanIP || in.dstMAC != aliceMAC {
		t.Fatalf("came in as %v", in)
	}
	answer := flow{srcMAC: aliceMAC, dstMAC: lanMAC, src: aliceIP, dst: wanIP, srcPort: 8080, dstPort: in.srcPort, ttl: 64}
	b.in(clients.LAN, answer.syn(true, 1460))
	if back := b.one(clients.LAN); be32(back.ip.DstIP.To4()) != bobIP || back.srcPort != 80 || back.dstPort != 5000 {
		t.Fatalf("answered as %v", back)
	}
	if a, o := b.use(alice, 1), b.use(bob, 1); a.Down != 44 || a.Up != 44 || o.Up != 44 || o.Down != 44 {
		t.Errorf("billed alice %+v, bob %+v", a, o)
	}
	w.dstPort = 60022
	b.in(clients.LAN, w.syn(false, 1460))
	if in := b.one(clients.Host); in.dstPort != 22 {
		t.Fatalf("at the box: %v", in)
	}
	b.witnessed()
}

func TestErrorsAboutAForwardFindTheirWay(t *testing.T) {
	b := forwarding(t)
	w := caller
	w.dstPort = 40000
	b.in(clients.WAN, w.udp(100))
	came := b.one(clients.LAN)
	refuse := flow{srcMAC: bobMAC, dstMAC: lanMAC, src: bobIP, dst: serverIP, ttl: 64}
	b.in(clients.LAN, refuse.icmpError(3, 3, 0, came.packet[:28]))
	e := b.one(clients.WAN)
	if e.icmp == nil || e.icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 3) || be32(e.payload[16:]) != wanIP || be16(e.payload[22:]) != 40000 {
		t.Fatalf("told: %+v", e)
	}
	from := flow{srcMAC: bobMAC, dstMAC: lanMAC, src: bobIP, dst: serverIP, srcPort: 5000, dstPort: 1234, ttl: 64}
	b.in(clients.LAN, from.udp(300))
	out := b.one(clients.WAN)
	far := back(out)
	far.src = 0x08080808
	b.in(clients.WAN, far.icmpError(3, 4, 1300, out.packet[:28]))
	if e := b.one(clients.LAN); e.icmp == nil || be32(e.ip.DstIP.To4()) != bobIP || be16(e.payload[20:]) != 5000 {
		t.Fatalf("told: %+v", e)
	}
	b.witnessed()
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func TestAForwardAtOneOfSeveralAddresses(t *testing.T) {
	b := several(t)
	at := web
	at.Address = wan2IP
	b.forwards(at)
	b.in(clients.WAN, caller.syn(false, 1460))
	b.silent(clients.LAN)
	w := caller
	w.dst = wan2IP
	b.in(clients.WAN, w.syn(false, 1460))
	b.one(clients.LAN)
	answer := flow{srcMAC: aliceMAC, dstMAC: lanMAC, src: aliceIP, dst: serverIP, srcPort: 8080, dstPort: 1234, ttl: 64, id: 1}
	b.in(clients.LAN, answer.syn(true, 1460))
	if out := b.one(clients.WAN); out.source() != wan2IP || out.srcPort != 80 {
		t.Errorf("answered as %v", out)
	}
}

func TestForwardsChangeWhilePacketsPass(t *testing.T) {
	b := forwarding(t)
	b.in(clients.WAN, caller.syn(false, 1460))
	b.one(clients.LAN)
	to := web
	to.To, to.Port = bobIP, 81
	b.forwards(to, door)
	again := caller
	again.srcPort++
	b.in(clients.WAN, again.syn(false, 1460))
	if in := b.one(clients.LAN); be32(in.ip.DstIP.To4()) != bobIP || in.dstPort != 81 {
		t.Fatalf("came in as %v", in)
	}
	b.in(clients.WAN, caller.tcp(10)) // of the former one
	b.silent(clients.LAN, clients.Host)
	b.forwards()
	b.in(clients.WAN, again.tcp(10))
	b.silent(clients.LAN, clients.Host)
	if m, flows := b.translations(); m != 0 || flows != 0 {
		t.Errorf("%d mappings, %d flows are left", m, flows)
	}
	b.forwards(web, call, door)
	b.in(clients.WAN, caller.syn(false, 1460))
	b.one(clients.LAN)
	b.start() // another forwarder
	b.resolve()
	b.take(clients.LAN)
	b.in(clients.WAN, caller.tcp(10))
	if in := b.one(clients.LAN); be32(in.ip.DstIP.To4()) != aliceIP {
		t.Fatalf("goes on to %v", in)
	}
	b.witnessed()
}

// Who has the address now is who is led to, whichever worker that is.
func TestAForwardFollowsTheAddress(t *testing.T) {
	b := forwarding(t)
	b.in(clients.WAN, caller.syn(false, 1460))
	b.one(clients.LAN)
	const carol, carolMAC = 3, 0x020000000007
	b.table.Slot(alice).State.Store(clients.SlotFree)
	b.changed(alice)
	b.bind(carol, carolMAC, aliceIP)
	b.grant(carol, free())
	again := caller
	again.srcPort++
	b.in(clients.WAN, again.syn(false, 1460))
	if in := b.one(clients.LAN); in.dstMAC != carolMAC || be32(in.ip.DstIP.To4()) != aliceIP {
		t.Fatalf("came in as %v", in)
	}
	b.in(clients.WAN, caller.tcp(10))
	b.silent(clients.LAN)
	if u := b.use(carol, 1); u.Down != 44 {
		t.Errorf("billed %d", u.Down)
	}
}

// Hostile packets at forwarded ports do not get in, and are counted.
func TestHostilePacketsAtForwardedPorts(t *testing.T) {
	b := forwarding(t)
	for _, flags := range []uint8{0, packet.ACK, packet.RST, packet.FIN, packet.SYN | packet.ACK, packet.SYN | packet.FIN, packet.SYN | packet.RST} {
		raw := caller.tcp(1)
		raw[packet.VirtioLen+packet.EthernetLen+20+13] = flags
		b.in(clients.WAN, raw)
	}
	b.dropped(Filtered, 7)
	w := caller
	for _, src := range []uint32{wanIP, aliceIP, 0x7f000001, 0, 0xffffffff, 0xe0000001} {
		w.src = src
		b.in(clients.WAN, w.syn(false, 1460))
	}
	b.dropped(BadSource, 6)
	ping := caller
	ping.dstPort = 0
	b.in(clients.WAN, ping.echo(true, 10))
	b.silent(clients.LAN, clients.Host)
	b.witnessed()
}
