package nat

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// forwarding is a table with forwards to those who are in who.
func forwarding(who map[uint32]Client, list ...Forward) func(*Options) {
	return func(o *Options) {
		o.Externals, o.PortLow, o.PortHigh = []uint32{external, another}, 2000, 2019
		o.Forwards = list
		o.Holder = func(addr uint32) (Client, bool) { c, ok := who[addr]; return c, ok }
	}
}

// came is where an inbound packet leads that has to be translated.
func (w *world) came(proto uint8, ext Endpoint, remote uint32, port uint16, s Segment) Endpoint {
	w.t.Helper()
	addr, inside, _, v := w.In(proto, ext, remote, port, s, w.now)
	if v != Translated {
		w.t.Fatalf("in to %v: %v", ext, v)
	}
	return Endpoint{addr, inside}
}

// at is a table with one address.
func at(addr uint32, change func(*Options)) func(*Options) {
	return func(o *Options) { change(o); o.Externals = []uint32{addr} }
}

func TestForwards(t *testing.T) {
	syn := Segment{Flags: SYN}
	both := map[uint32]Client{alice: clientA, bob: clientB}
	web := Forward{TCP, 0, 80, 80, alice, 8080}
	dns := Forward{UDP, 0, 2005, 2005, alice, 53}
	rows := []struct {
		name   string
		change func(*Options)
		run    func(w *world)
	}{
		{"anybody comes in at each address, and is answered from there", forwarding(both, web, dns), func(w *world) {
			for i, at := range []uint32{external, another} {
				port := uint16(1000 + i)
				if got := w.came(TCP, Endpoint{at, 80}, server, port, syn); got != (Endpoint{alice, 8080}) {
					w.t.Errorf("led to %v", got)
				}
				if got := w.must(tcp(alice, 8080, server, port), clientA, Segment{Flags: SYN | ACK}); got != (Endpoint{at, 80}) {
					w.t.Errorf("answered from %v", got)
				}
				if got := w.came(UDP, Endpoint{at, 2005}, other, port, none); got != (Endpoint{alice, 53}) {
					w.t.Errorf("led to %v", got)
				}
				if got := w.must(udp(alice, 53, other, port), clientA, none); got != (Endpoint{at, 2005}) {
					w.t.Errorf("answered from %v", got)
				}
			}
			w.want(w.in(UDP, Endpoint{external, 80}, server, 1, none), NoMapping)
			w.want(w.in(TCP, Endpoint{external, 81}, server, 1, syn), NoMapping)
			w.want(w.in(TCP, Endpoint{third, 80}, server, 1, syn), NoMapping)
		}},
		{"ports in order, from the first to the last", forwarding(both, Forward{TCP, another, 500, 509, alice, 65526}), func(w *world) {
			for i := range uint16(10) {
				if got := w.came(TCP, Endpoint{another, 500 + i}, server, 7, syn); got != (Endpoint{alice, 65526 + i}) {
					w.t.Errorf("%d leads to %v", 500+i, got)
				}
			}
			w.want(w.in(TCP, Endpoint{another, 499}, server, 7, syn), NoMapping)
			w.want(w.in(TCP, Endpoint{another, 510}, server, 7, syn), NoMapping)
			w.want(w.in(TCP, Endpoint{external, 500}, server, 7, syn), NoMapping)
		}},
		{"TCP begins with a SYN", forwarding(both, web), func(w *world) {
			for _, flags := range []uint8{0, ACK, RST, FIN, SYN | ACK, SYN | RST} {
				w.want(w.in(TCP, Endpoint{external, 80}, server, 7, Segment{Flags: flags}), Filtered)
			}
			if _, flows := w.Counts(); flows != 0 {
				w.t.Errorf("%d flows", flows)
			}
		}},
		{"nobody is there", forwarding(map[uint32]Client{}, web), func(w *world) {
			w.want(w.in(TCP, Endpoint{external, 80}, server, 7, syn), NobodyThere)
			if _, flows := w.Counts(); flows != 0 {
				w.t.Errorf("%d flows", flows)
			}
		}},
		{"what the endpoint sends on its own leaves by its port", forwarding(both, web, dns, Forward{UDP, third, 7, 7, bob, 7}), func(w *world) {
			first := w.must(udp(alice, 1, server, 1), clientA, none)
			if got := w.must(udp(alice, 53, server, 9), clientA, none); got != (Endpoint{first.Addr, 2005}) {
				w.t.Errorf("UDP leaves by %v", got)
			}
			if got := w.must(tcp(alice, 8080, server, 9), clientA, Segment{Flags: ACK}); got != (Endpoint{first.Addr, 80}) { // the box was rebooted
				w.t.Errorf("TCP leaves by %v", got)
			}
			if got := w.must(udp(bob, 7, server, 9), clientB, none); got.Port == 7 {
				w.t.Errorf("by %v, which is at an address that is not there", got)
			}
		}},
		{"a forwarded port is drawn for nobody", forwarding(both, Forward{UDP, 0, 2000, 2014, alice, 2000}, Forward{TCP, external, 2000, 2014, alice, 2000}), func(w *world) {
			used := map[Endpoint]bool{}
			for _, proto := range []uint8{UDP, TCP} {
				for c := range uint32(2) { // one at each address
					ports := map[uint16]bool{}
					for i := range uint16(20) {
						if ext, v := w.out(Tuple{proto, bob + c, 100 + i, server + uint32(i), 1}, Client{2 + c, 1}, syn); v == Translated {
							ports[ext.Port] = true
							used[Endpoint{ext.Addr, uint16(proto)}] = true
							if ext.Port < 2015 && (proto == UDP || ext.Addr == external) {
								w.t.Errorf("drew %v of %d", ext, proto)
							}
						}
					}
					if len(ports) < 5 {
						w.t.Errorf("%d ports of protocol %d", len(ports), proto)
					}
				}
			}
			if len(used) != 4 {
				w.t.Errorf("addresses used: %v", used)
			}
		}},
		{"a port that is forwarded no more is drawn again, once nobody is left on it", forwarding(both, Forward{UDP, 0, 2000, 2019, alice, 2000}), func(w *world) {
			w.came(UDP, Endpoint{external, 2003}, server, 1, none)
			_, v := w.out(udp(bob, 1, server, 1), clientB, none)
			w.want(v, NoPort)
			w.SetForwards(nil)
			for range 2 * MaxExternals {
				w.Expire(w.now, 64)
			}
			w.want(w.in(UDP, Endpoint{external, 2003}, server, 1, none), NoMapping)
			for i := range uint16(20) {
				w.must(udp(bob, 1+i, server, 1), clientB, none)
			}
		}},
		{"who had a port that is forwarded now leaves it", forwarding(both), func(w *world) {
			ext := w.must(udp(bob, 1, server, 1), clientB, none)
			w.SetForwards([]Forward{{UDP, 0, ext.Port, ext.Port, alice, 53}})
			w.swept()
			if got := w.came(UDP, ext, server, 1, none); got != (Endpoint{alice, 53}) {
				w.t.Errorf("led to %v", got)
			}
			if got := w.must(udp(bob, 1, server, 1), clientB, none); got == ext {
				w.t.Errorf("goes on by %v", got)
			}
		}},
		{"so does who shares one", at(external, forwarding(both)), func(w *world) {
			for i := range uint16(20) {
				w.must(tcp(bob, 1+i, server, 1), clientB, syn)
			}
			w.SetForwards([]Forward{{TCP, 0, 2000, 2018, alice, 1}})
			for i := range uint32(20) { // all ports are in use, one is not forwarded
				if got := w.must(tcp(bob+1, 1+uint16(i), other+i, 1), Client{3, 1}, syn); got.Port != 2019 {
					w.t.Errorf("shares %v", got)
				}
			}
		}},
		{"a port cannot be used as long as another's flow with that remote is on it", at(external, forwarding(both)), func(w *world) {
			ext := w.must(udp(bob, 1, server, 1), clientB, none)
			w.SetForwards([]Forward{{UDP, 0, ext.Port, ext.Port, alice, 53}})
			_, v := w.out(udp(alice, 53, server, 1), clientA, none)
			w.want(v, NoPort)
			w.swept()
			w.must(udp(alice, 53, server, 1), clientA, none)
		}},
		{"an endpoint keeps its own flows when its port is forwarded to it, and when it is so no more", forwarding(both), func(w *world) {
			ext := w.must(udp(alice, 53, server, 1), clientA, none)
			w.SetForwards([]Forward{{UDP, 0, ext.Port, ext.Port, alice, 53}})
			w.swept()
			w.came(UDP, ext, other, 1, none)
			w.came(UDP, ext, server, 1, none)
			w.SetForwards(nil)
			w.swept()
			if !w.Known(UDP, ext, server, 1) || w.Known(UDP, ext, other, 1) {
				w.t.Error("its own flow ended, or the one that came in stays")
			}
		}},
		{"the same list again ends nothing", forwarding(both, web), func(w *world) {
			w.came(TCP, Endpoint{external, 80}, server, 1, syn)
			w.SetForwards([]Forward{web})
			if w.Leaving() {
				w.t.Error("something is swept")
			}
		}},
		{"the table is full", func(o *Options) { forwarding(both, dns)(o); o.MaxFlows = 4 }, func(w *world) {
			for i := range uint16(4) {
				w.came(UDP, Endpoint{external, 2005}, server, 1+i, none)
			}
			w.want(w.in(UDP, Endpoint{external, 2005}, server, 9, none), FlowsFull)
		}},
		{"a forward that leads elsewhere now ends what came by it, another stays", forwarding(both, web, dns), func(w *world) {
			w.came(TCP, Endpoint{external, 80}, server, 1, syn)
			w.came(UDP, Endpoint{external, 2005}, server, 1, none)
			to := web
			to.Addr = bob
			w.SetForwards([]Forward{dns, to})
			w.swept()
			w.want(w.in(TCP, Endpoint{external, 80}, server, 1, Segment{Flags: ACK}), Filtered)
			if got := w.came(TCP, Endpoint{external, 80}, server, 1, syn); got != (Endpoint{bob, 8080}) {
				w.t.Errorf("led to %v", got)
			}
			if !w.Known(UDP, Endpoint{external, 2005}, server, 1) {
				w.t.Error("the other one's flow ended")
			}
		}},
		{"what an endpoint sends leaves by no forward that is gone, swept or not", forwarding(both, web), func(w *world) {
			w.came(TCP, Endpoint{external, 80}, server, 1, syn)
			w.SetForwards(nil)
			if got := w.must(tcp(alice, 8080, other, 1), clientA, syn); got.Port == 80 {
				w.t.Errorf("leaves by %v", got)
			}
		}},
		{"an address that goes away takes what came there along", forwarding(both, web), func(w *world) {
			w.came(TCP, Endpoint{external, 80}, server, 1, syn)
			w.set(another)
			if got := w.must(tcp(alice, 8080, server, 1), clientA, Segment{Flags: ACK}); got != (Endpoint{another, 80}) {
				w.t.Errorf("leaves by %v", got)
			}
			w.swept()
			w.want(w.in(TCP, Endpoint{external, 80}, server, 1, syn), NoMapping)
		}},
		{"who has the address now is who is led to", forwarding(both, web), func(w *world) {
			who := map[uint32]Client{alice: clientA}
			w.opt.Holder = func(addr uint32) (Client, bool) { return who[addr], true }
			w.attach()
			w.came(TCP, Endpoint{external, 80}, server, 1, syn)
			who[alice] = clientB
			w.came(TCP, Endpoint{external, 80}, server, 2, syn)
			if w.Known(TCP, Endpoint{external, 80}, server, 1) {
				w.t.Error("the former one's is still there")
			}
			who[alice] = Client{clientB.Slot, 2}
			_, _, c, v := w.In(TCP, Endpoint{external, 80}, server, 3, syn, w.now)
			if v != Translated || c != who[alice] || w.Known(TCP, Endpoint{external, 80}, server, 2) {
				w.t.Errorf("%v, %v", c, v)
			}
		}},
		{"the same remote by two forwards to one endpoint: the first counts", forwarding(both, web, Forward{TCP, 0, 81, 81, alice, 8080}), func(w *world) {
			w.came(TCP, Endpoint{external, 80}, server, 1, syn)
			w.want(w.in(TCP, Endpoint{external, 81}, server, 1, syn), Filtered)
			w.came(TCP, Endpoint{external, 81}, server, 2, syn)
			if got := w.must(tcp(alice, 8080, server, 2), clientA, Segment{Flags: SYN | ACK}); got.Port != 81 {
				w.t.Errorf("answered from %v", got)
			}
			w.now += 241 * second // and nothing was expired yet
			w.came(TCP, Endpoint{external, 81}, server, 1, syn)
		}},
		{"half of a client's flows are its own", func(o *Options) { forwarding(both, dns)(o); o.FlowsPerClient = 10 }, func(w *world) {
			for i := range uint16(5) {
				w.came(UDP, Endpoint{external, 2005}, server, 1+i, none)
			}
			w.want(w.in(UDP, Endpoint{external, 2005}, server, 9, none), ClientFlows)
			for i := range uint16(5) {
				w.must(udp(alice, 100, other, 1+i), clientA, none)
			}
		}},
		{"the box's take an eighth of all", forwarding(map[uint32]Client{alice: host}, dns), func(w *world) {
			for i := range uint16(1024 / 8) {
				w.came(UDP, Endpoint{external, 2005}, server, 1+i, none)
			}
			w.want(w.in(UDP, Endpoint{external, 2005}, server, 999, none), ClientFlows)
		}},
		{"forwarded ports are none of a client's ports", func(o *Options) { forwarding(both, Forward{UDP, 0, 1, 9, alice, 1})(o); o.PortsPerClient = 2 }, func(w *world) {
			for i := range uint16(9) {
				w.came(UDP, Endpoint{external, 1 + i}, server, 1, none)
			}
			w.must(udp(alice, 100, server, 1), clientA, none)
			w.must(udp(alice, 101, server, 1), clientA, none)
			_, v := w.out(udp(alice, 102, server, 1), clientA, none)
			w.want(v, ClientPorts)
		}},
		{"another process goes on with them", forwarding(both, web, dns), func(w *world) {
			w.must(udp(alice, 53, other, 5), clientA, none) // by another place than the next, perhaps
			for _, at := range []uint32{external, another} {
				w.came(TCP, Endpoint{at, 80}, server, 1+uint16(at&1), syn)
				w.came(UDP, Endpoint{at, 2005}, server, 1+uint16(at&1), none)
			}
			w.must(udp(alice, 1, server, 1), clientA, none)
			w.attach()
			if kept, lost := w.Recovered(); kept != 6 || lost != 0 {
				w.t.Errorf("%d kept, %d discarded", kept, lost)
			}
			if got := w.must(udp(alice, 53, server, 1+uint16(external&1)), clientA, none); got != (Endpoint{external, 2005}) {
				w.t.Errorf("answered from %v", got)
			}
			w.opt.Forwards = []Forward{dns}
			w.attach()
			if kept, lost := w.Recovered(); kept != 4 || lost != 2 {
				w.t.Errorf("without one: %d kept, %d discarded", kept, lost)
			}
			to := dns
			to.Port++
			w.opt.Forwards = []Forward{to}
			w.attach()
			if kept, lost := w.Recovered(); kept != 1 || lost != 3 {
				w.t.Errorf("to another port: %d kept, %d discarded", kept, lost)
			}
		}},
		{"another process goes on with what an endpoint had before its forward", forwarding(both), func(w *world) {
			ext := w.must(udp(alice, 53, other, 5), clientA, none)
			w.SetForwards([]Forward{dns})
			w.came(UDP, Endpoint{external, 2005}, server, 1, none)
			w.opt.Forwards = []Forward{dns}
			w.attach()
			if kept, lost := w.Recovered(); kept != 2 || lost != 0 || w.must(udp(alice, 53, other, 5), clientA, none) != ext {
				w.t.Errorf("%d kept, %d discarded", kept, lost)
			}
		}},
		{"errors about them find their way", forwarding(both, web), func(w *world) {
			w.came(TCP, Endpoint{external, 80}, server, 1, syn)
			addr, port, c, v := w.InError(TCP, Endpoint{external, 80}, server, 1)
			if v != Translated || addr != alice || port != 8080 || c != clientA {
				w.t.Errorf("%#x:%d, %v, %v", addr, port, c, v)
			}
			if ext, v := w.OutError(tcp(alice, 8080, server, 1)); v != Translated || ext != (Endpoint{external, 80}) {
				w.t.Errorf("%v, %v", ext, v)
			}
		}},
		{"no port rests", forwarding(both, dns), func(w *world) {
			w.came(UDP, Endpoint{external, 2005}, server, 1, none)
			w.wait(301 * time.Second)
			if _, flows := w.Counts(); flows != 0 {
				w.t.Errorf("%d flows", flows)
			}
			w.came(UDP, Endpoint{external, 2005}, server, 1, none)
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(newWorld(t, row.change)) })
	}
}

