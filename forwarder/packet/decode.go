package packet

const (
	ipv4Len = 20 // without options
	tcpLen  = 20
	udpLen  = 8
	icmpLen = 8
)

// Decode reads the headers of raw into p. It may change the virtio header (see the package's steps), and Raw ends
// where the IP packet does: Ethernet padding is gone. Frames that are not IP are Kept with EtherType, the MACs, L3 and
// the VLAN tag set, nothing else.
//
// The packet path trusts Decode: after Kept, and of what it has read when BadOption says why not, no field points outside of Raw and no method panics.
func (p *Packet) Decode(raw []byte) Reason {
	if len(raw) < VirtioLen+EthernetLen {
		return Malformed
	}
	l3 := VirtioLen + EthernetLen
	*p = Packet{} // and the rest one by one: one literal is built aside and copied, 4 ns of 27
	p.Raw = raw
	p.L3, p.L4, p.Payload = l3, len(raw), len(raw)
	p.Segments, p.WScale = 1, NoScale
	p.DstMAC = MAC(raw[VirtioLen:])
	p.SrcMAC = MAC(raw[VirtioLen+6:])
	p.EtherType = get16(raw[VirtioLen+12:])
	if p.EtherType != EtherTypeIPv4 {
		if l3 = p.untag(); p.EtherType != EtherTypeIPv4 {
			return p.decodeOther()
		}
	}
	if !p.checkVirtio() {
		return Malformed
	}

	ip := raw[l3:]
	if len(ip) < ipv4Len || ip[0]>>4 != 4 {
		return Malformed
	}
	headerLen := int(ip[0]&15) * 4
	p.Len = int(get16(ip[2:]))
	if headerLen < ipv4Len || p.Len < headerLen || p.Len > len(ip) {
		return Malformed
	}
	if sum(ip[:headerLen]) != 0xffff {
		return BadChecksum
	}
	if headerLen > ipv4Len {
		r, at := checkOptions(ip[:headerLen])
		if r == SourceRouted {
			return r
		}
		p.BadOption = at
	}
	p.Raw = raw[:l3+p.Len]
	p.L4 = l3 + headerLen
	p.ID = get16(ip[4:])
	fragment := get16(ip[6:])
	p.DontFragment = fragment&0x4000 != 0
	p.MoreFragments = fragment&0x2000 != 0
	p.FragOffset = fragment << 3
	p.TTL = ip[8]
	p.Proto = ip[9]
	p.Src = get32(ip[12:])
	p.Dst = get32(ip[16:])

	if int(p.FragOffset)+p.Len-headerLen > 0xffff {
		return Malformed // would reassemble to more than a packet
	}
	p.Payload = p.L4
	if p.FragOffset == 0 {
		if !p.decodeL4() {
			return Malformed
		}
	} else if p.Proto == TCP && p.FragOffset < tcpLen {
		return Malformed // would overwrite a header that was judged already (RFC 1858)
	}
	p.HeaderLen, p.Version = p.Payload-l3, 4
	if !p.checkOffloads() || p.BadOption != 0 {
		return Malformed
	}
	return Kept
}

// untag reads the VLAN tag that may be in front of the EtherType, and returns the offset of layer 3.
func (p *Packet) untag() int {
	if p.EtherType != EtherTypeVLAN && p.EtherType != EtherTypeQinQ {
		return p.L3
	}
	p.Tagged = true
	if tag := p.Raw[p.L3:]; len(tag) >= VLANLen {
		p.VLAN, p.EtherType = get16(tag), get16(tag[2:])
		p.L3 += VLANLen
	}
	return p.L3
}

// decodeOther reads what is not IPv4.
func (p *Packet) decodeOther() Reason {
	if !p.checkVirtio() {
		return Malformed
	}
	if p.EtherType == EtherTypeIPv6 {
		return p.decodeIPv6()
	}
	return Kept
}

// decodeL4 reads the header behind the IP headers and sets Payload behind it.
func (p *Packet) decodeL4() bool {
	b := p.Raw[p.L4:]
	switch p.Proto {
	case TCP:
		if len(b) < tcpLen {
			return false
		}
		n := int(b[12]>>4) * 4
		if n < tcpLen || n > len(b) {
			return false
		}
		p.SrcPort, p.DstPort = get16(b), get16(b[2:])
		p.Seq, p.Ack = get32(b[4:]), get32(b[8:])
		p.Flags = b[13]
		p.Window = get16(b[14:])
		p.Payload += n
		if p.Flags&SYN != 0 {
			if at := p.tcpOption(optionWScale, 3); at > 0 {
				p.WScale = min(p.Raw[at+2], 14)
			}
		}
	case UDP:
		if len(b) < udpLen {
			return false
		}
		n := int(get16(b[4:]))
		if n < udpLen || n > len(b) && !p.MoreFragments {
			return false
		}
		p.SrcPort, p.DstPort = get16(b), get16(b[2:])
		p.Payload += udpLen
	case ICMP:
		return p.decodeICMP(isQuery)
	}
	return true
}

// decodeICMP is decodeL4 for ICMP of either version, whose types with an identifier are
// queries.
func (p *Packet) decodeICMP(isQuery func(uint8) bool) bool {
	b := p.Raw[p.L4:]
	if len(b) < icmpLen {
		return false
	}
	p.ICMPType, p.ICMPCode = b[0], b[1]
	if isQuery(p.ICMPType) {
		p.SrcPort = get16(b[4:])
		p.DstPort = p.SrcPort
	}
	p.Payload += icmpLen
	return true
}

// checkOptions walks the options of an IPv4 header (RFC 791, 3.1). For Malformed it says which octet of the header is the
// offending one: a length, or an option that has none.
func checkOptions(h []byte) (r Reason, offending uint8) {
	for at := ipv4Len; at < len(h); {
		switch h[at] {
		case 0: // end of list
			return Kept, 0
		case 1: // no operation
			at++
			continue
		case 131, 137: // loose, strict
			return SourceRouted, 0
		}
		if at+1 == len(h) {
			return Malformed, uint8(at)
		}
		n := int(h[at+1])
		if n < 2 || at+n > len(h) {
			return Malformed, uint8(at + 1)
		}
		at += n
	}
	return Kept, 0
}
