package forwarder

import (
	"encoding/binary"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// What control wants to see of a client is copied into rings, which it reads: on the LAN by
// its MAC, as its frames come in, whatever becomes of them, and as others leave to it; on the
// WAN what is translated, or on a bridge by its MAC as well. While nobody is captured, the steps are the usual ones, and
// all that is left is a look at captures.n with each batch that is sent.

// captures are the clients whose frames are copied.
type captures struct {
	n     int
	list  [clients.MaxCaptures]captured
	began [translated]byte // how a frame from the WAN began before restore
}

// translated is how much of a frame restore may change, bytes: all headers, and those that an
// ICMP error quotes.
const translated = packet.VirtioLen + packet.EthernetLen + 60 + 8 + 60 + 20

// captured is one of them.
type captured struct {
	id     uint64
	client *client
	slot   int
	mac    uint64
	most   int // bytes of a frame
	copies *clients.Copies
}

// takeCaptures takes in who is captured.
func (f *Forwarder) takeCaptures() {
	x := &f.captures
	was, ids := x.n, 0
	for i := range f.header.Captures {
		o := &f.header.Captures[i]
		id, slot := o.ID.Load(), o.Slot.Load()
		if id == 0 || slot >= uint64(len(f.clients)) || !f.table.Captures() {
			continue
		}
		x.list[ids] = captured{id, &f.clients[slot], int(slot), o.MAC.Load(), int(o.Most.Load()), f.table.Copies(f.worker, i)}
		ids++
	}
	if x.n = ids; (was > 0) != (ids > 0) {
		f.list()
	}
}

// watch has the steps that know something copied do so.
func (f *Forwarder) watch() {
	f.paths[clients.LAN][0] = f.decodeCaptured
	if f.cfg.Bridge {
		f.paths[clients.WAN][0] = f.decodeCaptured
		return
	}
	f.paths[clients.WAN][f.following[clients.WAN]] = f.restoreCaptured
}

// decodeCaptured is decode of a frame from the LAN, or from either side of a bridge, copied
// before anything is looked at.
func (f *Forwarder) decodeCaptured(fr *frame) Reason {
	if raw := fr.Raw; !f.again && len(raw) >= packet.VirtioLen+packet.EthernetLen {
		for i := range f.captures.list[:f.captures.n] {
			c := &f.captures.list[i]
			if fr.from == clients.LAN && c.sent(raw) || fr.from == clients.WAN && f.meant(c, raw) {
				c.put(clients.Copy{When: f.clock(), Port: fr.from}, nil, raw)
			}
		}
	}
	return f.decode(fr)
}

// restoreCaptured is restore of a frame from the WAN, copied as it was before.
func (f *Forwarder) restoreCaptured(fr *frame) Reason {
	if fr.turned {
		return f.restore(fr)
	}
	began := f.captures.began[:copy(f.captures.began[:], fr.Raw)]
	r := f.restore(fr)
	if fr.client == nil {
		return r
	}
	for i := range f.captures.list[:f.captures.n] {
		if c := &f.captures.list[i]; c.is(fr.client) {
			c.put(clients.Copy{When: f.clock(), Port: clients.WAN}, began, fr.Raw[len(began):])
		}
	}
	return r
}

// is says whether a client is the captured one: its slot may have another by now.
func (c *captured) is(who *client) bool { return who == c.client && who.mac == c.mac }

// captureSent copies what the kernel has taken of a port's batch of n frames.
func (f *Forwarder) captureSent(port uint8, q *queue, n int) {
	if port == clients.Host {
		return
	}
	what := clients.Copy{When: f.clock(), Port: port, Sent: true}
	for i, raw := range q.frames[:n] {
		if !q.taken[i] {
			continue
		}
		for j := range f.captures.list[:f.captures.n] {
			c := &f.captures.list[j]
			if port == clients.LAN && f.meant(c, raw) || port == clients.WAN && f.leftOf(c, q.what[i].client, raw) {
				c.put(what, nil, raw)
			}
		}
	}
}

// leftOf says whether what left to the WAN is a client's, or said about what is for it. A bridge
// leaves a client's frames its MAC, and knows nothing else of ARP, DHCP and neighbour discovery.
func (f *Forwarder) leftOf(c *captured, of *client, raw []byte) bool {
	return of != nil && c.is(of) || f.cfg.Bridge && c.sent(raw)
}

// sent says whether a frame is from the client's MAC.
func (c *captured) sent(raw []byte) bool { return packet.MAC(raw[packet.VirtioLen+6:]) == c.mac }

// meant says whether a frame that goes to the LAN is for a client: for its MAC, or for many
// and of its concern.
func (f *Forwarder) meant(c *captured, raw []byte) bool {
	to := packet.MAC(raw[packet.VirtioLen:])
	return to == c.mac || isGroup(to) && f.concerns(c, raw)
}

// concerns says whether a frame for many is a client's to hear. A DHCP server's answer is
// who asked for it; of the rest, a bridge's clients hear all but its probes for loops,
// and others ARP's questions for their address.
func (f *Forwarder) concerns(c *captured, raw []byte) bool {
	const (
		target = 24 // of ARP, from layer 3 on
		l4     = 20 // of an IPv4 packet without options, as DHCP servers send
		chaddr = l4 + 8 + bootpHardwareAt
	)
	l3 := packet.VirtioLen + packet.EthernetLen
	kind := binary.BigEndian.Uint16(raw[l3-2:])
	if (kind == packet.EtherTypeVLAN || kind == packet.EtherTypeQinQ) && len(raw) >= l3+packet.VLANLen {
		l3 += packet.VLANLen
		kind = binary.BigEndian.Uint16(raw[l3-2:])
	}
	b := raw[l3:]
	if kind == packet.EtherTypeIPv4 {
		if mac, ok := dhcpOf(b); ok {
			return mac == c.mac
		}
	}
	switch {
	case f.cfg.Bridge:
		return kind != etherTypeProbe
	case kind == packet.EtherTypeARP && len(b) >= target+4:
		ip := f.table.Slot(c.slot).IP.Load()
		return ip != 0 && be32(b[target:]) == uint32(ip)
	}
	return false
}

// dhcpOf is the MAC that a DHCPv4 server's message is of, in what may be one; false if it is none.
func dhcpOf(ip []byte) (mac uint64, ok bool) {
	if len(ip) < 20 || ip[9] != packet.UDP {
		return 0, false
	}
	udp := ip[min(int(ip[0]&0xf)*4, len(ip)):]
	const hardware = 8 + bootpHardwareAt
	if len(udp) < hardware+6 || binary.BigEndian.Uint16(udp[2:]) != dhcpClient {
		return 0, false
	}
	return packet.MAC(udp[hardware:]), true
}

// put copies a frame that begins with one part and goes on with another.
func (c *captured) put(what clients.Copy, began, rest []byte) {
	virtio := rest
	if began != nil {
		virtio = began
	}
	what.ID, what.Length = c.id, len(began)+len(rest)-packet.VirtioLen
	what.SumFrom, what.SumAt = packet.LeftSum(virtio)
	if began == nil {
		rest = rest[packet.VirtioLen:]
	} else {
		began = began[packet.VirtioLen:]
	}
	began = began[:min(len(began), c.most)]
	c.copies.Put(what, began, rest[:min(len(rest), c.most-len(began))])
}
