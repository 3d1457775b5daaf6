package nat

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// modelFlow is what the model knows of a flow.
type modelFlow struct {
	ext    Endpoint
	client Client
	seen   int64 // seconds
	state  state
	cs, ss uint32 // next sequence numbers of client and server
	answer bool   // TCP: the server has answered
	guest  guest  // by which filter it was let in and not answered since
}

// outer is an external port of a protocol.
type outer struct {
	proto uint8
	ext   Endpoint
}

// model is the NAT as plain maps, with no regard for cost.
type model struct {
	t     *rapid.T
	opt   Options
	flows map[Tuple]*modelFlow
	rest  map[outer]int64 // the second a port's rest ends
	dirty map[outer]bool  // a TCP port that somebody left unclosed
	now   int64           // seconds
}

func (m *model) timeout(s state) int64 {
	return []int64{300, 60, 240, 7440, 240, 240}[s]
}

// end removes a flow and frees its port when it was the last on it.
func (m *model) end(k Tuple) {
	f := m.flows[k]
	delete(m.flows, k)
	at := outer{k.Proto, f.ext}
	m.dirty[at] = m.dirty[at] || f.state != closing && f.state != reset
	if len(m.behind(k.Proto, f.ext)) > 0 {
		// An endpoint that keeps the port keeps its own mark; a mapping that
		// goes hands its mark on. Either way the port has it at the end.
		return
	}
	if k.Proto == UDP || k.Proto == TCP && m.dirty[at] {
		m.rest[at] = m.now + 121
	}
	delete(m.dirty, at)
}

func (m *model) endWhere(match func(Tuple, *modelFlow) bool) {
	for k, f := range m.flows {
		if match(k, f) {
			m.end(k)
		}
	}
}

// behind is the endpoints on an external port.
func (m *model) behind(proto uint8, ext Endpoint) map[Tuple]Client {
	found := map[Tuple]Client{}
	for k, f := range m.flows {
		if k.Proto == proto && f.ext == ext {
			found[Tuple{Proto: proto, Addr: k.Addr, Port: k.Port}] = f.client
		}
	}
	return found
}

func (m *model) outside(proto uint8, ext Endpoint, remote uint32, port uint16) (Tuple, bool) {
	for k, f := range m.flows {
		if k.Proto == proto && f.ext == ext && k.Remote == remote && k.RemotePort == port {
			return k, true
		}
	}
	return Tuple{}, false
}

func (m *model) expire() {
	m.endWhere(func(k Tuple, f *modelFlow) bool { return m.now > f.seen+m.timeout(f.state) })
}

// held is a slot's flows and mappings.
func (m *model) held(slot uint32) (flows, mappings int) {
	set := map[string]bool{}
	for k, f := range m.flows {
		if f.client.Slot == slot {
			flows++
			set[fmt.Sprint(k.Proto, k.Addr, k.Port, f.ext)] = true
		}
	}
	return flows, len(set)
}

func (m *model) mappings() int {
	set := map[string]bool{}
	for k, f := range m.flows {
		set[fmt.Sprint(k.Proto, k.Addr, k.Port, f.ext)] = true
	}
	return len(set)
}

