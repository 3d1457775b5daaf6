package packet

// ECT reports whether whoever sent p understands congestion marks (RFC 3168, section 5), or it bears one already.
func (p *Packet) ECT() bool {
	switch p.Version {
	case 4:
		return p.Raw[p.L3+1]&3 != 0
	case 6: // the traffic class lies across two octets
		return p.Raw[p.L3+1]&(3<<4) != 0
	}
	return false
}

// MarkCE notes in the header of an ECT packet that it met congestion (RFC 3168, section 5); of a super-packet, in all its
// segments.
func (p *Packet) MarkCE() {
	if p.Version == 6 {
		p.Raw[p.L3+1] |= 3 << 4
		return
	}
	h := p.Raw[p.L3 : p.L3+ipv4Len]
	was := get16(h)
	put16(h, was|3)
	adjust(h[10:], difference16(was, was|3))
}
