package packet

import (
	"bytes"
	"net"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// changed is a copy of a frame with other bytes in its IPv6 packet.
func changed(raw []byte, change func(ip []byte)) []byte {
	raw = bytes.Clone(raw)
	change(raw[ipAt:])
	return raw
}

func TestDecodeJudgesIPv6(t *testing.T) {
	tcpRaw, udpRaw, pingRaw := tcp6Frame(t, 3000), udp6Frame(t, 3000), icmp6Frame(t, EchoRequest6, 3000)
	claims := func(raw []byte, n int) []byte { return changed(raw, func(ip []byte) { put16(ip[4:], uint16(n)) }) }
	bare := func(next uint8, n int) []byte { // an IPv6 header, and n bytes that are no header
		raw := claims(append(bytes.Clone(tcpRaw[:ipAt+40]), text(n)...), n)
		raw[ipAt+6] = next
		return raw
	}
	many := func(n int) []byte { return extended(udpRaw, slices.Repeat([]header{options(destination, 8)}, n)...) }
	fragmentOf := func(n int, offset uint16, more bool) []byte {
		return extended(claims(udpRaw[:ipAt+40+n], n), part(offset, more))
	}
	home := net.ParseIP("2001:db8::77")
	rows := []struct {
		name string
		raw  []byte
		want Reason
	}{
		{"TCP", tcpRaw, Kept},
		{"UDP", udpRaw, Kept},
		{"ICMPv6", pingRaw, Kept},
		{"Ethernet alone", tcpRaw[:ipAt], Malformed},
		{"a frame cut in the header", tcpRaw[:ipAt+39], Malformed},
		{"version 4", changed(tcpRaw, func(ip []byte) { ip[0] = 0x45 }), Malformed},
		{"a payload length one over the frame's", claims(tcpRaw, 3021), Malformed},
		{"the largest payload length", claims(tcpRaw, 65535), Malformed},
		{"nothing behind the header", bare(59, 0), Kept},
		{"bytes behind no next header", bare(59, 9), Kept},
		{"a protocol that is not read", bare(47, 1), Kept},
		{"a protocol that is not read, without a byte", bare(132, 0), Kept},
		{"ICMP of IPv4 without a byte", bare(ICMP, 0), Kept},
		{"a TCP header cut short", bare(TCP, 19), Malformed},
		{"no TCP header", bare(TCP, 0), Malformed},
		{"a UDP header cut short", bare(UDP, 7), Malformed},
		{"a UDP length one over the packet's", changed(udpRaw, func(ip []byte) { put16(ip[44:], 3009) }), Malformed},
		{"a UDP length of 0, a jumbogram's", changed(udpRaw, func(ip []byte) { put16(ip[44:], 0) }), Malformed},
		{"a UDP length below the packet's", changed(udpRaw, func(ip []byte) { put16(ip[44:], 100) }), Kept},
		{"an ICMPv6 header cut short", bare(ICMPv6, 7), Malformed},

		{"hop-by-hop options", extended(tcpRaw, options(hopByHop, 8)), Kept},
		{"all extension headers", extended(tcpRaw, options(hopByHop, 8), options(destination, 16), route(homeAddress, 1, home),
			part(0, false), options(destination, 2048)), Kept},
		{"8 extension headers", many(8), Kept},
		{"9 extension headers", many(9), Malformed},
		{"8 extension headers and no next one", extended(bare(59, 0), slices.Repeat([]header{options(destination, 8)}, 8)...), Kept},
		{"hop-by-hop options that are not the first", extended(tcpRaw, options(destination, 8), options(hopByHop, 8)), Malformed},
		{"hop-by-hop options twice", extended(tcpRaw, options(hopByHop, 8), options(hopByHop, 8)), Malformed},
		{"a jumbogram", claims(extended(tcpRaw, options(hopByHop, 8)), 0), Malformed},
		{"an extension header cut short", extended(bare(59, 0), options(destination, 8))[:ipAt+47], Malformed},
		{"an extension header of 7 bytes", bare(destination, 7), Malformed},
		{"an extension header one unit over the end", changed(extended(bare(59, 0), options(destination, 8)), func(ip []byte) { ip[41] = 1 }), Malformed},
		{"an extension header up to the end", extended(bare(59, 0), options(destination, 16)), Kept},
		{"what is behind an authentication header is not read", bare(51, 3), Kept},
		{"a routing header of type 0", extended(tcpRaw, route(sourceRoute, 1, home)), SourceRouted},
		{"a routing header of type 0 that has arrived", extended(tcpRaw, route(sourceRoute, 0, home)), SourceRouted},
		{"a routing header of type 0 behind others", extended(tcpRaw, options(hopByHop, 8), options(destination, 8), route(sourceRoute, 0)), SourceRouted},
		{"a segment list", extended(tcpRaw, route(segmentRouting, 2, home, home, home)), Kept},
		{"a segment list without an address", extended(tcpRaw, route(segmentRouting, 1)), Malformed},
		{"a home address without one", extended(tcpRaw, route(homeAddress, 1)), Malformed},
		{"a routing header of type 3", extended(tcpRaw, route(3, 1, home)), Kept},
		{"a routing header without segments left or addresses", extended(tcpRaw, route(segmentRouting, 0)), Kept},

		{"a first fragment", fragmentOf(1448, 0, true), Kept},
		{"a first fragment that is no multiple of 8", fragmentOf(1447, 0, true), Malformed},
		{"a last fragment that is none", fragmentOf(1447, 1448, false), Kept},
		{"an atomic fragment that is none (RFC 6946)", extended(udpRaw, part(0, false)), Kept},
		{"a first fragment without its UDP header (RFC 7112)", extended(bare(UDP, 0), part(0, true)), Malformed},
		{"a first fragment without the whole chain (RFC 7112)", extended(bare(destination, 0), part(0, true)), Malformed},
		{"a fragment that ends at 65535", fragmentOf(7, 65528, false), Kept},
		{"a fragment that ends at 65536", fragmentOf(8, 65528, false), Malformed},
		{"a fragment that ends at 65535 with what is in each", extended(fragmentOf(7, 65520, false), options(destination, 8)), Kept},
		{"a fragment that ends at 65536 with what is in each", extended(fragmentOf(8, 65520, false), options(destination, 8)), Malformed},
		{"a TCP fragment over the header", extended(bare(TCP, 64), part(16, false)), Malformed},
		{"a TCP fragment behind the header", extended(bare(TCP, 64), part(24, false)), Kept},
		{"a fragment header in a fragment", extended(udpRaw, part(0, true), part(0, false)), Malformed},
		{"an extension header in a later fragment is not read", extended(bare(destination, 1), part(8, false)), Kept},

		{"a partial TCP checksum", virtio(tcpRaw, 1, 0, 0, 54, 16), Kept},
		{"a partial UDP checksum", virtio(udpRaw, 1, 0, 0, 54, 6), Kept},
		{"a partial checksum behind an extension header", extended(virtio(tcpRaw, 1, 0, 0, 54, 16), options(destination, 16)), Kept},
		{"a partial checksum that starts at the extension header", virtio(extended(tcpRaw, options(destination, 16)), 1, 0, 0, 54, 16), Malformed},
		{"a partial checksum of ICMPv6", virtio(pingRaw, 1, 0, 0, 54, 2), Malformed},
		{"a partial checksum of a fragment", virtio(fragmentOf(1448, 0, true), 1, 0, 0, 62, 6), Malformed},
		{"TCP segments", virtio(tcpRaw, 1, gsoTCPv6, 1428, 54, 16), Kept},
		{"TCP segments with CWR on the first", virtio(tcpRaw, 1, gsoTCPv6|gsoECN, 1428, 54, 16), Kept},
		{"TCP over IPv4 segments", virtio(tcpRaw, 1, gsoTCPv4, 1428, 54, 16), Malformed},
		{"UDP segments", virtio(udpRaw, 1, gsoUDP, 1000, 54, 6), Kept},
		{"UDP segments of TCP", virtio(tcpRaw, 1, gsoUDP, 1000, 54, 16), Malformed},
		{"TCP segments of UDP", virtio(udpRaw, 1, gsoTCPv6, 1000, 54, 6), Malformed},
		{"TCP segments of ICMPv6", virtio(pingRaw, 0, gsoTCPv6, 1000, 0, 0), Malformed},
		{"segments of a SYN", virtio(changed(tcpRaw, func(ip []byte) { ip[53] = SYN }), 1, gsoTCPv6, 1000, 54, 16), Malformed},
		{"segments of a fragment", virtio(extended(tcpRaw, part(0, true)), 1, gsoTCPv6, 1000, 62, 16), Malformed},
		{"segments on their way by a segment list", extended(virtio(tcpRaw, 1, gsoTCPv6, 1000, 54, 16), route(segmentRouting, 1, home)), Kept},
		{"segments with a sum over nobody knows what", extended(virtio(tcpRaw, 1, gsoTCPv6, 1000, 54, 16), route(3, 1, home)), Malformed},
		{"segments that have arrived where nobody knows", extended(virtio(tcpRaw, 1, gsoTCPv6, 1000, 54, 16), route(3, 0, home)), Kept},
		{"segments with long headers", extended(virtio(tcpRaw, 1, gsoTCPv6, 1000, 54, 16), options(destination, 168)), Kept},
		{"segments with longer headers", extended(virtio(tcpRaw, 1, gsoTCPv6, 1000, 54, 16), options(destination, 176)), Malformed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var p Packet
			if got := p.Decode(bytes.Clone(row.raw)); got != row.want {
				t.Errorf("%v, want %v", got, row.want)
			}
			if got := p.Decode(vlan(row.raw, EtherTypeVLAN, 5)); got != row.want {
				t.Errorf("in a VLAN %v, want %v", got, row.want)
			}
		})
	}
}

