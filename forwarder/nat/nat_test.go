package nat

import (
	"testing"
	"time"
)

const (
	external = 0xcb007102 // 203.0.113.2
	another  = external + 1
	third    = external + 2
	alice    = 0x0a0a0002
	bob      = 0x0a0a0003
	server   = 0xc6336401 // 198.51.100.1
	other    = 0xc6336402
	second   = int64(time.Second)
)

var (
	clientA = Client{Slot: 1, Generation: 1}
	clientB = Client{Slot: 2, Generation: 1}
	host    = Client{Slot: 0}
)

// world is a table, its memory and its clock.
type world struct {
	*Table
	t   testing.TB
	opt Options
	mem []byte
	now int64
}

func newWorld(t testing.TB, change func(*Options)) *world {
	opt := Options{Externals: []uint32{external}, MaxFlows: 1024, MaxClients: 16, Seed: [32]byte{7}}
	if change != nil {
		change(&opt)
	}
	o := opt
	o.defaults()
	w := &world{t: t, opt: opt, mem: make([]byte, Layout(o.MaxFlows)), now: 1000 * second}
	w.attach()
	return w
}

// attach makes a new table over the memory, as a new process would.
func (w *world) attach() {
	table, err := Attach(w.mem, w.opt, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Table = table
}

// wait lets time pass, with Expire called as it does.
func (w *world) wait(d time.Duration) {
	w.now += int64(d)
	w.Expire(w.now, 1<<20)
}

func (w *world) out(k Tuple, c Client, s Segment) (Endpoint, Verdict) { return w.Out(k, c, s, w.now) }

// must is out that has to be translated.
func (w *world) must(k Tuple, c Client, s Segment) Endpoint {
	w.t.Helper()
	ext, v := w.out(k, c, s)
	if v != Translated {
		w.t.Fatalf("out %v: %v", k, v)
	}
	return ext
}

// in is the verdict on an inbound packet.
func (w *world) in(proto uint8, ext Endpoint, remote uint32, port uint16, s Segment) Verdict {
	_, _, _, v := w.In(proto, ext, remote, port, s, w.now)
	return v
}

func (w *world) want(got, want Verdict) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("got %v, want %v", got, want)
	}
}

func udp(addr uint32, port uint16, remote uint32, remotePort uint16) Tuple {
	return Tuple{UDP, addr, port, remote, remotePort}
}

func tcp(addr uint32, port uint16, remote uint32, remotePort uint16) Tuple {
	return Tuple{TCP, addr, port, remote, remotePort}
}

var none Segment

// filters is a table that filters in a way.
func filters(how Filtering) func(*Options) { return func(o *Options) { o.Filtering = how } }

