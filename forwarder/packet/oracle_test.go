package packet

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The oracle: gopacket builds and judges the frames of these tests, nothing here computes a checksum for it.

const (
	clientIP = 0x0a000005 // 10.0.0.5
	wanIP    = 0xcb007107 // 203.0.113.7
	serverIP = 0xc6336401 // 198.51.100.1
)

var (
	clientMAC = net.HardwareAddr{2, 0, 0, 0, 0, 5}
	lanMAC    = net.HardwareAddr{2, 0, 0, 0, 0, 1}
)

func netIP(ip uint32) net.IP {
	return net.IPv4(byte(ip>>24), byte(ip>>16), byte(ip>>8), byte(ip)).To4()
}

func ethernet() *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: clientMAC, DstMAC: lanMAC, EthernetType: layers.EthernetTypeIPv4}
}

func ipv4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Id: 0xfffe, Protocol: proto, SrcIP: netIP(clientIP), DstIP: netIP(serverIP),
	}
}

func tcp() *layers.TCP {
	return &layers.TCP{SrcPort: 40000, DstPort: 443, Seq: 0xfffffff0, Ack: 7, ACK: true, Window: 500}
}

// serialize puts an empty virtio header in front of the layers, with lengths and checksums by gopacket.
func serialize(t testing.TB, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var ip gopacket.NetworkLayer
	for _, layer := range l {
		switch layer := layer.(type) {
		case *layers.IPv4:
			ip = layer
		case *layers.IPv6:
			ip = layer
		case *layers.TCP:
			layer.SetNetworkLayerForChecksum(ip)
		case *layers.UDP:
			layer.SetNetworkLayerForChecksum(ip)
		case *layers.ICMPv6:
			layer.SetNetworkLayerForChecksum(ip)
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		t.Fatal(err)
	}
	out := b.Bytes()
	switch ip := ip.(type) { // gopacket pads to 60 bytes
	case *layers.IPv4:
		out = out[:EthernetLen+int(ip.Length)]
	case *layers.IPv6:
		out = out[:EthernetLen+ipv6Len+int(ip.Length)]
	}
	return append(make([]byte, VirtioLen), out...)
}

func tcpFrame(t testing.TB, payload int) []byte {
	return serialize(t, ethernet(), ipv4(layers.IPProtocolTCP), tcp(), gopacket.Payload(text(payload)))
}

func udpFrame(t testing.TB, payload int) []byte {
	return serialize(t, ethernet(), ipv4(layers.IPProtocolUDP),
		&layers.UDP{SrcPort: 5000, DstPort: 4000}, gopacket.Payload(text(payload)))
}

func icmpFrame(t testing.TB, icmpType uint8, payload []byte) []byte {
	return serialize(t, ethernet(), ipv4(layers.IPProtocolICMPv4),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(icmpType, 0), Id: 77, Seq: 1}, gopacket.Payload(payload))
}

// text is n bytes that differ from their neighbours.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// offload turns a finished frame into what a kernel hands over: a partial checksum, and segments if size is not 0.
func offload(t testing.TB, raw []byte, gsoType uint8, size int) []byte {
	t.Helper()
	ip := raw[VirtioLen+EthernetLen:]
	head, proto, addresses := int(ip[0]&15)*4, ip[9], ip[12:20]
	if ip[0]>>4 == 6 {
		head, proto, addresses = 40, ip[6], ip[8:40]
	}
	l4 := VirtioLen + EthernetLen + head
	offset := map[byte]int{6: 16, 17: 6}[proto]
	raw[0] = 1
	raw[1] = gsoType
	binary.LittleEndian.PutUint16(raw[2:], 0xffff) // hdr_len is not trusted
	binary.LittleEndian.PutUint16(raw[4:], uint16(size))
	binary.LittleEndian.PutUint16(raw[6:], uint16(l4-VirtioLen))
	binary.LittleEndian.PutUint16(raw[8:], uint16(offset))
	pseudo := append(bytes.Clone(addresses), 0, proto)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(raw)-l4))
	binary.BigEndian.PutUint16(raw[l4+offset:], naiveSum(pseudo))
	return raw
}

// naiveSum is the definition in RFC 1071, word by word.
func naiveSum(b []byte) uint16 {
	var s uint32
	for i, v := range b {
		if i%2 == 0 {
			s += uint32(v) << 8
		} else {
			s += uint32(v)
		}
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func decode(t testing.TB, raw []byte) *Packet {
	t.Helper()
	p := new(Packet)
	if r := p.Decode(raw); r != Kept {
		t.Fatalf("Decode: %v\n%x", r, raw)
	}
	return p
}

// network is a layer 3 of gopacket's.
type network interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

// take has gopacket read a layer.
func take(t testing.TB, layer gopacket.DecodingLayer, b []byte) {
	t.Helper()
	if err := layer.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		t.Fatalf("gopacket: %v\n%x", err, b)
	}
}

// dissect has gopacket read a frame as far as layer 3, of either version.
func dissect(t testing.TB, raw []byte) (eth *layers.Ethernet, ip network, proto layers.IPProtocol) {
	t.Helper()
	eth = new(layers.Ethernet)
	take(t, eth, raw[VirtioLen:])
	if eth.EthernetType == layers.EthernetTypeIPv6 {
		six := new(layers.IPv6)
		take(t, six, eth.Payload)
		return eth, six, six.NextHeader
	}
	four := new(layers.IPv4)
	take(t, four, eth.Payload)
	return eth, four, four.Protocol
}

// reserialize has gopacket take raw apart and build it again with fresh lengths and checksums.
func reserialize(t testing.TB, raw []byte) []byte {
	t.Helper()
	eth, ip, proto := dissect(t, raw)
	var l interface {
		gopacket.DecodingLayer
		gopacket.SerializableLayer
	}
	switch proto {
	case layers.IPProtocolTCP:
		l = new(layers.TCP)
	case layers.IPProtocolUDP:
		l = new(layers.UDP)
	case layers.IPProtocolICMPv4:
		l = new(layers.ICMPv4)
	case layers.IPProtocolICMPv6:
		l = new(layers.ICMPv6)
	default:
		return serialize(t, eth, ip, gopacket.Payload(ip.LayerPayload()))
	}
	take(t, l, ip.LayerPayload())
	return serialize(t, eth, ip, l, gopacket.Payload(l.LayerPayload()))
}

// finished fails unless raw is a complete wire packet whose checksums and lengths gopacket would write too.
func finished(t testing.TB, raw []byte) {
	t.Helper()
	if !bytes.Equal(raw[:VirtioLen], make([]byte, VirtioLen)) {
		t.Fatalf("virtio header of a finished packet: %x", raw[:VirtioLen])
	}
	if want := reserialize(t, raw); !bytes.Equal(raw, want) {
		t.Fatalf("gopacket disagrees\n got %x\nwant %x", raw, want)
	}
}
