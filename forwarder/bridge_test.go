package forwarder

import (
	"bytes"
	"cmp"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// The bench of a bridge: alice and bob on the LAN, the router and whoever else on the
// WAN, the box at 10.0.0.1 in between.

func bridged(c *Config) { c.Bridge = true }

// newBridge starts a bridge with nobody bound.
func newBridge(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := newSilentBridge(t, change...)
	for port := range b.ends {
		b.frames(port)
	}
	return b
}

// newSilentBridge is newBridge that has been heard by nobody.
func newSilentBridge(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := newColdBench(t, append([]func(*Config){bridged}, change...)...)
	b.table.Header().SetAddressing(clients.Addressing{Bits: 24})
	b.round()
	for _, f := range b.workers() {
		f.announcements = [clients.NumPorts]announcement{}
	}
	b.frames(clients.WAN) // the router of other benches was asked for
	return b
}

// aliceBridge has alice online without limits.
func aliceBridge(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := newBridge(t, change...)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	return b
}

var (
	across = flow{srcMAC: aliceMAC, dstMAC: routerMAC, src: aliceIP, dst: serverIP, srcPort: 5000, dstPort: 443, ttl: 64, id: 100}
	home   = flow{srcMAC: routerMAC, dstMAC: aliceMAC, src: serverIP, dst: aliceIP, srcPort: 443, dstPort: 5000, ttl: 60, id: 500}
)

// frames returns what came out of a port, byte by byte, but for probes.
func (b *bench) frames(port int) (raws [][]byte) {
	b.Helper()
	for {
		got, err := b.ends[port].Receive()
		if err != nil {
			b.Fatal(err)
		}
		if got == nil {
			return raws
		}
		for _, raw := range got {
			var p packet.Packet
			if r := p.Decode(bytes.Clone(raw)); r != packet.Kept {
				b.Fatalf("%v: %x", r, raw)
			}
			if p.EtherType == etherTypeProbe && p.SrcMAC == lanMAC && port == clients.LAN {
				continue
			}
			raws = append(raws, bytes.Clone(raw))
			if p.EtherType != packet.EtherTypeARP {
				b.sent[port].packets += uint64(p.Segments)
				b.sent[port].bytes += uint64(cmp.Or(p.WireLen, len(p.Raw)-p.L3))
			}
		}
	}
}

// carried fails unless the forwarder counted as transmitted what frames have seen.
func (b *bench) carried() {
	b.Helper()
	for port := range b.ends {
		b.frames(port)
		p := b.table.Header().Counters().Ports[port]
		if got := (tally{p.TxPackets, p.TxBytes}); got != b.sent[port] {
			b.Fatalf("port %d: %+v counted as transmitted, the link carried %+v", port, got, b.sent[port])
		}
	}
}

// nothing fails if anything came out of any port.
func (b *bench) nothing() {
	b.Helper()
	for port := range b.ends {
		if got := b.frames(port); len(got) != 0 {
			b.Fatalf("%d frames came out of port %d: %x", len(got), port, got)
		}
	}
}

// onlyFrame is the only one that came out of a port.
func (b *bench) onlyFrame(port int) []byte {
	b.Helper()
	got := b.frames(port)
	if len(got) != 1 {
		b.Fatalf("%d frames came out of port %d, want 1; drops %v", len(got), port, b.allDrops())
	}
	return got[0]
}

func TestBridgeStepsAreTheList(t *testing.T) {
	b := newBridge(t)
	for port, steps := range b.f.paths {
		var names []string
		for _, s := range steps {
			name := runtime.FuncForPC(reflect.ValueOf(s).Pointer()).Name()
			names = append(names, strings.TrimSuffix(name[strings.LastIndexByte(name, '.')+1:], "-fm"))
		}
		if !slices.Equal(names, BridgeSteps(port)) {
			t.Errorf("port %d: BridgeSteps says %v, the list is %v", port, BridgeSteps(port), names)
		}
		if at := b.f.pacing[port]; at != 0 && (names[at] != "pace" || names[at+1] != "quota") {
			t.Errorf("port %d: pace is said to be %q", port, names[at])
		}
		if at := b.f.routing[port]; names[at] != "fit" {
			t.Errorf("port %d: fit is said to be %q", port, names[at])
		}
	}
}

// heard has clients been heard on the LAN just now.
func (b *bench) heard(slots ...int) {
	for _, slot := range slots {
		b.table.Slot(slot).Heard.Store(int64(b.now))
	}
}

// bridgeRows are frames of both families, with what each is billed.
var bridgeRows = []struct {
	name    string
	make    func(flow) []byte
	bytes   uint64 // layer 3, as wire packets
	packets uint64
}{
	{"UDP", func(w flow) []byte { return w.udp(100) }, 128, 1},
	{"an empty datagram", func(w flow) []byte { return w.udp(0) }, 28, 1},
	{"TCP", func(w flow) []byte { return w.tcp(1000) }, 1040, 1},
	{"an echo", func(w flow) []byte { return w.echo(true, 56) }, 84, 1},
	{"a protocol without ports", func(w flow) []byte { return serialize(w.ethernet(), w.ip(layers.IPProtocolESP), payload(80)) }, 100, 1},
	{"its last hop", func(w flow) []byte { w.ttl = 1; return w.udp(100) }, 128, 1},
	{"a later fragment alone", func(w flow) []byte { return fragmentsOf(w.udp(2000), 1480)[1] }, 20 + 2008 - 1480, 1},
	{"a TCP super-packet", func(w flow) []byte { return w.tcpSuper(3001, 1000) }, 3001 + 4*40, 4},
	{"a UDP super-packet", func(w flow) []byte { return w.udpSuper(3000, 1200) }, 3000 + 3*28, 3},
	{"UDP over IPv6", func(w flow) []byte { return w.six(17, 100) }, 148, 1},
	{"TCP over IPv6", func(w flow) []byte { return w.six(6, 1000) }, 1060, 1},
	{"no next header over IPv6", func(w flow) []byte { return w.six(59, 0) }, 40, 1},
	{"a TCP super-packet over IPv6", func(w flow) []byte { return w.superSix(6, 2500, 1000) }, 2500 + 3*60, 3},
	{"a UDP super-packet over IPv6", func(w flow) []byte { return w.superSix(17, 3000, 1000) }, 3000 + 3*48, 3},
	{"UDP in a VLAN", func(w flow) []byte { return tagged(w.udp(100), 0x6007) }, 128, 1},
	{"UDP of priority 7 in no VLAN", func(w flow) []byte { return tagged(w.udp(100), 0xe000) }, 128, 1},
	{"a super-packet in a VLAN", func(w flow) []byte { return tagged(w.tcpSuper(2500, 1000), 7) }, 2500 + 3*40, 3},
	{"an IPv6 super-packet in a VLAN", func(w flow) []byte { return tagged(w.superSix(6, 2500, 1000), 7) }, 2500 + 3*60, 3},
	{"a fragment in a VLAN", func(w flow) []byte { return tagged(fragmentsOf(w.udp(2000), 1480)[0], 7) }, 1500, 1},
}

// A bridge changes nothing, and bills what passes alike over both families.
func TestABridgePassesFramesAsTheyCame(t *testing.T) {
	for _, row := range bridgeRows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			for _, way := range []struct {
				from, to int
				flow     flow
			}{{clients.LAN, clients.WAN, across}, {clients.WAN, clients.LAN, home}} {
				raw := row.make(way.flow)
				b.in(way.from, bytes.Clone(raw))
				got := b.onlyFrame(way.to)
				var was packet.Packet
				was.Decode(raw) // which fills in what a receiver left open
				if !bytes.Equal(got, was.Raw) {
					t.Errorf("from port %d: sent\n%x, came\n%x", way.from, got, was.Raw)
				}
			}
			u := b.use(alice, 1)
			want := clients.Use{Started: u.Started, Up: row.bytes, Down: row.bytes, UpPackets: row.packets, DownPackets: row.packets}
			if u != want {
				t.Errorf("billed %+v, want %+v", u, want)
			}
			b.carried()
		})
	}
}