// out checks one outbound packet's outcome; it may create the flow.
func (m *model) out(k Tuple, c Client, flags uint8, ext Endpoint, v Verdict) {
	if f := m.flows[k]; f != nil {
		if f.client == c {
			if k.Proto != TCP || flags&RST == 0 {
				f.guest = 0
			}
			if v != Translated || ext != f.ext {
				m.t.Fatalf("%v: port %d %v, the flow has %d", k, ext, v, f.ext)
			}
			return
		}
		m.endWhere(func(o Tuple, g *modelFlow) bool { return o.Addr == k.Addr && g.client == f.client })
	}
	if k.Proto == TCP && flags&RST != 0 {
		m.expect(v, NoMapping)
		return
	}
	m.endWhere(func(_ Tuple, g *modelFlow) bool { return g.client.Slot == c.Slot && g.client != c })
	for o, f := range m.flows {
		if o.Proto == k.Proto && o.Addr == k.Addr && o.Port == k.Port && f.client != c {
			m.endWhere(func(o Tuple, g *modelFlow) bool { return o.Addr == k.Addr && g.client == f.client })
			break
		}
	}
	var allowed []Endpoint // ports of the endpoint's mappings
	for o, f := range m.flows {
		if o.Proto == k.Proto && o.Addr == k.Addr && o.Port == k.Port {
			if _, taken := m.outside(k.Proto, f.ext, k.Remote, k.RemotePort); !taken {
				allowed = append(allowed, f.ext)
			}
		}
	}
	flows, mappings := m.held(c.Slot)
	switch {
	case c.Slot != 0 && flows >= m.opt.FlowsPerClient:
		m.expect(v, ClientFlows)
		return
	case len(m.flows) >= m.opt.MaxFlows:
		m.expect(v, FlowsFull)
		return
	case allowed == nil && c.Slot != 0 && mappings >= m.opt.PortsPerClient:
		m.expect(v, ClientPorts)
		return
	}
	if allowed == nil {
		if len(m.opt.Externals) == 0 {
			m.expect(v, NoAddress)
			return
		}
		refused := false // at one of several that are as good
		for _, addr := range m.pairs(c) {
			at := m.ports(k, addr)
			allowed, refused = append(allowed, at...), refused || at == nil
		}
		if refused && v == NoPort {
			return
		}
	}
	if v != Translated || !slices.Contains(allowed, ext) {
		m.t.Fatalf("%v: port %d %v, expected one of %v", k, ext, v, allowed)
	}
	m.flows[k] = &modelFlow{ext: ext, client: c, seen: m.now, state: map[uint8]state{UDP: udpFlow, ICMP: icmpQuery, TCP: opening}[k.Proto]}
}

