package forwarder

import (
	"net/netip"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// The bench:
//
//	alice 10.0.0.5 ─┐                                    ┌─ router 203.0.113.1 ── server 198.51.100.1
//	bob   10.0.0.6 ─┴─ LAN 10.0.0.1 [forwarder] 203.0.113.7 WAN
//	                        │
//	                       box (host link, 10.0.0.1)
//
// The tests hold the other end of each link, and control's side of the table.

const (
	lanIP    = 0x0a000001
	aliceIP  = 0x0a000005
	bobIP    = 0x0a000006
	wanIP    = 0xcb007107
	routerIP = 0xcb007101
	serverIP = 0xc6336401

	lanMAC    = 0x020000000001
	aliceMAC  = 0x020000000005
	bobMAC    = 0x020000000006
	wanMAC    = 0x020000000101
	routerMAC = 0x020000000102

	alice, bob = 1, 2 // slots
)

type bench struct {
	testing.TB
	f         *Forwarder
	crew      *Crew // of several workers, of which f is the first; nil: f is alone
	cfg       Config
	table     *clients.Table
	links     Links                       // the forwarder's ends, as it gets them
	pipes     Links                       // what they are made of
	ends      [clients.NumPorts]link.Link // the test's
	team      *team                       // the other workers' links; nil: there is one worker
	now       time.Duration
	woken     int
	announces bool // the forwarder says where it is
	mute      bool // the router is not heard

	sent [clients.NumPorts]tally // layer 3, as wire packets, what came out
}

type tally struct{ packets, bytes uint64 }

func testConfig() Config {
	return Config{
		LAN:    netip.MustParsePrefix("10.0.0.1/24"),
		LANMAC: lanMAC, WANMAC: wanMAC, HostRoute: true, NATFlows: 4096,
	}
}

// addressed gives the gateway addresses on the WAN, by way of the router of all tests.
func (b *bench) addressed(ips ...uint32) {
	b.table.Header().SetAddressing(clients.Addressing{Addresses: ips, Bits: 24, Gateway: routerIP})
}

// cap bounds each client's flows and external ports; 0: the default.
func (b *bench) cap(flows, ports int) {
	b.table.Header().ClientFlows.Store(uint64(flows))
	b.table.Header().ClientPorts.Store(uint64(ports))
}

// mtus gives the ports other MTUs, from the next round on.
func (b *bench) mtus(lan, wan int) {
	b.table.Header().MTU[clients.LAN].Store(uint64(lan))
	b.table.Header().MTU[clients.WAN].Store(uint64(wan))
}

// newBench starts a forwarder whose gateway is resolved, with nobody bound.
func newBench(t testing.TB, change ...func(*Config)) *bench {
	b := newColdBench(t, change...)
	b.resolve()
	return b
}

// newColdBench starts a forwarder that knows no next hop yet.
func newColdBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	return newColdBenchFor(t, 16, change...)
}

// newBenchFor is newBench with a table of so many slots.
func newBenchFor(t testing.TB, slots int, change ...func(*Config)) *bench {
	t.Helper()
	b := newColdBenchFor(t, slots, change...)
	b.resolve()
	return b
}

func newColdBenchFor(t testing.TB, slots int, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{TB: t, cfg: testConfig(), now: 1000 * time.Second}
	for _, c := range change {
		c(&b.cfg)
	}
	shape := clients.Shape{Slots: slots, NATBytes: TableBytes(b.cfg.NATFlows, 1), Captured: 1 << 18}
	if teamSize > 1 {
		shape = teamShape(b.cfg)
	}
	table, err := clients.Format(make([]byte, clients.Size(shape)), shape)
	if err != nil {
		t.Fatal(err)
	}
	b.table = table
	table.Header().SetOpen(true, nil)
	b.mtus(1500, 1500)
	b.addressed(wanIP)
	if teamSize > 1 {
		b.team = newTeam(b)
	} else {
		for port := range b.links {
			b.links[port], b.ends[port] = link.Pipe()
		}
	}
	b.pipes = b.links
	b.start()
	t.Cleanup(b.close)
	return b
}

// close checks the counters a last time and gives the links back; once more
// does nothing.
func (b *bench) close() {
	b.Helper()
	if b.pipes[0] == nil {
		return
	}
	b.conserve()
	if b.crew == nil {
		b.crew = &Crew{workers: []*Forwarder{b.f}}
	}
	if err := b.crew.Close(); err != nil {
		b.Error(err)
	}
	for port := range b.pipes {
		b.pipes[port].Close()
		b.ends[port].Close()
	}
	b.pipes = Links{}
}