func TestDecodeReadsIPv6(t *testing.T) {
	l4 := tcp()
	l4.SYN, l4.ECE, l4.CWR = true, true, true
	l4.Options = []layers.TCPOption{
		{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xa0}},
		{OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}},
	}
	plain := serialize(t, ethernet6(), ipv6(layers.IPProtocolTCP), l4, gopacket.Payload(text(10)))
	raw := vlan(extended(plain, options(hopByHop, 8), part(0, false)), EtherTypeQinQ, 0xe123)
	p := decode(t, append(bytes.Clone(raw), text(6)...))
	want := Packet{
		L3: 28, L4: 84, Payload: 112, Len: 94, HeaderLen: 84, WireLen: 94, Segments: 1,
		SrcMAC: 0x020000000005, DstMAC: 0x020000000001, EtherType: EtherTypeIPv6, VLAN: 0xe123, Tagged: true,
		Version: 6, addresses: ^Checksum(slices.Concat(clientIP6, serverIP6), 0), Proto: TCP, TTL: 64, SrcPort: 40000, DstPort: 443, DontFragment: true,
		Flags: SYN | ACK | ECE | CWR, Seq: 0xfffffff0, Ack: 7, Window: 500, WScale: 7,
	}
	if !same(p, &want) {
		t.Errorf("\n got %+v\nwant %+v", *p, want)
	}
	if !bytes.Equal(p.Raw, raw) {
		t.Error("padding is left")
	}
	if src, dst := p.Src6(), p.Dst6(); !bytes.Equal(src[:], clientIP6) || !bytes.Equal(dst[:], serverIP6) {
		t.Errorf("from %x to %x", src, dst)
	}
	p.ClampMSS(1420)
	wirePacket(t, p.Raw)
	if at := p.tcpOption(optionMSS, 4); get16(p.Raw[at+2:]) != 1420 {
		t.Error("MSS")
	}

	p = decode(t, extended(udp6Frame(t, 96), options(destination, 8), part(1448, true)))
	if p.Proto != UDP || p.FragOffset != 1448 || !p.MoreFragments || !p.IsFragment() || p.HasPorts() || p.SrcPort != 0 || p.L4 != ipAt+56 || p.HeaderLen != 56 {
		t.Errorf("a later fragment: %+v", *p)
	}
	p = decode(t, extended(udp6Frame(t, 96), part(0, true)))
	if !p.IsFragment() || !p.HasPorts() || p.DstPort != 4000 || !p.ValidChecksum() {
		t.Errorf("a first fragment: %+v", *p)
	}
	p = decode(t, extended(udp6Frame(t, 96), part(0, false)))
	if p.IsFragment() || !p.HasPorts() || !p.ValidChecksum() {
		t.Errorf("an atomic fragment: %+v", *p)
	}
}

