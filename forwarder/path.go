package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// frame is one frame on its way.
type frame struct {
	packet.Packet
	from, to  uint8 // ports: clients.LAN, WAN or Host
	direction uint8 // up or down; of a client's traffic
	exempt    bool  // the box's own: not admitted, not limited, not billed
	own       bool  // made by the gateway
	edge      bool  // charged to the grant that ends and to the next
	hairpin   bool  // for a WAN address: it turns round there
	turned    bool  // it has, and is on its way back
	followed  bool  // a fragment that waited for its first
	both      bool  // LAN and host link: a client talks with the box
	added     int   // headers of the fragments it leaves as, bytes; 0: it leaves whole
	client    *client
	next      uint64       // the next hop's MAC
	external  nat.Endpoint // down: where it came to
	origin    uint32       // turned: the slot of who sent it
}

// step is one thing done to a frame.
type step func(*frame) Reason

// The life of a packet, in order. A new step goes here and nowhere else.
func (f *Forwarder) list() {
	if f.cfg.Bridge {
		f.listBridge()
	} else {
		f.listRoute()
	}
	if f.captures.n > 0 {
		f.watch()
	}
}

// listRoute is list where the gateway is a router.
func (f *Forwarder) listRoute() {
	f.paths[clients.LAN] = []step{
		f.decode,
		f.resolve,   // ARP and DHCP have no client yet
		f.identify,  // whose packet is it? a borrowed address ends here
		f.local,     // the gateway's own address: to the host link
		f.admit,     // no running grant: dropped
		f.route,     // TTL, next hop, MTU
		f.pace,      // the client's bucket: what does not conform waits
		f.quota,     // what is left of the grant
		f.translate, // last: all above saw the client's own address
		f.send,      // what the kernel takes of the batch is billed
	}
	f.paths[clients.WAN] = []step{
		f.decode,
		f.resolve,
		f.restore, // translate first: only then is it known whose it is
		f.admit,
		f.route,
		f.pace,
		f.quota,
		f.send,
	}
	f.paths[clients.Host] = []step{
		f.decode,
		f.answer, // the kernel's ARP, from the table
		f.direct, // to a client, or out through the WAN
		f.route,
		f.translate,
		f.send,
	}
	f.following = [clients.NumPorts]int{clients.LAN: 7, clients.WAN: 2, clients.Host: 4}
	f.pacing = [clients.NumPorts]int{clients.LAN: 6, clients.WAN: 5}
	f.routing = [clients.NumPorts]int{clients.LAN: 5, clients.WAN: 4, clients.Host: 3}
}

// stepNames are the names of the steps, by port, as list has them.
var stepNames = [clients.NumPorts][]string{
	clients.LAN:  {"decode", "resolve", "identify", "local", "admit", "route", "pace", "quota", "translate", "send"},
	clients.WAN:  {"decode", "resolve", "restore", "admit", "route", "pace", "quota", "send"},
	clients.Host: {"decode", "answer", "direct", "route", "translate", "send"},
}

// Steps returns the names of the steps of a frame from a port, in order.
func Steps(port int) []string { return stepNames[port] }

// enter takes one frame in from a port.
func (f *Forwarder) enter(port uint8, raw []byte) {
	fr := &f.frame
	*fr = frame{Packet: packet.Packet{Raw: raw}, from: port}
	f.run(fr, 0)
}

// run asks the steps from the first one on and counts a drop.
func (f *Forwarder) run(fr *frame, first int) {
	for _, s := range f.paths[fr.from][first:] {
		if r := s(fr); r != Kept {
			if r != Taken {
				f.drop(f.sender(fr), r, fr.Segments, fr.layer3())
			}
			return
		}
	}
}

// layer3 is the frame's length as the conservation law counts it, bytes.
func (fr *frame) layer3() int {
	if fr.WireLen != 0 {
		return fr.WireLen
	}
	return max(len(fr.Raw)-max(fr.L3, packet.VirtioLen+packet.EthernetLen), 0)
}

// served says whether frames of this kind are, whatever is in them. Others are resolve's to drop.
func (fr *frame) served() bool { return fr.EtherType != packet.EtherTypeIPv6 && !fr.Tagged }

// decode reads the headers; all lengths are checked here, once.
func (f *Forwarder) decode(fr *frame) Reason {
	r := ofDecode(fr.Decode(fr.Raw))
	if fr.Segments == 0 {
		fr.Segments = 1
	}
	if r != Kept && !fr.served() && !f.cfg.Bridge {
		r, fr.BadOption = Kept, 0
	}
	if !f.again && (!f.isARP(fr) || r != Kept) {
		f.counters.received(fr.from, fr.Segments, fr.layer3())
	}
	if f.crew != nil && (r == Kept || fr.BadOption != 0 && !fr.IsFragment()) {
		if a := f.away(fr); a != Kept {
			return a
		}
	}
	if fr.BadOption != 0 && !f.cfg.Bridge {
		f.badOption(fr)
	}
	return r
}

