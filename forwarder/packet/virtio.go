package packet

import "encoding/binary"

// struct virtio_net_hdr (virtio 1.3, 5.1.6), all little-endian: flags u8, gso_type u8, hdr_len u16, gso_size u16,
// csum_start u16, csum_offset u16. The offsets count from the Ethernet header.
const (
	flagsAt      = 0
	gsoTypeAt    = 1
	hdrLenAt     = 2
	gsoSizeAt    = 4
	csumStartAt  = 6
	csumOffsetAt = 8

	needsChecksum = 1 // flags
	dataValid     = 2

	gsoNone  = 0
	gsoTCPv4 = 1
	gsoTCPv6 = 4
	gsoUDP   = 5    // UDP_L4; 3, which is IP fragmentation of one datagram, is refused
	gsoECN   = 0x80 // on TCP: the first segment only carries CWR
)

// Where layer 4 keeps its checksum, bytes from its start.
const (
	tcpChecksumAt  = 16
	udpChecksumAt  = 6
	icmpChecksumAt = 2
)

// Partial reports whether the layer 4 checksum is left to whoever sends the frame.
func (p *Packet) Partial() bool { return p.Raw[flagsAt]&needsChecksum != 0 }

// checkVirtio checks what the virtio header says about any frame, and clears what only its receiver could use.
func (p *Packet) checkVirtio() bool {
	h := p.Raw[:VirtioLen]
	p.Verified = h[flagsAt]&dataValid != 0
	h[flagsAt] &= needsChecksum
	if h[flagsAt] == 0 {
		binary.LittleEndian.PutUint32(h[csumStartAt:], 0)
	} else {
		start := int(binary.LittleEndian.Uint16(h[csumStartAt:]))
		offset := int(binary.LittleEndian.Uint16(h[csumOffsetAt:]))
		if start < EthernetLen || start+offset+2 > len(p.Raw)-VirtioLen {
			return false
		}
	}
	size := binary.LittleEndian.Uint16(h[gsoSizeAt:])
	switch h[gsoTypeAt] {
	case gsoNone:
		binary.LittleEndian.PutUint32(h[hdrLenAt:], 0) // gso_size too
		return true
	case gsoTCPv4, gsoTCPv4 | gsoECN:
		return size != 0 && p.EtherType != EtherTypeIPv6
	case gsoTCPv6, gsoTCPv6 | gsoECN:
		return size != 0 && p.EtherType != EtherTypeIPv4
	case gsoUDP:
		return size != 0
	}
	return false
}

// checkOffloads checks what the virtio header says about an IP packet whose headers are known, and counts its
// segments.
func (p *Packet) checkOffloads() bool {
	h := p.Raw[:VirtioLen]
	p.Segments, p.WireLen = 1, p.Len
	if h[flagsAt]|h[gsoTypeAt] == 0 {
		return true
	}
	offset := p.checksumOffset()
	if p.IsFragment() || offset < 0 {
		return false
	}
	if p.Partial() {
		if int(binary.LittleEndian.Uint16(h[csumStartAt:])) != p.L4-VirtioLen ||
			int(binary.LittleEndian.Uint16(h[csumOffsetAt:])) != offset {
			return false
		}
	}
	if p.Proto == UDP && int(get16(p.Raw[p.L4+4:])) != len(p.Raw)-p.L4 {
		return false // the sum that the hardware takes would not be the one that the receiver checks
	}
	if h[gsoTypeAt] == gsoNone {
		return true
	}
	if p.Payload > MaxHeaders || p.hidden {
		return false // no header is too long for who passes a part, and none of unknown sum
	}
	switch h[gsoTypeAt] &^ gsoECN {
	case gsoTCPv4, gsoTCPv6:
		if p.Proto != TCP || p.Flags&(SYN|RST) != 0 {
			return false
		}
	case gsoUDP:
		if p.Proto != UDP {
			return false
		}
	}
	size := int(binary.LittleEndian.Uint16(h[gsoSizeAt:]))
	p.setSegments(h[gsoTypeAt], size, (len(p.Raw)-p.Payload+size-1)/size)
	p.makePartial() // hardware that merges may leave the first segment's checksum in place
	return true
}

// setSegments writes the virtio header's segmentation fields for n segments and sets the fields that follow.
func (p *Packet) setSegments(gsoType uint8, size, n int) {
	h := p.Raw[:VirtioLen]
	if n <= 1 {
		h[gsoTypeAt] = gsoNone
		binary.LittleEndian.PutUint32(h[hdrLenAt:], 0)
		p.Segments, p.SegmentSize, p.WireLen = 1, 0, p.Len
		return
	}
	h[gsoTypeAt] = gsoType
	binary.LittleEndian.PutUint16(h[hdrLenAt:], uint16(p.Payload-VirtioLen))
	binary.LittleEndian.PutUint16(h[gsoSizeAt:], uint16(size))
	p.Segments, p.SegmentSize, p.WireLen = n, size, p.Len+(n-1)*p.HeaderLen
}

// gsoType is the segmentation that p's segments would be made by.
func (p *Packet) gsoType() uint8 {
	switch {
	case p.Proto == UDP:
		return gsoUDP
	case p.Version == 6:
		return gsoTCPv6
	}
	return gsoTCPv4
}

// checksumOffset is where p's layer 4 keeps a checksum that hardware can complete, from L4; -1 if none does.
func (p *Packet) checksumOffset() int {
	switch p.Proto {
	case TCP:
		return tcpChecksumAt
	case UDP:
		return udpChecksumAt
	}
	return -1
}

// makePartial replaces the TCP or UDP checksum by the pseudo-header's sum and leaves the rest to the sender.
func (p *Packet) makePartial() {
	offset := p.checksumOffset()
	h := p.Raw[:VirtioLen]
	h[flagsAt] |= needsChecksum
	binary.LittleEndian.PutUint16(h[csumStartAt:], uint16(p.L4-VirtioLen))
	binary.LittleEndian.PutUint16(h[csumOffsetAt:], uint16(offset))
	put16(p.Raw[p.L4+offset:], fold(p.pseudoHeader(len(p.Raw)-p.L4)))
}

// LeftSum returns what raw's virtio header leaves to whoever sends it: from which byte of the frame on a checksum sums
// up, and where from there it belongs; 0 and 0 if it leaves none.
func LeftSum(raw []byte) (from, at uint16) {
	if raw[flagsAt]&needsChecksum == 0 {
		return 0, 0
	}
	return binary.LittleEndian.Uint16(raw[csumStartAt:]), binary.LittleEndian.Uint16(raw[csumOffsetAt:])
}

// FinishSum completes in place the checksum that LeftSum told of a frame, which begins with its Ethernet header. It does
// nothing to a frame that does not reach so far.
func FinishSum(frame []byte, from, at uint16) {
	if from == 0 || int(from)+int(at)+2 > len(frame) {
		return
	}
	sum := Checksum(frame[from:], 0)
	if sum == 0 && at == udpChecksumAt {
		sum = 0xffff
	}
	put16(frame[int(from)+int(at):], sum)
}
