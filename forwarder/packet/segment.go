package packet

// Segment emits the wire packets of p, with complete checksums, for a port that cannot segment itself. A single one is
// finished in place; each of several is written to scratch, which needs Payload + SegmentSize bytes, and is valid until
// emit returns. It is false, and nothing was emitted, if scratch is too short, or if p is not IP and its sender left work
// to do.
func (p *Packet) Segment(scratch []byte, emit func(raw []byte)) bool {
	if p.HeaderLen == 0 && p.Raw[flagsAt]|p.Raw[gsoTypeAt] != 0 {
		return false
	}
	if p.Segments == 1 {
		p.FinishChecksum()
		emit(p.Raw)
		return true
	}
	if len(scratch) < p.Payload+p.SegmentSize {
		return false
	}
	copy(scratch, p.Raw[:p.Payload])
	clear(scratch[:VirtioLen])
	ip, l4 := scratch[p.L3:p.L4], scratch[p.L4:p.Payload]
	offset := p.checksumOffset()
	for i := range p.Segments {
		done := i * p.SegmentSize
		from := p.Payload + done
		n := min(p.SegmentSize, len(p.Raw)-from)
		raw := scratch[:p.Payload+n]
		copy(raw[p.Payload:], p.Raw[from:])

		if p.Version == 6 {
			put16(ip[4:], uint16(p.HeaderLen+n-ipv6Len))
		} else {
			put16(ip[2:], uint16(p.HeaderLen+n))
			put16(ip[4:], p.ID+uint16(i))
			put16(ip[10:], 0)
			put16(ip[10:], Checksum(ip, 0))
		}

		if p.Proto == TCP {
			put32(l4[4:], p.Seq+uint32(done))
			flags := p.Flags
			if i > 0 {
				flags &^= CWR
			}
			if i < p.Segments-1 {
				flags &^= FIN | PSH
			}
			l4[13] = flags
		} else {
			put16(l4[4:], uint16(udpLen+n))
		}
		put16(l4[offset:], 0)
		c := Checksum(raw[p.L4:], p.pseudoHeader(len(raw)-p.L4))
		if c == 0 && p.Proto == UDP {
			c = 0xffff
		}
		put16(l4[offset:], c)
		emit(raw)
	}
	return true
}