func TestICMPv6(t *testing.T) {
	rows := []struct {
		name      string
		icmpType  uint8
		id        uint16
		isAnError bool
	}{
		{"destination unreachable", 1, 0, true},
		{"packet too big", 2, 0, true},
		{"the last of the errors", 127, 0, true},
		{"echo request", EchoRequest6, 77, false},
		{"echo reply", EchoReply6, 77, false},
		{"neighbour solicitation", 135, 0, false},
		{"redirect", Redirect6, 0, true},
		{"of the type of an ICMP query", 8, 0, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := decode(t, icmp6Frame(t, row.icmpType, 60))
			if p.Proto != ICMPv6 || p.ICMPType != row.icmpType || p.SrcPort != row.id || p.DstPort != row.id ||
				p.HasPorts() != (row.id != 0) || p.IsICMPError() != row.isAnError || p.HeaderLen != 48 || !p.ValidChecksum() {
				t.Errorf("%+v", *p)
			}
			p.Raw[p.Payload]++
			if p.ValidChecksum() {
				t.Error("a wrong checksum is right")
			}
		})
	}
}

// ICMP of the other version is a protocol that is not read.
func TestICMPOfTheOtherVersion(t *testing.T) {
	six := changed(icmp6Frame(t, EchoRequest6, 60), func(ip []byte) { ip[6], ip[40] = ICMP, Unreachable })
	four := with(icmpFrame(t, EchoRequest, text(60)), func(_, ip []byte) { ip[9], ip[20] = ICMPv6, EchoRequest6 })
	for _, raw := range [][]byte{six, four} {
		p := decode(t, raw)
		if p.HasPorts() || p.IsICMPError() || p.Embedded(new(Inner)) || p.Payload != p.L4 || !p.ValidChecksum() {
			t.Errorf("%+v", *p)
		}
	}
}