func TestRFC(t *testing.T) {
	rows := []struct {
		name   string
		change func(*Options)
		run    func(w *world)
	}{
		{"RFC 4787 REQ-1 the mapping is the same for every remote", nil, func(w *world) {
			a := w.must(udp(alice, 5000, server, 53), clientA, none)
			b := w.must(udp(alice, 5000, other, 99), clientA, none)
			if a != b {
				w.t.Errorf("ports %d and %d", a, b)
			}
			if m, f := w.Counts(); m != 1 || f != 2 {
				w.t.Errorf("%d mappings, %d flows", m, f)
			}
		}},
		{"RFC 4787 REQ-3 no two endpoints get the same UDP port", nil, func(w *world) {
			seen := map[Endpoint]bool{}
			for i := range uint16(500) {
				ext := w.must(udp(alice, 1+i, server, 53), clientA, none)
				if seen[ext] {
					w.t.Fatalf("port %d twice", ext.Port)
				}
				if seen[ext] = true; ext.Port < 1024 {
					w.t.Fatalf("port %d", ext.Port)
				}
			}
		}},
		{"RFC 4787 REQ-5 a UDP mapping lasts 300 s after the last packet out, and not 2 s more", nil, func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			w.wait(300 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Translated)
			w.wait(2 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Resting)
		}},
		{"RFC 4787 REQ-6 a packet out refreshes, a packet in does not", nil, func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			w.wait(200 * time.Second)
			w.must(udp(alice, 5000, server, 53), clientA, none)
			for range 3 {
				w.wait(100 * time.Second)
				w.want(w.in(UDP, ext, server, 53, none), Translated)
			}
			w.wait(2 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Resting)
		}},
		{"RFC 4787 REQ-6 a flow opened from outside lives no longer than what let it in", nil, func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			for range 3 {
				w.wait(100 * time.Second)
				w.want(w.in(UDP, ext, server, uint16(w.now/second), none), Translated)
			}
			w.wait(2 * time.Second)
			w.want(w.in(UDP, ext, server, 1000, none), Resting)
		}},
		{"RFC 4787 REQ-6 of several flows to one address the last refreshed counts for what it lets in", nil, func(w *world) {
			w.must(udp(alice, 5000, server, 53), clientA, none)
			w.wait(100 * time.Second)
			ext := w.must(udp(alice, 5000, server, 54), clientA, none)
			w.wait(100 * time.Second)
			w.must(udp(alice, 5000, server, 53), clientA, none)
			w.want(w.in(UDP, ext, server, 99, none), Translated)
			w.wait(299 * time.Second)
			_, _, _, v := w.InError(UDP, ext, server, 99)
			w.want(v, Translated)
		}},
		{"RFC 4787 REQ-8 a remote address that was sent to may answer from any port, no other may", nil, func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			w.want(w.in(UDP, ext, server, 54, none), Translated)
			w.want(w.in(UDP, ext, other, 53, none), Filtered)
			w.want(w.in(UDP, Endpoint{external, ext.Port + 1}, server, 53, none), NoMapping)
		}},
		{"RFC 4787 REQ-8 inbound leads back to the endpoint and its client", nil, func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), Client{1, 77}, none)
			addr, port, c, v := w.In(UDP, ext, server, 4, none, w.now)
			if addr != alice || port != 5000 || c != (Client{1, 77}) || v != Translated {
				w.t.Error(addr, port, c, v)
			}
		}},
		{"RFC 4787 REQ-8 endpoint-independent filtering lets everybody in", filters(AnyRemote), func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			w.want(w.in(UDP, ext, server, 54, none), Translated)
			w.want(w.in(UDP, ext, other, 99, none), Translated)
			w.want(w.in(UDP, Endpoint{external, ext.Port + 1}, other, 99, none), NoMapping)
		}},
		{"RFC 4787 REQ-8 address- and port-dependent filtering lets in only whom was sent to", filters(ByAddressAndPort), func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			w.want(w.in(UDP, ext, server, 53, none), Translated)
			w.want(w.in(UDP, ext, server, 54, none), Filtered)
			w.want(w.in(UDP, ext, other, 53, none), Filtered)
		}},
		{"RFC 4787 REQ-6 whom endpoint-independent filtering lets in keeps no port open", filters(AnyRemote), func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			for i := range uint16(4) {
				w.wait(75 * time.Second)
				w.want(w.in(UDP, ext, other, 1+i, none), Translated)
			}
			w.wait(2 * time.Second)
			w.want(w.in(UDP, ext, other, 9, none), Resting)
			if m, f := w.Counts(); m != 0 || f != 0 {
				w.t.Errorf("%d mappings, %d flows", m, f)
			}
		}},
		{"RFC 4787 REQ-6 a hairpin keeps no port open", nil, func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			w.wait(299 * time.Second)
			w.want(w.in(UDP, ext, external, 2000, none), Translated)
			w.wait(2 * time.Second)
			w.want(w.in(UDP, ext, external, 2000, none), Resting)
		}},
		{"RFC 5382 REQ-3 endpoint-independent filtering lets in a SYN of anybody, nothing else", filters(AnyRemote), func(w *world) {
			ext := w.must(tcp(alice, 5000, server, 80), clientA, Segment{Flags: SYN})
			w.want(w.in(TCP, ext, other, 99, Segment{Flags: ACK}), Filtered)
			w.want(w.in(TCP, ext, other, 99, Segment{Flags: SYN}), Translated)
			w.want(w.in(TCP, ext, other, 99, Segment{Flags: ACK}), Translated)
		}},
		{"RFC 5382 REQ-3 address- and port-dependent filtering lets in no SYN from another port", filters(ByAddressAndPort), func(w *world) {
			ext := w.must(tcp(alice, 5000, server, 80), clientA, Segment{Flags: SYN})
			w.want(w.in(TCP, ext, server, 81, Segment{Flags: SYN}), Filtered)
			w.want(w.in(TCP, ext, server, 80, Segment{Flags: SYN}), Translated) // simultaneous open
		}},
		{"flows stay when filtering is changed, and whom nobody has answered has to pass the new filter", filters(AnyRemote), func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			w.want(w.in(UDP, ext, other, 99, none), Translated)
			w.want(w.in(UDP, ext, other, 97, none), Translated)
			w.must(udp(alice, 5000, other, 99), clientA, none)
			w.opt.Filtering = ByAddressAndPort
			w.attach()
			w.want(w.in(UDP, ext, server, 53, none), Translated)
			w.want(w.in(UDP, ext, other, 99, none), Translated)
			w.want(w.in(UDP, ext, other, 98, none), Filtered)
			w.want(w.in(UDP, ext, other, 97, none), Filtered)
			if again := w.must(udp(alice, 5000, server, 53), clientA, none); again != ext {
				w.t.Errorf("port %d, not %d", again, ext)
			}
			w.opt.Filtering = AnyRemote
			w.attach()
			w.want(w.in(UDP, ext, other, 98, none), Translated)
		}},
		{"a filter that changes counts from the next packet on", filters(AnyRemote), func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			stranger := func(want ...Verdict) { // another port of the server, another address, one that nobody has answered
				w.t.Helper()
				w.want(w.in(UDP, ext, server, 54, none), want[0])
				w.want(w.in(UDP, ext, other, 99, none), want[1])
				w.want(w.in(UDP, ext, external, 2000, none), Translated) // a hairpin
				w.want(w.in(UDP, ext, server, 53, none), Translated)
			}
			for range 3 {
				stranger(Translated, Translated)
				w.Filter(ByAddress)
				stranger(Translated, Filtered)
				w.Filter(ByAddressAndPort)
				stranger(Filtered, Filtered)
				w.Filter(ByAddress)
				stranger(Translated, Filtered)
				w.Filter(AnyRemote)
			}
		}},
		{"a guest that a client refuses with a reset stays one", filters(AnyRemote), func(w *world) {
			k := tcp(alice, 5000, server, 80)
			ext := w.must(k, clientA, Segment{Flags: SYN})
			w.want(w.in(TCP, ext, other, 99, Segment{Flags: SYN, Seq: 7}), Translated)
			w.must(tcp(alice, 5000, other, 99), clientA, Segment{Flags: RST | ACK, Ack: 8})
			w.Filter(ByAddress)
			w.want(w.in(TCP, ext, other, 99, Segment{Flags: SYN, Seq: 7}), Filtered)
			w.must(tcp(alice, 5000, other, 99), clientA, Segment{Flags: SYN | ACK, Seq: 1, Ack: 8})
			w.want(w.in(TCP, ext, other, 99, Segment{Flags: ACK, Seq: 8, Ack: 2}), Translated)
			w.want(w.in(TCP, ext, other, 98, Segment{Flags: SYN}), Translated)
		}},
		{"caps that change hold for new flows only", nil, func(w *world) {
			for i := range uint16(10) {
				w.must(udp(alice, 5000+i, server, 53), clientA, none)
			}
			w.Cap(4, 4)
			w.must(udp(alice, 5009, server, 53), clientA, none)
			_, v := w.out(udp(alice, 5000, server, 54), clientA, none)
			w.want(v, ClientFlows)
			w.Cap(100, 4)
			w.must(udp(alice, 5000, server, 54), clientA, none)
			_, v = w.out(udp(alice, 5010, server, 53), clientA, none)
			w.want(v, ClientPorts)
			w.Cap(0, 0)
			w.must(udp(alice, 5010, server, 53), clientA, none)
		}},
		{"RFC 4787 REQ-9 a hairpin reaches a mapping that sent elsewhere", nil, func(w *world) {
			ext := w.must(udp(alice, 5000, server, 53), clientA, none)
			back := w.must(udp(bob, 6000, ext.Addr, ext.Port), clientB, none)
			addr, _, _, v := w.In(UDP, ext, back.Addr, back.Port, none, w.now)
			if w.want(v, Translated); addr != alice {
				w.t.Errorf("to %#x", addr)
			}
		}},
		{"RFC 4787 REQ-12 and RFC 5508 REQ-4 an ICMP error opens, refreshes and removes nothing", nil, func(w *world) {
			k := udp(alice, 5000, server, 53)
			_, v := w.OutError(k)
			w.want(v, NoMapping)
			ext := w.must(k, clientA, none)
			w.wait(300 * time.Second)
			addr, port, c, v := w.InError(UDP, ext, server, 53)
			if addr != alice || port != 5000 || c != clientA || v != Translated {
				w.t.Error(addr, port, c, v)
			}
			got, v := w.OutError(k)
			if w.want(v, Translated); got != ext {
				w.t.Errorf("port %d, not %d", got, ext)
			}
			_, _, _, v = w.InError(UDP, ext, other, 53)
			w.want(v, NoMapping)
			w.want(w.in(UDP, ext, server, 53, none), Translated)
			w.wait(2 * time.Second)
			_, _, _, v = w.InError(UDP, ext, server, 53)
			w.want(v, NoMapping)
		}},
		{"RFC 5508 REQ-1 an ICMP query is mapped by id, for all remotes, for 60 s", nil, func(w *world) {
			k := Tuple{ICMP, alice, 42, server, 0}
			ext := w.must(k, clientA, none)
			if again := w.must(Tuple{ICMP, alice, 42, other, 0}, clientA, none); again != ext {
				w.t.Errorf("ids %d and %d", ext, again)
			}
			w.wait(60 * time.Second)
			w.want(w.in(ICMP, ext, server, 0, none), Translated)
			w.want(w.in(ICMP, ext, 1, 0, none), Filtered)
			w.wait(2 * time.Second)
			w.want(w.in(ICMP, ext, server, 0, none), NoMapping)
		}},
		{"RFC 6888 REQ-4 a client has no more ports than its cap, others still get theirs", func(o *Options) { o.PortsPerClient = 3 }, func(w *world) {
			for i := range uint16(3) {
				w.must(Tuple{[]uint8{UDP, TCP, ICMP}[i], alice, 1 + i, server, 0}, clientA, Segment{Flags: SYN})
			}
			_, v := w.out(udp(alice, 9, server, 53), clientA, none)
			w.want(v, ClientPorts)
			w.must(udp(alice, 1, other, 0), clientB, none)
			w.must(udp(bob, 9, server, 53), clientB, none)
		}},
		{"RFC 6888 REQ-5 a client has no more flows than its cap, in either direction", func(o *Options) { o.FlowsPerClient = 3 }, func(w *world) {
			ext := w.must(udp(alice, 9, server, 1), clientA, none)
			w.must(udp(alice, 9, server, 2), clientA, none)
			w.want(w.in(UDP, ext, server, 3, none), Translated)
			w.want(w.in(UDP, ext, server, 4, none), ClientFlows)
			_, v := w.out(udp(alice, 9, server, 5), clientA, none)
			w.want(v, ClientFlows)
			w.must(udp(bob, 9, server, 5), clientB, none)
		}},
		{"the box itself has no caps", func(o *Options) { o.FlowsPerClient, o.PortsPerClient = 1, 1 }, func(w *world) {
			for i := range uint16(50) {
				w.must(udp(external, 1+i, server, 53), host, none)
			}
		}},
		{"RFC 6888 REQ-11 a full table drops the new flow and evicts nobody", func(o *Options) { o.MaxFlows = 10 }, func(w *world) {
			first := w.must(udp(alice, 1, server, 53), clientA, none)
			for i := range uint16(9) {
				w.must(udp(alice, 2+i, server, 53), clientA, none)
			}
			_, v := w.out(udp(bob, 1, server, 53), clientB, none)
			w.want(v, FlowsFull)
			w.want(w.in(UDP, first, server, 53, none), Translated)
			w.wait(302 * time.Second)
			w.must(udp(bob, 1, server, 53), clientB, none)
		}},
		{"RFC 6888 REQ-11 when the UDP ports are gone the new mapping is dropped", func(o *Options) { o.PortLow, o.PortHigh = 2000, 2009 }, func(w *world) {
			for i := range uint16(10) {
				w.must(udp(alice, 1+i, server, 53), clientA, none)
			}
			_, v := w.out(udp(bob, 1, server, 53), clientB, none)
			w.want(v, NoPort)
			w.must(udp(alice, 1, other, 53), clientA, none)
		}},
		{"RFC 6888 REQ-8 a freed UDP port rests 120 s", func(o *Options) { o.PortLow, o.PortHigh = 2000, 2000 }, func(w *world) {
			ext := w.must(udp(alice, 1, server, 53), clientA, none)
			w.Drop(clientA)
			w.wait(120 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Resting)
			_, v := w.out(udp(bob, 1, server, 53), clientB, none)
			w.want(v, NoPort)
			w.wait(time.Second)
			w.want(w.in(UDP, ext, server, 53, none), NoMapping)
			w.must(udp(bob, 1, server, 53), clientB, none)
		}},
		{"RFC 6888 REQ-8 a port goes on resting in the next process", func(o *Options) { o.PortLow, o.PortHigh = 2000, 2000 }, func(w *world) {
			w.must(udp(alice, 1, server, 53), clientA, none)
			w.Drop(clientA)
			w.wait(100 * time.Second)
			w.attach()
			w.wait(19 * time.Second)
			_, v := w.out(udp(bob, 1, server, 53), clientB, none)
			w.want(v, NoPort)
			w.wait(2 * time.Second)
			w.must(udp(bob, 1, server, 53), clientB, none)
		}},
		{"ports wake in the order they were freed, in the next process too", func(o *Options) { o.PortLow, o.PortHigh, o.MaxClients = 2000, 2019, 20 }, func(w *world) {
			for i := range uint32(20) {
				w.must(udp(alice+i, 1, server, 53), Client{1 + i, 0}, none)
			}
			for i := range uint32(20) {
				w.Drop(Client{1 + i, 0})
				w.wait(time.Second)
			}
			w.attach()
			w.wait(110 * time.Second) // the first has been free for 130 s, the last for 111
			for i := range uint16(10) {
				w.must(udp(bob, 1+i, server, 53), clientB, none)
			}
			_, v := w.out(udp(bob, 99, server, 53), clientB, none)
			w.want(v, NoPort)
		}},
		{"an ICMP id does not rest", func(o *Options) { o.PortLow, o.PortHigh = 2000, 2000 }, func(w *world) {
			w.must(Tuple{ICMP, alice, 1, server, 0}, clientA, none)
			w.Drop(clientA)
			w.must(Tuple{ICMP, bob, 1, server, 0}, clientB, none)
		}},
		{"a dropped client leaves nothing, others keep all", nil, func(w *world) {
			a := w.must(udp(alice, 1, server, 53), clientA, none)
			b := w.must(udp(bob, 1, server, 53), clientB, none)
			w.Drop(Client{1, 2}) // another generation
			w.want(w.in(UDP, a, server, 53, none), Translated)
			w.Drop(clientA)
			w.want(w.in(UDP, a, server, 53, none), Resting)
			w.want(w.in(UDP, b, server, 53, none), Translated)
			if m, f := w.Counts(); m != 1 || f != 1 {
				w.t.Errorf("%d mappings, %d flows", m, f)
			}
		}},
		{"a new generation of a slot does not inherit the old one's flows", nil, func(w *world) {
			a := w.must(udp(alice, 1, server, 53), clientA, none)
			b := w.must(udp(bob, 1, server, 53), Client{1, 2}, none)
			w.want(w.in(UDP, a, server, 53, none), Resting)
			w.want(w.in(UDP, b, server, 53, none), Translated)
		}},
		{"an address that moves to another client takes no flow along", nil, func(w *world) {
			a := w.must(udp(alice, 1, server, 53), clientA, none)
			kept := w.must(udp(alice+100, 1, server, 53), clientA, none)
			b := w.must(udp(alice, 1, server, 53), clientB, none)
			if a == b {
				w.t.Error("the same port")
			}
			w.want(w.in(UDP, a, server, 53, none), Resting)
			w.want(w.in(UDP, kept, server, 53, none), Translated)
		}},
		{"an address that moves takes no mapping along towards a new remote", nil, func(w *world) {
			a := w.must(udp(alice, 1, server, 53), clientA, none)
			b := w.must(udp(alice, 1, other, 53), clientB, none)
			if a == b {
				w.t.Error("the same port")
			}
			w.want(w.in(UDP, a, server, 53, none), Resting)
		}},
		{"other protocols and impossible clients are not translatable", nil, func(w *world) {
			_, v := w.out(Tuple{47, alice, 0, server, 0}, clientA, none)
			w.want(v, NotTranslatable)
			_, v = w.out(udp(alice, 1, server, 1), Client{Slot: 17}, none)
			w.want(v, NotTranslatable)
			w.want(w.in(47, Endpoint{external, 2000}, server, 0, none), NotTranslatable)
			w.want(w.in(UDP, Endpoint{external, 80}, server, 0, none), NoMapping)
			w.Drop(Client{Slot: 17})
		}},
		{"each owner has its own slice and together they have every port", func(o *Options) { o.Owners, o.Owner = 3, 1 }, func(w *world) {
			next := 1024
			for i := range 3 {
				low, high := w.opt.Slice(i)
				if int(low) != next {
					w.t.Errorf("owner %d starts at %d, not %d", i, low, next)
				}
				next = int(high) + 1
			}
			if next != 65536 {
				w.t.Errorf("ends at %d", next)
			}
			low, high := w.opt.Slice(1)
			for i := range uint16(200) {
				if ext := w.must(udp(alice, 1+i, server, 53), clientA, none); ext.Port < low || ext.Port > high {
					w.t.Fatalf("port %d outside %d to %d", ext.Port, low, high)
				}
			}
			if low, high = w.opt.Slice(3); low != 0 || high != 0 {
				w.t.Error("an owner too many has ports")
			}
		}},
		{"ports are drawn by chance (RFC 6056)", nil, func(w *world) {
			near, last := 0, 0
			for i := range uint16(200) {
				ext := int(w.must(udp(alice, 1+i, server, 53), clientA, none).Port)
				if d := ext - last; d > -1000 && d < 1000 {
					near++
				}
				last = ext
			}
			if near > 30 { // 3 % of 200 expected
				w.t.Errorf("%d of 200 ports lie close to the one before", near)
			}
		}},
		{"what has run out lets nobody in, even before Expire", nil, func(w *world) {
			ext := w.must(udp(alice, 1, server, 53), clientA, none)
			w.now += 302 * second
			_, _, _, v := w.InError(UDP, ext, server, 53)
			w.want(v, Translated) // the clock is that of the last packet
			w.want(w.in(UDP, ext, server, 54, none), Filtered)
			w.want(w.in(UDP, ext, server, 53, none), Resting)
		}},
		{"a timer longer than the wheel is kept", func(o *Options) { o.UDP = 48 * time.Hour }, func(w *world) {
			ext := w.must(udp(alice, 1, server, 53), clientA, none)
			for range 47 {
				if w.wait(time.Hour); w.wheelAt != w.second+1 {
					w.t.Fatal("the wheel stands still")
				}
			}
			w.wait(time.Hour)
			w.want(w.in(UDP, ext, server, 53, none), Translated)
			w.wait(2 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Resting)
		}},
		{"a clock that goes back counts as the latest", nil, func(w *world) {
			ext := w.must(udp(alice, 1, server, 53), clientA, none)
			w.now -= 900 * second
			w.must(udp(alice, 1, server, 53), clientA, none)
			w.wait(1200 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Translated)
			w.wait(2 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Resting)
		}},
		{"a bounded Expire gets there in the end", nil, func(w *world) {
			for i := range uint16(500) {
				w.must(udp(alice, 1+i, server, 53), clientA, none)
			}
			w.now += 5000 * second
			for before := 500; before > 0; {
				w.Expire(w.now, 50)
				_, f := w.Counts()
				if before-f > 50 {
					w.t.Fatalf("%d flows in one call", before-f)
				}
				if before = f; w.wheelAt > w.second+1 {
					w.t.Fatal("the wheel ran past now")
				}
			}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(newWorld(t, row.change)) })
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	for v := range Verdict(NumVerdicts) {
		if v.String() == "" {
			t.Errorf("verdict %d has none", v)
		}
	}
	if Verdict(NumVerdicts).String() != "unknown verdict" {
		t.Error("one too many")
	}
}