// resolve takes ARP and DHCP aside and drops what is not IPv4 or not for us.
func (f *Forwarder) resolve(fr *frame) Reason {
	if fr.Tagged {
		return Tagged
	}
	switch fr.EtherType {
	case packet.EtherTypeIPv4:
	case packet.EtherTypeARP:
		return f.arp(fr)
	case packet.EtherTypeIPv6:
		return IPv6
	default:
		return UnknownProtocol
	}
	if fr.from == clients.LAN {
		if fr.isDHCP() && f.links[clients.Host] != nil && f.open(fr) {
			return f.dhcp(fr)
		}
		if fr.DstMAC != f.cfg.LANMAC {
			return NotForUs
		}
		return Kept
	}
	if fr.DstPort == dhcpClient {
		if r := f.toLease(fr); r != Kept {
			return r
		}
	}
	if fr.DstMAC != f.cfg.WANMAC {
		return NotForUs
	}
	f.hear(fr.SrcMAC)
	if f.badRemote(fr.Src) {
		return BadSource
	}
	if !f.owns(fr.Dst) {
		return NotForUs
	}
	return Kept
}

// isDHCP says whether a DHCPv4 client is speaking to a server.
func (fr *frame) isDHCP() bool {
	return fr.Proto == packet.UDP && fr.DstPort == 67 && fr.SrcPort == 68 && fr.FragOffset == 0
}

// badRemote says whether an address cannot be a source on the WAN (RFC 2827,
// RFC 6890): own addresses, the LAN, this network, loopback, link-local,
// multicast and reserved.
func (f *Forwarder) badRemote(ip uint32) bool {
	return ip>>24 == 0 || ip>>24 == 127 || ip>>28 >= 14 || ip>>16 == 0xa9fe || f.inLAN(ip) || f.owns(ip) || f.broadcastsWAN(ip)
}

// broadcastsWAN says whether an address is everybody's on the WAN. A prefix of two
// addresses has none such (RFC 3021).
func (f *Forwarder) broadcastsWAN(ip uint32) bool {
	return f.wanMask < 0xfffffffe && ip == f.wanNet|^f.wanMask
}

// host says whether an address can be a client's.
func (f *Forwarder) host(ip uint32) bool {
	if f.cfg.Bridge { // whose prefixes are on a bridged network is not ours to know
		return ip>>24 != 0 && ip>>24 != 127 && ip>>28 < 14 && ip>>16 != 0xa9fe && ip != f.lan
	}
	return f.inLAN(ip) && ip != f.lan && (f.lanMask >= 0xfffffffe || ip != f.lanNet && ip != f.lanNet|^f.lanMask)
}

func (f *Forwarder) inLAN(ip uint32) bool { return ip&f.lanMask == f.lanNet }
func (f *Forwarder) inWAN(ip uint32) bool { return ip&f.wanMask == f.wanNet }

// identify finds the client by MAC and holds it to its binding.
func (f *Forwarder) identify(fr *frame) Reason {
	slot, ok := f.byMAC.find(fr.SrcMAC)
	if ok && f.clients[slot].ip == fr.Src && fr.Src != 0 {
		c := &f.clients[slot]
		c.lastSeen = f.now
		f.touch(c)
		fr.client, fr.direction, fr.to = c, up, clients.WAN
		return Kept
	}
	if f.bridge != nil {
		if r := f.forged(fr, ok); r != Kept {
			return r
		}
		if fr.Version == 6 {
			return f.identify6(fr, slot, ok)
		}
	}
	if ok {
		f.table.Slot(int(slot)).Foreign.Store(uint64(fr.Src))
	}
	switch {
	case !f.host(fr.Src) || fr.SrcMAC>>40&1 == 1 || fr.SrcMAC == f.cfg.LANMAC:
		return BadSource
	case !ok:
		f.sight(clients.UnknownMAC, 0, fr.SrcMAC, fr.Src)
		return UnknownClient
	case f.bridge != nil && f.keeps(slot):
		return Spoofed
	default:
		f.sight(clients.NewAddress, slot, fr.SrcMAC, fr.Src)
		return Spoofed
	}
}

