package nat

// Out translates a packet from the LAN: the external address and port that stand for
// its internal ones. It opens a flow, and a mapping, where there is none; what an
// address's former client had open on it is ended. seg is read for TCP only.
func (t *Table) Out(k Tuple, c Client, seg Segment, now int64) (ext Endpoint, v Verdict) {
	t.clock(now)
	i := t.inside(t.hashInside(&k), &k)
	if i == 0 {
		return t.open(&k, c, &seg)
	}
	f := &t.flows[i]
	if f.slot != c.Slot || f.generation != c.Generation {
		t.dropAddress(f.slot, f.generation, k.Addr)
		return t.open(&k, c, &seg)
	}
	if ext = (Endpoint{t.live[f.place%MaxExternals], f.ext}); ext.Addr == 0 { // it went away
		return t.open(&k, c, &seg)
	}
	if f.proto == TCP && t.track(i, f, outbound, &seg) {
		return ext, Translated
	}
	if f.guest != 0 {
		t.welcome(i)
	}
	if f.seen != t.second {
		t.refresh(i)
	}
	return ext, Translated
}

// refresh notes that a flow's client has just sent.
func (t *Table) refresh(i uint32) {
	t.flows[i].seen = t.second
	t.mappings[t.links[i].mapping].seen = t.second
	if t.links[i].peerPrev != 0 {
		t.promote(i)
	}
}

// welcome makes a guest, to whom the client has sent, a peer.
func (t *Table) welcome(i uint32) {
	t.flows[i].guest = 0
	t.hangPeer(i)
}

// dropAddress ends the flows of a client from an address that is now another's.
func (t *Table) dropAddress(slot, generation, addr uint32) {
	t.dropWhere(slot, func(i uint32) bool { return t.flows[i].addr == addr && t.flows[i].generation == generation })
}

// open makes the flow of an outbound packet that has none.
func (t *Table) open(k *Tuple, c Client, seg *Segment) (ext Endpoint, v Verdict) {
	if !translatable(k.Proto) || c.Slot > uint32(t.opt.MaxClients) {
		return ext, NotTranslatable
	}
	if k.Proto == TCP && seg.Flags&RST != 0 {
		return ext, NoMapping // nothing to open, and nothing to close
	}
	t.present(c, k)
	m, ok := t.mappingFor(k)
	if !ok {
		return ext, NoPort
	}
	if v = t.room(c.Slot); v != Translated {
		return ext, v
	}
	if m == 0 {
		if c.Slot != 0 && t.clients[c.Slot].mappings >= uint32(t.opt.PortsPerClient) {
			return ext, ClientPorts
		}
		at, ok := t.pair(c.Slot)
		if !ok {
			return ext, NoAddress
		}
		port, fixed := t.forwardedPort(k, at)
		if fixed {
			ok = !t.taken(Endpoint{t.live[at], port}, k)
		} else {
			port, ok = t.choosePort(k, at)
		}
		if !ok {
			return ext, NoPort
		}
		m = t.newMapping(k, c, at, port)
	}
	i := t.add(k, m, t.second, 0)
	if k.Proto == TCP {
		t.track(i, &t.flows[i], outbound, seg)
	}
	return t.external(m), Translated
}

// present notes that a client is behind a tuple's endpoint, and ends what is in its way: flows of who had its slot or the
// address before, and those of its own that have no way out any more.
func (t *Table) present(c Client, k *Tuple) {
	if own := &t.clients[c.Slot]; own.generation != c.Generation { // the slot was reused
		t.dropWhere(c.Slot, func(i uint32) bool { return t.flows[i].generation != c.Generation })
		own.generation = c.Generation
	}
	t.abandon(c.Slot)
	if m := t.endpoint(k); m != 0 {
		if g := &t.mappings[m]; g.slot != c.Slot || g.generation != c.Generation {
			t.dropAddress(g.slot, g.generation, k.Addr)
		}
	}
}

// room says whether a slot may have one more flow.
func (t *Table) room(slot uint32) Verdict {
	switch {
	case slot != 0 && t.clients[slot].flows >= uint32(t.opt.FlowsPerClient):
		return ClientFlows
	case t.liveFlows >= t.opt.MaxFlows:
		return FlowsFull
	}
	return Translated
}

