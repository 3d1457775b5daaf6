package forwarder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

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
	ledTo     map[fragmentKey]led // fragments that are others'
	tables    arena.Arena         // of what follows by client
	clients   []client
	policy    []uint64 // policy generations taken in
	changes   uint64
	unscanned int // first slot that the present look for changes has not come to; 0: none is on
	deadlines deadlines
	byMAC     index
	byIP      index
	nat       *nat.Table

	lan, lanNet, lanMask uint32
	wan, wanNet, wanMask uint32
	gateway              uint32
	mac                  [clients.NumPorts]uint64
	mtu                  [clients.NumPorts]int
	mss                  uint16

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
	pacer     pacer
	turn      turn
	frame     frame
	back      frame // what turned round at the WAN address
	ahead     ahead
	aheadFrom int     // conversations from which on it is used
	heads     [3]head // what conforms to the rate of a frame, what of that fits the grant, and the receiver's once it turned round
	portions  int     // heads on their way
	queues    [clients.NumPorts]queue
	scratch   []byte // for fragments
	built     []byte // for what gopacket builds
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

	ready  [clients.NumPorts]bool // may have frames waiting
	downed [clients.NumPorts]bool // did not serve; tried again soon
	down   uint64                 // ports without a link, as in the header

	announcements [clients.NumPorts]announcement
	stop          atomic.Bool
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
	f := &Forwarder{
		cfg: cfg, links: links, bell: bell, wake: wake, clock: clock,
		table: table, header: table.Header(), said: table.Worker(at.worker),
		gateway: be(cfg.Gateway), lan: be(cfg.LAN.Addr()), wan: be(cfg.WAN.Addr()),
		mac:       [clients.NumPorts]uint64{cfg.LANMAC, cfg.WANMAC, cfg.LANMAC},
		mtu:       [clients.NumPorts]int{cfg.LANMTU, cfg.WANMTU, cfg.LANMTU},
		mss:       uint16(min(cfg.LANMTU, cfg.WANMTU) - 40),
		scratch:   make([]byte, link.MaxFrame),
		built:     make([]byte, 0, 2048),
		arpIO:     newARPParser(),
		hop:       &neighbour{},
		fragments: newFragments(),
	}
	if err := f.makeTables(table.Slots()); err != nil {
		return nil, errors.Join(fmt.Errorf("tables of %d clients: %w", table.Slots(), err), f.Close())
	}
	if err := f.sit(at); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.turn.last, f.turn.mixed = nobody, -2*alone
	f.lanMask, f.wanMask = mask(cfg.LAN), mask(cfg.WAN)
	f.lanNet, f.wanNet = f.lan&f.lanMask, f.wan&f.wanMask
	f.neighbours = map[uint32]*neighbour{f.gateway: f.hop}
	if !cfg.Single {
		f.queues[clients.LAN].joins, f.queues[clients.WAN].joins = newJoins(), newJoins()
	}
	f.list()
	f.now = f.clock()
	f.counters.load(f.said)
	f.base = f.counters.Ports
	f.publisher = clients.NewPublisher(f.said)
	var err error
	flows := cfg.NATFlows / f.step
	region := regionBytes(flows)
	f.nat, err = nat.Attach(table.NAT()[f.worker*region:][:region], nat.Options{
		Owner: uint8(f.worker), Owners: f.step,
		External: f.wan, Filtering: cfg.Filtering, MaxFlows: flows, FlowsPerClient: cfg.ClientFlows, PortsPerClient: cfg.ClientPorts,
		MaxClients: table.Slots(), Arena: &f.tables,
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
	f.pacer, err[2] = newPacer(&f.tables, slots)
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

func mask(p netip.Prefix) uint32 { return uint32(uint64(0xffffffff) << (32 - p.Bits())) }

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

// work forwards until the crew is stopped. It waits for frames on the thread itself.
func (f *Forwarder) work() error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("forward: epoll: %w", err)
	}
	defer unix.Close(poll)
	bell, err := clients.FD(f.bell.File())
	if err != nil {
		return fmt.Errorf("forward: bell: %w", err)
	}
	watch := func(fd, what int, events uint32) error {
		return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(what)})
	}
	for port, l := range f.links {
		if _, elsewhere := l.(sendOnly); l != nil && !elsewhere {
			if err := watch(l.FD(), port, unix.EPOLLIN|unix.EPOLLET); err != nil { // edges: a port that is gone says so once
				return fmt.Errorf("forward: watch port %d: %w", port, err)
			}
			f.ready[port] = true
		}
	}
	// Nobody silences the bell: each ring is an edge for every worker.
	if err := watch(bell, clients.NumPorts, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return fmt.Errorf("forward: watch bell: %w", err)
	}
	if f.crew != nil {
		if err := watch(f.crew.beds[f.worker].bell, clients.NumPorts, unix.EPOLLIN|unix.EPOLLET); err != nil {
			return fmt.Errorf("forward: watch worker's bell: %w", err)
		}
	}
	var events [8]unix.EpollEvent
	for round := 0; !f.stop.Load(); round++ {
		if f.Round() && round%8 != 0 {
			continue
		}
		wait := f.patience()
		if f.crew != nil {
			wait = f.lieDown(wait)
		}
		f.busy = f.busy && wait == 0
		n, err := f.await(poll, events[:], wait)
		if f.crew != nil {
			f.crew.beds[f.worker].asleep.Store(false)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("forward: wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) < clients.NumPorts {
				f.ready[e.Fd] = true
			}
		}
	}
	f.flushAll()
	f.publish()
	f.said.Attached.Store(0) // the counters are final
	return nil
}

