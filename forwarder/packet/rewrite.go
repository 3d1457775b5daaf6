package packet

import "encoding/binary"

// SetSrc makes p, of IPv4, come from ip and port, which is the identifier for ICMP echo and queries, and is ignored where
// p.HasPorts does not hold.
func (p *Packet) SetSrc(ip uint32, port uint16) {
	if p.Version != 4 {
		return
	}
	d := p.setAddress(12, p.Src, ip)
	p.Src = ip
	if !p.HasPorts() {
		return
	}
	if p.Proto == ICMP {
		p.setQueryID(port)
		return
	}
	put16(p.Raw[p.L4:], port)
	p.adjustTransport(d, difference16(p.SrcPort, port))
	p.SrcPort = port
}

// SetDst makes p, of IPv4, go to ip and port, which is the identifier for ICMP echo and queries, and is ignored where
// p.HasPorts does not hold.
func (p *Packet) SetDst(ip uint32, port uint16) {
	if p.Version != 4 {
		return
	}
	d := p.setAddress(16, p.Dst, ip)
	p.Dst = ip
	if !p.HasPorts() {
		return
	}
	if p.Proto == ICMP {
		p.setQueryID(port)
		return
	}
	put16(p.Raw[p.L4+2:], port)
	p.adjustTransport(d, difference16(p.DstPort, port))
	p.DstPort = port
}

// setAddress writes the IPv4 address at offset at of the header and returns what the pseudo-header's sum gains.
func (p *Packet) setAddress(at int, was, is uint32) uint32 {
	h := p.Raw[p.L3 : p.L3+ipv4Len]
	d := difference32(was, is)
	put32(h[at:], is)
	adjust(h[10:], d)
	return d
}

// adjustTransport carries the differences of an address and a port into the TCP or UDP checksum. A partial one holds
// the pseudo-header only, so the port is not in it.
func (p *Packet) adjustTransport(address, port uint32) {
	field := p.Raw[p.L4+p.checksumOffset():]
	switch {
	case p.Partial():
		adjustPartial(field, address)
	case p.Proto == UDP:
		adjustUDP(field, address+port)
	default:
		adjust(field, address+port)
	}
}

func (p *Packet) setQueryID(id uint16) {
	put16(p.Raw[p.L4+4:], id)
	adjust(p.Raw[p.L4+icmpChecksumAt:], difference16(p.SrcPort, id))
	p.SrcPort, p.DstPort = id, id
}

// DecrementTTL counts this hop. A TTL, or hop limit, of 0 stays.
func (p *Packet) DecrementTTL() {
	if p.Version == 0 || p.TTL == 0 {
		return
	}
	if p.Version == 6 {
		p.TTL--
		p.Raw[p.L3+7] = p.TTL
		return
	}
	h := p.Raw[p.L3 : p.L3+ipv4Len]
	was := get16(h[8:]) // TTL and protocol
	p.TTL--
	h[8] = p.TTL
	adjust(h[10:], difference16(was, get16(h[8:])))
}

// SetMACs writes both Ethernet addresses.
func (p *Packet) SetMACs(dst, src uint64) {
	PutMAC(p.Raw[VirtioLen:], dst)
	PutMAC(p.Raw[VirtioLen+6:], src)
	p.DstMAC, p.SrcMAC = dst, src
}

// FinishChecksum completes a partial checksum in software, for a port that cannot. A super-packet has none to
// complete: see Segment.
func (p *Packet) FinishChecksum() {
	if p.HeaderLen == 0 || !p.Partial() || p.Segments > 1 {
		return
	}
	field := p.Raw[p.L4+p.checksumOffset():]
	c := Checksum(p.Raw[p.L4:], 0) // the field itself adds the pseudo-header
	if c == 0 && p.Proto == UDP {
		c = 0xffff
	}
	put16(field, c)
	h := p.Raw[:VirtioLen]
	h[flagsAt] = 0
	binary.LittleEndian.PutUint32(h[csumStartAt:], 0)
}

// ValidChecksum verifies the checksum of ICMP, ICMPv6, TCP or UDP. It holds where there is nothing to verify: partial
// checksums, UDP without one, fragments, other protocols, and where a routing header hides what the sum is over.
func (p *Packet) ValidChecksum() bool {
	if p.HeaderLen == 0 || p.IsFragment() || p.Partial() || p.hidden {
		return true
	}
	b := p.Raw[p.L4:]
	switch p.Proto {
	case ICMP:
		return p.Version == 6 || Checksum(b, 0) == 0
	case ICMPv6:
		return p.Version == 4 || Checksum(b, p.pseudoHeader(len(b))) == 0
	case TCP:
		return Checksum(b, p.pseudoHeader(len(b))) == 0
	case UDP:
		if get16(b[udpChecksumAt:]) == 0 {
			return true
		}
		b = b[:get16(b[4:])]
		return Checksum(b, p.pseudoHeader(len(b))) == 0
	}
	return true
}
