package nat

// Tuple is a flow as its client sees it.
type Tuple struct {
	Proto      uint8
	Addr       uint32 // internal
	Port       uint16 // internal port, or the id of an ICMP query
	Remote     uint32
	RemotePort uint16 // zero for ICMP
}

func (t *Table) hashInside(k *Tuple) uint32 {
	return t.secret.hash(k.Proto, k.Addr, k.Port, k.Remote, k.RemotePort)
}

// The hashes that flow i and mapping m lie under.

func (t *Table) insideOf(i uint32) uint32 {
	f := &t.flows[i]
	return t.secret.hash(f.proto, f.addr, f.port, f.remote, f.remotePort)
}

func (t *Table) outsideOf(i uint32) uint32 {
	f := &t.flows[i]
	return t.secret.flowIn(f.proto, Endpoint{t.places[f.place].addr, f.ext}, f.remote, f.remotePort)
}

func (t *Table) peerOf(i uint32) uint32 {
	return t.secret.peer(t.links[i].mapping, t.flows[i].remote)
}

func (t *Table) endpointOf(m uint32) uint32 {
	g := &t.mappings[m]
	return t.secret.mapping(g.proto, g.addr, g.port)
}

// inside is the flow with this tuple; h is its hash.
func (t *Table) inside(h uint32, k *Tuple) uint32 {
	x := &t.byInside
	for p := h & x.mask; ; p = (p + 1) & x.mask {
		s := x.slots[p]
		if s == 0 {
			return 0
		}
		if n := s & x.number; x.slot(h, n) == s {
			f := &t.flows[n]
			if f.addr == k.Addr && f.remote == k.Remote && f.port == k.Port && f.remotePort == k.RemotePort && f.proto == k.Proto {
				return n
			}
		}
	}
}

// outside is the flow with this tuple on the WAN, at an address that takes part.
func (t *Table) outside(proto uint8, ext Endpoint, remote uint32, remotePort uint16) uint32 {
	if ext.Addr == 0 {
		return 0 // what no address has
	}
	h := t.secret.flowIn(proto, ext, remote, remotePort)
	x := &t.byOutside
	for p := h & x.mask; ; p = (p + 1) & x.mask {
		s := x.slots[p]
		if s == 0 {
			return 0
		}
		if n := s & x.number; x.slot(h, n) == s {
			f := &t.flows[n]
			if f.remote == remote && f.ext == ext.Port && f.remotePort == remotePort && f.proto == proto && t.live[f.place%MaxExternals] == ext.Addr {
				return n
			}
		}
	}
}

// peer is the flow that a mapping has refreshed last towards a remote address.
func (t *Table) peer(m, remote uint32) uint32 {
	h := t.secret.peer(m, remote)
	x := &t.byPeer
	for p := h & x.mask; ; p = (p + 1) & x.mask {
		s := x.slots[p]
		if s == 0 {
			return 0
		}
		if n := s & x.number; x.slot(h, n) == s && t.links[n].mapping == m && t.flows[n].remote == remote {
			return n
		}
	}
}

// takeFree is the number of a free entry, zero when the table is full.
func (t *Table) takeFree() uint32 {
	if i := t.freeFlow; i != 0 {
		t.freeFlow = t.links[i].wheelNext
		return i
	}
	if t.header.used == uint32(t.opt.MaxFlows) {
		return 0
	}
	t.header.used++
	return t.header.used
}

func (t *Table) pushFree(i uint32) {
	t.links[i].wheelNext = t.freeFlow
	t.freeFlow = i
}

// add publishes a flow of mapping m. There is a free entry: the caller has
// looked. seen is what its last-seen starts from, by whom it was let in if it
// was.
func (t *Table) add(k *Tuple, m, seen uint32, by guest) uint32 {
	i := t.takeFree()
	f, g := &t.flows[i], &t.mappings[m]
	*f = flow{
		seen: seen, addr: k.Addr, remote: k.Remote, port: k.Port, remotePort: k.RemotePort, ext: g.ext,
		proto: k.Proto, owner: t.opt.Owner, slot: g.slot, generation: g.generation, guest: by, place: g.place,
	}
	switch k.Proto {
	case UDP:
		f.state = udpFlow
	case ICMP:
		f.state = icmpQuery
	default:
		f.state = opening
		f.shift = [2]uint8{guessedShift, guessedShift}
	}
	f.publish(t.live[g.place])
	t.hang(i, m)
	return i
}