// local sends what is for the box to the host link.
func (f *Forwarder) local(fr *frame) Reason {
	switch {
	case fr.Dst == f.lan:
		if f.links[clients.Host] == nil {
			return NoHost
		}
		if !f.open(fr) {
			return LocalClosed
		}
		fr.to, fr.exempt, fr.both = clients.Host, true, true
		fr.next = f.cfg.LANMAC
		return f.send(fr)
	case f.owns(fr.Dst):
		return f.hairpin(fr)
	}
	return f.beyond(fr.Dst)
}

// beyond says why a client's packet for an address that is not the gateway's goes
// nowhere; Kept if it may go out.
func (f *Forwarder) beyond(ip uint32) Reason {
	switch {
	case f.inLAN(ip):
		return LANDestination
	case ip>>28 >= 14 || ip>>24 == 127 || ip>>24 == 0:
		return NotForUs
	}
	return Kept
}

// remindAfter is how often control is told of a client that has no grant.
const remindAfter = 30 * time.Second

// admit drops what has no running grant.
func (f *Forwarder) admit(fr *frame) Reason {
	if fr.exempt {
		return Kept
	}
	if f.stopped {
		return Stopped
	}
	c := fr.client
	if !c.running {
		if fr.direction == up && (c.sighted == 0 || f.now-c.sighted >= remindAfter) && f.sight(clients.NoGrant, c.id.Slot, c.mac, c.ip) {
			c.sighted = max(f.now, 1)
		}
		return NoGrant
	}
	return Kept
}

// route minds the hop count and the MTU, and finds the next hop.
func (f *Forwarder) route(fr *frame) Reason {
	if fr.both {
		return Kept // a client and the box are neighbours
	}
	if fr.to == clients.WAN && !fr.hairpin && f.broadcastsWAN(fr.Dst) {
		return NotForUs // a directed broadcast (RFC 2644), about which no error is sent
	}
	if fr.to == clients.WAN && f.wan == 0 {
		f.unreachable(fr)
		return NoAddress
	}
	crosses := fr.from != clients.Host && fr.to != clients.Host && !fr.turned
	if crosses && fr.TTL <= 1 {
		f.timeExceeded(fr)
		return TTLExceeded
	}
	if fr.Segments > 1 && !fr.DontFragment && fr.longest() > f.mtuOf(fr) {
		if r := f.routeSingly(fr); r != Kept {
			return r
		}
	}
	if r := f.fitMTU(fr); r != Kept {
		return r
	}
	if fr.to == clients.WAN && !fr.hairpin {
		hop := f.gateway
		if f.inWAN(fr.Dst) {
			hop = fr.Dst
		}
		if hop == 0 { // no router is known, and it is none of ours
			f.unreachable(fr)
			return Unresolved
		}
		mac, r := f.neighbour(hop, fr)
		if r != Kept {
			return r
		}
		fr.next = mac
	}
	if crosses {
		fr.DecrementTTL()
	}
	return Kept
}

// deliver aims a restored packet at its client or at the box.
func (f *Forwarder) deliver(fr *frame, id nat.Client) Reason {
	fr.direction = down
	if id.Slot == clients.HostSlot {
		if f.links[clients.Host] == nil {
			return NoHost
		}
		fr.to, fr.exempt, fr.next = clients.Host, true, f.cfg.LANMAC
		return Kept
	}
	c := &f.clients[id.Slot]
	if c.id != id || c.mac == 0 || c.ip != fr.Dst {
		return NoMapping
	}
	fr.client, fr.to, fr.next = c, clients.LAN, c.mac
	return Kept
}

// direct aims the box's own packets: at a client, or out through the WAN.
func (f *Forwarder) direct(fr *frame) Reason {
	fr.exempt = true
	if fr.Proto == packet.UDP && fr.SrcPort == 67 && fr.DstPort == 68 && fr.FragOffset == 0 {
		fr.to, fr.both, fr.next = clients.LAN, true, fr.DstMAC // a DHCP server's answer
		return Kept
	}
	if fr.Src != f.lan {
		return BadSource
	}
	if fr.Dst>>28 >= 14 {
		return NotForUs
	}
	if f.inLAN(fr.Dst) {
		slot, ok := f.byIP.find(uint64(fr.Dst))
		if !ok && !f.again {
			if other, known := f.elsewhere(fr.Dst); known {
				return f.cross(f.table.Owner(int(other)), fr)
			}
		}
		if !ok || f.clients[slot].mac == 0 {
			return HostUnknown
		}
		c := &f.clients[slot]
		fr.client, fr.direction, fr.to, fr.both, fr.next = c, down, clients.LAN, true, c.mac
		return Kept
	}
	if !f.cfg.HostRoute {
		return LocalClosed
	}
	fr.to = clients.WAN
	if f.owns(fr.Dst) {
		return f.hairpin(fr)
	}
	f.pacer.Spend(up, fr.WireLen, f.now)
	return Kept
}
