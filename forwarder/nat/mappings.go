package nat

const (
	// sharedTries bounds the search for an external port in use whose
	// five-tuple with a remote is still free.
	sharedTries = 128
	// endpointTries bounds the mappings that one endpoint can have, which is
	// more than one only once ports are shared.
	endpointTries = 8
)

// endpoint is the first mapping of a tuple's internal endpoint.
func (t *Table) endpoint(k *Tuple) uint32 {
	h := t.secret.mapping(k.Proto, k.Addr, k.Port)
	m, _ := t.nextEndpoint(k, h, h)
	return m
}

// nextEndpoint is the first mapping of a tuple's internal endpoint, whose hash
// is h, at or after a place in the index, and the place after it.
func (t *Table) nextEndpoint(k *Tuple, h, at uint32) (m, after uint32) {
	x := &t.byEndpoint
	for p := at & x.mask; ; p = (p + 1) & x.mask {
		s := x.slots[p]
		if s == 0 {
			return 0, p
		}
		if n := s & x.number; x.slot(h, n) == s {
			g := &t.mappings[n]
			if g.addr == k.Addr && g.port == k.Port && g.proto == k.Proto {
				return n, p + 1
			}
		}
	}
}

// mappingFor is the mapping that a new flow with this tuple belongs to, zero
// when there is none yet: the endpoint's, unless its port is shared and somebody
// else on it has this remote. It is not ok when the endpoint has too many.
func (t *Table) mappingFor(k *Tuple) (m uint32, ok bool) {
	h := t.secret.mapping(k.Proto, k.Addr, k.Port)
	m, at := t.nextEndpoint(k, h, h)
	if k.Proto != TCP {
		return m, true
	}
	for range endpointTries {
		if m == 0 || !t.taken(t.external(m), k) {
			return m, true
		}
		m, at = t.nextEndpoint(k, h, at)
	}
	return 0, false
}

// taken says whether the external five-tuple is somebody's; one that has run
// out is ended.
func (t *Table) taken(ext Endpoint, k *Tuple) bool {
	i := t.outside(k.Proto, ext, k.Remote, k.RemotePort)
	if i != 0 && t.over(&t.flows[i]) {
		t.remove(i)
		return false
	}
	return i != 0
}

// external is the external side of a mapping.
func (t *Table) external(m uint32) Endpoint {
	g := &t.mappings[m]
	return Endpoint{t.places[g.place].addr, g.ext}
}

// choosePort finds an external port for a new mapping at a place.
func (t *Table) choosePort(k *Tuple, place uint8) (ext uint16, ok bool) {
	p := t.pool(place, k.Proto)
	chance := uint32(t.chance.Uint64())
	for { // a port that is forwarded stays out until it is so no more
		if ext, ok = p.draw(chance); !ok || t.forward(k.Proto, Endpoint{t.live[place], ext}) == nil {
			break
		}
	}
	if ok || k.Proto != TCP {
		return ext, ok
	}
	n := uint64(len(p.head))
	at := uint64(chance) * n >> 32
	for range min(n, sharedTries) {
		ext = p.low + uint16(at)
		if p.first(ext) != 0 && t.forward(TCP, Endpoint{t.live[place], ext}) == nil && t.outside(k.Proto, Endpoint{t.live[place], ext}, k.Remote, k.RemotePort) == 0 {
			return ext, true
		}
		at = (at + 1) % n
	}
	return 0, false
}

// newMapping puts an endpoint behind an external port of a place that is not in the pool, or leads to it by a forward.
func (t *Table) newMapping(k *Tuple, c Client, place uint8, ext uint16) uint32 {
	m := t.freeMapping
	if m != 0 {
		t.freeMapping = t.mappings[m].extNext
	} else {
		t.topMapping++
		m = t.topMapping
	}
	g, own := &t.mappings[m], &t.clients[c.Slot]
	*g = mapping{
		addr: k.Addr, port: k.Port, proto: k.Proto, place: place, ext: ext,
		slot: c.Slot, generation: c.Generation,
		fixed: t.forward(k.Proto, Endpoint{t.live[place], ext}) != nil,
	}
	if g.fixed {
		own.fixed++
	} else {
		p := t.pool(place, k.Proto)
		head := &p.head[ext-p.low]
		g.extNext, *head = *head, m
		own.mappings++
		own.place = place
	}
	t.byEndpoint.insert(t.endpointOf(m), m)
	t.places[place].mappings++
	t.liveMappings++
	return m
}

// alone says whether a mapping has its external port to itself.
func (t *Table) alone(m uint32) bool {
	g := &t.mappings[m]
	return g.extNext == 0 && t.pool(g.place, g.proto).first(g.ext) == m
}

// rests says whether a mapping's port must rest once nobody is behind it.
func (t *Table) rests(m uint32) bool {
	g := &t.mappings[m]
	return !g.fixed && (g.proto == UDP || g.proto == TCP && g.unclosed)
}

// restEnd is the first second in which a port that is freed now may be used.
func (t *Table) restEnd() uint32 { return t.second + t.resting + 1 }

// markRest writes when the rest of a port ends that is about to be freed. It
// comes before the last flow is withdrawn, so that a kill loses no rest.
func (t *Table) markRest(m uint32) {
	if g := &t.mappings[m]; t.rests(m) && t.alone(m) {
		t.pool(g.place, g.proto).until[g.ext] = t.restEnd()
	}
}

// freePort ends a mapping that has no flow left.
func (t *Table) freePort(m uint32) {
	g := &t.mappings[m]
	if g.fixed {
		t.clients[g.slot].fixed--
	} else {
		t.leavePort(m)
		t.clients[g.slot].mappings--
	}
	t.byEndpoint.remove(t.endpointOf(m), m)
	t.places[g.place].mappings--
	t.liveMappings--
	g.extNext = t.freeMapping
	t.freeMapping = m
}

// leavePort takes a mapping from its port, and frees that if nobody else is behind it.
func (t *Table) leavePort(m uint32) {
	g := &t.mappings[m]
	p := t.pool(g.place, g.proto)
	rests := t.rests(m)
	if at := &p.head[g.ext-p.low]; t.alone(m) {
		*at = 0
		p.giveBack(g.ext, rests)
	} else {
		for *at != m {
			at = &t.mappings[*at].extNext
		}
		*at = g.extNext
		if rests { // whoever leaves the port last lets it rest
			t.mappings[p.first(g.ext)].unclosed = true
		}
	}
}