func TestWhatABridgeEnds(t *testing.T) {
	etherType := func(v uint16) func(flow) []byte {
		return func(w flow) []byte { raw := w.udp(100); raw[22], raw[23] = byte(v>>8), byte(v); return raw }
	}
	with := func(change func(*flow)) func(flow) []byte {
		return func(w flow) []byte { change(&w); return w.udp(100) }
	}
	both := []int{clients.LAN, clients.WAN}
	lan, wan := both[:1], both[1:]
	rows := []struct {
		name  string
		ports []int
		make  func(flow) []byte
		why   Reason
	}{
		{"spanning tree", both, with(func(w *flow) { w.dstMAC = 0x0180c2000000 }), LinkLocalGroup},
		{"LLDP", both, with(func(w *flow) { w.dstMAC = 0x0180c200000e }), LinkLocalGroup},
		{"the last of the groups that stay", both, with(func(w *flow) { w.dstMAC = 0x0180c200000f }), LinkLocalGroup},
		{"ARP to one of them", both, func(w flow) []byte {
			return arp{from: w.srcMAC, to: 0x0180c2000003, op: 1, mac: w.srcMAC, ip: w.src, target: lanIP}.raw()
		}, LinkLocalGroup},
		{"from a group", both, with(func(w *flow) { w.srcMAC = 0x01005e000001 }), BadSource},
		{"from nobody", both, with(func(w *flow) { w.srcMAC = 0 }), BadSource},
		{"from our own MAC", both, with(func(w *flow) { w.srcMAC = lanMAC }), BadSource},
		{"an EtherType nobody knows", both, etherType(0x88b7), UnknownProtocol},
		{"PPPoE", both, etherType(0x8864), UnknownProtocol},
		{"LLC", both, etherType(100), UnknownProtocol},
		{"an unknown EtherType in a VLAN", both, func(w flow) []byte { return tagged(etherType(0x88b7)(w), 7) }, UnknownProtocol},
		{"two tags", both, func(w flow) []byte { return tagged(tagged(w.udp(100), 7), 8) }, Tagged},
		{"half a tag", both, func(w flow) []byte { return tagged(w.udp(100), 7)[:l3+3] }, Tagged},
		{"IPv6 that is none", both, func(w flow) []byte { raw := w.six(17, 100); raw[l3] = 0x50; return raw }, Malformed},
		{"IPv6 longer than the frame", both, func(w flow) []byte { raw := w.six(17, 100); raw[l3+4]++; return raw }, Malformed},
		{"options that make nothing", both, func(w flow) []byte { return withOptions(w.udp(20), 7, 0, 4, 0) }, Malformed},
		{"a source route", both, func(w flow) []byte { return withOptions(w.udp(20), 131, 7, 4, 8, 8, 8, 8, 0) }, SourceRouted},
		{"a MAC nobody knows", lan, with(func(w *flow) { w.srcMAC += 0x90 }), UnknownClient},
		{"IPv6 from a MAC nobody knows", lan, func(w flow) []byte { w.srcMAC += 0x90; return w.six(17, 10) }, UnknownClient},
		{"a borrowed address", lan, with(func(w *flow) { w.src++ }), Spoofed},
		{"a borrowed address outside of the box's prefix", lan, with(func(w *flow) { w.src = serverIP }), Spoofed},
		{"the box's address", lan, with(func(w *flow) { w.src = lanIP }), BadSource},
		{"no address", lan, with(func(w *flow) { w.src = 0 }), BadSource},
		{"loopback", lan, with(func(w *flow) { w.src = 0x7f000001 }), BadSource},
		{"an address that stays on its link", lan, with(func(w *flow) { w.src = 0xa9fe0101 }), BadSource},
		{"a group's address", lan, with(func(w *flow) { w.src = 0xe0000001 }), BadSource},
		{"to a neighbour", lan, with(func(w *flow) { w.dstMAC = bobMAC }), LANDestination},
		{"IPv6 to a neighbour", lan, func(w flow) []byte { w.dstMAC = bobMAC; return w.six(17, 10) }, LANDestination},
		{"IPv6 to the box", lan, func(w flow) []byte { w.dstMAC = lanMAC; return w.six(17, 10) }, NoHost},
		{"to the box in a VLAN", lan, func(w flow) []byte { w.dstMAC, w.dst = lanMAC, lanIP; return tagged(w.udp(10), 7) }, NoHost},
		{"through the box as a router", lan, with(func(w *flow) { w.dstMAC = lanMAC }), NotForUs},
		{"to a MAC that is no client's", wan, with(func(w *flow) { w.dstMAC += 0x90 }), UnknownClient},
		{"a client's own frame", wan, with(func(w *flow) { w.srcMAC = bobMAC }), Looped},
		{"from loopback", wan, with(func(w *flow) { w.src = 0x7f000001 }), BadSource},
		{"from this network", wan, with(func(w *flow) { w.src = 1 }), BadSource},
		{"from a group's address", wan, with(func(w *flow) { w.src = 0xe0000001 }), BadSource},
		{"from what is reserved", wan, with(func(w *flow) { w.src = 0xf0000001 }), BadSource},
		{"from a client's address", wan, with(func(w *flow) { w.src = bobIP }), BadSource},
		{"from the receiver's address", wan, with(func(w *flow) { w.src = aliceIP }), BadSource},
		{"from the box's address", wan, with(func(w *flow) { w.src = lanIP }), BadSource},
		{"from a group's address over IPv6", wan, func(w flow) []byte { raw := w.six(59, 10); raw[l3+8] = 0xff; return raw }, BadSource},
		{"to the box over IPv6", wan, func(w flow) []byte { w.dstMAC = lanMAC; return w.six(17, 10) }, NoHost},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			b.bind(bob, bobMAC, bobIP)
			b.grant(bob, free())
			b.heard(alice, bob)
			for i, port := range row.ports {
				w := across
				if port == clients.WAN {
					w = home
				}
				b.in(port, row.make(w))
				b.nothing()
				b.dropped(row.why, uint64(i)+1)
			}
			if u, v := b.use(alice, 1), b.use(bob, 1); u.Up+u.Down+v.Up+v.Down != 0 {
				t.Errorf("billed %+v and %+v", u, v)
			}
		})
	}
}

