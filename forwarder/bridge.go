package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// Bridge mode: one network on both sides. A client is a MAC on the LAN's side; the
// same steps admit, pace and bill it, and nothing of its frames is changed but the
// segment size of TCP where a port's MTU asks for it.

// linkLocalGroups are those that no bridge passes on, 01-80-C2-00-00-00 to -0F (IEEE
// 802.1Q, 8.6.3): spanning tree, flow control, link aggregation, LLDP, 802.1X.
const linkLocalGroups = 0x0180c2000000

// isGroup says whether an Ethernet address is several stations'.
func isGroup(mac uint64) bool { return mac>>40&1 == 1 }

// isARP says whether a frame is ARP, which is not layer 3: in a VLAN only where one
// is bridged.
func (f *Forwarder) isARP(fr *frame) bool {
	return fr.EtherType == packet.EtherTypeARP && (!fr.Tagged || f.cfg.Bridge)
}

// sift ends what no bridge passes, and takes aside what every client may say, whether
// or not it has a session: ARP, DHCP and neighbour discovery.
func (f *Forwarder) sift(fr *frame) Reason {
	switch {
	case fr.DstMAC&^0xf == linkLocalGroups:
		return f.bar(fr, LinkLocalGroup)
	case f.isProbe(fr):
		return f.probeHeard(fr)
	case isGroup(fr.SrcMAC), fr.SrcMAC == 0, fr.SrcMAC == f.cfg.LANMAC:
		return f.bar(fr, BadSource)
	case f.looped(), fr.from == clients.WAN && f.isClient(fr.SrcMAC, clients.WAN):
		return f.bar(fr, Looped)
	}
	switch fr.EtherType {
	case packet.EtherTypeIPv4, packet.EtherTypeIPv6, packet.EtherTypeARP:
	case packet.EtherTypeVLAN, packet.EtherTypeQinQ: // a second tag
		return Tagged
	case etherTypeProbe:
		return f.passProbe(fr)
	default:
		return UnknownProtocol
	}
	if !f.isControl(fr) {
		return Kept
	}
	if fr.from == clients.WAN && f.worker != 0 && f.forAll(fr) {
		return f.overhear(fr)
	}
	return f.passControl(fr)
}

// bar counts a frame that is about to be dropped, if decode has not: ARP is layer 3
// only then.
func (f *Forwarder) bar(fr *frame, r Reason) Reason {
	if f.isARP(fr) {
		f.counters.received(fr.from, fr.Segments, fr.layer3())
	}
	return r
}

// identify6 is identify for IPv6.
func (f *Forwarder) identify6(fr *frame, slot uint32, known bool) Reason {
	if !known {
		f.sight(clients.UnknownMAC, 0, fr.SrcMAC, 0)
		return UnknownClient
	}
	c := &f.clients[slot]
	if r := f.claims6(c, fr); r != Kept {
		return r
	}
	c.lastSeen = f.now
	f.touch(c)
	fr.client, fr.direction, fr.to = c, up, clients.WAN
	return Kept
}

// toBox sends what is for the box to the host link, and ends what is for another
// station of the LAN: there the cable has brought it.
func (f *Forwarder) toBox(fr *frame) Reason {
	if fr.DstMAC != f.cfg.LANMAC {
		if !isGroup(fr.DstMAC) && f.isClient(fr.DstMAC, clients.LAN) {
			return LANDestination
		}
		return Kept
	}
	switch {
	case f.links[clients.Host] == nil || fr.Version != 4 || fr.Tagged:
		return NoHost
	case fr.Dst != f.lan:
		return NotForUs // the box routes nothing
	case !f.open(fr):
		return LocalClosed
	}
	fr.to, fr.exempt, fr.both = clients.Host, true, true
	return f.send(fr)
}

// find finds whose a frame from the WAN is.
func (f *Forwarder) find(fr *frame) Reason {
	f.hear(fr.SrcMAC)
	if f.cannotSend(fr) {
		return BadSource
	}
	fr.direction, fr.to = down, clients.LAN
	if isGroup(fr.DstMAC) {
		fr.exempt = true
		return f.group(fr)
	}
	if slot, ok := f.byMAC.find(fr.DstMAC); ok {
		fr.client = &f.clients[slot]
		return Kept
	}
	if fr.DstMAC != f.cfg.LANMAC {
		return UnknownClient
	}
	switch {
	case f.links[clients.Host] == nil || fr.Version != 4 || fr.Tagged:
		return NoHost
	case !f.cfg.HostRoute || fr.Dst != f.lan:
		return LocalClosed
	case !f.asked(fr):
		return NoMapping
	}
	fr.to, fr.exempt = clients.Host, true
	return Kept
}

// cannotSend says whether a frame's source cannot be on the WAN (RFC 2827, RFC 6890):
// this network, loopback, multicast, reserved, the box or a client.
func (f *Forwarder) cannotSend(fr *frame) bool {
	if fr.Version == 6 {
		return fr.Raw[fr.L3+8] == 0xff
	}
	ip := fr.Src
	return ip>>24 == 0 || ip>>24 == 127 || ip>>28 >= 14 || ip == f.lan || f.isClients(ip)
}

// fromBox aims the box's own packets: at a client, or out by the WAN. Whom they are for
// the kernel has asked by ARP (answer).
func (f *Forwarder) fromBox(fr *frame) Reason {
	fr.exempt = true
	if fr.Src != f.lan {
		return BadSource
	}
	if isGroup(fr.DstMAC) || fr.Dst>>28 >= 14 {
		return NotForUs
	}
	if slot, ok := f.byMAC.find(fr.DstMAC); ok {
		fr.client, fr.direction, fr.to, fr.both = &f.clients[slot], down, clients.LAN, true
		return Kept
	}
	if !f.again {
		if slot, known := f.elsewhereMAC(fr.DstMAC); known {
			return f.cross(f.table.Owner(int(slot)), fr)
		}
	}
	if !f.cfg.HostRoute {
		return HostUnknown
	}
	fr.to = clients.WAN
	f.remember(fr)
	f.pacer.Spend(up, fr.WireLen, f.now)
	return Kept
}

// askOutside sends the kernel's question for an address out by the WAN, where what is
// no client's is.
func (f *Forwarder) askOutside(fr *frame) Reason {
	if !f.cfg.HostRoute || be32(f.arpIO.arp.SourceProtAddress) != f.lan {
		return Taken
	}
	fr.to = clients.WAN
	return f.send(fr)
}
