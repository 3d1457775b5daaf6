package packet

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

const ipAt = VirtioLen + EthernetLen

// with changes bytes of a frame, in a VLAN or not, and makes its IPv4 header checksum right again.
func with(raw []byte, change func(raw, ip []byte)) []byte {
	raw = bytes.Clone(raw)
	at := ipAt
	if e := get16(raw[at-2:]); (e == EtherTypeVLAN || e == EtherTypeQinQ) && len(raw) >= at+4 {
		at += 4
	}
	ip := raw[at:]
	change(raw, ip)
	if get16(raw[at-2:]) != EtherTypeIPv4 || len(ip) < 20 {
		return raw
	}
	if n := int(ip[0]&15) * 4; n >= 20 && n <= len(ip) {
		put16(ip[10:], 0)
		put16(ip[10:], ^naiveSum(ip[:n]))
	}
	return raw
}

// virtio sets the virtio header of a frame.
func virtio(raw []byte, flags, gsoType uint8, gsoSize, csumStart, csumOffset uint16) []byte {
	raw = bytes.Clone(raw)
	h := []byte{flags, gsoType, 0, 0}
	h = binary.LittleEndian.AppendUint16(h, gsoSize)
	h = binary.LittleEndian.AppendUint16(h, csumStart)
	h = binary.LittleEndian.AppendUint16(h, csumOffset)
	copy(raw, h)
	return raw
}

