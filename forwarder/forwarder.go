package forwarder

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/nat"
	"gatewayd/limiter"
)

// Forwarder is one worker of the packet path of one box. One goroutine runs it.
type Forwarder struct {
	cfg   Config
	links Links
	bell  *clients.Bell // rings here
	wake  func()        // rings control's
	clock func() time.Duration

	table     *clients.Table
	header    *clients.Header
	said      *clients.Worker // what this worker says in it
	worker    int             // its number
	crew      *crew           // what it shares with the others; nil: it is alone
	first     int             // of its slots; the next ones follow at step
	step      int
	others    others              // their clients
	strangers strangers           // who is none, in bridge mode
	bridge    *bridge             // nil in route mode
	ledTo     map[fragmentKey]led // fragments that are others'
	tables    arena.Arena         // of what follows by client
	clients   []client
	bound     int      // clients with a MAC
	policy    []uint64 // policy generations taken in
	changes   uint64
	unscanned int // first slot that the present look for changes has not come to; 0: none is on
	deadlines deadlines
	byMAC     index
	byIP      index
	nat       *nat.Table

	lan, lanNet, lanMask uint32
	wan, wanNet, wanMask uint32
	externals            []uint32 // the gateway's addresses on the WAN, of which wan is the first; 0: there is none
	gateway              uint32   // 0: none
	addressed            uint64   // number of the addressing taken in
	forwarded            uint64   // number of the forwards taken in
	settling             bool     // the translations have not taken in all externals
	mac                  [clients.NumPorts]uint64
	mtu                  [clients.NumPorts]int // layer 3, bytes, as the table has them
	mss                  uint16                // of the smaller one

	now       time.Duration // since boot, read once a batch
	nextMind  time.Duration
	stopped   bool // admission, as a whole
	ring      bool // control is to be woken after this batch
	hint      bool // likewise, but no more than every hintEvery
	rang      time.Duration
	again     bool   // a frame that waited is on its way again
	touched   uint32 // first client whose counters are to be stored; 0: none
	paths     [clients.NumPorts][]step
	following [clients.NumPorts]int // position in each path from which what waited for another fragment goes on; the WAN's is restore
	pacing    [clients.NumPorts]int // position of pace in each path; quota is behind it
	routing   [clients.NumPorts]int // likewise of route
	pacer     pacer
	division  division
	turn      turn
	frame     frame
	lifted    frame // what waited for its rate
	gone      frame // likewise, and is dropped
	halved    bool  // the first part of a frame that waits is on its way
	back      frame // what turned round at the WAN address
	ahead     ahead
	aheadFrom int     // conversations from which on it is used
	heads     [3]head // what conforms to the rate of a frame, what of that fits the grant, and the receiver's once it turned round
	portions  int     // heads on their way
	queues    [clients.NumPorts]queue
	sending   time.Duration // spent since sparse flows could pass
	scratch   []byte        // for fragments
	built     []byte        // for what gopacket builds
	counters  counters
	base      [clients.NumPorts]clients.PortCounters // as found at attach
	publisher *clients.Publisher
	busy      bool          // the last round had frames
	served    time.Duration // when one last had

	arpIO       *arpParser
	answers     [clients.NumPorts]limiter.Allowance // ARP replies and ICMP errors to whom no client is known
	neighbours  map[uint32]*neighbour
	hop         *neighbour // the gateway's
	heldFrames  int
	fragments   fragments
	earlies     earlies
	unsolicited unsolicitedSYNs
	seen        []glimpse // of glimpses

	arrivals arrivals

	ready  [clients.NumPorts]bool // to be asked for frames, whether or not any are seen
	downed [clients.NumPorts]bool // did not serve; tried again soon
	down   uint64                 // ports without a link, as in the header

	announcements [clients.NumPorts]announcement
	coarse        bool // the kernel's waits are whole milliseconds
	stop          atomic.Bool

	captures captures
	posted   uint64 // of control's outbox; worker 0's
}

// hintEvery is how often sightings alone wake control: those of a flood fill
// their ring meanwhile.
const hintEvery = 10 * time.Millisecond

const glimpses = 1024

// glimpse remembers a sighting, so that a flood makes few.
type glimpse struct {
	mac  uint64
	ip   uint32
	kind clients.Kind
	when time.Duration
}

// TableBytes is the size of the NAT region for so many flows, of which each worker
// has its part.
func TableBytes(flows, workers int) int { return workers * regionBytes(flows/workers) }

// regionBytes is the size of one worker's part of the NAT region, on cache lines of
// its own.
func regionBytes(flows int) int { return (nat.Layout(flows) + 63) &^ 63 }

