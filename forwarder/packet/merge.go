package packet

import "bytes"

// A Merger joins wire packets of one flow into the super-packet that a sender with segmentation offload would have
// sent, as generic receive offload does (Linux, Documentation/networking/segmentation-offloads.rst). Segment gives the
// same packets back, but for the IPv4 identification of atomic datagrams, which nobody may look at (RFC 6864, 4.1). Its
// zero value joins nothing.
type Merger struct {
	first  []byte // the first packet, as it came
	buffer []byte // the super-packet; nil until there is one
	end    int    // of what is in buffer

	packets         int
	l3, l4, payload int // offsets, the same in all packets
	size            int // layer 4 payload of all packets but the last, bytes
	seq             uint32
	id              uint16
	addresses       uint16
	version, proto  uint8
	flags           uint8 // FIN and PSH of the last packet
	open            bool  // may be joined by another
	sure            bool  // the first packet's checksum is known to be right
}

// MaxMerged is the length in bytes of the longest super-packet, with its virtio header.
const MaxMerged = VirtioLen + EthernetLen + 65535

// Begin makes p the first packet. What can be no part of a super-packet is joined by nothing. p's bytes must stay as
// they are until Frame was called.
func (m *Merger) Begin(p *Packet) {
	m.open = p.mergeable() && p.Flags&(FIN|PSH) == 0
	m.first, m.buffer, m.packets = p.Raw, nil, 1
	m.l3, m.l4, m.payload, m.size = p.L3, p.L4, p.Payload, len(p.Raw)-p.Payload
	m.version, m.proto, m.addresses = p.Version, p.Proto, p.addresses
	m.seq, m.id, m.flags = p.Seq+uint32(m.size), p.ID+1, 0
	m.sure = p.Verified || p.Partial()
}

// mergeable reports whether p has nothing but data to say: no options, and of IPv6 no extension headers.
func (p *Packet) mergeable() bool {
	if p.Segments != 1 || p.L4-p.L3 != headersOf(p.Version) || p.Payload == len(p.Raw) || p.IsFragment() {
		return false
	}
	switch p.Proto {
	case TCP:
		return p.Flags&^(FIN|PSH) == ACK
	case UDP: // every segment will have a checksum
		l4 := p.Raw[p.L4:]
		return get16(l4[udpChecksumAt:]) != 0 && int(get16(l4[4:])) == len(l4)
	}
	return false
}

// headersOf is the length of the IP header alone, bytes.
func headersOf(version uint8) int {
	if version == 6 {
		return ipv6Len
	}
	return ipv4Len
}

// Add joins p to the packets before if it is the next one of their flow. If not, nothing is joined any more, so that
// no later packet of the flow overtakes p. buffer is asked for MaxMerged bytes when the second packet comes, and may
// have none.
func (m *Merger) Add(p *Packet, buffer func() []byte) bool {
	size := len(p.Raw) - p.Payload
	if !m.open || !p.mergeable() || size > m.size || !m.precedes(p) || !m.right(p) {
		m.open = false
		return false
	}
	if m.packets == 1 {
		if m.buffer = buffer(); m.buffer != nil {
			m.end = copy(m.buffer, m.first)
		}
	}
	if m.buffer == nil || m.end+size > MaxMerged {
		m.open = false
		return false
	}
	m.end += copy(m.buffer[m.end:], p.Raw[p.Payload:])
	m.packets++
	m.seq += uint32(size)
	m.id++
	m.flags = p.Flags & (FIN | PSH)
	m.open = size == m.size && m.flags == 0
	return true
}

// precedes reports whether p's headers are those of the packet after the last. Addresses and VLAN tag of the frame are
// among them.
func (m *Merger) precedes(p *Packet) bool {
	if p.L3 != m.l3 || p.L4 != m.l4 || p.Payload != m.payload || p.ID != m.id && !p.DontFragment {
		return false
	}
	a, b, l3, l4 := m.first, p.Raw, m.l3, m.l4
	if p.Version == 6 {
		if !bytes.Equal(a[VirtioLen:l3+4], b[VirtioLen:l3+4]) || // as far as the flow label
			!bytes.Equal(a[l3+6:l4+4], b[l3+6:l4+4]) { // from the next header as far as the ports
			return false
		}
	} else if !bytes.Equal(a[VirtioLen:l3+2], b[VirtioLen:l3+2]) || // as far as the type of service
		!bytes.Equal(a[l3+6:l3+10], b[l3+6:l3+10]) || // flags, TTL, protocol
		!bytes.Equal(a[l3+12:l4+4], b[l3+12:l4+4]) { // addresses and ports
		return false
	}
	if p.Proto != TCP {
		return true
	}
	a, b = a[l4:m.payload], b[l4:m.payload]
	return p.Seq == m.seq &&
		bytes.Equal(a[8:13], b[8:13]) && // acknowledgement, header length
		bytes.Equal(a[14:16], b[14:16]) && // window
		bytes.Equal(a[18:], b[18:]) // urgent pointer, options
}

// right reports whether the checksums of p and of the first packet are: the segments get new ones, which must not hide
// what a wrong one shows.
func (m *Merger) right(p *Packet) bool {
	if !m.sure {
		first := *p // the same flow
		first.Raw = m.first
		m.sure = first.ValidChecksum()
	}
	return m.sure && (p.Verified || p.ValidChecksum())
}

// Frame returns the super-packet, or the only packet as it came. It ends the joining.
func (m *Merger) Frame() []byte {
	m.open = false
	if m.packets == 1 {
		return m.first
	}
	p := Packet{
		Raw: m.buffer[:m.end], L3: m.l3, L4: m.l4, Payload: m.payload, Len: len(m.first) - m.l3, HeaderLen: m.payload - m.l3,
		Version: m.version, Proto: m.proto, addresses: m.addresses,
	}
	if p.Version == 4 {
		ip := p.Raw[p.L3:]
		p.Src, p.Dst, p.ID = get32(ip[12:]), get32(ip[16:]), get16(ip[4:])
	}
	if p.Proto == TCP {
		p.Flags = p.Raw[p.L4+13]
	}
	p.setLength(0, p.Flags|m.flags, p.gsoType(), m.size, m.packets)
	return p.Raw
}