// start attaches a forwarder to the table as it is.
func (b *bench) start() {
	b.Helper()
	if b.team != nil {
		b.team.start()
		return
	}
	f, err := attach(b.cfg, b.links, b.table, nil, func() { b.woken++ }, b.clock, seat{})
	if err != nil {
		b.Fatal(err)
	}
	if b.f != nil {
		if err := b.f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if !b.announces {
		f.announcements = [clients.NumPorts]announcement{}
	}
	f.aheadFrom = 0 // what it makes of every frame of these tests must not matter
	b.f = f
}

// round goes round until nothing waits.
func (b *bench) round() {
	b.Helper()
	for _, f := range b.workers() {
		if !b.mute && f.hop.mac != 0 {
			f.hop.confirmed = b.now
		}
		for port := range f.ready {
			f.ready[port] = true
		}
	}
	b.turn()
}

// turn has each worker go round in its turn until none has anything to do; the
// counters balance after each.
func (b *bench) turn() {
	b.Helper()
	for busy := true; busy; {
		busy = false
		for _, f := range b.workers() {
			busy = f.Round() || busy
			b.conserve()
		}
	}
}

// workers are all there are.
func (b *bench) workers() []*Forwarder {
	if b.crew != nil {
		return b.crew.workers
	}
	return []*Forwarder{b.f}
}

// pass lets time pass, at least one round a tenth of a second.
func (b *bench) pass(d time.Duration) {
	b.Helper()
	for end := b.now + d; b.now < end; {
		b.now = min(end, b.now+100*time.Millisecond)
		b.round()
	}
}

// resolve lets the router answer ARP.
func (b *bench) resolve() {
	b.Helper()
	b.round()
	b.in(clients.WAN, arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: routerIP, targetMAC: wanMAC, target: wanIP}.raw())
	for port := range b.ends {
		b.take(port)
	}
}

// in gives the forwarder frames at a port and goes round.
func (b *bench) in(port int, raws ...[]byte) {
	b.Helper()
	b.offer(port, raws...)
	b.round()
}

// offer gives the forwarder frames at a port.
func (b *bench) offer(port int, raws ...[]byte) {
	b.Helper()
	for len(raws) > 0 {
		n := min(len(raws), link.Batch)
		var taken [link.Batch]bool
		if err := b.ends[port].Send(raws[:n], taken[:]); err != nil || !taken[n-1] {
			b.Fatalf("offer %d frames to port %d: %v %v", n, port, err, taken[:n])
		}
		raws = raws[n:]
	}
}

// everyEnd is the test's end of each worker's link at a port.
func (b *bench) everyEnd(port int) []link.Link {
	if n, several := b.ends[port].(*fan); several {
		return n.ends
	}
	return []link.Link{b.ends[port]}
}

// take returns the frames that came out of a port.
func (b *bench) take(port int) (raws [][]byte) {
	b.Helper()
	for {
		frames, err := b.ends[port].Receive()
		if err != nil {
			b.Fatal(err)
		}
		if frames == nil {
			return raws
		}
		for _, f := range frames {
			f = append([]byte(nil), f...)
			raws = append(raws, f)
			if isARP(f) {
				continue
			}
			for _, p := range wirePackets(b, f) {
				b.sent[port].packets++
				b.sent[port].bytes += uint64(len(p))
			}
		}
	}
}

// out returns what came out of a port as decoded wire packets, checksums
// verified; ARP included.
func (b *bench) out(port int) (seen []*seen) {
	b.Helper()
	for _, raw := range b.take(port) {
		seen = append(seen, look(b, raw)...)
	}
	return seen
}

// one returns the only packet that came out of a port.
func (b *bench) one(port int) *seen {
	b.Helper()
	got := b.out(port)
	if len(got) != 1 {
		b.Fatalf("%d packets came out of port %d, want 1: %v", len(got), port, got)
	}
	return got[0]
}

// silent fails if something came out of a port.
func (b *bench) silent(ports ...int) {
	b.Helper()
	for _, port := range ports {
		if got := b.out(port); len(got) != 0 {
			b.Fatalf("%d packets came out of port %d: %v", len(got), port, got)
		}
	}
}

// bind gives a slot to a client.
func (b *bench) bind(slot int, mac uint64, ip uint32) {
	b.Helper()
	s := b.table.Slot(slot)
	s.Generation.Add(1)
	s.MAC.Store(mac)
	s.IP.Store(uint64(ip))
	s.State.Store(clients.SlotBound)
	b.changed(slot)
}

// changed tells the forwarder and waits for its word.
func (b *bench) changed(slot int) {
	b.Helper()
	gen := b.table.Changed(slot)
	b.round()
	if got := b.table.Acked(slot); got != gen {
		b.Fatalf("slot %d: policy %d acknowledged, want %d", slot, got, gen)
	}
}

// free is a grant without limits.
func free() clients.Terms {
	return clients.Terms{Session: 7, ByteLimit: clients.NoLimit, Duration: clients.NoTime, Expiry: clients.NoTime}
}