func TestDecodeJudges(t *testing.T) {
	tcpRaw, udpRaw, icmpRaw := tcpFrame(t, 3000), udpFrame(t, 3000), icmpFrame(t, EchoRequest, text(3000))
	ipOptions := func(o ...byte) []byte {
		ip := ipv4(layers.IPProtocolUDP)
		raw := serialize(t, ethernet(), ip, &layers.UDP{SrcPort: 1, DstPort: 2}, gopacket.Payload(text(40)))
		n := len(o)
		raw = append(append(append([]byte{}, raw[:ipAt+20]...), o...), raw[ipAt+20:]...)
		return with(raw, func(raw, ip []byte) { ip[0] += byte(n / 4); put16(ip[2:], uint16(len(ip))) })
	}
	other := func(etherType uint16, n int) []byte {
		raw := append(bytes.Clone(tcpRaw[:ipAt]), text(n)...)
		put16(raw[VirtioLen+12:], etherType)
		return raw
	}
	rows := []struct {
		name string
		raw  []byte
		want Reason
	}{
		{"TCP", tcpRaw, Kept},
		{"UDP", udpRaw, Kept},
		{"ICMP", icmpRaw, Kept},
		{"nothing", nil, Malformed},
		{"a frame without a whole Ethernet header", tcpRaw[:ipAt-1], Malformed},
		{"Ethernet alone, not IPv4", other(EtherTypeARP, 0), Kept},
		{"Ethernet alone, IPv4", tcpRaw[:ipAt], Malformed},
		{"a frame cut in the IPv4 header", tcpRaw[:ipAt+19], Malformed},
		{"no protocol that is read", other(0x88b5, 40), Kept},
		{"version 5", with(tcpRaw, func(_, ip []byte) { ip[0] = 0x55 }), Malformed},
		{"a header length of 4 words", with(tcpRaw, func(_, ip []byte) { ip[0] = 0x44 }), Malformed},
		{"a header length of 0", with(tcpRaw, func(_, ip []byte) { ip[0] = 0x40 }), Malformed},
		{"a header longer than the packet", with(tcpRaw, func(_, ip []byte) { ip[0] = 0x4f; put16(ip[2:], 40) }), Malformed},
		{"a total length below the header's", with(tcpRaw, func(_, ip []byte) { put16(ip[2:], 19) }), Malformed},
		{"a total length of 0", with(tcpRaw, func(_, ip []byte) { put16(ip[2:], 0) }), Malformed},
		{"a total length one over the frame's", with(tcpRaw, func(_, ip []byte) { put16(ip[2:], uint16(len(ip)+1)) }), Malformed},
		{"the largest total length", with(tcpRaw, func(_, ip []byte) { put16(ip[2:], 0xffff) }), Malformed},
		{"a wrong IPv4 checksum", append(bytes.Clone(tcpRaw[:ipAt+8]), append([]byte{1}, tcpRaw[ipAt+9:]...)...), BadChecksum},
		{"a loose source route", ipOptions(131, 7, 4, 1, 2, 3, 4, 0), SourceRouted},
		{"a strict source route behind no operation", ipOptions(1, 137, 7, 4, 1, 2, 3, 4), SourceRouted},
		{"a source route behind the end of the list", ipOptions(0, 131, 3, 4), Kept},
		{"a record route", ipOptions(7, 7, 4, 0, 0, 0, 0, 0), Kept},
		{"an option of length 0", ipOptions(7, 0, 4, 0), Malformed},
		{"an option of length 1", ipOptions(7, 1, 1, 0), Malformed},
		{"an option that is cut short", ipOptions(7, 5, 4, 0), Malformed},
		{"an option without a length", ipOptions(1, 1, 1, 7), Malformed},
		{"a TCP header cut short", with(tcpRaw, func(_, ip []byte) { put16(ip[2:], 39) }), Malformed},
		{"a TCP data offset of 4", with(tcpRaw, func(_, ip []byte) { ip[32] = 4 << 4 }), Malformed},
		{"a TCP data offset behind the end", with(tcpRaw[:ipAt+50], func(_, ip []byte) { put16(ip[2:], 50); ip[32] = 8 << 4 }), Malformed},
		{"a UDP header cut short", with(udpRaw, func(_, ip []byte) { put16(ip[2:], 27) }), Malformed},
		{"a UDP length of 7", with(udpRaw, func(_, ip []byte) { put16(ip[24:], 7) }), Malformed},
		{"a UDP length one over the packet's", with(udpRaw, func(_, ip []byte) { put16(ip[24:], 3009) }), Malformed},
		{"a UDP length below the packet's", with(udpRaw, func(_, ip []byte) { put16(ip[24:], 100) }), Kept},
		{"an ICMP header cut short", with(icmpRaw, func(_, ip []byte) { put16(ip[2:], 27) }), Malformed},
		{"an unknown protocol without a byte", with(tcpRaw, func(_, ip []byte) { ip[9] = 47; put16(ip[2:], 20) }), Kept},
		{"a first fragment of UDP", with(udpRaw, func(_, ip []byte) { ip[6] = 0x20; put16(ip[24:], 9000) }), Kept},
		{"a first fragment without its TCP header", with(tcpRaw, func(_, ip []byte) { ip[6] = 0x20; put16(ip[2:], 36) }), Malformed},
		{"a TCP fragment over the header (RFC 1858)", with(tcpRaw, func(_, ip []byte) { put16(ip[6:], 1) }), Malformed},
		{"a UDP fragment at 8", with(udpRaw, func(_, ip []byte) { put16(ip[6:], 1) }), Kept},
		{"a fragment that ends at 65535", with(udpRaw[:ipAt+20+7], func(_, ip []byte) { put16(ip[2:], 27); put16(ip[6:], 8191) }), Kept},
		{"a fragment that ends at 65536", with(udpRaw[:ipAt+20+8], func(_, ip []byte) { put16(ip[2:], 28); put16(ip[6:], 8191) }), Malformed},

		{"a partial TCP checksum", virtio(tcpRaw, 1, 0, 0, 34, 16), Kept},
		{"a partial UDP checksum", virtio(udpRaw, 1, 0, 0, 34, 6), Kept},
		{"a partial checksum of ICMP", virtio(icmpRaw, 1, 0, 0, 34, 2), Malformed},
		{"a partial checksum that starts elsewhere", virtio(tcpRaw, 1, 0, 0, 35, 16), Malformed},
		{"a partial checksum that lies elsewhere", virtio(tcpRaw, 1, 0, 0, 34, 6), Malformed},
		{"a partial checksum in the Ethernet header", virtio(tcpRaw, 1, 0, 0, 0, 0), Malformed},
		{"a partial checksum in the Ethernet header of something else", virtio(other(0x88b5, 40), 1, 0, 0, 13, 2), Malformed},
		{"a partial checksum behind the frame", virtio(other(0x88b5, 40), 1, 0, 0, 50, 3), Malformed},
		{"a partial checksum at the frame's end", virtio(other(0x88b5, 40), 1, 0, 0, 50, 2), Kept},
		{"the largest partial checksum place", virtio(tcpRaw, 1, 0, 0, 0xffff, 0xffff), Malformed},
		{"a partial checksum of a fragment", virtio(with(udpRaw, func(_, ip []byte) { ip[6] = 0x20 }), 1, 0, 0, 34, 6), Malformed},
		{"a partial checksum over more than UDP's length", virtio(with(udpRaw, func(_, ip []byte) { put16(ip[24:], 100) }), 1, 0, 0, 34, 6), Malformed},
		{"data that was verified", virtio(tcpRaw, 2, 0, 0, 34, 16), Kept},
		{"TCP segments", virtio(tcpRaw, 1, gsoTCPv4, 1448, 34, 16), Kept},
		{"TCP segments with CWR on the first", virtio(tcpRaw, 1, gsoTCPv4|gsoECN, 1448, 34, 16), Kept},
		{"TCP segments without a partial checksum", virtio(tcpRaw, 0, gsoTCPv4, 1448, 0, 0), Kept},
		{"UDP segments", virtio(udpRaw, 1, gsoUDP, 1000, 34, 6), Kept},
		{"UDP fragmentation", virtio(udpRaw, 1, 3, 1000, 34, 6), Malformed},
		{"an unknown segmentation", virtio(tcpRaw, 1, 2, 1000, 34, 16), Malformed},
		{"a tunnel's segmentation", virtio(tcpRaw, 1, 0x21, 1000, 34, 16), Malformed},
		{"CWR without segments", virtio(tcpRaw, 1, gsoECN, 1000, 34, 16), Malformed},
		{"CWR on UDP segments", virtio(udpRaw, 1, gsoUDP|gsoECN, 1000, 34, 6), Malformed},
		{"segments of size 0", virtio(tcpRaw, 1, gsoTCPv4, 0, 34, 16), Malformed},
		{"UDP segments of TCP", virtio(tcpRaw, 1, gsoUDP, 1000, 34, 16), Malformed},
		{"TCP segments of UDP", virtio(udpRaw, 1, gsoTCPv4, 1000, 34, 6), Malformed},
		{"TCP segments of ICMP", virtio(icmpRaw, 0, gsoTCPv4, 1000, 0, 0), Malformed},
		{"TCP over IPv6 segments of IPv4", virtio(tcpRaw, 1, gsoTCPv6, 1000, 34, 16), Malformed},
		{"segments of a fragment", virtio(with(tcpRaw, func(_, ip []byte) { ip[6] = 0x20 }), 1, gsoTCPv4, 1000, 34, 16), Malformed},
		{"segments of a SYN", virtio(with(tcpRaw, func(_, ip []byte) { ip[33] = SYN }), 1, gsoTCPv4, 1000, 34, 16), Malformed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var p Packet
			if got := p.Decode(bytes.Clone(row.raw)); got != row.want {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}

func TestDecodeReads(t *testing.T) {
	ip := ipv4(layers.IPProtocolTCP)
	ip.Flags = layers.IPv4DontFragment
	l4 := tcp()
	l4.SYN, l4.ECE, l4.CWR = true, true, true
	l4.Options = []layers.TCPOption{
		{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}},
		{OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}},
	}
	p := decode(t, serialize(t, ethernet(), ip, l4, gopacket.Payload(text(10))))
	want := Packet{
		L3: 24, L4: 44, Payload: 72, Len: 58, HeaderLen: 48, WireLen: 58, Segments: 1,
		SrcMAC: 0x020000000005, DstMAC: 0x020000000001, EtherType: EtherTypeIPv4, Version: 4,
		Proto: TCP, TTL: 64, Src: clientIP, Dst: serverIP, SrcPort: 40000, DstPort: 443,
		ID: 0xfffe, DontFragment: true, Flags: SYN | ACK | ECE | CWR, Seq: 0xfffffff0, Ack: 7, Window: 500, WScale: 7,
	}
	if !same(p, &want) {
		t.Errorf("\n got %+v\nwant %+v", *p, want)
	}

	p = decode(t, icmpFrame(t, EchoReply, nil))
	if p.SrcPort != 77 || p.DstPort != 77 || !p.HasPorts() || p.HeaderLen != 28 || p.IsICMPError() || p.WScale != NoScale {
		t.Errorf("echo reply: %+v", *p)
	}
	p = decode(t, icmpFrame(t, Redirect, nil))
	if p.SrcPort != 0 || p.HasPorts() || !p.IsICMPError() {
		t.Errorf("redirect: %+v", *p)
	}
}

func TestDecodeTakesAWindowScaleOverFourteenAsFourteen(t *testing.T) {
	for shift, want := range map[uint8]uint8{0: 0, 14: 14, 15: 14, 254: 14} {
		raw := synFrame(t, []byte{3, 3, shift, 0})
		if got := decode(t, raw).WScale; got != want {
			t.Errorf("%d: %d", shift, got)
		}
	}
}

func TestDecodeTrimsEthernetPadding(t *testing.T) {
	whole := tcpFrame(t, 2)
	p := decode(t, append(bytes.Clone(whole), text(18)...))
	if !bytes.Equal(p.Raw, whole) || p.WireLen != 42 {
		t.Errorf("%d bytes, %d billed", len(p.Raw), p.WireLen)
	}
}

func TestDecodeClearsWhatTheNextLinkMustNotSee(t *testing.T) {
	p := decode(t, virtio(tcpFrame(t, 9), 2|4|8, 0, 77, 78, 79))
	if !bytes.Equal(p.Raw[:VirtioLen], make([]byte, VirtioLen)) {
		t.Errorf("%x", p.Raw[:VirtioLen])
	}
}

// RFC 792: the pointer is to the octet where the error was found.
func TestDecodePointsAtTheOption(t *testing.T) {
	rows := []struct {
		name    string
		options []byte
		at      uint8
		ports   bool // layer 4 is read
	}{
		{"a length of 0", []byte{7, 0, 4, 0}, 21, true},
		{"a length of 1", []byte{7, 1, 1, 0}, 21, true},
		{"a length over the header's end", []byte{1, 7, 4, 4}, 22, true},
		{"no length", []byte{1, 1, 1, 7}, 23, true},
		{"no length at the end of the longest header", append(bytes.Repeat([]byte{1}, 39), 148), 59, true},
		{"the second of two", []byte{148, 4, 0, 0, 148, 255, 0, 0}, 25, true},
		{"behind a source route there is none", []byte{131, 3, 4, 0, 7, 0, 0, 0}, 0, false},
		{"all is well", []byte{148, 4, 0, 0}, 0, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			raw := udpFrame(t, 100)
			raw = append(raw[:ipAt+20:ipAt+20], append(bytes.Clone(row.options), raw[ipAt+20:]...)...)
			raw = with(raw, func(_, ip []byte) { ip[0] = 0x45 + byte(len(row.options)/4); put16(ip[2:], uint16(len(ip))) })
			var p Packet
			r := p.Decode(raw)
			if p.BadOption != row.at || (r == Malformed) != (row.at != 0) {
				t.Errorf("%v, octet %d", r, p.BadOption)
			}
			if read := p.HeaderLen == 20+len(row.options)+udpLen && p.Src != 0 && p.DstPort != 0; read != row.ports {
				t.Errorf("layer 4 is read: %v", read)
			}
		})
	}
}

