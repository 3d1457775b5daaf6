package nat

import (
	"slices"
	"testing"
	"time"
)

// allFree says whether so many ports of each protocol are free at every address.
func allFree(t interface{ Fatalf(string, ...any) }, table *Table, want int) {
	for i := range table.places {
		for p := range table.places[i].pools {
			if n := len(table.places[i].pools[p].free); n != want && table.places[i].filled {
				t.Fatalf("place %d, pool %d: %d ports free", i, p, n)
			}
		}
	}
}

// set gives the table other addresses, as often as it takes.
func (w *world) set(addrs ...uint32) {
	for w.SetExternals(addrs) {
	}
}

// swept waits until nothing is left of addresses that went away.
func (w *world) swept() {
	for w.Leaving() {
		w.Expire(w.now, 64)
	}
}

// several is a table of three addresses with few ports.
func several(ports uint16) func(*Options) {
	return func(o *Options) {
		o.Externals, o.PortLow, o.PortHigh = []uint32{external, another, third}, 2000, 1999+ports
	}
}

func TestExternals(t *testing.T) {
	rows := []struct {
		name   string
		change func(*Options)
		run    func(w *world)
	}{
		{"RFC 4787 REQ-2 all mappings of a client are at one address, clients are spread", several(20), func(w *world) {
			of := map[uint32]int{}
			for c := range uint32(9) {
				var addr uint32
				for i := range uint16(9) {
					k := Tuple{[]uint8{UDP, TCP, ICMP}[i%3], alice + c, 1 + i, server, 0}
					ext := w.must(k, Client{1 + c, 1}, Segment{Flags: SYN})
					if addr == 0 {
						addr = ext.Addr
					}
					if ext.Addr != addr {
						w.t.Fatalf("client %d at %#x and %#x", c, addr, ext.Addr)
					}
				}
				of[addr]++
			}
			if of[external] != 3 || of[another] != 3 || of[third] != 3 {
				w.t.Errorf("clients by address: %v", of)
			}
		}},
		{"a newcomer goes where the fewest ports are in use, who comes back likewise", several(20), func(w *world) {
			a := w.must(udp(alice, 1, server, 1), clientA, none)
			b := w.must(udp(bob, 1, server, 1), clientB, none)
			w.must(udp(bob, 2, server, 1), clientB, none)
			c := w.must(udp(bob+1, 1, server, 1), Client{3, 1}, none)
			w.must(udp(bob+1, 2, server, 1), Client{3, 1}, none)
			if a.Addr != external || b.Addr != another || c.Addr != third {
				w.t.Errorf("%v %v %v", a, b, c)
			}
			if d := w.must(udp(bob+2, 1, server, 1), Client{4, 1}, none); d.Addr != external {
				w.t.Errorf("the fourth at %#x", d.Addr)
			}
			w.Drop(clientB)
			if b = w.must(udp(bob, 9, server, 1), clientB, none); b.Addr != another {
				w.t.Errorf("back at %#x", b.Addr)
			}
		}},
		{"the ports of all addresses are in use", several(10), func(w *world) {
			seen := map[Endpoint]bool{}
			for c := range uint32(3) {
				for i := range uint16(10) {
					seen[w.must(udp(alice+c, 1+i, server, 1), Client{1 + c, 1}, none)] = true
				}
			}
			if len(seen) != 30 {
				w.t.Errorf("%d endpoints", len(seen))
			}
			_, v := w.out(udp(alice+9, 1, server, 1), Client{9, 1}, none)
			w.want(v, NoPort)
		}},
		{"a client whose address has no port left gets none of another", several(10), func(w *world) {
			for i := range uint16(10) {
				w.must(udp(alice, 1+i, server, 1), clientA, none)
			}
			_, v := w.out(udp(alice, 11, server, 1), clientA, none)
			w.want(v, NoPort)
			w.must(udp(bob, 1, server, 1), clientB, none)
		}},
		{"the box's own mappings are at the first address", several(50), func(w *world) {
			for i := range uint16(9) {
				if ext := w.must(udp(external, 1+i, server, 1), host, none); ext.Addr != external {
					w.t.Errorf("at %#x", ext.Addr)
				}
			}
			w.set(third, another, external)
			if ext := w.must(udp(external, 10, server, 1), host, none); ext.Addr != third {
				w.t.Errorf("at %#x, which is not the first any more", ext.Addr)
			}
			if ext := w.must(udp(external, 1, other, 1), host, none); ext.Addr != external {
				w.t.Errorf("a mapping that was there moved to %#x", ext.Addr)
			}
			w.set(third)
			if ext := w.must(udp(external, 1, server, 1), host, none); ext.Addr != third {
				w.t.Errorf("at %#x, which went away", ext.Addr)
			}
		}},
		{"one port number serves two endpoints at two addresses", several(1), func(w *world) {
			a := w.must(udp(alice, 1, server, 1), clientA, none)
			b := w.must(udp(bob, 1, server, 1), clientB, none)
			if a.Port != b.Port || a.Addr == b.Addr {
				w.t.Fatalf("%v and %v", a, b)
			}
			for ext, want := range map[Endpoint]uint32{a: alice, b: bob} {
				if addr, _, _, v := w.In(UDP, ext, server, 1, none, w.now); addr != want || v != Translated {
					w.t.Errorf("%v leads to %#x, %v", ext, addr, v)
				}
				if addr, _, _, v := w.InError(UDP, ext, server, 1); addr != want || v != Translated {
					w.t.Errorf("an error about %v leads to %#x, %v", ext, addr, v)
				}
			}
			w.want(w.in(UDP, Endpoint{third, a.Port}, server, 1, none), NoMapping)
		}},
		{"RFC 4787 REQ-9 a hairpin from any address reaches a mapping at any", several(20), func(w *world) {
			a := w.must(udp(alice, 1, server, 1), clientA, none)
			b := w.must(udp(bob, 1, a.Addr, a.Port), clientB, none)
			if a.Addr == b.Addr {
				w.t.Fatal("one address")
			}
			w.want(w.in(UDP, a, b.Addr, b.Port, none), Translated)
			w.set(a.Addr)
			w.want(w.in(UDP, a, b.Addr, b.Port+1, none), Filtered) // nobody of ours any more
		}},
		{"an address that went away: nothing comes in, its clients go on with another, the others keep all", several(20), func(w *world) {
			a := w.must(udp(alice, 1, server, 1), clientA, none)
			b := w.must(udp(bob, 1, server, 1), clientB, none)
			w.set(another, third)
			w.want(w.in(UDP, a, server, 1, none), NoMapping)
			_, _, _, v := w.InError(UDP, a, server, 1)
			w.want(v, NoMapping)
			_, v = w.OutError(udp(alice, 1, server, 1))
			w.want(v, NoMapping)
			if w.Known(UDP, a, server, 1) {
				w.t.Error("known")
			}
			on := w.must(udp(alice, 1, server, 1), clientA, none)
			if on.Addr != third {
				w.t.Errorf("alice goes on at %#x", on.Addr)
			}
			w.want(w.in(UDP, on, server, 1, none), Translated)
			w.want(w.in(UDP, b, server, 1, none), Translated)
			if again := w.must(udp(bob, 1, server, 1), clientB, none); again != b {
				w.t.Errorf("bob was moved to %v", again)
			}
			w.swept()
			if m, f := w.Counts(); m != 2 || f != 2 {
				w.t.Errorf("%d mappings, %d flows", m, f)
			}
		}},
		{"an established connection at an address that went away is over", several(20), func(w *world) {
			c := w.call(4000)
			c.connect()
			first := c.ext
			w.set(another)
			c.want(c.answer(Segment{Flags: ACK, Seq: c.ss, Ack: c.cs, Window: c.sw}), NoMapping)
			c.data(10)
			if c.ext.Addr != another || c.ext == first {
				w.t.Errorf("on %v", c.ext)
			}
		}},
		{"flows at an address that went away end in parts", several(500), func(w *world) {
			for i := range uint16(200) {
				w.must(udp(alice, 1, server, 1+i), clientA, none)
				w.must(udp(bob, 1, server, 1+i), clientB, none)
			}
			w.set(another)
			for before := 400; w.Leaving(); {
				w.Expire(w.now, 64)
				_, f := w.Counts()
				if before-f > 32 {
					w.t.Fatalf("%d flows in one call", before-f)
				}
				before = f
			}
			if _, f := w.Counts(); f != 200 {
				w.t.Errorf("%d flows left", f)
			}
		}},
		{"an address that is back before all is swept keeps the rest", several(20), func(w *world) {
			a := w.must(udp(alice, 1, server, 1), clientA, none)
			w.set(another)
			w.set(external, another)
			w.want(w.in(UDP, a, server, 1, none), Translated)
			if again := w.must(udp(alice, 1, server, 1), clientA, none); again != a {
				w.t.Errorf("now %v", again)
			}
			w.swept()
			if _, f := w.Counts(); f != 1 {
				w.t.Errorf("%d flows", f)
			}
		}},
		{"a client that went on elsewhere stays there when its address is back", several(20), func(w *world) {
			w.must(udp(alice, 1, server, 1), clientA, none)
			w.must(udp(alice, 2, server, 1), clientA, none)
			w.set(another)
			on := w.must(udp(alice, 3, server, 1), clientA, none)
			w.set(external, another)
			for i := range uint16(3) {
				if ext := w.must(udp(alice, 1+i, server, 1), clientA, none); ext.Addr != on.Addr {
					w.t.Errorf("port %d at %#x", i, ext.Addr)
				}
			}
		}},
		{"RFC 6888 REQ-8 ports go on resting while their address is away, in the next process, too", several(1), func(w *world) {
			a := w.must(udp(alice, 1, server, 1), clientA, none)
			w.set(another)
			w.swept()
			w.opt.Externals = []uint32{another}
			w.wait(50 * time.Second)
			w.attach()
			w.wait(50 * time.Second)
			w.set(external)
			w.want(w.in(UDP, a, server, 1, none), Resting)
			_, v := w.out(udp(bob, 1, server, 1), clientB, none)
			w.want(v, NoPort)
			w.wait(22 * time.Second)
			w.must(udp(bob, 1, server, 1), clientB, none)
		}},
		{"no address at all, and one again", several(20), func(w *world) {
			k := udp(alice, 1, server, 1)
			a := w.must(k, clientA, none)
			w.must(udp(external, 1, server, 1), host, none)
			w.set()
			for range 2 {
				_, v := w.out(k, clientA, none)
				w.want(v, NoAddress)
				_, v = w.out(udp(external, 1, server, 1), host, none)
				w.want(v, NoAddress)
				w.want(w.in(UDP, a, server, 1, none), NoMapping)
				w.want(w.in(UDP, Endpoint{0, a.Port}, server, 1, none), NoMapping)
				w.swept()
			}
			if m, f := w.Counts(); m != 0 || f != 0 {
				w.t.Errorf("%d mappings, %d flows", m, f)
			}
			w.opt.Externals = nil
			w.attach()
			_, v := w.out(k, clientA, none)
			w.want(v, NoAddress)
			w.set(third)
			if on := w.must(k, clientA, none); on.Addr != third {
				w.t.Errorf("on %v", on)
			}
		}},
		{"new addresses come in one a call", several(20), func(w *world) {
			addrs := []uint32{external}
			for i := range uint32(MaxExternals - 1) {
				addrs = append(addrs, 0xcb007180+i)
			}
			calls := 1
			for ; w.SetExternals(addrs); calls++ {
			}
			if calls != MaxExternals-1 {
				w.t.Errorf("%d calls", calls)
			}
			for _, a := range addrs {
				if !w.owns(a) {
					w.t.Errorf("%#x is not there", a)
				}
			}
			if w.SetExternals(append(addrs, another)); w.owns(another) || !w.owns(external) {
				w.t.Error("one too many was taken")
			}
		}},
		{"a set of many gives way to another of many, whose ports do not rest", several(4), func(w *world) {
			set := func(from uint32) (addrs []uint32) {
				for i := range uint32(MaxExternals) {
					addrs = append(addrs, from+i)
				}
				return addrs
			}
			w.set(set(0xcb007110)...)
			for c := range uint32(16) {
				w.must(udp(alice+c, 1, server, 1), Client{1 + c, 1}, none)
			}
			w.set(set(0xcb007140)...)
			for c := range uint32(16) {
				for i := range uint16(4) {
					w.must(udp(alice+c, 1+i, server, 1), Client{1 + c, 1}, none)
				}
			}
			w.swept()
			if m, f := w.Counts(); m != 64 || f != 64 {
				w.t.Errorf("%d mappings, %d flows", m, f)
			}
			_, v := w.out(udp(alice, 5, server, 1), Client{1, 1}, none)
			w.want(v, NoPort) // and no port is there twice
		}},
		{"the next process keeps the flows whose address is still there, and frees the others", several(20), func(w *world) {
			a := w.must(udp(alice, 1, server, 1), clientA, none)
			b := w.must(udp(bob, 1, server, 1), clientB, none)
			w.opt.Externals = []uint32{0xcb007177, b.Addr}
			w.attach()
			if kept, discarded := w.Recovered(); kept != 1 || discarded != 1 {
				w.t.Errorf("kept %d, discarded %d", kept, discarded)
			}
			w.want(w.in(UDP, b, server, 1, none), Translated)
			w.want(w.in(UDP, a, server, 1, none), NoMapping)
			if again := w.must(udp(bob, 2, server, 1), clientB, none); again.Addr != b.Addr {
				w.t.Errorf("bob's next is at %#x", again.Addr)
			}
		}},
		{"an entry whose place, or whose place's address, was changed is discarded", several(20), func(w *world) {
			w.must(udp(alice, 1, server, 1), clientA, none)
			w.flows[1].place = 1
			w.attach()
			if _, discarded := w.Recovered(); discarded != 1 {
				w.t.Error("kept at another place")
			}
			w.must(udp(alice, 1, server, 1), clientA, none)
			e := &w.header.externals
			e[w.flows[1].place], e[15] = third+7, e[w.flows[1].place]
			w.opt.Externals = append(slices.Clone(w.opt.Externals), third+7)
			w.attach()
			if _, discarded := w.Recovered(); discarded != 1 {
				w.t.Error("kept at another address")
			}
		}},
		{"an address that stands at two places is at one", several(20), func(w *world) {
			w.must(udp(alice, 1, server, 1), clientA, none)
			w.header.externals[5] = external
			w.attach()
			if kept, _ := w.Recovered(); kept != 1 || w.live[5] == external {
				w.t.Errorf("kept %d, at both", kept)
			}
		}},
		{"of two places of one client one is discarded", several(20), func(w *world) {
			w.must(udp(alice, 1, server, 1), clientA, none)
			w.must(udp(alice, 2, server, 1), clientA, none)
			w.flows[2].place = 1
			w.flows[2].publish(another)
			w.attach()
			if kept, discarded := w.Recovered(); kept != 1 || discarded != 1 {
				w.t.Errorf("kept %d, discarded %d", kept, discarded)
			}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(newWorld(t, row.change)) })
	}
}

// BenchmarkSweep is one Expire, as each round has one, while an address goes away
// that has 100,000 flows, and 50,000 of 1000 clients thereafter.
func BenchmarkSweep(b *testing.B) {
	table, _, _ := filled(b, 100_000)
	addrs := [2][]uint32{{another}, {external}}
	for i := 0; b.Loop(); {
		if !table.Leaving() {
			b.StopTimer()
			for c := range uint32(1000) {
				for p := range uint32(50) {
					table.Out(udp(alice+c, uint16(1+p), c, 53), Client{1 + c, 0}, none, second)
				}
			}
			table.SetExternals(addrs[i%2])
			i++
			b.StartTimer()
		}
		table.Expire(second, 64)
	}
}
