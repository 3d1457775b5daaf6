package packet

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var (
	clientIP6 = net.ParseIP("2001:db8::5")
	serverIP6 = net.ParseIP("2001:db8:ffff::1")
)

func ethernet6() *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: clientMAC, DstMAC: lanMAC, EthernetType: layers.EthernetTypeIPv6}
}

func ipv6(proto layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, TrafficClass: 0xb8, FlowLabel: 0xabcde, HopLimit: 64, NextHeader: proto, SrcIP: clientIP6, DstIP: serverIP6,
	}
}

func tcp6Frame(t testing.TB, payload int) []byte {
	return serialize(t, ethernet6(), ipv6(layers.IPProtocolTCP), tcp(), gopacket.Payload(text(payload)))
}

func udp6Frame(t testing.TB, payload int) []byte {
	return serialize(t, ethernet6(), ipv6(layers.IPProtocolUDP),
		&layers.UDP{SrcPort: 5000, DstPort: 4000}, gopacket.Payload(text(payload)))
}

// icmp6Frame is ICMPv6 with the identifier 77 where it has one.
func icmp6Frame(t testing.TB, icmpType uint8, payload int) []byte {
	return serialize(t, ethernet6(), ipv6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(icmpType, 0)},
		gopacket.Payload(append([]byte{0, 77, 0, 1}, text(payload)...)))
}

func superTCP6(t testing.TB, payload, size int) []byte {
	l4 := tcp()
	l4.FIN, l4.PSH, l4.CWR, l4.ECE = true, true, true, true
	l4.Options = timestamps()
	raw := serialize(t, ethernet6(), ipv6(layers.IPProtocolTCP), l4, gopacket.Payload(text(payload)))
	return offload(t, raw, gsoTCPv6|gsoECN, size)
}

func superUDP6(t testing.TB, payload, size int) []byte {
	return offload(t, udp6Frame(t, payload), gsoUDP, size)
}

func timestamps() []layers.TCPOption {
	return []layers.TCPOption{
		{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: text(8)},
	}
}

// header is an extension header: its kind, and what follows its first octet, 7 bytes or 8 more each.
type header struct {
	kind uint8
	rest []byte
}

// options is an extension header of n bytes padded by one PadN.
func options(kind uint8, n int) header {
	rest := make([]byte, n-1)
	rest[0], rest[1], rest[2] = byte(n/8-1), 1, byte(n-4)
	return header{kind, rest}
}

// route is a routing header that leads by to, and is as long as it.
func route(kind, left uint8, to ...net.IP) header {
	rest := []byte{byte(2 * len(to)), kind, left, 0, 0, 0, 0}
	for _, ip := range to {
		rest = append(rest, ip...)
	}
	return header{routing, rest}
}

// part is a fragment header.
func part(offset uint16, more bool) header {
	word := offset
	if more {
		word |= 1
	}
	return header{fragment, append(binary.BigEndian.AppendUint16([]byte{0}, word), 0xde, 0xad, 0xbe, 0xef)}
}

// extended puts headers in front of what an IPv6 frame carries.
func extended(raw []byte, headers ...header) []byte {
	raw = bytes.Clone(raw)
	chain, next := []byte(nil), &raw[ipAt+6]
	last := *next
	for i, h := range headers {
		if i == 0 {
			*next = h.kind
		}
		following := last
		if i+1 < len(headers) {
			following = headers[i+1].kind
		}
		chain = append(append(chain, following), h.rest...)
	}
	put16(raw[ipAt+4:], get16(raw[ipAt+4:])+uint16(len(chain)))
	moved(raw, len(chain))
	return append(raw[:ipAt+40:ipAt+40], append(chain, raw[ipAt+40:]...)...)
}

// vlan puts a tag in front of a frame's EtherType.
func vlan(raw []byte, etherType, tci uint16) []byte {
	raw = bytes.Clone(raw)
	moved(raw, 4)
	tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, etherType), tci)
	return append(raw[:VirtioLen+12:VirtioLen+12], append(tag, raw[VirtioLen+12:]...)...)
}

// moved says in the virtio header that layer 4 is n bytes further back.
func moved(raw []byte, n int) {
	if raw[0]&1 != 0 {
		binary.LittleEndian.PutUint16(raw[6:], binary.LittleEndian.Uint16(raw[6:])+uint16(n))
	}
}

// dresses are what may be in front of an IPv4 or IPv6 packet's layer 4 and layer 3.
var dresses = []struct {
	name string
	six  bool // IPv6 only
	on   func([]byte) []byte
}{
	{"", false, bytes.Clone},
	{"in a VLAN", false, func(raw []byte) []byte { return vlan(raw, EtherTypeVLAN, 0x6064) }},
	{"in a provider's VLAN 0", false, func(raw []byte) []byte { return vlan(raw, EtherTypeQinQ, 0) }},
	{"with extension headers", true, func(raw []byte) []byte {
		return extended(raw, options(hopByHop, 8), options(destination, 24), part(0, false))
	}},
	{"with a routing header that has arrived", true, func(raw []byte) []byte { return extended(raw, route(segmentRouting, 0, clientIP6)) }},
	{"on its way by a segment list", true, func(raw []byte) []byte {
		raw = extended(raw, route(segmentRouting, 1, raw[ipAt+24:ipAt+40], net.ParseIP("2001:db8::99")))
		copy(raw[ipAt+24:], net.ParseIP("2001:db8::99"))
		return raw
	}},
	{"with the longest headers, in a VLAN", true, func(raw []byte) []byte { return vlan(extended(raw, options(destination, 128)), EtherTypeVLAN, 1) }},
}

// dressed are frames, each in the same dress.
func dressed(frames [][]byte, on func([]byte) []byte) (all [][]byte) {
	for _, raw := range frames {
		all = append(all, on(raw))
	}
	return all
}

// bare is a wire packet without VLAN tag and extension headers, addressed to where a routing header has it end.
func bare(t testing.TB, raw []byte) []byte {
	t.Helper()
	p := decode(t, bytes.Clone(raw))
	out := append(bytes.Clone(raw[:VirtioLen+12]), byte(p.EtherType>>8), byte(p.EtherType))
	if p.Version != 6 {
		return append(out, raw[p.L3:len(p.Raw)]...)
	}
	ip := bytes.Clone(raw[p.L3 : p.L3+40])
	put16(ip[4:], uint16(len(p.Raw)-p.L4))
	ip[6] = p.Proto
	for next, at := raw[p.L3+6], p.L3+40; at < p.L4; {
		if next == routing && raw[at+3] != 0 {
			copy(ip[24:], raw[at+8:at+24])
		}
		n := 8
		if next != fragment {
			n += int(raw[at+1]) * 8
		}
		next, at = raw[at], at+n
	}
	return append(append(out, ip...), raw[p.L4:len(p.Raw)]...)
}

// wirePacket is finished for a packet with whatever is in front of its layers 3 and 4.
func wirePacket(t testing.TB, raw []byte) {
	t.Helper()
	finished(t, bare(t, raw))
}