// pairs is the addresses of which one is for a client's next mapping.
func (m *model) pairs(c Client) (addrs []uint32) {
	if c.Slot == 0 {
		return m.opt.Externals[:1]
	}
	least, mappings := 1<<30, map[uint32]map[string]bool{}
	for _, a := range m.opt.Externals {
		mappings[a] = map[string]bool{}
	}
	for k, f := range m.flows {
		if f.client == c {
			return []uint32{f.ext.Addr}
		}
		mappings[f.ext.Addr][fmt.Sprint(k.Proto, k.Addr, k.Port, f.ext)] = true
	}
	for _, of := range mappings {
		least = min(least, len(of))
	}
	for a, of := range mappings {
		if len(of) == least {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// ports is what may serve a new mapping at an address.
func (m *model) ports(k Tuple, addr uint32) (free []Endpoint) {
	var shared []Endpoint
	for p := m.opt.PortLow; p <= m.opt.PortHigh; p++ {
		ext := Endpoint{addr, p}
		_, taken := m.outside(k.Proto, ext, k.Remote, k.RemotePort)
		switch {
		case len(m.behind(k.Proto, ext)) == 0:
			if m.rest[outer{k.Proto, ext}] <= m.now {
				free = append(free, ext)
			}
		case k.Proto == TCP && !taken:
			shared = append(shared, ext)
		}
	}
	if free == nil {
		return shared
	}
	return free
}

// in checks one unsolicited or answering inbound packet; TCP's is a bare SYN.
func (m *model) in(proto uint8, ext Endpoint, remote uint32, port uint16, addr uint32, to uint16, c Client, v Verdict) {
	if k, ok := m.outside(proto, ext, remote, port); ok {
		if !m.welcome(k) {
			m.expect(v, Filtered)
			return
		}
		if v != Translated || addr != k.Addr || to != k.Port || c != m.flows[k].client {
			m.t.Fatalf("in %d %d: %#x %d %v %v, the flow is %v", proto, ext, addr, to, c, v, k)
		}
		return
	}
	behind := m.behind(proto, ext)
	if len(behind) == 0 {
		if m.rest[outer{proto, ext}] > m.now && slices.Contains(m.opt.Externals, ext.Addr) {
			m.expect(v, Resting)
		} else {
			m.expect(v, NoMapping)
		}
		return
	}
	if proto == ICMP || len(behind) > 1 {
		m.expect(v, Filtered)
		return
	}
	var k Tuple
	var owner Client
	for k, owner = range behind {
	}
	anybody := slices.Contains(m.opt.Externals, remote) || m.opt.Filtering == AnyRemote
	seen, allowed := int64(0), anybody
	for o, f := range m.flows {
		if o.Proto == proto && f.ext == ext && (anybody || o.Remote == remote && f.guest == 0 && m.opt.Filtering == ByAddress) {
			seen, allowed = max(seen, f.seen), true
		}
	}
	if !allowed {
		m.expect(v, Filtered)
		return
	}
	if k.Remote, k.RemotePort = remote, port; m.flows[k] != nil {
		m.expect(v, Filtered) // it has that flow on another port
		return
	}
	if proto == TCP {
		seen = m.now
	}
	switch flows, _ := m.held(owner.Slot); {
	case owner.Slot != 0 && flows >= m.opt.FlowsPerClient:
		m.expect(v, ClientFlows)
		return
	case len(m.flows) >= m.opt.MaxFlows:
		m.expect(v, FlowsFull)
		return
	}
	if v != Translated || addr != k.Addr || to != k.Port || c != owner {
		m.t.Fatalf("in %d %d: %#x %d %v %v, the mapping is %v of %v", proto, ext, addr, to, c, v, k, owner)
	}
	m.flows[k] = &modelFlow{ext: ext, client: owner, seen: seen, guest: 1 + guest(m.opt.Filtering), state: map[uint8]state{UDP: udpFlow, TCP: opening}[proto]}
}

// welcome says whether the remote of a flow may still send: its client has sent to
// it, or the filter of now lets it in, too.
func (m *model) welcome(k Tuple) bool {
	f, how := m.flows[k], m.opt.Filtering
	if f.guest == 0 || f.guest == 1+guest(how) || slices.Contains(m.opt.Externals, k.Remote) || how == AnyRemote {
		return true
	}
	for o, g := range m.flows {
		if how == ByAddress && g.guest == 0 && g.ext == f.ext && o.Proto == k.Proto && o.Addr == k.Addr && o.Port == k.Port && o.Remote == k.Remote {
			return true
		}
	}
	return false
}

func (m *model) expect(got, want Verdict) {
	m.t.Helper()
	if got != want {
		m.t.Fatalf("%v, the model says %v", got, want)
	}
}

// agree compares every translation, without changing any.
func (m *model) agree(table *Table) {
	m.t.Helper()
	mappings, flows := table.Counts()
	if mappings != m.mappings() || flows != len(m.flows) {
		m.t.Fatalf("%d mappings, %d flows; the model has %d, %d", mappings, flows, m.mappings(), len(m.flows))
	}
	for k, f := range m.flows {
		if ext, v := table.OutError(k); v != Translated || ext != f.ext {
			m.t.Fatalf("%v: port %d %v, the model has %d", k, ext, v, f.ext)
		}
		if addr, port, c, v := table.InError(k.Proto, f.ext, k.Remote, k.RemotePort); v != Translated || addr != k.Addr || port != k.Port || c != f.client {
			m.t.Fatalf("port %d: %#x %d %v %v, the model has %v", f.ext, addr, port, c, v, k)
		}
		i := table.outside(k.Proto, f.ext, k.Remote, k.RemotePort)
		if g := &table.flows[i]; g.state != f.state || int64(g.seen) != f.seen {
			m.t.Fatalf("%v: state %d seen %d, the model has %d, %d", k, g.state, g.seen, f.state, f.seen)
		}
	}
}

// stateAt is where an entry has its state.
const stateAt = int(unsafe.Offsetof(flow{}.state))

// killed mixes the entries' memory before and after one operation into what a process
// killed in the middle of it may leave. Where a commit word changed, the flow
// was about to come or had just gone: it is clear and the rest is any mixture.
// Elsewhere each word is the old or the new one, but for the order of last-seen
// and state.
func killed(t *rapid.T, before, after []byte) (mem []byte, undecided []int) {
	mem = slices.Clone(after)
	for at := 0; at < len(mem); at += flowSize {
		b, a := before[at:at+flowSize], after[at:at+flowSize]
		if slices.Equal(a, b) {
			continue
		}
		changed := binary.NativeEndian.Uint32(a) != binary.NativeEndian.Uint32(b)
		mix := rapid.Uint16().Draw(t, "mix")
		for word := range flowSize / 4 {
			if mix>>word&1 == 0 {
				copy(mem[at+4*word:at+4*word+4], b[4*word:])
			}
		}
		if mem[at+stateAt] != b[stateAt] { // last-seen is written before the state
			copy(mem[at+4:at+8], a[4:])
		}
		if changed {
			clear(mem[at : at+4])
			undecided = append(undecided, at/flowSize)
		}
	}
	return mem, undecided
}

// entriesAt is where the entries begin in the memory.
const entriesAt = headerSize + restSize

// patch makes to a copy of the memory with other entries, as far as the model's few
// ports write to it.
func patch(to, mem, entries []byte) {
	copy(to[:headerSize], mem)
	for i := range 2 * MaxExternals {
		at := headerSize + 4*(65536*i+2000)
		copy(to[at:at+4*8], mem[at:])
	}
	copy(to[entriesAt:], entries)
}

func TestModel(t *testing.T) { rapid.Check(t, runModel) }

func FuzzModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(runModel)) }

func runModel(t *rapid.T) {
	opt := Options{
		Externals: []uint32{external, another, third}[:rapid.IntRange(0, 3).Draw(t, "externals")], PortLow: 2000, PortHigh: 2000 + uint16(rapid.IntRange(0, 7).Draw(t, "ports")),
		MaxFlows: rapid.IntRange(1, 24).Draw(t, "flows"), FlowsPerClient: rapid.IntRange(1, 12).Draw(t, "flowsPerClient"),
		Filtering:      Filtering(rapid.IntRange(0, 2).Draw(t, "filtering")),
		PortsPerClient: rapid.IntRange(1, 8).Draw(t, "portsPerClient"), MaxClients: 3, Seed: [32]byte{1},
	}
	mem, torn := make([]byte, Layout(opt.MaxFlows)), make([]byte, Layout(opt.MaxFlows))
	table, err := Attach(mem, opt, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, opt: opt, flows: map[Tuple]*modelFlow{}, rest: map[outer]int64{}, dirty: map[outer]bool{}}
	generation := [4]uint32{}

	proto := rapid.SampledFrom([]uint8{UDP, UDP, TCP, TCP, TCP, ICMP})
	remote := rapid.SampledFrom([]uint32{server, server, other, external, another})
	anyExternal := rapid.SampledFrom([]uint32{external, another, third})
	port := rapid.Uint16Range(1, 4)
	tuple := func() Tuple {
		k := Tuple{proto.Draw(t, "proto"), alice + uint32(rapid.IntRange(0, 2).Draw(t, "addr")), port.Draw(t, "port"), remote.Draw(t, "remote"), port.Draw(t, "rport")}
		if k.Proto == ICMP {
			k.RemotePort = 0
		}
		return k
	}
	nanos := func() int64 { return m.now*second + 5 }
	// known draws a flow; without one there is nothing to do, which is not
	// skipped, because an input that draws nothing else would fail.
	known := func(match func(Tuple, *modelFlow) bool) (k Tuple, f *modelFlow, found bool) {
		var keys []Tuple
		for k, f := range m.flows {
			if match(k, f) {
				keys = append(keys, k)
			}
		}
		if keys == nil {
			return k, nil, false
		}
		slices.SortFunc(keys, func(a, b Tuple) int {
			return slices.Compare([]int64{int64(a.Proto), int64(a.Addr), int64(a.Port), int64(a.Remote), int64(a.RemotePort)},
				[]int64{int64(b.Proto), int64(b.Addr), int64(b.Port), int64(b.Remote), int64(b.RemotePort)})
		})
		k = rapid.SampledFrom(keys).Draw(t, "flow")
		return k, m.flows[k], true
	}
	isTCP := func(states ...state) func(Tuple, *modelFlow) bool {
		return func(k Tuple, f *modelFlow) bool {
			return k.Proto == TCP && slices.Contains(states, f.state) && f.cs != 0
		}
	}
	// step runs an operation of the table, and a kill in the middle of it.
	step := func(operation func()) {
		before := slices.Clone(mem[entriesAt:])
		was := maps.Clone(m.flows)
		operation()
		if !rapid.Bool().Draw(t, "kill") {
			return
		}
		entries, undecided := killed(t, before, mem[entriesAt:])
		patch(torn, mem, entries)
		next, err := Attach(torn, opt, nanos())
		if err != nil {
			t.Fatal(err)
		}
		if _, discarded := next.Recovered(); discarded != 0 {
			t.Fatalf("%d entries discarded", discarded)
		}
		stays := 0
		for k, f := range m.flows {
			if !slices.Contains(undecided, int(table.outside(k.Proto, f.ext, k.Remote, k.RemotePort))) {
				stays++
			}
		}
		if kept, _ := next.Recovered(); kept != stays {
			t.Fatalf("kept %d after a kill, not %d", kept, stays)
		}
		for k, f := range m.flows {
			if was[k] == nil || was[k].ext != f.ext || was[k].client != f.client {
				continue // this operation's own
			}
			i := table.outside(k.Proto, f.ext, k.Remote, k.RemotePort)
			if slices.Contains(undecided, int(i)) {
				continue
			}
			if ext, v := next.OutError(k); v != Translated || ext != f.ext {
				t.Fatalf("after a kill %v: port %d %v, the model has %d", k, ext, v, f.ext)
			}
		}
	}
	send := func(k Tuple, f *modelFlow, s Segment) {
		step(func() {
			ext, v := table.Out(k, f.client, s, nanos())
			m.out(k, f.client, s.Flags, ext, v)
		})
	}
	answer := func(k Tuple, f *modelFlow, s Segment) {
		step(func() {
			if _, _, _, v := table.In(k.Proto, f.ext, k.Remote, k.RemotePort, s, nanos()); v != Translated {
				t.Fatalf("an answer: %v", v)
			}
		})
	}
	t.Repeat(map[string]func(*rapid.T){
		"": func(*rapid.T) { m.agree(table) },
		"out": func(*rapid.T) {
			k := tuple()
			slot := uint32(rapid.IntRange(0, 3).Draw(t, "slot"))
			if rapid.IntRange(0, 9).Draw(t, "stray") != 0 {
				slot = k.Addr - alice
			}
			c := Client{slot, generation[slot]}
			was := m.flows[k]
			seq := rapid.Uint32Range(1, 1<<32-1).Draw(t, "seq")
			step(func() {
				ext, v := table.Out(k, c, Segment{Flags: SYN, Seq: seq - 1, Window: 100, WScale: NoScale}, nanos())
				m.out(k, c, SYN, ext, v)
				f := m.flows[k]
				switch {
				case f == nil:
				case k.Proto != TCP:
					f.seen = m.now
				default:
					if f == was && f.state == established && (f.cs == seq || f.cs-seq < oldest) {
						f.seen = m.now
						return
					}
					f.state, f.seen, f.cs, f.answer = opening, m.now, seq, false
				}
			})
		},
		"reset without a flow": func(*rapid.T) {
			k := tuple()
			if k.Proto = TCP; m.flows[k] != nil {
				return
			}
			c := Client{k.Addr - alice, generation[k.Addr-alice]}
			ext, v := table.Out(k, c, Segment{Flags: RST}, nanos())
			m.out(k, c, RST, ext, v)
		},
		"in": func(*rapid.T) {
			p, r, rp := proto.Draw(t, "proto"), remote.Draw(t, "remote"), port.Draw(t, "rport")
			ext := Endpoint{anyExternal.Draw(t, "external"), opt.PortLow + uint16(rapid.IntRange(0, int(opt.PortHigh-opt.PortLow)).Draw(t, "ext"))}
			if p == ICMP {
				rp = 0
			}
			if k, ok := m.outside(p, ext, r, rp); ok && p == TCP && m.flows[k].state != established {
				return // a SYN that may restart it
			}
			step(func() {
				addr, to, c, v := table.In(p, ext, r, rp, Segment{Flags: SYN, Seq: 77, WScale: NoScale}, nanos())
				m.in(p, ext, r, rp, addr, to, c, v)
			})
		},
		"hairpin": func(*rapid.T) { // RFC 4787 REQ-9: to somebody's mapping, however it filters
			to, f, found := known(func(k Tuple, f *modelFlow) bool {
				return k.Proto == UDP && f.client == Client{k.Addr - alice, generation[k.Addr-alice]}
			})
			if !found {
				return
			}
			k := Tuple{UDP, alice + uint32(rapid.IntRange(0, 2).Draw(t, "addr")), port.Draw(t, "port"), f.ext.Addr, f.ext.Port}
			c := Client{k.Addr - alice, generation[k.Addr-alice]}
			var ext Endpoint
			var v Verdict
			step(func() {
				ext, v = table.Out(k, c, none, nanos())
				m.out(k, c, 0, ext, v) // what is refused may have ended what a former client had
				if v == Translated {
					m.flows[k].seen = m.now
				}
			})
			if v != Translated {
				return
			}
			step(func() {
				addr, at, owner, v := table.In(UDP, f.ext, ext.Addr, ext.Port, none, nanos())
				m.in(UDP, f.ext, ext.Addr, ext.Port, addr, at, owner, v)
				if flows, _ := m.held(f.client.Slot); v == Filtered || v == NoMapping || v == Translated && (addr != to.Addr || at != to.Port) || flows == 0 {
					t.Fatalf("to port %d: %#x %d %v, the mapping is %v", f.ext, addr, at, v, to)
				}
			})
		},
		"handshake": func(*rapid.T) {
			k, f, found := known(isTCP(opening))
			if !found {
				return
			}
			ss := rapid.Uint32().Draw(t, "iss")
			answer(k, f, Segment{Flags: SYN | ACK, Seq: ss, Ack: f.cs, Window: 100, WScale: NoScale})
			f.ss = ss + 1
			send(k, f, Segment{Flags: ACK, Seq: f.cs, Ack: f.ss, Window: 100})
			f.state, f.seen, f.answer = established, m.now, true
		},
		"data": func(*rapid.T) {
			k, f, found := known(isTCP(established))
			if !found {
				return
			}
			send(k, f, Segment{Flags: ACK, Seq: f.cs, Ack: f.ss, Window: 100, Len: 10})
			f.cs, f.seen = f.cs+10, m.now
			answer(k, f, Segment{Flags: ACK, Seq: f.ss, Ack: f.cs, Window: 100})
		},
		"close": func(*rapid.T) {
			k, f, found := known(isTCP(established))
			if !found {
				return
			}
			send(k, f, Segment{Flags: FIN | ACK, Seq: f.cs, Ack: f.ss, Window: 100})
			answer(k, f, Segment{Flags: FIN | ACK, Seq: f.ss, Ack: f.cs + 1, Window: 100})
			f.state, f.seen = closing, m.now
		},
		"reset from outside": func(*rapid.T) {
			k, f, found := known(isTCP(established))
			if !found {
				return
			}
			off := rapid.SampledFrom([]uint32{0, 99, 100, 1<<32 - 1, 1 << 31}).Draw(t, "off")
			answer(k, f, Segment{Flags: RST, Seq: f.ss + off})
			if off < 100 {
				f.state, f.seen = reset, m.now
			}
		},
		"on after a reset": func(*rapid.T) {
			k, f, found := known(isTCP(reset))
			if !found {
				return
			}
			send(k, f, Segment{Flags: ACK, Seq: f.cs, Ack: f.ss, Window: 100})
			f.state, f.seen = established, m.now
		},
		"time": func(*rapid.T) {
			m.now += rapid.SampledFrom([]int64{1, 50, 61, 121, 241, 301, 7441}).Draw(t, "seconds")
			m.expire()
			step(func() { table.Expire(nanos(), 1<<20) })
		},
		"drop": func(*rapid.T) {
			slot := uint32(rapid.IntRange(0, 3).Draw(t, "slot"))
			c := Client{slot, generation[slot]}
			m.endWhere(func(_ Tuple, f *modelFlow) bool { return f.client == c })
			step(func() { table.Drop(c) })
		},
		"slot reused": func(*rapid.T) { generation[rapid.IntRange(0, 3).Draw(t, "slot")]++ },
		"filtering": func(*rapid.T) {
			opt.Filtering = Filtering(rapid.IntRange(0, 2).Draw(t, "filtering"))
			m.opt.Filtering = opt.Filtering
			if table, err = Attach(mem, opt, nanos()); err != nil {
				t.Fatal(err)
			}
			if kept, _ := table.Recovered(); kept != len(m.flows) {
				t.Fatalf("kept %d of %d", kept, len(m.flows))
			}
			clear(m.dirty)
		},
		"externals": func(*rapid.T) {
			opt.Externals = rapid.SliceOfNDistinct(anyExternal, 0, 3, rapid.ID).Draw(t, "externals")
			m.opt = opt
			m.endWhere(func(_ Tuple, f *modelFlow) bool { return !slices.Contains(opt.Externals, f.ext.Addr) })
			step(func() {
				for table.SetExternals(opt.Externals) {
				}
				for table.sweep > 0 {
					table.sweepAway(1)
				}
			})
		},
		"change": func(*rapid.T) {
			opt.Filtering = Filtering(rapid.IntRange(0, 2).Draw(t, "filtering"))
			opt.FlowsPerClient, opt.PortsPerClient = rapid.IntRange(1, 12).Draw(t, "flowsPerClient"), rapid.IntRange(1, 8).Draw(t, "portsPerClient")
			m.opt = opt
			step(func() {
				table.Filter(opt.Filtering)
				table.Cap(opt.FlowsPerClient, opt.PortsPerClient)
			})
		},
		"kill": func(*rapid.T) {
			table, err = Attach(mem, opt, nanos())
			if err != nil {
				t.Fatal(err)
			}
			if kept, discarded := table.Recovered(); kept != len(m.flows) || discarded != 0 {
				t.Fatalf("kept %d, discarded %d of %d", kept, discarded, len(m.flows))
			}
			clear(m.dirty) // who left a shared port unclosed is not remembered
		},
	})
	m.now += 10000
	table.Expire(m.now*second, 1<<20)
	table.Expire(m.now*second+200*second, 1<<20)
	allFree(t, table, int(opt.PortHigh-opt.PortLow)+1)
}