// Hardware that merges packets may leave any checksum and no NEEDS_CSUM.
func TestDecodeMakesEverySuperPacketPartial(t *testing.T) {
	for _, raw := range [][]byte{superTCP(t, 5000, 1000), superUDP(t, 5000, 1000)} {
		want := decode(t, bytes.Clone(raw))
		at := want.L4 + want.checksumOffset()
		raw[0] = 2
		put16(raw[at:], 0x1234)
		p := decode(t, raw)
		if !p.Partial() || !bytes.Equal(p.Raw, want.Raw) {
			t.Errorf("protocol %d: checksum %x, want %x", p.Proto, p.Raw[at:at+2], want.Raw[at:at+2])
		}
	}
}

func TestSegmentsAreCounted(t *testing.T) {
	rows := []struct {
		name                 string
		raw                  []byte
		segments, size, wire int
	}{
		{"a plain packet is one", tcpFrame(t, 3000), 1, 0, 3040},
		{"a last segment that is full", offload(t, tcpFrame(t, 2896), gsoTCPv4, 1448), 2, 1448, 2896 + 80},
		{"a last segment of a byte", offload(t, tcpFrame(t, 2897), gsoTCPv4, 1448), 3, 1448, 2897 + 120},
		{"one segment is no super-packet", offload(t, tcpFrame(t, 1448), gsoTCPv4, 1448), 1, 0, 1488},
		{"none neither", offload(t, tcpFrame(t, 0), gsoTCPv4, 1448), 1, 0, 40},
		{"small segments are billed with each header", offload(t, tcpFrame(t, 65160), gsoTCPv4, 536), 122, 536, 65160 + 122*40},
		{"UDP", offload(t, udpFrame(t, 2500), gsoUDP, 1000), 3, 1000, 2500 + 3*28},
		{"the smallest size", offload(t, udpFrame(t, 1000), gsoUDP, 1), 1000, 1, 1000 + 1000*28},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := decode(t, row.raw)
			if p.Segments != row.segments || p.SegmentSize != row.size || p.WireLen != row.wire {
				t.Errorf("%d segments of %d, %d bytes", p.Segments, p.SegmentSize, p.WireLen)
			}
		})
	}
}
