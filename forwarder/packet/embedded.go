package packet

// Inner is the packet that an ICMP error of IPv4 quotes: the header and at least 8 bytes of what once was sent (RFC 792), so
// usually cut short, and with checksums that nobody can verify.
type Inner struct {
	L3, L4           int // offsets in Raw
	End              int // offset behind the last quoted byte that belongs to the inner packet
	Proto            uint8
	Src, Dst         uint32
	SrcPort, DstPort uint16 // both the identifier for ICMP echo and queries
}

// Embedded reads the packet that p, an ICMP error, quotes. It is false for other packets, redirects (which mean one link
// only), fragments, and quotes that name no flow: later fragments, other protocols, ICMP errors, fewer than 8 bytes.
func (p *Packet) Embedded(in *Inner) bool {
	if p.Version == 6 || !p.IsICMPError() || p.ICMPType == Redirect || p.IsFragment() {
		return false
	}
	b := p.Raw[p.Payload:]
	if len(b) < ipv4Len+8 || b[0]>>4 != 4 {
		return false
	}
	headerLen := int(b[0]&15) * 4
	total := int(get16(b[2:]))
	if headerLen < ipv4Len || len(b) < headerLen+8 || total < headerLen+8 || get16(b[6:])&0x1fff != 0 {
		return false
	}
	*in = Inner{
		L3: p.Payload, L4: p.Payload + headerLen, End: p.Payload + min(total, len(b)),
		Proto: b[9], Src: get32(b[12:]), Dst: get32(b[16:]),
	}
	l4 := b[headerLen:]
	switch in.Proto {
	case TCP, UDP:
		in.SrcPort, in.DstPort = get16(l4), get16(l4[2:])
		return true
	case ICMP:
		in.SrcPort = get16(l4[4:])
		in.DstPort = in.SrcPort
		return isQuery(l4[0])
	}
	return false
}

// SetEmbeddedSrc makes the quoted packet come from ip and port, and all checksums follow: the inner ones where they are
// quoted, and p's own (RFC 5508, 4.2). It does nothing where Embedded is false.
func (p *Packet) SetEmbeddedSrc(ip uint32, port uint16) {
	var in Inner
	if p.Embedded(&in) {
		p.setEmbedded(&in, 12, in.Src, ip, 0, in.SrcPort, port)
	}
}

// SetEmbeddedDst is SetEmbeddedSrc for the address the quoted packet went to.
func (p *Packet) SetEmbeddedDst(ip uint32, port uint16) {
	var in Inner
	if p.Embedded(&in) {
		p.setEmbedded(&in, 16, in.Dst, ip, 2, in.DstPort, port)
	}
}

// setEmbedded writes the address at ipAt of the inner IPv4 header and the port at portAt of the inner layer 4. What it
// changes lies on even offsets from the ICMP header, so each word's difference goes into the outer checksum as it is.
func (p *Packet) setEmbedded(in *Inner, ipAt int, wasIP, ip uint32, portAt int, wasPort, port uint16) {
	address := difference32(wasIP, ip)
	put32(p.Raw[in.L3+ipAt:], ip)
	outer := address + p.adjustInner(in.L3+10, address, false)

	inner, at := address, -1
	switch in.Proto {
	case TCP:
		at = in.L4 + tcpChecksumAt
	case UDP:
		at = in.L4 + udpChecksumAt
	case ICMP:
		at, portAt, inner = in.L4+icmpChecksumAt, 4, 0
	}
	d := difference16(wasPort, port)
	put16(p.Raw[in.L4+portAt:], port)
	outer += d
	if at+2 <= in.End {
		outer += p.adjustInner(at, inner+d, in.Proto == UDP)
	}
	adjust(p.Raw[p.L4+icmpChecksumAt:], outer)
}

// adjustInner adjusts the quoted checksum at offset at and returns what that changed.
func (p *Packet) adjustInner(at int, difference uint32, udp bool) uint32 {
	field := p.Raw[at:]
	was := get16(field)
	if udp {
		adjustUDP(field, difference)
	} else {
		adjust(field, difference)
	}
	return difference16(was, get16(field))
}