// linger is for how long after a frame more are expected soon.
const linger = time.Second

// await waits for events. While more frames are expected the thread does so as if
// it worked: Go's runtime, told of a call that blocks, gives the processor to
// another thread and wakes its monitor, whose signal then interrupts the packets
// that were waited for. The collector need not wait for such a thread: its signal
// ends the wait.
func (f *Forwarder) await(poll int, events []unix.EpollEvent, wait int) (int, error) {
	if f.now-f.served >= linger {
		return unix.EpollWait(poll, events, wait)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(wait), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// lieDown says that this worker is about to wait for so many ms, and returns how
// many it may.
func (f *Forwarder) lieDown(wait int) int {
	if wait == 0 {
		return 0
	}
	f.crew.beds[f.worker].asleep.Store(true)
	if f.waits() { // what is handed over from now on wakes it
		return 0
	}
	return wait
}

// patience is how long to wait for frames, ms.
func (f *Forwarder) patience() int {
	for _, r := range f.ready {
		if r || f.unscanned != 0 || f.nat.Leaving() {
			return 0
		}
	}
	wait := min(f.deadlines.next(), f.nextMind) - f.clock()
	if len(f.pacer.due) > 0 {
		wait = min(wait, time.Millisecond)
	}
	if f.hint {
		wait = min(wait, f.rang+hintEvery-f.clock())
	}
	return int(min(max((wait+time.Millisecond-1)/time.Millisecond, 0), 100))
}

// Round takes in what control changed, then one batch from each port that may
// have one; true if any had.
func (f *Forwarder) Round() bool {
	last := f.now
	f.now = f.clock()
	if f.busy {
		f.counters.Batches.Observe(f.now - last)
	}
	if stopped := f.header.Stop.Load() != 0; stopped != f.stopped {
		f.stopped = stopped
		f.hurryAll()
	}
	f.relink()
	f.sync()
	if f.crew != nil {
		f.follow()
	}
	f.tick()
	f.mind()
	f.releaseDue()
	busy := f.crew != nil && f.takeOver()
	for port, l := range f.links {
		if !f.ready[port] || l == nil {
			continue
		}
		frames, err := l.Receive()
		if err != nil {
			f.lost(uint8(port))
			continue
		}
		if frames == nil {
			f.ready[port] = false
			continue
		}
		busy = true
		f.lookAhead(port, frames)
		crowded := f.crowded(port, l)
		for _, raw := range frames {
			if crowded && f.overShare(raw) {
				continue
			}
			f.enter(uint8(port), raw)
		}
		f.flushAll()
	}
	f.followFirsts()
	f.nat.Expire(int64(f.now), 64)
	mappings, flows := f.nat.Counts()
	f.said.Mappings.Store(uint64(mappings))
	f.said.Flows.Store(uint64(flows))
	f.publish()
	if f.crew != nil {
		f.handOver()
	}
	f.said.Beat.Store(int64(f.now))
	if f.ring || f.hint && f.now-f.rang >= hintEvery {
		f.ring, f.hint, f.rang = false, false, f.now
		f.wake()
	}
	if f.busy = busy; busy {
		f.served = f.now
	}
	return busy
}

// mind does what is due a few times a second.
func (f *Forwarder) mind() {
	if f.now < f.nextMind {
		return
	}
	f.nextMind = f.now + 100*time.Millisecond
	f.mindNeighbours()
	if f.worker == 0 {
		f.mindAnnouncements()
	}
	f.mindLed()
	f.fragments.expire(f.now)
	f.giveUp()
	f.answerSYNs()
	for port, l := range f.links {
		if s, ok := l.(interface{ Stats() link.Stats }); ok {
			st := s.Stats()
			f.counters.Ports[port].Overflow = f.base[port].Overflow + st.KernelDrops
			f.counters.Ports[port].Truncated = f.base[port].Truncated + st.Truncated + st.Malformed
		}
		if l != nil && f.downed[port] {
			f.downed[port], f.ready[port] = false, true
		}
	}
}

// lost notes that a port did not serve; it is tried again soon, and if it serves
// then, says where the gateway is.
func (f *Forwarder) lost(port uint8) {
	f.ready[port], f.downed[port] = false, true
	f.announce(port)
}