// Without a grant nothing passes, whatever it is.
func TestABridgePassesNothingBeforeItIsPaid(t *testing.T) {
	for _, row := range bridgeRows {
		t.Run(row.name, func(t *testing.T) {
			b := newBridge(t)
			b.bind(alice, aliceMAC, aliceIP)
			b.in(clients.LAN, row.make(across))
			b.in(clients.WAN, row.make(home))
			b.nothing()
			b.dropped(NoGrant, 2*row.packets)
		})
	}
}

func TestTheBoxBesideABridge(t *testing.T) {
	toBox, fromBox := across, home
	toBox.dstMAC, toBox.dst = lanMAC, lanIP
	fromBox.srcMAC, fromBox.src = lanMAC, lanIP
	b := newBridge(t)
	b.bind(alice, aliceMAC, aliceIP) // with no grant: the box is reached without
	b.in(clients.LAN, toBox.tcp(100))
	if got := b.onlyFrame(clients.Host); !bytes.Equal(got, toBox.tcp(100)) {
		t.Errorf("to the box: %x", got)
	}
	b.in(clients.Host, fromBox.tcp(100))
	if got := b.onlyFrame(clients.LAN); !bytes.Equal(got, fromBox.tcp(100)) {
		t.Errorf("from the box: %x", got)
	}
	s := b.table.Slot(alice)
	if s.ExemptUp.Load() != 140 || s.ExemptDn.Load() != 140 {
		t.Errorf("%d and %d bytes are exempt", s.ExemptUp.Load(), s.ExemptDn.Load())
	}
	b.table.Header().SetOpen(false, nil)
	b.in(clients.LAN, toBox.tcp(100))
	b.dropped(LocalClosed, 1)
	fromBox.src = bobIP
	b.in(clients.Host, fromBox.tcp(100))
	b.dropped(BadSource, 1)
	b.nothing()
	b.carried()
}