func bytesOf(n uint64) clients.Terms {
	t := free()
	t.ByteLimit = n
	return t
}

func timeOf(d time.Duration) clients.Terms {
	t := free()
	t.Duration = d
	return t
}

// grant publishes grants and returns the sequence of the last.
func (b *bench) grant(slot int, terms ...clients.Terms) (seq uint64) {
	b.Helper()
	var err error
	for _, t := range terms {
		if seq, err = b.table.Slot(slot).Publish(t); err != nil {
			b.Fatal(err)
		}
	}
	b.changed(slot)
	return seq
}

// record is a slot's grant.
func (b *bench) record(slot int, seq uint64) *clients.Grant { return b.table.Slot(slot).Record(seq) }

// use is what a slot's grant has seen.
func (b *bench) use(slot int, seq uint64) clients.Use { return b.record(slot, seq).Use(seq) }

// sightings reads what control was told.
func (b *bench) sightings() []clients.Sighting {
	var buf [2048]clients.Sighting
	return append([]clients.Sighting(nil), buf[:b.table.Sightings(buf[:])]...)
}

// drops is how many packets were dropped for a reason.
func (b *bench) drops(r Reason) uint64 { return b.table.Header().Counters().Drops[r] }

// lost is how many packets of a slot's client were dropped for a reason.
func (b *bench) lost(slot int, r Reason) uint64 { return b.table.Losses(slot)[r].Packets.Load() }

// dropped fails unless that many packets were dropped for a reason.
func (b *bench) dropped(r Reason, want uint64) {
	b.Helper()
	if got := b.drops(r); got != want {
		b.Fatalf("%d packets dropped as %v, want %d; all: %v", got, r, want, b.allDrops())
	}
}

func (b *bench) allDrops() map[string]uint64 {
	all := map[string]uint64{}
	for r := range Reasons() {
		if n := b.drops(Reason(r)); n != 0 {
			all[Reason(r).String()] = n
		}
	}
	return all
}

// conserve checks that no packet and no byte came from nowhere or went there:
//
//	received + hairpin + own + added = transmitted + hairpin + dropped + queued + local
//	transmitted + hairpin = billed + exempt + own
func (b *bench) conserve() {
	b.Helper()
	h := b.table.Header().Counters()
	var rx, tx, dropped tally
	for i := range h.Ports {
		p := &h.Ports[i]
		rx.packets += p.RxPackets
		rx.bytes += p.RxBytes
		tx.packets += p.TxPackets
		tx.bytes += p.TxBytes
	}
	for i := range h.Drops {
		dropped.packets += h.Drops[i]
		dropped.bytes += h.DropBytes[i]
	}
	t := &h.Totals
	own := tally{t.OwnPackets, t.OwnBytes}
	in := tally{rx.packets + own.packets + t.AddedPackets, rx.bytes + own.bytes + t.AddedBytes}
	out := tally{tx.packets + dropped.packets + t.QueuedPackets + t.LocalPackets, tx.bytes + dropped.bytes + t.QueuedBytes + t.LocalBytes}
	if in != out {
		b.Fatalf("received + own + added = %+v, transmitted + dropped + queued + local = %+v; drops %v", in, out, b.allDrops())
	}
	paid := tally{t.BilledPackets + t.ExemptPackets + own.packets, t.BilledBytes + t.ExemptBytes + own.bytes}
	tx.packets, tx.bytes = tx.packets+t.HairpinPackets, tx.bytes+t.HairpinBytes
	if tx != paid {
		b.Fatalf("transmitted + hairpin = %+v, billed + exempt + own = %+v", tx, paid)
	}
}

// witnessed fails unless the forwarder counted as transmitted what the links
// carried, since the start.
func (b *bench) witnessed() {
	b.Helper()
	for port := range b.ends {
		b.take(port)
		p := b.table.Header().Counters().Ports[port]
		if got := (tally{p.TxPackets, p.TxBytes}); got != b.sent[port] {
			b.Fatalf("port %d: %+v counted as transmitted, the link carried %+v", port, got, b.sent[port])
		}
	}
}

func (b *bench) clock() time.Duration { return b.now }

// between puts links between the forwarders that are started from now on and theirs.
func (b *bench) between(by func(port int, l link.Link) link.Link) {
	all := []*Links{&b.links}
	if b.team != nil {
		all = nil
		for i := range b.team.links {
			all = append(all, &b.team.links[i])
		}
	}
	for _, links := range all {
		for port, l := range links {
			links[port] = by(port, l)
		}
	}
}

// replace puts other links in the place of all workers' at a port.
func (b *bench) replace(port int, by func(link.Link) link.Link) {
	for _, f := range b.workers() {
		f.links[port] = by(f.links[port])
	}
}
