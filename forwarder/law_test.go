package forwarder

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// The conservation law of clients.Counters under anything that can arrive: it
// is checked after every round, and at the end against what the links carried.
func TestNothingIsLostOrMadeUp(t *testing.T) {
	runs := uint64(120)
	if os.Getenv("GATEWAYD_SOAK") == "1" {
		runs = 20000
	} else if testing.Short() {
		runs = 8
	}
	met := map[string]uint64{}
	for seed := range runs {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { // whose end lets go of its memory
			l := &law{dice: rand.New(rand.NewPCG(seed, 0)), astray: seed%2 == 1}
			l.run(t)
			for reason, n := range l.allDrops() {
				met[reason] += n
			}
			c := l.table.Header().Counters().Totals
			met["own"] += c.OwnPackets
			met["added"] += c.AddedPackets
			met["billed"] += c.BilledPackets
			met["exempt"] += c.ExemptPackets
			met["hairpin"] += c.HairpinPackets
		})
		if t.Failed() {
			return
		}
	}
	if testing.Short() {
		return // a few do not meet everything
	}
	for _, what := range []string{"own", "added", "billed", "exempt", "hairpin", "malformed", "over_rate", "data_used_up", "unresolved",
		"ttl_exceeded", "too_big", "tx_refused", "forwarder_ended", "stray_fragment", "client_cap"} {
		if met[what] == 0 {
			t.Errorf("%s: not met: %v", what, met)
		}
	}
}

// law is one run: a gateway in a lively state, and what it was given.
type law struct {
	*bench
	dice   *rand.Rand
	astray bool // of several workers each gets what is another's
	known  flow // of the conversation that alice has
	given  [clients.NumPorts]tally
}

func (l *law) coin() bool           { return l.dice.IntN(2) == 0 }
func (l *law) between(a, b int) int { return a + l.dice.IntN(b-a+1) }

// one is one of several.
func one[T any](l *law, of ...T) T { return of[l.dice.IntN(len(of))] }

func (l *law) run(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.NATFlows = 64
	})
	b.mtus(1500, one(l, 576, 1000, 1500))
	b.cap(one(l, 3, 64), 0)
	b.table.Header().SetOpen(l.coin(), nil)
	defer b.close()
	l.bench = b
	if b.team != nil && l.astray {
		b.team.astray()
	}
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(alice, l.terms(), l.terms(), free())
	b.in(clients.LAN, aliceUp.udp(10))
	l.gave(clients.LAN, aliceUp.udp(10))
	l.known = flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 443, dstPort: 2000, ttl: 60, id: 500}
	if out := b.out(clients.WAN); len(out) == 1 {
		l.known = back(out[0])
	}
	if l.coin() {
		n := 0
		b.replace(clients.WAN, func(l link.Link) link.Link {
			return &fussy{l, func([]byte) bool { n++; return n%3 == 0 }}
		})
	}
	for range l.between(1, 40) {
		l.step()
		for port := range b.ends {
			b.take(port)
		}
	}
	b.pass(5 * time.Second) // what waits for a next hop or a rate is over with
	b.witnessed()
	c := b.table.Header().Counters()
	for port := range c.Ports {
		if got := (tally{c.Ports[port].RxPackets, c.Ports[port].RxBytes}); got != l.given[port] {
			t.Fatalf("port %d: %+v counted as received, it was given %+v", port, got, l.given[port])
		}
	}
	billed := uint64(0)
	for slot := alice; slot <= bob; slot++ {
		for seq := uint64(1); seq <= b.table.Slot(slot).Published.Load(); seq++ {
			if u := b.use(slot, seq); b.record(slot, seq).Sequence.Load() == seq {
				billed += total(u)
			}
		}
	}
	if c.Totals.BilledBytes != billed {
		t.Fatalf("%d bytes billed, the grants say %d", c.Totals.BilledBytes, billed)
	}
}

// terms are a grant that is about to end, slow, or neither.
func (l *law) terms() clients.Terms {
	t := free()
	if l.coin() {
		t.ByteLimit = uint64(l.between(1, 20000))
	}
	if l.coin() {
		t.Up, t.Down = 20000, 30000
	}
	return t
}

// step is one thing that happens.
func (l *law) step() {
	switch l.dice.IntN(30) {
	case 0:
		l.pass(time.Duration(l.between(1, 4000)) * time.Millisecond)
	case 1: // the forwarder is another one from now on
		was := l.workers()
		l.start()
		for i, f := range l.workers() {
			f.links = was[i].links
		}
		if l.round(); l.coin() {
			l.resolve()
		}
	case 2:
		if s := l.table.Slot(bob); s.Published.Load() < clients.GrantsPerSlot {
			l.grant(bob, l.terms())
		}
	case 7: // whatever waits
		l.mtus(one(l, 300, 1000, 1500, 9000), one(l, 576, 1400, 1500, 9000))
	case 3, 4, 5, 6:
		port, raw := l.hostile()
		l.in(port, raw)
		now := l.table.Header().Counters().Ports[port]
		l.given[port] = tally{now.RxPackets, now.RxBytes} // nobody else can say what it is
	default:
		port, raws := l.frames()
		for _, raw := range raws {
			l.gave(port, raw)
		}
		l.in(port, raws...)
	}
}