// What an ICMPv6 error quotes is none of the IPv4 translation's business.
func TestAnICMPv6ErrorQuotesNothing(t *testing.T) {
	raw := serialize(t, ethernet6(), ipv6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(TimeExceeded, 0)},
		gopacket.Payload(append(make([]byte, 4), udpFrame(t, 60)[ipAt:]...)))
	p := decode(t, raw)
	p.SetEmbeddedSrc(wanIP, 1)
	p.SetEmbeddedDst(wanIP, 1)
	if !p.IsICMPError() || p.Embedded(new(Inner)) {
		t.Error("quotes")
	}
	wirePacket(t, p.Raw)
}

func TestChecksumsBehindRoutingHeaders(t *testing.T) {
	rows := []struct {
		name   string
		header header
		tells  bool // the sum is known to be wrong when it is
	}{
		{"a segment list", route(segmentRouting, 1, serverIP6, clientIP6), true},
		{"a home address", route(homeAddress, 1, serverIP6), true},
		{"of an unknown type", route(99, 1, serverIP6), false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			raw := extended(udp6Frame(t, 60), row.header)
			copy(raw[ipAt+24:], net.ParseIP("2001:db8::99")) // it has come this far
			p := decode(t, raw)
			if !p.ValidChecksum() {
				t.Error("wrong")
			}
			p.Raw[len(p.Raw)-1]++
			if p.ValidChecksum() == row.tells {
				t.Errorf("a wrong one tells: %v", !row.tells)
			}
		})
	}
}

func TestECN(t *testing.T) {
	for bits := range uint8(4) {
		four, six := ipv4(layers.IPProtocolUDP), ipv6(layers.IPProtocolUDP)
		four.TOS, six.TrafficClass = 0xb8|bits, 0xb8|bits
		for _, raw := range [][]byte{
			serialize(t, ethernet(), four, &layers.UDP{}, gopacket.Payload(text(9))),
			vlan(serialize(t, ethernet(), four, &layers.UDP{}, gopacket.Payload(text(9))), EtherTypeVLAN, 7),
			serialize(t, ethernet6(), six, &layers.UDP{}, gopacket.Payload(text(9))),
			vlan(serialize(t, ethernet6(), six, &layers.UDP{}, gopacket.Payload(text(9))), EtherTypeVLAN, 7),
		} {
			p := decode(t, raw)
			if p.ECT() != (bits != 0) {
				t.Errorf("bits %d of IPv%d: ECT is %v", bits, p.Version, p.ECT())
			}
			p.MarkCE()
			wirePacket(t, p.Raw)
			_, ip, _ := dissect(t, bare(t, p.Raw))
			switch ip := ip.(type) {
			case *layers.IPv4:
				if ip.TOS != 0xbb {
					t.Errorf("bits %d of IPv4: marked %#x", bits, ip.TOS)
				}
			case *layers.IPv6:
				if ip.TrafficClass != 0xbb || ip.FlowLabel != 0xabcde {
					t.Errorf("bits %d of IPv6: marked %#x, flow label %#x", bits, ip.TrafficClass, ip.FlowLabel)
				}
			}
		}
	}
}

func TestHosts(t *testing.T) {
	seen := map[uint64]string{}
	for name, raw := range map[string][]byte{
		"IPv4": udpFrame(t, 9), "IPv6": udp6Frame(t, 9),
		"another source":        changed(udp6Frame(t, 9), func(ip []byte) { ip[23]++ }),
		"another subnet":        changed(udp6Frame(t, 9), func(ip []byte) { ip[15]++ }),
		"another destination":   changed(udp6Frame(t, 9), func(ip []byte) { ip[24] ^= 4 }),
		"the other way":         changed(udp6Frame(t, 9), func(ip []byte) { copy(ip[8:], append(bytes.Clone(ip[24:40]), ip[8:24]...)) }),
		"the same change twice": changed(udp6Frame(t, 9), func(ip []byte) { ip[23]++; ip[39]++ }),
	} {
		h := decode(t, raw).Hosts()
		if other, known := seen[h]; known {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[h] = name
	}
	if decode(t, udp6Frame(t, 9)).Hosts() != decode(t, vlan(extended(tcp6Frame(t, 90), options(destination, 8)), EtherTypeVLAN, 7)).Hosts() {
		t.Error("one conversation's packets differ")
	}
	if decode(t, udpFrame(t, 9)).Hosts() != clientIP<<32|serverIP {
		t.Error("IPv4 addresses are mixed")
	}
}
