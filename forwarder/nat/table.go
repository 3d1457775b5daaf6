package nat

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"gatewayd/forwarder/arena"
)

// Client is a slot of the client table and its generation.
type Client struct{ Slot, Generation uint32 }

// Table is one worker's NAT. One goroutine owns it.
//
// `now` is CLOCK_MONOTONIC in nanoseconds everywhere; one that goes back counts
// as the latest seen.
type Table struct {
	opt      Options
	timeouts [numStates]uint32 // seconds
	resting  uint32            // seconds a freed port rests

	// The handed-in memory.
	header *header
	rest   *[MaxExternals][2][65536]uint32 // by place, TCP and UDP: the second a port's rest ends
	flows  []flow

	// All below is private: rebuilt at attach, free of pointers, outside
	// the heap where the options give an arena, and zero until used.
	second   uint32 // of the latest now
	turn     int64  // the now at which second began
	secret   secret
	chance   *rand.ChaCha8
	byInside index // flows by protocol, internal endpoint and remote
	byOutside,
	byPeer, // the newest flow of each mapping and remote address that its client has sent to
	byEndpoint index // mappings by protocol and internal endpoint
	links      []link
	mappings   []mapping
	clients    []client
	live       [MaxExternals]uint32 // by place: the external address; 0: none, or one that went away
	places     [MaxExternals]place
	first      uint8  // the place of the first address
	sweep      uint32 // entries up to it may be of flows at addresses that went away, or by forwards; 0: none is
	forwards   []Forward
	reserved   []uint64 // a bit a port, of TCP and of UDP: whether it is forwarded at any address
	refill     uint8    // places below it may lack free ports that were forwarded before
	wheel      []uint32
	departures departures
	wheelAt    uint32 // the second the wheel stands at; all before it is done

	freeFlow, freeMapping uint32 // lists of numbers used before, through link.wheelNext and mapping.extNext
	topMapping            uint32 // the highest number used so far
	liveFlows             int
	liveMappings          int
	kept, discarded       int
}

// link is what is private about a flow: where it hangs.
type link struct {
	mapping                uint32
	wheelNext, wheelPrev   uint32
	due                    uint32 // the second whose wheel slot it hangs in
	peerNext, peerPrev     uint32 // flows of one peer, the last refreshed at front
	clientNext, clientPrev uint32
}

// mapping is an internal endpoint behind an external port.
type mapping struct {
	addr       uint32
	slot       uint32
	generation uint32
	flows      uint32
	seen       uint32 // the last outbound packet of all its flows, in seconds
	extNext    uint32 // the next mapping that shares the external port
	port       uint16
	ext        uint16
	proto      uint8
	place      uint8
	unclosed   bool // a flow went that was not seen to close: the port rests
	fixed      bool // by a forward: its port is none of the pool's
}

// client is what one slot holds.
type client struct {
	generation uint32 // of the last one that opened a flow
	flows      uint32
	mappings   uint32 // but those by forwards, which are
	fixed      uint32
	first      uint32 // of its flows
	place      uint8  // of its mappings, if it has any; slot 0 may have several
}

// Attach makes a Table over memory that is zero, which it formats, or that
// another Table over the same bytes, of this or of an ended process, has left:
// its flows go on. Entries that are torn or contradict each other are freed and
// counted; so are those at external addresses, or by forwards, that are not in the options any more. The memory must
// start on a multiple of 8 and stay in place. An error wraps ErrLayout when the
// memory is some other table's.
func Attach(mem []byte, opt Options, now int64) (*Table, error) {
	opt.defaults()
	if err := opt.check(); err != nil {
		return nil, fmt.Errorf("nat: %w", err)
	}
	t := &Table{opt: opt}
	if err := t.overlay(mem, opt.MaxFlows); err != nil {
		return nil, fmt.Errorf("nat: %w", err)
	}
	if err := t.format(); err != nil {
		return nil, fmt.Errorf("nat: %w", err)
	}
	t.timeouts = [numStates]uint32{
		udpFlow: seconds(opt.UDP), icmpQuery: seconds(opt.ICMP), established: seconds(opt.TCPEstablished),
		opening: seconds(opt.TCPTransitory), closing: seconds(opt.TCPTransitory), reset: seconds(opt.TCPTransitory),
	}
	t.resting = seconds(opt.PortRest)
	if opt.Seed == [32]byte{} {
		crand.Read(opt.Seed[:])
	}
	t.chance = rand.NewChaCha8(opt.Seed)
	for i := range t.secret {
		t.secret[i] = t.chance.Uint64()
	}
	t.second = uint32(max(now, 0) / 1e9)
	t.turn = int64(t.second) * 1e9

	if err := t.makeTables(); err != nil {
		return nil, fmt.Errorf("nat: tables of %d flows: %w", opt.MaxFlows, err)
	}
	t.wheelAt = t.second
	t.reserve(opt.Forwards)
	t.rebuild()
	return t, nil
}

// makeTables makes the private side, empty.
func (t *Table) makeTables() error {
	a, n := t.opt.Arena, t.opt.MaxFlows
	return errors.Join(
		t.makePlaces(),
		t.makeReserved(),
		t.byInside.init(a, n, t.insideOf), t.byOutside.init(a, n, t.outsideOf),
		t.byPeer.init(a, n, t.peerOf), t.byEndpoint.init(a, n, t.endpointOf),
		arena.Make(a, &t.links, n+1),
		arena.Make(a, &t.mappings, n+1),
		arena.Make(a, &t.clients, t.opt.MaxClients+1),
		arena.Make(a, &t.departures.ring, maxLeaving),
		arena.Make(a, &t.wheel, wheelSize(slices.Max(t.timeouts[:]))))
}

// Filter gives the table another filtering, from the next packet on. Flows stay; whom
// a filter let in that the client has not sent to since has to pass this one.
func (t *Table) Filter(how Filtering) { t.opt.Filtering = how }

// Cap gives it other caps, as in Options, for flows and mappings to come.
func (t *Table) Cap(flowsPerClient, portsPerClient int) {
	t.opt.FlowsPerClient, t.opt.PortsPerClient = flowsPerClient, portsPerClient
	t.opt.defaults()
}

// Counts is how many mappings and flows there are, the run out but not yet
// expired included.
func (t *Table) Counts() (mappings, flows int) { return t.liveMappings, t.liveFlows }

// Recovered is how many flows Attach found, and how many torn or contradictory
// entries it freed.
func (t *Table) Recovered() (kept, discarded int) { return t.kept, t.discarded }

// clock moves the second on; most calls fall into the same one.
func (t *Table) clock(now int64) {
	if now-t.turn >= 1e9 {
		t.second = uint32(now / 1e9)
		t.turn = int64(t.second) * 1e9
	}
}

// translatable says whether a protocol is.
func translatable(proto uint8) bool { return proto == TCP || proto == UDP || proto == ICMP }

// pool is the ports of a protocol, which is translatable, at a place.
func (t *Table) pool(place, proto uint8) *pool {
	p := &t.places[place].pools
	switch proto {
	case TCP:
		return &p[0]
	case UDP:
		return &p[1]
	}
	return &p[2]
}
