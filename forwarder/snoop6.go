package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// Neighbour discovery (RFC 4861), ICMPv6 types.
const (
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighbourSolicitation = 135
	neighbourAdvert       = 136

	ipv6HeaderLen = 40

	onLink = 255 // the hop limit of what no router has passed on

	// What options a host's message has at most, bytes: its link-layer address (RFC 4861,
	// 4.6.1), a nonce (RFC 7527) and a registration (RFC 8505).
	hostOptions = 8 + 8 + 16
)

// allServers6 is all DHCPv6 servers and relays on a link, ff02::1:2.
var allServers6 = address6{0xff02 << 48, 0x10002}

// checkDHCP6 judges DHCPv6 (RFC 8415): a client's words from the LAN, a server's from the
// WAN.
func (f *Forwarder) checkDHCP6(fr *frame, c *client) Reason {
	if fr.SrcPort == dhcp6Server {
		if fr.from == clients.LAN {
			return RogueServer
		}
		return Kept
	}
	b := fr.Raw[fr.Payload:]
	if fr.IsFragment() || len(b) < 4 || fr.Len > longestDHCP || !f.staysOnLink(fr) || !fromClient6(b[0]) {
		return Malformed
	}
	a := fr.source6()
	if !a.linkLocal() {
		return BadSource
	}
	return f.checkSender6(fr, c, a)
}

// fromClient6 says whether a DHCPv6 message is one that clients send.
func fromClient6(kind uint8) bool {
	switch kind {
	case 1, 3, 4, 5, 6, 8, 9, 11: // Solicit, Request, Confirm, Renew, Rebind, Release, Decline, Information-request
		return true
	}
	return false
}

// checkDiscovery judges neighbour discovery. Routers are on the WAN (RFC 6105), and so are
// redirects.
func (f *Forwarder) checkDiscovery(fr *frame, c *client) Reason {
	kind := fr.ICMPType
	if fr.from == clients.LAN && (kind == routerAdvertisement || kind == packet.Redirect6) {
		return RogueRouter
	}
	if fr.from == clients.LAN && !f.staysOnLink(fr) {
		return Malformed
	}
	if fr.IsFragment() || fr.TTL != onLink || fr.ICMPCode != 0 || !soundDiscovery(fr.Raw[fr.L4:]) { // RFC 6980
		return Malformed
	}
	a := fr.source6()
	if fr.from == clients.WAN {
		if kind == routerAdvertisement && a.linkLocal() {
			f.heardRouter6(a)
		}
		if a != (address6{}) && f.others6(nil, a) {
			return Spoofed
		}
		if a.unicast() {
			f.heardOutside6(a)
		}
		if kind == neighbourAdvert {
			target := address6At(fr.Raw[fr.L4+8:])
			if f.others6(nil, target) {
				return Spoofed
			}
			if target.unicast() {
				f.heardOutside6(target)
			}
		}
		return Kept
	}
	if kind != routerSolicitation {
		target := address6At(fr.Raw[fr.L4+8:])
		if !target.unicast() {
			return Malformed
		}
		mine := kind == neighbourAdvert || a == (address6{}) // it says, or asks whether, that is its own
		if mine && (f.others6(c, target) || f.isOutside6(target)) {
			return Spoofed
		}
	}
	if a == (address6{}) && kind != neighbourAdvert {
		if c == nil {
			f.sight(clients.UnknownMAC, 0, fr.SrcMAC, 0)
		}
		return Kept
	}
	return f.checkSender6(fr, c, a)
}

// staysOnLink says whether no router would pass a packet from the LAN on: what discovery
// carries could leave for anywhere, and without a session. It is for a group of the link,
// for a link-local address, or for one that was heard on the WAN with discovery's hop
// limit; and no header can send it on from there.
func (f *Forwarder) staysOnLink(fr *frame) bool {
	to := fr.destination6()
	return fr.L4 == fr.L3+ipv6HeaderLen && (to.hi>>48 == 0xff02 || to.linkLocal() || f.isOutside6(to))
}

// checkSender6 judges the IPv6 address that a MAC on the LAN speaks from.
func (f *Forwarder) checkSender6(fr *frame, c *client, a address6) Reason {
	if !a.unicast() {
		return BadSource
	}
	if c != nil {
		return f.claim6(c, a, byDiscovery)
	}
	f.sight(clients.UnknownMAC, 0, fr.SrcMAC, 0)
	if f.others6(nil, a) || f.isOutside6(a) {
		return Spoofed
	}
	return Kept
}

// soundDiscovery says whether a message is as long as its type asks for, and its options
// are what they say (RFC 4861, 4.6) and no longer than a host has them. b is the ICMPv6
// message.
func soundDiscovery(b []byte) bool {
	at := [...]int{8, 16, 24, 24, 40}[b[0]-routerSolicitation]
	router := b[0] == routerAdvertisement || b[0] == packet.Redirect6
	if len(b) < at || !router && len(b) > at+hostOptions {
		return false
	}
	for at < len(b) {
		if at+2 > len(b) || b[at+1] == 0 || at+int(b[at+1])*8 > len(b) {
			return false
		}
		at += int(b[at+1]) * 8
	}
	return true
}