func TestForwardsThatAreRefused(t *testing.T) {
	right := Forward{TCP, 0, 80, 89, alice, 8080}
	rows := []struct {
		name string
		list []Forward
		ok   bool
	}{
		{"right", []Forward{right}, true},
		{"another protocol", []Forward{right, {UDP, 0, 80, 89, alice, 8080}}, true},
		{"another address", []Forward{{TCP, external, 80, 89, alice, 1}, {TCP, another, 80, 89, alice, 1}}, true},
		{"side by side", []Forward{right, {TCP, 0, 90, 90, alice, 1}}, true},
		{"a port twice", []Forward{right, {TCP, 0, 89, 99, alice, 1}}, false},
		{"a port twice, at one of all addresses", []Forward{right, {TCP, external, 70, 80, alice, 1}}, false},
		{"ICMP", []Forward{{ICMP, 0, 80, 80, alice, 1}}, false},
		{"port 0", []Forward{{TCP, 0, 0, 80, alice, 1}}, false},
		{"to port 0", []Forward{{TCP, 0, 80, 80, alice, 0}}, false},
		{"backwards", []Forward{{TCP, 0, 80, 79, alice, 1}}, false},
		{"beyond the last port", []Forward{{TCP, 0, 80, 89, alice, 65527}}, false},
		{"to nowhere", []Forward{{TCP, 0, 80, 80, 0, 1}}, false},
		{"too many", slices.Repeat([]Forward{right}, MaxForwards+1), false},
	}
	for _, row := range rows {
		w := newWorld(t, forwarding(map[uint32]Client{alice: clientA}))
		w.opt.Forwards = row.list
		if _, err := Attach(w.mem, w.opt, w.now); err == nil != row.ok {
			t.Errorf("%s: %v", row.name, err)
		}
		w.SetForwards(row.list)
		if row.ok != (len(w.forwards) > 0) {
			t.Errorf("%s: %v", row.name, w.forwards)
		}
	}
	opt := newWorld(t, forwarding(nil, right)).opt
	opt.Holder = nil
	if _, err := Attach(make([]byte, Layout(1024)), opt, 0); err == nil {
		t.Error("nobody to ask is taken")
	}
}

