package forwarder

import (
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// What passes a bridge without a session: what a client needs to have addresses and to
// find its router. It is checked, so that it carries nothing else and nobody speaks for
// another, and held to a rate.

// DHCP's ports (RFC 2131, RFC 8415).
const (
	dhcpServer, dhcpClient   = 67, 68
	dhcp6Client, dhcp6Server = 546, 547
)

// answeredWithin is how long after a client's question a DHCP server's word is taken for
// an answer.
const answeredWithin = time.Minute

// The most bytes of layer 3 that such a message has: what is longer carries something else.
const (
	longestARP  = 46        // 28, and what fills up an Ethernet frame (IEEE 802.3, 3.2.8)
	longestDHCP = 576 + 257 // a client's: what every host takes (RFC 2131, 2), and an access point's word of it (RFC 3046)
)

// isControl says whether a frame is ARP, DHCP or neighbour discovery. What a client sends
// to a DHCP server elsewhere is a packet as any other, and so is what comes from one that
// was not asked, or over IPv6 to more than a link-local address: it may have come from
// anywhere.
func (f *Forwarder) isControl(fr *frame) bool {
	if fr.EtherType == packet.EtherTypeARP {
		return true
	}
	switch fr.Proto {
	case packet.UDP:
		if fr.FragOffset != 0 {
			return false
		}
		if fr.Version == 6 {
			return fr.SrcPort == dhcp6Server && fr.DstPort == dhcp6Client && (fr.from == clients.LAN || fr.destination6().linkLocal()) ||
				fr.SrcPort == dhcp6Client && fr.DstPort == dhcp6Server && fr.from == clients.LAN && fr.destination6() == allServers6
		}
		return fr.SrcPort == dhcpServer && fr.DstPort == dhcpClient && (fr.from == clients.LAN || f.answersDHCP(fr)) ||
			fr.SrcPort == dhcpClient && fr.DstPort == dhcpServer && fr.from == clients.LAN && (fr.Dst == 0xffffffff || f.inLAN(fr.Dst))
	case packet.ICMPv6:
		return fr.Version == 6 && fr.FragOffset == 0 && fr.ICMPType >= routerSolicitation && fr.ICMPType <= packet.Redirect6
	}
	return false
}

// passControl checks such a frame, learns from it and sends it on.
func (f *Forwarder) passControl(fr *frame) Reason {
	var c *client
	whose := fr.DstMAC
	fr.to, fr.exempt = clients.LAN, true
	if fr.from == clients.LAN {
		whose, fr.to = fr.SrcMAC, clients.WAN
	}
	if slot, ok := f.byMAC.find(whose); ok {
		c = &f.clients[slot]
	}
	r := Kept
	switch {
	case c == nil && fr.from == clients.LAN && f.isOutside(fr.SrcMAC):
		r = Looped
	case fr.EtherType == packet.EtherTypeARP:
		r = f.checkARP(fr, c)
	case fr.Version == 4:
		r = f.checkDHCP(fr, c)
	case fr.Proto == packet.UDP:
		r = f.checkDHCP6(fr, c)
	default:
		r = f.checkDiscovery(fr, c)
	}
	if r == Kept && fr.from == clients.LAN && fr.DstMAC != f.cfg.LANMAC && !isGroup(fr.DstMAC) && f.isClient(fr.DstMAC, clients.LAN) {
		r = LANDestination
	}
	if r == Kept && !f.mayControl(fr, c) {
		r = Storm
	}
	if r == Taken {
		return r
	}
	if r != Kept {
		return f.bar(fr, r)
	}
	if fr.DstMAC == f.cfg.LANMAC {
		return f.controlToBox(fr)
	}
	if fr.Version == 4 && fr.from == clients.LAN {
		f.heardAsking(fr.SrcMAC)
	}
	return f.send(fr)
}

// controlToBox is for answers to what the box's kernel has asked on the WAN.
func (f *Forwarder) controlToBox(fr *frame) Reason {
	if fr.from == clients.WAN && fr.EtherType == packet.EtherTypeARP && f.cfg.HostRoute && f.links[clients.Host] != nil {
		fr.to = clients.Host
		return f.send(fr)
	}
	if f.isARP(fr) {
		return Taken
	}
	return NoHost
}

// checkARP judges ARP (RFC 826, RFC 5227), answers for the box and hears clients.
func (f *Forwarder) checkARP(fr *frame, c *client) Reason {
	op, ip, target, ok := f.readARP(fr)
	if !ok || fr.layer3() > longestARP {
		return BadARP
	}
	if fr.from == clients.WAN {
		if ip != 0 && (ip == f.lan || f.isClients(ip)) {
			return Spoofed // nobody on the WAN speaks for a client, or the box
		}
		f.heardOutside(0, ip)
		f.hearNextHop(fr, op, ip, target)
		if op == layers.ARPRequest && target == f.lan && f.cfg.HostRoute {
			if !fr.Tagged && f.mayAnswer(clients.WAN, nil) {
				f.reply(clients.WAN, f.cfg.LANMAC, f.lan, fr.SrcMAC, ip)
			}
			return Taken
		}
		return Kept
	}
	if r := f.checkSender(fr, c, ip); r != Kept {
		return r
	}
	if target != f.lan || op != layers.ARPRequest {
		return Kept
	}
	if !fr.Tagged && f.mayAnswer(clients.LAN, c) {
		f.reply(clients.LAN, f.cfg.LANMAC, f.lan, fr.SrcMAC, ip)
	}
	return Taken
}

// checkSender judges the IPv4 address that a MAC on the LAN says to have: none, its own,
// or one that nobody has, of which control is told. In ARP it may be another than the
// client had.
func (f *Forwarder) checkSender(fr *frame, c *client, ip uint32) Reason {
	switch {
	case ip == 0:
		return Kept
	case c != nil && c.ip == ip:
		f.slot(c).Heard.Store(int64(f.now))
		return Kept
	case !f.host(ip):
		return BadSource
	case f.isOutsideIP(ip), c != nil && !f.isARP(fr) && f.keeps(c.id.Slot):
		return Spoofed
	case c == nil:
		f.sight(clients.UnknownMAC, 0, fr.SrcMAC, ip)
	default:
		f.sight(clients.NewAddress, c.id.Slot, fr.SrcMAC, ip)
	}
	if f.holder(ip) != 0 {
		return Spoofed
	}
	return Kept
}

// Of a BOOTP message (RFC 951, RFC 2131), offsets in it.
const (
	bootpLen        = 240 // as far as the magic cookie
	bootpYourAt     = 16
	bootpHardwareAt = 28
	bootpCookieAt   = 236
	bootpCookie     = 0x63825363
	bootRequest     = 1
	bootReply       = 2
)

// hardware is the MAC that a DHCPv4 message is of; 0: it is none of a kind.
func (fr *frame) hardware(kind uint8) uint64 {
	b := fr.Raw[fr.Payload:]
	if fr.IsFragment() || len(b) < bootpLen || b[0] != kind || b[1] != 1 || b[2] != 6 || be32(b[bootpCookieAt:]) != bootpCookie {
		return 0
	}
	return packet.MAC(b[bootpHardwareAt:])
}

// answersDHCP says whether what comes to a DHCPv4 client's port from the WAN is for the
// one that it is of, and that one asked a moment ago.
func (f *Forwarder) answersDHCP(fr *frame) bool {
	mac := fr.hardware(bootReply)
	return mac != 0 && (mac == fr.DstMAC || isGroup(fr.DstMAC)) && f.hasAsked(mac)
}

// heardAsking notes that a MAC on the LAN has asked for an address by DHCP.
func (f *Forwarder) heardAsking(mac uint64) {
	o := &f.bridge.shared.asking
	o.note(o.key(kindMAC, 0, mac), f.now)
}

// hasAsked says whether it has, not long ago.
func (f *Forwarder) hasAsked(mac uint64) bool {
	o := &f.bridge.shared.asking
	return o.has(o.key(kindMAC, 0, mac), f.now, answeredWithin)
}

// checkDHCP judges DHCPv4: requests of the sender's own from the LAN. An address that a
// server on the WAN gives is heard of at once.
func (f *Forwarder) checkDHCP(fr *frame, c *client) Reason {
	switch {
	case fr.from == clients.WAN:
		b := fr.Raw[fr.Payload:]
		if ip := be32(b[bootpYourAt:]); isDHCPAck(b[bootpLen:]) && f.host(ip) && ip != f.gateway {
			f.heardLease(packet.MAC(b[bootpHardwareAt:]), ip)
		}
		return Kept
	case fr.SrcPort == dhcpServer:
		return RogueServer
	case fr.hardware(bootRequest) != fr.SrcMAC || fr.Len > longestDHCP:
		return Malformed
	}
	return f.checkSender(fr, c, fr.Src)
}

// isDHCPAck looks for the message type among options (RFC 2132, 9.6).
func isDHCPAck(options []byte) bool {
	const pad, end, messageType, ack = 0, 255, 53, 5
	for at := 0; at < len(options); {
		switch options[at] {
		case pad:
			at++
			continue
		case end:
			return false
		}
		if at+2 > len(options) || at+2+int(options[at+1]) > len(options) {
			return false
		}
		if options[at] == messageType && options[at+1] == 1 {
			return options[at+2] == ack
		}
		at += 2 + int(options[at+1])
	}
	return false
}

// heardLease tells control which address a server has given; who has it is bound by the
// same rule as ever.
func (f *Forwarder) heardLease(mac uint64, ip uint32) {
	if isGroup(mac) || mac == 0 {
		return
	}
	if slot, ok := f.byMAC.find(mac); ok {
		if f.clients[slot].ip != ip {
			f.sight(clients.NewAddress, slot, mac, ip)
		}
	} else if slot, ok := f.elsewhereMAC(mac); ok {
		if f.others.known[slot].ip != ip {
			f.sight(clients.NewAddress, slot, mac, ip)
		}
	}
}
