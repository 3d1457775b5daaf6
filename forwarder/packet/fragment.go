package packet

// Fragment emits p as fragments of at most mtu bytes each (RFC 791, 3.2); p may be a fragment itself. Whether it may be
// (DontFragment) is the caller's to judge. The first fragment keeps all options, the later ones those with the copy bit. A
// packet that fits is emitted as it is. Each fragment is written to scratch, which needs VirtioLen + EthernetLen + mtu
// bytes, and is valid until emit returns. A partial checksum is completed in p first.
//
// It is false, and nothing was emitted, for super-packets and non-IPv4, if scratch is too short, or if mtu has no room
// for the header and 8 bytes.
func (p *Packet) Fragment(mtu int, scratch []byte, emit func(raw []byte)) bool {
	headerLen := p.L4 - p.L3
	if p.Version != 4 || p.Segments > 1 {
		return false
	}
	if p.Len <= mtu {
		emit(p.Raw)
		return true
	}
	if mtu < headerLen+8 || len(scratch) < p.L3+mtu {
		return false
	}
	p.FinishChecksum()
	copy(scratch, p.Raw[:p.L4])
	clear(scratch[:VirtioLen])
	for from := p.L4; from < len(p.Raw); {
		n := min((mtu-headerLen)&^7, len(p.Raw)-from)
		more := p.MoreFragments || from+n < len(p.Raw)
		raw := scratch[:p.L3+headerLen+n]
		copy(raw[p.L3+headerLen:], p.Raw[from:])
		writeFragment(raw[p.L3:p.L3+headerLen], n, (int(p.FragOffset)+from-p.L4)>>3, more, p.DontFragment)
		emit(raw)
		if from == p.L4 {
			headerLen = ipv4Len + keepCopied(scratch[p.L3+ipv4Len:p.L4])
		}
		from += n
	}
	return true
}

// writeFragment sets what differs between the IPv4 headers of fragments: h is the header, n the bytes behind it, offset
// in units of 8 bytes.
func writeFragment(h []byte, n, offset int, more, dont bool) {
	h[0] = 4<<4 | uint8(len(h)/4)
	put16(h[2:], uint16(len(h)+n))
	word := uint16(offset)
	if more {
		word |= 0x2000
	}
	if dont {
		word |= 0x4000
	}
	put16(h[6:], word)
	put16(h[10:], 0)
	put16(h[10:], Checksum(h, 0))
}

// keepCopied moves the options of o that go into every fragment to its start, pads them with zeros to a multiple of 4
// and returns that length. Decode has checked the list.
func keepCopied(o []byte) int {
	kept := 0
	for at := 0; at < len(o) && o[at] != 0; {
		n := 1
		if o[at] != 1 {
			n = int(o[at+1])
		}
		if o[at]&0x80 != 0 {
			kept += copy(o[kept:], o[at:at+n])
		}
		at += n
	}
	padded := (kept + 3) &^ 3
	clear(o[kept:padded])
	return padded
}