// In translates a packet from the WAN: the endpoint behind an external one,
// and the client as it was when the flow was opened; the caller compares its
// generation with the slot's.
func (t *Table) In(proto uint8, ext Endpoint, remote uint32, remotePort uint16, seg Segment, now int64) (addr uint32, port uint16, c Client, v Verdict) {
	t.clock(now)
	i := t.outside(proto, ext, remote, remotePort)
	if i != 0 && t.over(&t.flows[i]) {
		t.remove(i)
		i = 0
	}
	if i == 0 {
		if i, v = t.admit(proto, ext, remote, remotePort, &seg); v != Translated {
			return 0, 0, Client{}, v
		}
	}
	f := &t.flows[i]
	if f.guest != 0 && f.guest != t.asGuest() {
		if _, ok := t.lets(t.links[i].mapping, remote); !ok {
			return 0, 0, Client{}, Filtered
		}
	}
	if f.proto == TCP {
		t.track(i, f, inbound, &seg)
	}
	return f.addr, f.port, Client{f.slot, f.generation}, Translated
}

// admit opens the flow of an inbound packet that has none, where the filter
// lets it in.
func (t *Table) admit(proto uint8, ext Endpoint, remote uint32, remotePort uint16, seg *Segment) (i uint32, v Verdict) {
	if !translatable(proto) {
		return 0, NotTranslatable
	}
	at, ok := t.placeOf(ext.Addr)
	if !ok {
		return 0, NoMapping
	}
	if w := t.forward(proto, ext); w != nil {
		return t.letIn(w, at, Tuple{proto, w.Addr, w.to(ext.Port), remote, remotePort}, ext.Port, seg)
	}
	p := t.pool(at, proto)
	if !p.covers(ext.Port) {
		return 0, NoMapping
	}
	m := p.first(ext.Port)
	if m == 0 {
		if p.resting(ext.Port, t.second) {
			return 0, Resting
		}
		return 0, NoMapping
	}
	if proto == ICMP || proto == TCP && (seg.Flags&(SYN|ACK|RST|FIN) != SYN || !t.alone(m)) {
		return 0, Filtered
	}
	seen, ok := t.lets(m, remote)
	if !ok {
		return 0, Filtered
	}
	g := &t.mappings[m]
	k := Tuple{proto, g.addr, g.port, remote, remotePort}
	if other := t.inside(t.hashInside(&k), &k); other != 0 { // on another of the endpoint's ports
		if !t.over(&t.flows[other]) {
			return 0, Filtered
		}
		t.remove(other)
	}
	if v = t.room(g.slot); v != Translated {
		return 0, v
	}
	return t.add(&k, m, seen, t.asGuest()), Translated
}

// asGuest is what a flow is that the present filter lets in.
func (t *Table) asGuest() guest { return 1 + guest(t.opt.Filtering) }

// lets says whether a mapping's filter lets a new port of a remote in, and what
// the flow's last-seen starts from: for UDP the packet that the filter goes by,
// since an inbound one refreshes nothing.
func (t *Table) lets(m, remote uint32) (seen uint32, ok bool) {
	g := &t.mappings[m]
	seen = g.seen
	if t.opt.Filtering != AnyRemote && !t.owns(remote) {
		head := t.peer(m, remote)
		if head == 0 || t.over(&t.flows[head]) || t.opt.Filtering == ByAddressAndPort {
			return 0, false
		}
		seen = t.flows[head].seen
	}
	if g.proto == TCP {
		return t.second, true
	}
	return seen, seen+t.timeouts[udpFlow] >= t.second
}

// OutError finds the external endpoint for an ICMP error that a client sends about
// a packet of the flow k. It changes nothing (RFC 5508 REQ-5).
func (t *Table) OutError(k Tuple) (ext Endpoint, v Verdict) {
	i := t.inside(t.hashInside(&k), &k)
	if i == 0 || t.over(&t.flows[i]) || t.live[t.flows[i].place] == 0 {
		return ext, NoMapping
	}
	return Endpoint{t.live[t.flows[i].place], t.flows[i].ext}, Translated
}

// Known says whether there is a flow of this tuple on the WAN. It changes
// nothing.
func (t *Table) Known(proto uint8, ext Endpoint, remote uint32, remotePort uint16) bool {
	i := t.outside(proto, ext, remote, remotePort)
	return i != 0 && !t.over(&t.flows[i])
}

// InError finds the endpoint and client for an ICMP error from the WAN about a
// packet that went from the external endpoint to the remote. It changes nothing
// (RFC 5508 REQ-4).
func (t *Table) InError(proto uint8, ext Endpoint, remote uint32, remotePort uint16) (addr uint32, port uint16, c Client, v Verdict) {
	i := t.outside(proto, ext, remote, remotePort)
	if i == 0 || t.over(&t.flows[i]) {
		return 0, 0, Client{}, NoMapping
	}
	f := &t.flows[i]
	return f.addr, f.port, Client{f.slot, f.generation}, Translated
}