// hang links an entry into all private lists.
func (t *Table) hang(i, m uint32) {
	f, l := &t.flows[i], &t.links[i]
	*l = link{mapping: m}
	g := &t.mappings[m]
	g.flows++
	g.seen = max(g.seen, f.seen)
	t.liveFlows++

	t.byInside.insert(t.insideOf(i), i)
	t.byOutside.insert(t.outsideOf(i), i)

	if f.guest == 0 {
		t.hangPeer(i)
	}
	c := &t.clients[f.slot]
	c.flows++
	if l.clientNext = c.first; c.first != 0 {
		t.links[c.first].clientPrev = i
	}
	c.first = i
	t.schedule(i, t.deadline(f))
}

// hangPeer links a flow that its client has sent on to its peer's others.
func (t *Table) hangPeer(i uint32) {
	f, l := &t.flows[i], &t.links[i]
	switch head := t.peer(l.mapping, f.remote); {
	case head == 0:
		t.byPeer.insert(t.peerOf(i), i)
	case t.flows[head].seen < f.seen:
		t.byPeer.replace(t.peerOf(i), head, i)
		l.peerNext, t.links[head].peerPrev = head, i
	default: // behind the one seen later
		l.peerNext, l.peerPrev = t.links[head].peerNext, head
		if l.peerNext != 0 {
			t.links[l.peerNext].peerPrev = i
		}
		t.links[head].peerNext = i
	}
}

// promote puts a flow that was just refreshed in front of its peer's others.
func (t *Table) promote(i uint32) {
	f, l := &t.flows[i], &t.links[i]
	head := t.peer(l.mapping, f.remote)
	t.links[l.peerPrev].peerNext = l.peerNext
	if l.peerNext != 0 {
		t.links[l.peerNext].peerPrev = l.peerPrev
	}
	t.byPeer.replace(t.peerOf(i), head, i)
	l.peerNext, l.peerPrev = head, 0
	t.links[head].peerPrev = i
}

// remove ends a flow, and its mapping with the last one.
func (t *Table) remove(i uint32) {
	f, l := &t.flows[i], &t.links[i]
	m := l.mapping
	g := &t.mappings[m]
	g.unclosed = g.unclosed || f.state != closing && f.state != reset
	last := g.flows == 1
	if last {
		t.markRest(m)
	}
	f.withdraw()

	t.byInside.remove(t.insideOf(i), i)
	t.byOutside.remove(t.outsideOf(i), i)
	switch h := t.peerOf(i); {
	case f.guest != 0:
	case l.peerPrev != 0:
		t.links[l.peerPrev].peerNext = l.peerNext
	case l.peerNext != 0:
		t.byPeer.replace(h, i, l.peerNext)
	default:
		t.byPeer.remove(h, i)
	}
	if l.peerNext != 0 {
		t.links[l.peerNext].peerPrev = l.peerPrev
	}
	c := &t.clients[f.slot]
	c.flows--
	if l.clientPrev != 0 {
		t.links[l.clientPrev].clientNext = l.clientNext
	} else {
		c.first = l.clientNext
	}
	if l.clientNext != 0 {
		t.links[l.clientNext].clientPrev = l.clientPrev
	}
	t.unschedule(i)
	t.liveFlows--
	if g.flows--; last {
		t.freePort(m)
	}
	t.pushFree(i)
}

// dropWhere ends the flows of a slot that match.
func (t *Table) dropWhere(slot uint32, match func(i uint32) bool) {
	for i := t.clients[slot].first; i != 0; {
		next := t.links[i].clientNext
		if match(i) {
			t.remove(i)
		}
		i = next
	}
}
