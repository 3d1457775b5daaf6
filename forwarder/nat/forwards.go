package nat

import (
	"fmt"
	"slices"

	"gatewayd/forwarder/arena"
)

// MaxForwards bounds the forwards of a table.
const MaxForwards = 256

// A Forward leads external ports to an endpoint inside: a mapping that is there for good, lets in everybody, and is
// whose address it is at the time. The ports are drawn for nobody.
type Forward struct {
	Proto     uint8  // TCP or UDP
	External  uint32 // the address that it is at; 0: each of them
	Low, High uint16 // its external ports, both inclusive, of any range
	Addr      uint32 // internal
	Port      uint16 // internal, of Low; the others follow in order
}

// checkForwards refuses a list that says nothing, or two things, of a port.
func checkForwards(list []Forward) error {
	if len(list) > MaxForwards {
		return fmt.Errorf("%d forwards, not at most %d", len(list), MaxForwards)
	}
	for i, w := range list {
		if w.Proto != TCP && w.Proto != UDP || w.Low == 0 || w.High < w.Low || w.Port == 0 || int(w.Port)+int(w.High-w.Low) > 65535 || w.Addr == 0 {
			return fmt.Errorf("forward %d leads nowhere: %+v", i, w)
		}
		if slices.ContainsFunc(list[:i], w.crosses) {
			return fmt.Errorf("forward %d is of a port that another one is of: %+v", i, w)
		}
	}
	return nil
}

// crosses says whether two forwards are of the same port.
func (w Forward) crosses(o Forward) bool {
	return w.Proto == o.Proto && w.Low <= o.High && o.Low <= w.High && (w.External == 0 || o.External == 0 || w.External == o.External)
}

// of says whether an external port is the forward's.
func (w *Forward) of(proto uint8, ext Endpoint) bool {
	return w.Proto == proto && ext.Port >= w.Low && ext.Port <= w.High && (w.External == 0 || w.External == ext.Addr)
}

// to is the port inside that an external one leads to.
func (w *Forward) to(ext uint16) uint16 { return w.Port + (ext - w.Low) }

// SetForwards gives the table other forwards, from the next packet on. Flows that
// came by one that is not there any more, and those of others at ports that are
// forwarded now, end, a part of them with each Expire. A list that Attach would
// refuse changes nothing.
func (t *Table) SetForwards(list []Forward) {
	if checkForwards(list) != nil || slices.Equal(list, t.forwards) {
		return
	}
	t.reserve(list)
	t.sweep, t.refill = t.header.used, MaxExternals
}

// reserve takes in a list that is right.
func (t *Table) reserve(list []Forward) {
	t.forwards = slices.Clone(list)
	clear(t.reserved)
	for _, w := range list {
		for port := int(w.Low); port <= int(w.High); port++ {
			at, bit := reservation(w.Proto, uint16(port))
			t.reserved[at] |= bit
		}
	}
}

// makeReserved makes room for a bit of each port of TCP and of UDP: whether it is forwarded at any address.
func (t *Table) makeReserved() error {
	return arena.Make(t.opt.Arena, &t.reserved, 2*65536/64)
}

// reservation is where the bit of a port is.
func reservation(proto uint8, port uint16) (at int, bit uint64) {
	at = int(port) / 64
	if proto == UDP {
		at += 65536 / 64
	}
	return at, 1 << (port % 64)
}

// forward is the forward of an external port, nil if there is none.
func (t *Table) forward(proto uint8, ext Endpoint) *Forward {
	if at, bit := reservation(proto, ext.Port); t.reserved[at]&bit == 0 {
		return nil
	}
	for i := range t.forwards {
		if w := &t.forwards[i]; w.of(proto, ext) {
			return w
		}
	}
	return nil
}

// forwardedPort is the external port that leads to a tuple's endpoint at a place.
func (t *Table) forwardedPort(k *Tuple, place uint8) (ext uint16, ok bool) {
	for i := range t.forwards {
		w := &t.forwards[i]
		if w.Proto != k.Proto || w.Addr != k.Addr || k.Port < w.Port || w.External != 0 && w.External != t.live[place] {
			continue
		}
		if after := k.Port - w.Port; after <= w.High-w.Low {
			return w.Low + after, true
		}
	}
	return 0, false
}

// Forwarded is the internal address that an external port leads to by a forward.
func (t *Table) Forwarded(proto uint8, ext Endpoint) (addr uint32, ok bool) {
	if len(t.forwards) == 0 || !translatable(proto) {
		return 0, false
	}
	if w := t.forward(proto, ext); w != nil {
		return w.Addr, true
	}
	return 0, false
}

// stale says whether a flow is at an address that went away, or at a port that
// leads elsewhere, or nowhere, by now.
func (t *Table) stale(i uint32) bool {
	f := &t.flows[i]
	ext := Endpoint{t.live[f.place], f.ext}
	if ext.Addr == 0 {
		return true
	}
	w := t.forward(f.proto, ext)
	if w == nil {
		return t.mappings[t.links[i].mapping].fixed
	}
	return w.Addr != f.addr || w.to(f.ext) != f.port
}

// letIn opens the flow of an inbound packet that a forward leads inside. Outside
// decides how many there are of these, so that a client's own keep half of what it
// may have, and all clients together most of the table beside the box.
func (t *Table) letIn(w *Forward, place uint8, k Tuple, ext uint16, seg *Segment) (i uint32, v Verdict) {
	if k.Proto == TCP && seg.Flags&(SYN|ACK|RST|FIN) != SYN {
		return 0, Filtered
	}
	c, ok := t.opt.Holder(w.Addr)
	if !ok {
		return 0, NobodyThere
	}
	t.present(c, &k)
	if other := t.inside(t.hashInside(&k), &k); other != 0 { // on another of the endpoint's ports
		if !t.over(&t.flows[other]) {
			return 0, Filtered
		}
		t.remove(other)
	}
	most := t.opt.FlowsPerClient / 2
	if c.Slot == 0 {
		most = t.opt.MaxFlows / 8
	}
	if int(t.clients[c.Slot].flows) >= most {
		return 0, ClientFlows
	}
	if v = t.room(c.Slot); v != Translated {
		return 0, v
	}
	m := t.fixedMapping(&k, place, ext)
	if m == 0 {
		m = t.newMapping(&k, c, place, ext)
	}
	return t.add(&k, m, t.second, 0), Translated
}

// fixedMapping is the mapping of a tuple's endpoint on a forwarded port, zero if
// nobody has come by it.
func (t *Table) fixedMapping(k *Tuple, place uint8, ext uint16) uint32 {
	h := t.secret.mapping(k.Proto, k.Addr, k.Port)
	for m, at := t.nextEndpoint(k, h, h); m != 0; m, at = t.nextEndpoint(k, h, at) {
		if g := &t.mappings[m]; g.fixed && g.place == place && g.ext == ext {
			return m
		}
	}
	return 0
}