// Whatever comes, goes, changes and is killed: each flow is where the forwards say, no port of theirs is
// anybody else's, and the sums add up.
func TestForwardsInAnyOrder(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		who := map[uint32]Client{}
		w := newWorld(t, forwarding(who))
		addrs := []uint32{external, another, third}
		some := func() (list []Forward) {
			for range rnd.IntN(6) {
				low := uint16(1998 + rnd.IntN(12))
				f := Forward{[]uint8{TCP, UDP}[rnd.IntN(2)], []uint32{0, 0, external, another}[rnd.IntN(4)], low, low + uint16(rnd.IntN(3)), alice + uint32(rnd.IntN(3)), uint16(1 + rnd.IntN(4))}
				if !slices.ContainsFunc(list, f.crosses) {
					list = append(list, f)
				}
			}
			return list
		}
		for range 600 {
			c := uint32(rnd.IntN(3))
			proto, remote, port := []uint8{TCP, UDP}[rnd.IntN(2)], server+uint32(rnd.IntN(2)), uint16(1+rnd.IntN(3))
			switch rnd.IntN(12) {
			case 0:
				w.SetForwards(some())
			case 1:
				w.opt.Externals = addrs[:1+rnd.IntN(3)]
				w.set(w.opt.Externals...)
			case 2:
				who[alice+c] = Client{1 + rnd.Uint32N(3), 1 + rnd.Uint32N(2)}
			case 3:
				delete(who, alice+c)
			case 4:
				w.now += int64(rnd.IntN(200)) * second
			case 5:
				w.opt.Forwards = slices.Clone(w.forwards)
				w.attach()
			case 6:
				if client, ok := who[alice+c]; ok {
					w.Leave(client, alice+c)
				}
			case 7, 8, 9:
				ext := Endpoint{addrs[rnd.IntN(3)], uint16(1998 + rnd.IntN(14))}
				addr, inside, client, v := w.In(proto, ext, remote, port, Segment{Flags: SYN}, w.now)
				if f := w.forward(proto, ext); v == Translated && f != nil && !w.Leaving() {
					if addr != f.Addr || inside != f.to(ext.Port) {
						t.Fatalf("seed %d: %v leads to %#x:%d", seed, ext, addr, inside)
					}
					if _, served := who[addr]; !served && client == (Client{}) {
						t.Fatalf("seed %d: led to nobody", seed)
					}
				}
			default:
				client, ok := who[alice+c]
				if !ok {
					continue
				}
				inside := uint16(1 + rnd.IntN(4))
				ext, v := w.out(Tuple{proto, alice + c, inside, remote, port}, client, Segment{Flags: SYN})
				if f := w.forward(proto, ext); v == Translated && f != nil && !w.Leaving() && (f.Addr != alice+c || f.to(ext.Port) != inside) {
					t.Fatalf("seed %d: leaves by somebody else's %v", seed, ext)
				}
			}
			w.Expire(w.now, 8)
			w.sums()
		}
		w.swept()
		for i := uint32(1); i <= w.header.used; i++ {
			if w.Table.flows[i].commit != 0 && w.stale(i) {
				t.Fatalf("seed %d: flow %d is stale", seed, i)
			}
		}
		w.SetForwards(nil)
		w.wait(100_000 * time.Second)
		w.wait(200 * time.Second) // ports rest
		for range 2 * MaxExternals {
			w.Expire(w.now, 1<<20)
		}
		if m, f := w.Counts(); m != 0 || f != 0 {
			t.Fatalf("seed %d: %d mappings, %d flows are left", seed, m, f)
		}
		allFree(t, w.Table, 20)
	}
}

// sums holds the sums to what is there.
func (w *world) sums() {
	w.t.Helper()
	flows, mappings := 0, map[uint32]bool{}
	for i := uint32(1); i <= w.header.used; i++ {
		if w.Table.flows[i].commit != 0 {
			flows++
			mappings[w.links[i].mapping] = true
		}
	}
	drawn, fixed := uint32(0), uint32(0)
	for i := range w.clients {
		drawn += w.clients[i].mappings
		fixed += w.clients[i].fixed
	}
	at := uint32(0)
	for i := range w.places {
		at += w.places[i].mappings
	}
	forwarded := uint32(0)
	for m := range maps.Keys(mappings) {
		if w.mappings[m].fixed {
			forwarded++
		}
	}
	m, f := w.Counts()
	if f != flows || m != len(mappings) || int(at) != m || drawn != uint32(m)-forwarded || fixed != forwarded {
		w.t.Fatalf("%d flows and %d mappings, %d by forwards: counted %d and %d, at places %d, drawn %d, fixed %d", flows, len(mappings), forwarded, f, m, at, drawn, fixed)
	}
}
