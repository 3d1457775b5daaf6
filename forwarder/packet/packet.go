package packet

import "encoding/binary"

// Lengths in front of layer 3, bytes.
const (
	VirtioLen   = 10
	EthernetLen = 14
	VLANLen     = 4 // of a tag
)

// MaxHeaders is the length in bytes of the longest headers that a super-packet may have, from the virtio header to
// layer 4's: 128 are left for IPv6 extension headers.
const MaxHeaders = VirtioLen + EthernetLen + VLANLen + ipv6Len + 128 + 60

// EtherTypes that a caller of Decode tells apart.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100
	EtherTypeQinQ = 0x88a8
	EtherTypeIPv6 = 0x86dd
)

// Protocols whose layer 4 header is read.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// TCP flags (RFC 9293, RFC 3168).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// ICMP types (RFC 792).
const (
	EchoReply        = 0
	Unreachable      = 3
	SourceQuench     = 4
	Redirect         = 5
	EchoRequest      = 8
	TimeExceeded     = 11
	ParameterProblem = 12
)

// NoScale is the WScale of a packet without a window scale option.
const NoScale = 0xff

// Reason says why Decode did not keep a frame.
type Reason uint8

const (
	Kept         Reason = iota
	Malformed           // a length, version, header chain or virtio field that contradicts the frame
	BadChecksum         // the IPv4 header's
	SourceRouted        // a loose or strict source route option (RFC 1812, 5.2.4.1), or a routing header of type 0 (RFC 5095)
)

func (r Reason) String() string {
	switch r {
	case Kept:
		return "kept"
	case Malformed:
		return "malformed"
	case BadChecksum:
		return "bad checksum"
	case SourceRouted:
		return "source routed"
	}
	return "unknown reason"
}

// Packet is one decoded frame. A worker makes an array of them once and reuses it; Decode sets every field.
// Change headers by the methods only: they keep fields, bytes and checksums in step.
type Packet struct {
	Raw []byte // virtio header, Ethernet, …; the link owns it until its next Receive

	L3, L4, Payload int // offsets in Raw; L4 and Payload are the frame's end unless it is IP
	Len             int // layer 3, bytes; 0 unless it is IP
	HeaderLen       int // layer 3 and 4 headers, bytes: what each segment repeats; 0 unless it is IP

	SrcMAC, DstMAC uint64 // 48 bits, the first octet highest
	EtherType      uint16 // behind the first VLAN tag, if there is one; that of a second tag is not looked behind
	VLAN           uint16 // tag control information of the first tag (IEEE 802.1Q, 9.6)
	Tagged         bool   // there is a VLAN tag

	Version          uint8  // 4 or 6: of the IP headers that were read; 0: none
	Proto, TTL       uint8  // IPv6: behind the extension headers (of a later fragment: behind the fragment header); hop limit
	Src, Dst         uint32 // 10.0.0.1 is 0x0a000001; IPv4 only, see Src6 and Dst6
	SrcPort, DstPort uint16 // TCP and UDP; both the identifier for ICMP echo and queries; 0 in later fragments

	ID                          uint16 // IPv4 only
	FragOffset                  uint16 // bytes; not 0: a later fragment, without a layer 4 header
	MoreFragments, DontFragment bool   // nobody on the way fragments IPv6

	Flags    uint8 // TCP
	Seq, Ack uint32
	Window   uint16
	WScale   uint8 // shift from a SYN's option, at most 14 (RFC 7323, 2.3); NoScale otherwise

	ICMPType, ICMPCode uint8

	// Of a Malformed packet, the octet of its IPv4 header that makes nothing of its options; 0: that is not why. What the
	// header says is read then, and layer 4 if HeaderLen is not 0.
	BadOption uint8

	Verified bool // whoever received it has verified the layer 4 checksum

	hidden    bool   // nobody can tell where an IPv6 routing header leads, and so what the layer 4 checksum is over
	addresses uint16 // their sum in the pseudo-header of IPv6

	Segments    int // wire packets it becomes
	SegmentSize int // layer 4 payload of all segments but the last, bytes; 0 for a single one
	WireLen     int // layer 3 bytes of all segments together: what is billed

	tail tail // what Cut took off
}

// IsFragment reports whether p is a part of a larger IP packet, the first one included.
func (p *Packet) IsFragment() bool { return p.MoreFragments || p.FragOffset != 0 }

// HasPorts reports whether SrcPort and DstPort were read from the packet (RFC 4787, RFC 5508).
func (p *Packet) HasPorts() bool {
	if p.FragOffset != 0 {
		return false
	}
	return p.Proto == TCP || p.Proto == UDP || p.hasID()
}

// hasID reports whether p is ICMP or ICMPv6 with an identifier.
func (p *Packet) hasID() bool {
	if p.Version == 6 {
		return p.Proto == ICMPv6 && isEcho6(p.ICMPType)
	}
	return p.Proto == ICMP && isQuery(p.ICMPType)
}

// IsICMPError reports whether p is an ICMP or ICMPv6 error or redirect, about which no error is sent (RFC 1812, 4.3.2.7;
// RFC 4443, 2.4).
func (p *Packet) IsICMPError() bool {
	if p.Version == 6 {
		return p.isICMPv6Error()
	}
	if p.Proto != ICMP || p.FragOffset != 0 {
		return false
	}
	switch p.ICMPType {
	case Unreachable, SourceQuench, Redirect, TimeExceeded, ParameterProblem:
		return true
	}
	return false
}

// isQuery reports whether an ICMP type carries an identifier: echo, timestamp, information and address mask
// (RFC 792, RFC 950).
func isQuery(icmpType uint8) bool {
	return icmpType == EchoReply || icmpType == EchoRequest || icmpType >= 13 && icmpType <= 18
}

// Asks reports whether an ICMP packet, of IPv4, is a query, and Answers whether it is the answer to
// one (RFC 5508, REQ-1); a first fragment of either, too.
func (p *Packet) Asks() bool {
	return p.ICMPType == EchoRequest || isQuery(p.ICMPType) && p.ICMPType%2 == 1
}

func (p *Packet) Answers() bool { return isQuery(p.ICMPType) && !p.Asks() }

func get16(b []byte) uint16    { return binary.BigEndian.Uint16(b) }
func get32(b []byte) uint32    { return binary.BigEndian.Uint32(b) }
func put16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }
func put32(b []byte, v uint32) { binary.BigEndian.PutUint32(b, v) }

// MAC packs the first six octets of b, the first one highest.
func MAC(b []byte) uint64 {
	return uint64(get16(b))<<32 | uint64(get32(b[2:]))
}

// PutMAC writes a MAC as the first six octets of b.
func PutMAC(b []byte, mac uint64) {
	put16(b, uint16(mac>>32))
	put32(b[2:], uint32(mac))
}
