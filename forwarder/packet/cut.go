package packet

// tail is what Cut took off a super-packet: still behind Raw in its buffer, under headers that now describe the head.
type tail struct {
	bytes    int // layer 4 payload
	segments int
	size     int   // SegmentSize
	gsoType  uint8 // of the virtio header
	flags    uint8 // the last segment's FIN and PSH
}

// Cut keeps the first n segments of a super-packet, at least one; those cut off stay in the buffer for Rest. FIN and
// PSH go with the last segment, CWR stays with the first. With all segments wanted, or a single one, it does nothing.
func (p *Packet) Cut(n int) {
	n = max(n, 1)
	if n >= p.Segments {
		return
	}
	t := &p.tail
	if t.segments == 0 {
		t.size, t.gsoType = p.SegmentSize, p.Raw[gsoTypeAt]
		t.flags = p.Flags & (FIN | PSH)
	}
	end := p.Payload + n*p.SegmentSize
	t.bytes += len(p.Raw) - end
	t.segments += p.Segments - n
	p.Raw = p.Raw[:end]
	p.setLength(0, p.Flags&^(FIN|PSH), t.gsoType, t.size, n)
}

// Rest turns p into the segments after the first n, and returns the new Raw; nil, with p unchanged, if there are none.
// Call it when the first n, as Cut left them, are sent: their headers are reused and the end of their payload is
// overwritten. Sequence number and IPv4 identification go on, CWR was the first segment's, FIN and PSH are back.
func (p *Packet) Rest(n int) []byte {
	p.Cut(n)
	t := p.tail
	if t.segments == 0 {
		return nil
	}
	end := len(p.Raw)
	start := end - p.Payload
	whole := p.Raw[:end+t.bytes]
	copy(whole[start:end], whole[:p.Payload])
	p.Raw = whole[start:]
	p.tail = tail{}
	if p.Proto == TCP {
		p.Seq += uint32(end - p.Payload)
		put32(p.Raw[p.L4+4:], p.Seq)
	}
	p.setLength(p.Segments, p.Flags&^CWR|t.flags, t.gsoType, t.size, t.segments)
	return p.Raw
}

// setLength makes the headers fit a Raw that became n segments, skipped segments later than they were written for.
func (p *Packet) setLength(skipped int, flags, gsoType uint8, size, n int) {
	length, id := len(p.Raw)-p.L3, p.ID+uint16(skipped)
	if p.Version == 6 {
		put16(p.Raw[p.L3+4:], uint16(length-ipv6Len))
		p.Len = length
	} else {
		h := p.Raw[p.L3 : p.L3+ipv4Len]
		adjust(h[10:], difference16(uint16(p.Len), uint16(length))+difference16(p.ID, id))
		put16(h[2:], uint16(length))
		put16(h[4:], id)
		p.Len, p.ID = length, id
	}
	if p.Proto == TCP {
		p.Flags = flags
		p.Raw[p.L4+13] = flags
	} else {
		put16(p.Raw[p.L4+4:], uint16(len(p.Raw)-p.L4))
	}
	p.setSegments(gsoType, size, n)
	p.makePartial()
}