// attach attaches one worker.
func attach(cfg Config, links Links, table *clients.Table, bell *clients.Bell, wake func(), clock func() time.Duration, at seat) (*Forwarder, error) {
	if cfg.Bridge {
		cfg.WANMAC = cfg.LANMAC // it is one station
	}
	f := &Forwarder{
		cfg: cfg, links: links, bell: bell, wake: wake, clock: clock,
		table: table, header: table.Header(), said: table.Worker(at.worker),
		lan:       be(cfg.LAN.Addr()),
		mac:       [clients.NumPorts]uint64{cfg.LANMAC, cfg.WANMAC, cfg.LANMAC},
		scratch:   make([]byte, link.MaxFrame),
		built:     make([]byte, 0, 2048),
		arpIO:     newARPParser(),
		fragments: newFragments(),
	}
	if err := f.makeTables(table.Slots()); err != nil {
		return nil, errors.Join(fmt.Errorf("tables of %d clients: %w", table.Slots(), err), f.Close())
	}
	if err := f.sit(at); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if cfg.Bridge {
		if err := f.makeBridge(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	f.turn.last, f.turn.mixed = nobody, -2*alone
	f.lanMask = maskOf(cfg.LAN.Bits())
	f.lanNet = f.lan & f.lanMask
	f.takeAddressing()
	forwards := f.takeForwards()
	if !cfg.Single {
		f.queues[clients.LAN].joins, f.queues[clients.WAN].joins = newJoins(), newJoins()
	}
	f.list()
	if f.worker == 0 {
		f.posted = table.Outbox().Begin()
	}
	f.measurePorts()
	f.now = f.clock()
	if cfg.Bridge {
		f.recall6()
	}
	f.counters.load(f.said)
	f.base = f.counters.Ports
	f.publisher = clients.NewPublisher(f.said)
	var err error
	flows := cfg.NATFlows / f.step
	region := regionBytes(flows)
	f.nat, err = nat.Attach(table.NAT()[f.worker*region:][:region], nat.Options{
		Owner: uint8(f.worker), Owners: f.step,
		Externals: f.externals, Forwards: forwards, Holder: f.servedAt, MaxFlows: flows, MaxClients: table.Slots(), Arena: &f.tables,
	}, int64(f.now))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach translations: %w", err), f.Close())
	}
	f.stopped = f.header.Stop.Load() != 0
	f.down = f.header.Down.Load()
	f.announce(clients.LAN)
	f.announce(clients.WAN)
	if f.crew != nil {
		f.follow()
	}
	f.changes = f.header.Changes.Load() - 1 // whatever it is, it was not taken in
	for !f.sync() {
	}
	f.publish()
	f.said.Beat.Store(int64(f.now))
	f.said.Attached.Store(f.header.Alive.Load())
	f.wake()
	return f, nil
}

// makeTables makes what is large or grows with the number of slots, outside the
// heap, so that the collector has nothing to look at.
func (f *Forwarder) makeTables(slots int) error {
	var err [4]error
	f.byMAC, err[0] = newIndex(&f.tables, slots-1)
	f.byIP, err[1] = newIndex(&f.tables, slots-1)
	f.pacer, err[2] = newPacer(&f.tables, slots, cmp.Or(f.cfg.QueueMemory, defaultQueueMemory)/f.table.Workers())
	f.earlies, err[3] = newEarlies(&f.tables)
	return errors.Join(errors.Join(err[:]...),
		f.deadlines.init(&f.tables, slots),
		arena.Make(&f.tables, &f.clients, slots),
		arena.Make(&f.tables, &f.policy, slots),
		arena.Make(&f.tables, &f.turn.counts, slots),
		arena.Make(&f.tables, &f.seen, glimpses))
}

// Close gives the forwarder's tables back; it must not run any more.
func (f *Forwarder) Close() error { return f.tables.Close() }

func be(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func maskOf(bits int) uint32 { return uint32(uint64(0xffffffff) << (32 - bits)) }

// sight tells control about a client, at most once a second each; false when
// it was told too recently or the ring is full.
func (f *Forwarder) sight(kind clients.Kind, slot uint32, mac uint64, ip uint32) bool {
	g := &f.seen[f.byMAC.hash(mac^uint64(ip)<<16^uint64(kind)<<60)>>54]
	if g.mac == mac && g.ip == ip && g.kind == kind && f.now-g.when < time.Second {
		return false
	}
	if !f.table.Sight(f.worker, clients.Sighting{Kind: kind, Slot: int(slot), MAC: mac, IP: ip, When: f.now}) {
		return false
	}
	*g = glimpse{mac, ip, kind, f.now}
	f.hint = true
	return true
}
