package forwarder

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

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
	if !f.mayAnswerTo(fr) {
		return
	}
	if fr.Version == 6 {
		f.tellTooBig6(fr, max(mtu, leastMTU6))
		return
	}
	code := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded)
	ip, icmp, quote := f.errorLayers(fr.from, f.lan, fr.Src, code, uint32(mtu), fr.Raw[fr.L3:])
	f.sendOwn(fr.from, fr.client, fr.L3, f.toSender(fr, ip, icmp, quote)...)
}

// tellTooBig6 sends Packet Too Big.
func (f *Forwarder) tellTooBig6(fr *frame, mtu int) {
	src, dst := fr.Dst6(), fr.Src6()
	ip := layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolICMPv6, SrcIP: src[:], DstIP: dst[:]}
	icmp := layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0)}
	if icmp.SetNetworkLayerForChecksum(&ip) != nil {
		return
	}
	body := binary.BigEndian.AppendUint32(nil, uint32(mtu))
	quote := fr.Raw[fr.L3:]
	body = append(body, quote[:min(len(quote), max(min(leastMTU6, f.mtu[fr.from])-errorHead6, 0))]...)
	f.sendOwn(fr.from, fr.client, fr.L3, f.toSender(fr, &ip, &icmp, gopacket.Payload(body))...)
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