// The box's kernel asks by ARP: the table answers for clients, the WAN for all others.
func TestTheBoxAsksBothSides(t *testing.T) {
	for _, route := range []bool{true, false} {
		b := newBridge(t, func(c *Config) { c.HostRoute = route })
		b.bind(alice, aliceMAC, aliceIP)
		ask := arp{from: lanMAC, to: broadcast, op: 1, mac: lanMAC, ip: lanIP, target: aliceIP}
		b.in(clients.Host, ask.raw())
		b.one(clients.Host).says(t, 2, aliceMAC, aliceIP, lanMAC, lanIP)
		ask.target = bobIP // nobody here
		b.in(clients.Host, ask.raw())
		if got := b.frames(clients.WAN); (len(got) == 1) != route {
			t.Errorf("default route %v: %d questions went out", route, len(got))
		}
		ask.ip = aliceIP // not the box's word
		b.in(clients.Host, ask.raw())
		b.nothing()
		up := flow{srcMAC: lanMAC, dstMAC: routerMAC, src: lanIP, dst: serverIP, srcPort: 6000, dstPort: 53, ttl: 64, id: 100}
		b.in(clients.Host, up.udp(100))
		if !route {
			b.dropped(HostUnknown, 1)
			b.nothing()
			continue
		}
		if got := b.onlyFrame(clients.WAN); !bytes.Equal(got, up.udp(100)) {
			t.Errorf("out: %x", got)
		}
		answer := flow{srcMAC: routerMAC, dstMAC: lanMAC, src: serverIP, dst: lanIP, srcPort: 53, dstPort: 6000, ttl: 64, id: 100}
		b.in(clients.WAN, answer.udp(100))
		if got := b.onlyFrame(clients.Host); !bytes.Equal(got, answer.udp(100)) {
			t.Errorf("in: %x", got)
		}
		b.carried()
	}
}

// What one worker does several do.
func TestABridgeOfSeveralWorkers(t *testing.T) {
	for _, n := range []int{2, 3} {
		for name, test := range map[string]func(*testing.T){
			"frames": TestABridgePassesFramesAsTheyCame, "ends": TestWhatABridgeEnds, "before": TestABridgePassesNothingBeforeItIsPaid,
			"box": TestTheBoxBesideABridge, "questions": TestTheBoxAsksBothSides, "MTU": TestABridgeMindsTheMTU,
			"without a session": TestWhatPassesWithoutASession, "answers": TestABridgeAnswersForTheBox, "IPv6": TestIPv6AddressesAreTheirClients,
			"for many": TestWhatIsForManyHasARate, "loop": TestALoopStopsTheBridge, "whom it asked": TestTheBoxHearsWhomItAsked,
			"law": TestABridgeLosesAndMakesUpNothing,
		} {
			t.Run(name, func(t *testing.T) {
				withWorkers(t, n)
				test(t)
			})
		}
	}
}
