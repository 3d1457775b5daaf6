package packet

import (
	"encoding/binary"
	"math/bits"
)

// Of IPv6 (RFC 8200).
const (
	ipv6Len       = 40
	maxExtensions = 8 // headers in front of layer 4; no sender has so many
)

// Extension headers (RFC 8200, 4). What is authenticated or encrypted (RFC 4302, RFC 4303) is a protocol that is not read.
const (
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	destination = 60

	extensionLen = 8 // at least, and of each unit of its length
)

// Routing headers by type (RFC 5095, RFC 6275, RFC 8754).
const (
	sourceRoute    = 0
	homeAddress    = 2
	segmentRouting = 4
)

// decodeIPv6 reads what is behind Ethernet and the VLAN tag (RFC 8200, 3). A packet longer than its header can say, a
// jumbogram (RFC 2675), claims no payload: its hop-by-hop header is then behind the end.
func (p *Packet) decodeIPv6() Reason {
	ip := p.Raw[p.L3:]
	if len(ip) < ipv6Len || ip[0]>>4 != 6 {
		return Malformed
	}
	p.Len = ipv6Len + int(get16(ip[4:]))
	if p.Len > len(ip) {
		return Malformed
	}
	p.Raw = p.Raw[:p.L3+p.Len]
	p.L4 = p.L3 + ipv6Len
	p.Proto, p.TTL, p.DontFragment = ip[6], ip[7], true
	p.addresses = uint16(sum(ip[8:ipv6Len]))
	if r := p.skipExtensions(); r != Kept {
		return r
	}
	p.Payload = p.L4
	if p.FragOffset == 0 {
		if !p.decodeL4Of6() {
			return Malformed
		}
	} else if p.Proto == TCP && p.FragOffset < tcpLen {
		return Malformed // would overwrite a header that was judged already (RFC 7112)
	}
	p.HeaderLen, p.Version = p.Payload-p.L3, 6
	if !p.checkOffloads() {
		return Malformed
	}
	return Kept
}

// skipExtensions walks the chain of headers from L4 on, and sets L4 and Proto to what is behind it. A first fragment has
// all of them (RFC 7112); of a later one nothing behind the fragment header is known.
func (p *Packet) skipExtensions() Reason {
	fragmented := false
	for n := 0; isExtension(p.Proto); n++ {
		b := p.Raw[p.L4:]
		if n == maxExtensions || len(b) < extensionLen {
			return Malformed
		}
		length := extensionLen
		if p.Proto != fragment {
			length += int(b[1]) * extensionLen
		}
		if length > len(b) {
			return Malformed
		}
		switch p.Proto {
		case hopByHop:
			if n > 0 {
				return Malformed // it is the first (RFC 8200, 4.1)
			}
		case routing:
			if r := p.followRouting(b[:length]); r != Kept {
				return r
			}
		case fragment:
			if fragmented || !p.readFragment(b) {
				return Malformed
			}
			fragmented = true
		}
		p.Proto = b[0]
		p.L4 += length
		if p.FragOffset != 0 {
			return Kept
		}
	}
	return Kept
}

func isExtension(proto uint8) bool {
	return proto == hopByHop || proto == routing || proto == fragment || proto == destination
}

// followRouting looks whether the routing header h, at L4, leads on: checksums are over the address where it ends
// (RFC 8200, 8.1).
func (p *Packet) followRouting(h []byte) Reason {
	kind, left := h[2], h[3]
	switch {
	case kind == sourceRoute:
		return SourceRouted
	case left == 0:
		return Kept
	case kind != homeAddress && kind != segmentRouting:
		p.hidden = true
		return Kept
	case len(h) < extensionLen+16:
		return Malformed
	}
	from, final := p.Raw[p.L3+8:p.L3+24], h[extensionLen:extensionLen+16] // the last of a segment list is the first in it
	p.addresses, p.hidden = fold(sum(from)+sum(final)), false
	return Kept
}

// readFragment reads the fragment header at the start of b (RFC 8200, 4.5), and says whether it can be one.
func (p *Packet) readFragment(b []byte) bool {
	word := get16(b[2:])
	p.FragOffset, p.MoreFragments = word&^7, word&1 != 0
	n := len(b) - extensionLen
	if p.MoreFragments && n%8 != 0 {
		return false
	}
	inEach := p.L4 - p.L3 - ipv6Len // of the packet, with the payload that it will be
	return inEach+int(p.FragOffset)+n <= 0xffff
}

// decodeL4Of6 is decodeL4 for IPv6.
func (p *Packet) decodeL4Of6() bool {
	switch p.Proto {
	case TCP, UDP:
		return p.decodeL4()
	case ICMPv6:
		return p.decodeICMP(isEcho6)
	}
	return true
}

// ICMPv6 types (RFC 4443, RFC 4861). Those below EchoRequest6 are errors.
const (
	EchoRequest6 = 128
	EchoReply6   = 129
	Redirect6    = 137
)

func isEcho6(icmpType uint8) bool { return icmpType == EchoRequest6 || icmpType == EchoReply6 }

// isICMPv6Error is IsICMPError for IPv6.
func (p *Packet) isICMPv6Error() bool {
	return p.Proto == ICMPv6 && p.FragOffset == 0 && (p.ICMPType < EchoRequest6 || p.ICMPType == Redirect6)
}

// Src6 and Dst6 are the addresses of a packet whose Version is 6.
func (p *Packet) Src6() [16]byte { return [16]byte(p.Raw[p.L3+8:]) }
func (p *Packet) Dst6() [16]byte { return [16]byte(p.Raw[p.L3+24:]) }

// Hosts is both addresses in a word, of IPv6 a mixture of them: for who sorts packets by conversation.
func (p *Packet) Hosts() uint64 {
	if p.Version != 6 {
		return uint64(p.Src)<<32 | uint64(p.Dst)
	}
	var h uint64
	for b := p.Raw[p.L3+8 : p.L3+ipv6Len]; len(b) > 0; b = b[8:] {
		h = bits.RotateLeft64((h^binary.BigEndian.Uint64(b))*0x9e3779b97f4a7c15, 29)
	}
	return h
}
