package forwarder

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// Of IPv6 (RFC 8200, RFC 4443).
const (
	leastMTU6  = 1280 // that every link carries
	longer6    = 20   // bytes of header more than IPv4's
	errorHead6 = 40 + 8
)

// fit minds the MTU of where a frame leaves, and TCP's segment size. No hop is counted:
// a bridge is none.
func (f *Forwarder) fit(fr *frame) Reason {
	if fr.both {
		return Kept // a client and the box are neighbours
	}
	if fr.Proto == packet.TCP && fr.Flags&packet.SYN != 0 {
		mss := f.mss
		if fr.Version == 6 {
			mss -= longer6
		}
		fr.ClampMSS(mss)
	}
	if fr.Segments > 1 && !fr.DontFragment && fr.longest() > f.mtuOf(fr) {
		if r := f.routeSingly(fr); r != Kept {
			return r
		}
	}
	return f.fitMTU(fr)
}

// tellTooBig answers a frame over the MTU from the segment that it came from, in its
// VLAN: over IPv4 from the box's address (RFC 1191), over IPv6, where the box has
// none, from the one that the packet was for (RFC 4443, 3.2).
func (f *Forwarder) tellTooBig(fr *frame, mtu int) {
	if fr.IsICMPError() || fr.FragOffset != 0 || !fr.ofOneHost() {
		return
	}
	var c *client
	if fr.from == clients.LAN {
		c = fr.client
	}
	if !f.mayAnswer(fr.from, c) {
		return
	}
	var raw []byte
	if fr.Version == 6 {
		raw = f.tooBig6(fr, max(mtu, leastMTU6))
	} else {
		ip := layers.IPv4{Version: 4, TTL: 64, TOS: 0xc0, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolICMPv4,
			SrcIP: unpackIP(f.lan), DstIP: unpackIP(fr.Src)}
		icmp := layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded), Seq: uint16(mtu)}
		raw = f.build(f.toSender(fr, &ip, &icmp, gopacket.Payload(fr.quote(min(maxQuote, f.mtu[fr.from]-errorHead))))...)
	}
	if raw == nil {
		return
	}
	f.enqueue(fr.from, raw, nil, queued{bytes: uint32(len(raw) - fr.L3), packets: 1, charge: own})
	f.flushAll()
}

// tooBig6 is Packet Too Big.
func (f *Forwarder) tooBig6(fr *frame, mtu int) []byte {
	src, dst := fr.Dst6(), fr.Src6()
	ip := layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolICMPv6, SrcIP: src[:], DstIP: dst[:]}
	icmp := layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0)}
	if icmp.SetNetworkLayerForChecksum(&ip) != nil {
		return nil
	}
	body := binary.BigEndian.AppendUint32(nil, uint32(mtu))
	body = append(body, fr.quote(min(leastMTU6, f.mtu[fr.from])-errorHead6)...)
	return f.build(f.toSender(fr, &ip, &icmp, gopacket.Payload(body))...)
}

// ofOneHost says whether a packet comes from one host and, over IPv4, goes to one, so
// that it is answered (RFC 1812, 4.3.2.7; RFC 4443, 2.4).
func (fr *frame) ofOneHost() bool {
	if fr.Version != 6 {
		return !isGroup(fr.DstMAC) && fr.Src != 0 && fr.Src>>28 < 14 && fr.Dst>>28 < 14
	}
	src, dst := fr.Src6(), fr.Dst6()
	return src[0] != 0xff && src != [16]byte{} && dst[0] != 0xff
}

// quote is the first n bytes of a packet from layer 3 on, or all.
func (fr *frame) quote(n int) []byte {
	b := fr.Raw[fr.L3:]
	return b[:min(len(b), max(n, 0))]
}

// toSender puts what the box says about a frame behind an Ethernet header to its
// sender, and behind the frame's VLAN tag.
func (f *Forwarder) toSender(fr *frame, l ...gopacket.SerializableLayer) []gopacket.SerializableLayer {
	inner := layers.EthernetTypeIPv4
	if fr.Version == 6 {
		inner = layers.EthernetTypeIPv6
	}
	eth := &layers.Ethernet{SrcMAC: unpackMAC(f.mac[fr.from]), DstMAC: unpackMAC(fr.SrcMAC), EthernetType: inner}
	if !fr.Tagged {
		return append([]gopacket.SerializableLayer{eth}, l...)
	}
	eth.EthernetType = layers.EthernetType(fr.outerType())
	tag := &layers.Dot1Q{Priority: uint8(fr.VLAN >> 13), DropEligible: fr.VLAN>>12&1 == 1, VLANIdentifier: fr.VLAN & 0xfff, Type: inner}
	return append([]gopacket.SerializableLayer{eth, tag}, l...)
}

// outerType is the EtherType that stands behind the MACs: the tag's, where there is one.
func (fr *frame) outerType() uint16 {
	return binary.BigEndian.Uint16(fr.Raw[packet.VirtioLen+12:])
}
