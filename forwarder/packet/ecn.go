package packet

// ECT reports whether whoever sent p understands congestion marks (RFC 3168, section 5), or it bears one already.
func (p *Packet) ECT() bool { return p.EtherType == EtherTypeIPv4 && p.Raw[p.L3+1]&3 != 0 }

// MarkCE notes in the header of an ECT packet that it met congestion (RFC 3168, section 5); of a super-packet, in all its
// segments.
func (p *Packet) MarkCE() {
	h := p.Raw[p.L3 : p.L3+ipv4Len]
	was := get16(h)
	put16(h, was|3)
	adjust(h[10:], difference16(was, was|3))
}