// gave counts a sound frame: as wire packets, without Ethernet's padding and VLAN
// tag. ARP in no VLAN is not layer 3.
func (l *law) gave(port int, raw []byte) {
	if isARP(raw) {
		return
	}
	if raw = untagged(raw); raw[22] == 0x86 {
		packets, bytes := wireOf6(raw)
		l.given[port].packets += packets
		l.given[port].bytes += bytes
		return
	}
	raw = raw[:24+int(binary.BigEndian.Uint16(raw[26:]))]
	for _, p := range wirePackets(l, raw) {
		l.given[port].packets++
		l.given[port].bytes += uint64(len(p))
	}
}

// frames are sound frames that belong together, and the port they come to.
func (l *law) frames() (port int, raws [][]byte) {
	port = l.dice.IntN(clients.NumPorts)
	w := l.flow(port)
	n := one(l, 0, 1, 18, 100, 548, 972, 1400, 1472)
	size := l.between(100, one(l, 500, 1400))
	many := l.between(size+1, 60000)
	switch l.dice.IntN(10) {
	case 9:
		if raw := w.six(17, n); l.coin() {
			return port, [][]byte{raw, w.superSix(6, many, size), w.superSix(17, many, size)}
		}
		return port, [][]byte{tagged(w.udp(n), 7), tagged(w.tcpSuper(many, size), 8), tagged(w.superSix(6, many, size), 9)}
	case 0:
		return port, [][]byte{w.udp(n), w.udp(n)}
	case 1:
		return port, [][]byte{w.tcp(n)}
	case 2:
		return port, [][]byte{w.syn(port == clients.WAN, 1460)}
	case 3:
		return port, [][]byte{w.echo(port != clients.WAN, n)}
	case 4:
		return port, [][]byte{w.tcpSuper(many, size), w.tcpSuper(many, size), w.tcpSuper(many, size)}
	case 5:
		return port, [][]byte{w.udpSuper(many, size), w.udp(n), w.udpSuper(many, size)}
	case 6:
		pieces := fragmentsOf(w.udp(3000), 8*l.between(10, 185))
		if at := l.dice.IntN(len(pieces)); at > 0 {
			pieces = append(pieces[at:], pieces[:at]...)
		}
		return port, pieces
	case 7:
		return port, [][]byte{w.icmpError(3, 4, uint16(l.between(0, 1500)), back(&seen{ip: &layers.IPv4{
			SrcIP: unpackIP(w.src), DstIP: unpackIP(w.dst)}, srcPort: w.srcPort, dstPort: w.dstPort}).udp(10)[24:])}
	default:
		return port, [][]byte{l.arp()}
	}
}

// flow is somebody who speaks at a port, mostly as is right.
func (l *law) flow(port int) flow {
	var w flow
	switch port {
	case clients.LAN:
		w = one(l, aliceUp, aliceUp, aliceUp, bobUp, toBox)
	case clients.WAN:
		w = l.known
	case clients.Host:
		w = one(l, boxUp, fromBox)
	}
	if port != clients.WAN && l.dice.IntN(4) == 0 { // to alice's mapping, her own too
		w.dst, w.dstPort = wanIP, l.known.dstPort
	}
	w.id = uint16(l.dice.Uint32())
	w.dont = l.coin()
	switch l.dice.IntN(30) {
	case 0:
		w.ttl = 1
	case 1:
		w.src++
	case 2:
		w.srcMAC++
	case 3:
		w.dst = routerIP + 5 // a next hop that is silent, or not for us
	case 4:
		w.dst = bobIP
	case 5:
		w.dst = 0xe0000001
	case 6:
		w.dstMAC++
	case 7:
		w.srcPort, w.dstPort = 68, 67
	case 8:
		w.dstPort = uint16(l.dice.Uint32())
	}
	return w
}

func (l *law) arp() []byte {
	return one(l,
		arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP},
		arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: routerIP, target: wanIP},
		arp{from: 0x020000000105, to: wanMAC, op: 2, mac: 0x020000000105, ip: routerIP + 5, targetMAC: wanMAC, target: wanIP},
		arp{from: lanMAC, to: broadcast, op: 1, mac: lanMAC, ip: lanIP, target: aliceIP},
	).raw()
}

// hostile is a sound frame with a few bytes changed and a length of its own, or
// nothing but noise.
func (l *law) hostile() (port int, raw []byte) {
	if l.coin() {
		raw = make([]byte, l.between(0, 100))
		for i := range raw {
			raw[i] = byte(l.dice.Uint32())
		}
		return l.dice.IntN(clients.NumPorts), raw
	}
	port, raws := l.frames()
	raw = raws[0]
	for range l.between(1, 4) {
		raw[l.between(0, min(len(raw), 80)-1)] = byte(l.dice.Uint32())
	}
	if l.coin() && len(raw) >= 44 { // so that the rest is looked at
		raw[34], raw[35] = 0, 0
		binary.BigEndian.PutUint16(raw[34:], ^naiveSum(raw[24:min(len(raw), 24+max(int(raw[24]&15)*4, 20))]))
	}
	return port, raw[:l.between(len(raw)/2, len(raw))]
}
