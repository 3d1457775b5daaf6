package nat

import "slices"

// rebuild makes the private side from the entries: flows that fit together, and are
// at an address that is still there, are linked, all others freed.
func (t *Table) rebuild() {
	h := t.header
	if h.used > uint32(t.opt.MaxFlows) { // torn: look at all
		h.used = uint32(t.opt.MaxFlows)
	}
	t.returnTo(t.opt.Externals)
	for i := h.used; i > 0; i-- {
		f := &t.flows[i]
		switch {
		case f.commit == 0:
			t.pushFree(i)
		case !t.sound(f) || !t.adopt(i):
			f.withdraw()
			t.pushFree(i)
			t.discarded++
		default:
			t.kept++
		}
	}
	for i := range t.live {
		if t.live[i] != 0 {
			t.fill(uint8(i))
		}
	}
	for _, a := range t.opt.Externals { // only now: a kill half-way frees what is at others next time
		if !t.owns(a) {
			t.settle(a)
		}
	}
	t.prefer(t.opt.Externals)
}

// returnTo has each address take part that has its place already.
func (t *Table) returnTo(addrs []uint32) {
	for i, a := range t.header.externals {
		if a == 0 || slices.Contains(t.header.externals[:i], a) { // twice: torn
			t.header.externals[i] = 0
			continue
		}
		t.places[i].addr = a
		if slices.Contains(addrs, a) {
			t.live[i] = a
		}
	}
}

// sound says whether an entry can be a flow of this table; what changes with
// packets is set right where it cannot be.
func (t *Table) sound(f *flow) bool {
	if f.place >= MaxExternals || t.live[f.place] == 0 || f.commit != f.sum(t.live[f.place]) || f.owner != t.opt.Owner || f.slot > uint32(t.opt.MaxClients) {
		return false
	}
	if !translatable(f.proto) {
		return false
	}
	if w := t.forward(f.proto, Endpoint{t.live[f.place], f.ext}); w != nil {
		if w.Addr != f.addr || w.to(f.ext) != f.port {
			return false
		}
	} else if !t.pool(f.place, f.proto).covers(f.ext) {
		return false
	}
	switch {
	case f.proto == UDP:
		f.state = udpFlow
	case f.proto == ICMP:
		f.state = icmpQuery
	case f.state < opening || f.state > reset:
		f.state = opening
	}
	f.seen = min(f.seen, t.second)
	return true
}

// adopt links a sound entry, unless it contradicts one linked before.
func (t *Table) adopt(i uint32) bool {
	f := &t.flows[i]
	k := Tuple{f.proto, f.addr, f.port, f.remote, f.remotePort}
	if t.inside(t.hashInside(&k), &k) != 0 || t.outside(f.proto, Endpoint{t.live[f.place], f.ext}, f.remote, f.remotePort) != 0 {
		return false
	}
	fixed := t.forward(f.proto, Endpoint{t.live[f.place], f.ext}) != nil
	if own := &t.clients[f.slot]; f.slot != 0 && !fixed && own.mappings > 0 && own.place != f.place {
		return false
	}
	m := t.mappingOn(f, &k, fixed)
	if m == 0 {
		if f.proto != TCP && !fixed && (t.pool(f.place, f.proto).first(f.ext) != 0 || t.drawn(&k)) {
			return false
		}
		m = t.newMapping(&k, Client{f.slot, f.generation}, f.place, f.ext)
	} else if t.mappings[m].slot != f.slot || t.mappings[m].generation != f.generation {
		return false
	}
	c := &t.clients[f.slot]
	if c.flows == 0 || int32(f.generation-c.generation) > 0 {
		c.generation = f.generation
	}
	t.hang(i, m)
	return true
}

// mappingOn is the mapping of an entry's endpoint on the entry's external port.
func (t *Table) mappingOn(f *flow, k *Tuple, fixed bool) uint32 {
	if fixed {
		return t.fixedMapping(k, f.place, f.ext)
	}
	for m := t.pool(f.place, f.proto).first(f.ext); m != 0; m = t.mappings[m].extNext {
		if g := &t.mappings[m]; g.addr == f.addr && g.port == f.port {
			return m
		}
	}
	return 0
}

// drawn says whether an endpoint has a mapping whose port was drawn for it.
func (t *Table) drawn(k *Tuple) bool {
	h := t.secret.mapping(k.Proto, k.Addr, k.Port)
	for m, at := t.nextEndpoint(k, h, h); m != 0; m, at = t.nextEndpoint(k, h, at) {
		if !t.mappings[m].fixed {
			return true
		}
	}
	return false
}

// fill sorts the ports nobody is behind into free and resting ones; no rest ends
// later than latest.
func (p *pool) fill(second, latest uint32) {
	p.free, p.front, p.count = p.free[:0], 0, 0
	for i, first := range p.head {
		port := p.low + uint16(i)
		switch {
		case first != 0:
		case p.resting(port, second):
			p.until[port] = min(p.until[port], latest)
			p.giveBack(port, true)
		default:
			p.giveBack(port, false)
		}
	}
	if p.until != nil {
		slices.SortFunc(p.queue[:p.count], func(a, b uint16) int { return int(int64(p.until[a]) - int64(p.until[b])) })
	}
}
