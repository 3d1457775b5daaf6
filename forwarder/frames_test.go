package forwarder

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/packet"
)

// flow is one side of a conversation, as it stands in a frame.
type flow struct {
	srcMAC, dstMAC   uint64
	src, dst         uint32
	srcPort, dstPort uint16
	ttl              uint8
	dont             bool
	id               uint16
	tos              uint8
}

var (
	// alice speaks to the server.
	aliceUp = flow{srcMAC: aliceMAC, dstMAC: lanMAC, src: aliceIP, dst: serverIP, srcPort: 5000, dstPort: 443, ttl: 64, id: 100}
	bobUp   = flow{srcMAC: bobMAC, dstMAC: lanMAC, src: bobIP, dst: serverIP, srcPort: 5000, dstPort: 443, ttl: 64, id: 100}
	// boxUp is the box's own traffic.
	boxUp = flow{srcMAC: lanMAC, dstMAC: lanMAC, src: lanIP, dst: serverIP, srcPort: 6000, dstPort: 53, ttl: 64, id: 100}
)

// back is the answer to a packet that left the WAN as p.
func back(p *seen) flow {
	r := flow{srcMAC: routerMAC, dstMAC: wanMAC, src: be32(p.ip.DstIP.To4()), dst: be32(p.ip.SrcIP.To4()), ttl: 60, id: 500}
	r.srcPort, r.dstPort = p.dstPort, p.srcPort
	return r
}

func (w flow) ethernet() *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: unpackMAC(w.srcMAC), DstMAC: unpackMAC(w.dstMAC), EthernetType: layers.EthernetTypeIPv4}
}

func (w flow) ip(proto layers.IPProtocol) *layers.IPv4 {
	ip := &layers.IPv4{Version: 4, TOS: w.tos, TTL: w.ttl, Id: w.id, Protocol: proto, SrcIP: unpackIP(w.src), DstIP: unpackIP(w.dst)}
	if w.dont {
		ip.Flags = layers.IPv4DontFragment
	}
	return ip
}

func (w flow) udp(payload int) []byte {
	return serialize(w.ethernet(), w.ip(layers.IPProtocolUDP),
		&layers.UDP{SrcPort: layers.UDPPort(w.srcPort), DstPort: layers.UDPPort(w.dstPort)}, gopacket.Payload(text(payload)))
}

func (w flow) tcpHeader() *layers.TCP {
	return &layers.TCP{SrcPort: layers.TCPPort(w.srcPort), DstPort: layers.TCPPort(w.dstPort), Seq: 1000, Ack: 2000, Window: 500}
}

func (w flow) tcp(payload int) []byte {
	h := w.tcpHeader()
	h.ACK = true
	return serialize(w.ethernet(), w.ip(layers.IPProtocolTCP), h, gopacket.Payload(text(payload)))
}

func (w flow) syn(ack bool, mss uint16) []byte {
	h := w.tcpHeader()
	h.SYN, h.ACK = true, ack
	h.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: binary.BigEndian.AppendUint16(nil, mss)}}
	return serialize(w.ethernet(), w.ip(layers.IPProtocolTCP), h)
}

func (w flow) echo(request bool, payload int) []byte {
	code := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0)
	if request {
		code = layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0)
	}
	return serialize(w.ethernet(), w.ip(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: code, Id: w.srcPort, Seq: 1}, gopacket.Payload(text(payload)))
}

// icmpError is an error about the packet quoted.
func (w flow) icmpError(icmpType, code uint8, mtu uint16, quoted []byte) []byte {
	return serialize(w.ethernet(), w.ip(layers.IPProtocolICMPv4),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(icmpType, code), Seq: mtu}, gopacket.Payload(quoted))
}

// tcpSuper and udpSuper are super-packets as a kernel hands them over.
func (w flow) tcpSuper(payload, size int) []byte { return offload(w.tcp(payload), 1, size) }
func (w flow) udpSuper(payload, size int) []byte { return offload(w.udp(payload), 5, size) }

// fragments cuts an IPv4 frame in pieces of n payload bytes, by definition.
func fragmentsOf(raw []byte, n int) (pieces [][]byte) {
	const l3 = packet.VirtioLen + packet.EthernetLen
	body := raw[l3+20:]
	for at := 0; at < len(body); at += n {
		end := min(at+n, len(body))
		p := append(append([]byte(nil), raw[:l3+20]...), body[at:end]...)
		word := uint16(at / 8)
		if end < len(body) {
			word |= 0x2000
		}
		ip := p[l3:]
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[6:], word)
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], ^naiveSum(ip[:20]))
		pieces = append(pieces, p)
	}
	return pieces
}

type arp struct {
	from, to  uint64 // Ethernet
	op        uint16
	mac       uint64
	ip        uint32
	targetMAC uint64
	target    uint32
}

func (a arp) raw() []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: unpackMAC(a.from), DstMAC: unpackMAC(a.to), EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: a.op,
			SourceHwAddress: unpackMAC(a.mac), SourceProtAddress: unpackIP(a.ip), DstHwAddress: unpackMAC(a.targetMAC), DstProtAddress: unpackIP(a.target)})
}

// serialize puts an empty virtio header in front of layers built by gopacket.
func serialize(l ...gopacket.SerializableLayer) []byte {
	var ip gopacket.NetworkLayer
	for _, layer := range l {
		switch layer := layer.(type) {
		case *layers.IPv4:
			ip = layer
		case *layers.IPv6:
			ip = layer
		case *layers.TCP:
			_ = layer.SetNetworkLayerForChecksum(ip)
		case *layers.UDP:
			_ = layer.SetNetworkLayerForChecksum(ip)
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic(err)
	}
	return append(make([]byte, packet.VirtioLen), b.Bytes()...)
}

// offload leaves a frame's checksum, and its segmentation, to hardware.
func offload(raw []byte, gsoType uint8, size int) []byte {
	const l3, l4 = packet.VirtioLen + packet.EthernetLen, packet.VirtioLen + packet.EthernetLen + 20
	ip := raw[l3 : l3+int(binary.BigEndian.Uint16(raw[l3+2:]))]
	raw = raw[:l3+len(ip)]
	offset := map[byte]int{6: 16, 17: 6}[ip[9]]
	raw[0], raw[1] = 1, gsoType
	binary.LittleEndian.PutUint16(raw[4:], uint16(size))
	binary.LittleEndian.PutUint16(raw[6:], l4-packet.VirtioLen)
	binary.LittleEndian.PutUint16(raw[8:], uint16(offset))
	binary.BigEndian.PutUint16(raw[l4+offset:], naiveSum(pseudo(ip, len(ip)-20)))
	return raw
}

func pseudo(ip []byte, length int) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte{}, ip[12:20]...), 0, ip[9]), uint16(length))
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

// text is n bytes that differ from their neighbours.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func isARP(raw []byte) bool { return raw[22] == 8 && raw[23] == 6 }

// wirePackets does what hardware does with a frame: layer 3 packets, complete.
func wirePackets(t testing.TB, raw []byte) [][]byte {
	t.Helper()
	const l3 = packet.VirtioLen + packet.EthernetLen
	ip := append([]byte(nil), raw[l3:]...)
	if raw[0]&1 == 0 {
		return [][]byte{ip}
	}
	head := int(ip[0]&15) * 4
	if got := int(binary.LittleEndian.Uint16(raw[6:])); got != head+packet.EthernetLen {
		t.Fatalf("csum_start %d: %x", got, raw)
	}
	offset := head + int(binary.LittleEndian.Uint16(raw[8:]))
	whole, size := head+8, int(binary.LittleEndian.Uint16(raw[4:]))
	if ip[9] == 6 {
		whole = head + int(ip[head+12]>>4)*4
	}
	if raw[1] == 0 {
		size = len(ip)
	}
	var packets [][]byte
	for at := whole; at < len(ip) || at == whole; at += size {
		end := min(at+size, len(ip))
		p := append(append([]byte(nil), ip[:whole]...), ip[at:end]...)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[4:], binary.BigEndian.Uint16(ip[4:])+uint16(len(packets)))
		binary.BigEndian.PutUint16(p[10:], 0)
		binary.BigEndian.PutUint16(p[10:], ^naiveSum(p[:head]))
		if ip[9] == 6 {
			binary.BigEndian.PutUint32(p[head+4:], binary.BigEndian.Uint32(ip[head+4:])+uint32(at-whole))
			if end < len(ip) {
				p[head+13] &^= 0x09
			}
		} else {
			binary.BigEndian.PutUint16(p[head+4:], uint16(len(p)-head))
		}
		binary.BigEndian.PutUint16(p[offset:], 0)
		binary.BigEndian.PutUint16(p[offset:], ^naiveSum(append(pseudo(p, len(p)-head), p[head:]...)))
		packets = append(packets, p)
	}
	return packets
}

// partialSum verifies what a frame says of a checksum that is left to hardware.
func partialSum(t testing.TB, raw []byte) {
	t.Helper()
	if raw[0]&1 == 0 {
		return
	}
	ip := raw[packet.VirtioLen+packet.EthernetLen:]
	head := int(ip[0]&15) * 4
	offset := head + int(binary.LittleEndian.Uint16(raw[8:]))
	if got, want := binary.BigEndian.Uint16(ip[offset:]), naiveSum(pseudo(ip, len(ip)-head)); got != want {
		t.Fatalf("partial checksum %#x, want %#x: %x", got, want, raw)
	}
}

// seen is a packet on the wire, as gopacket reads it.
type seen struct {
	raw              []byte // the frame it came in
	srcMAC, dstMAC   uint64
	arp              *layers.ARP
	ip               *layers.IPv4
	tcp              *layers.TCP
	udp              *layers.UDP
	icmp             *layers.ICMPv4
	srcPort, dstPort uint16
	payload          []byte
	packet           []byte // layer 3
}

func (s *seen) String() string {
	if s.arp != nil {
		return fmt.Sprintf("arp %d %v is %v for %v", s.arp.Operation, net.IP(s.arp.SourceProtAddress), net.HardwareAddr(s.arp.SourceHwAddress), net.IP(s.arp.DstProtAddress))
	}
	return fmt.Sprintf("%v %v:%d to %v:%d, %d bytes", s.ip.Protocol, s.ip.SrcIP, s.srcPort, s.ip.DstIP, s.dstPort, len(s.packet))
}

// look decodes a frame and verifies every checksum in it.
func look(t testing.TB, raw []byte) (all []*seen) {
	t.Helper()
	dst, src := packet.MAC(raw[packet.VirtioLen:]), packet.MAC(raw[packet.VirtioLen+6:])
	if isARP(raw) {
		p := gopacket.NewPacket(raw[packet.VirtioLen:], layers.LayerTypeEthernet, gopacket.Default)
		a, _ := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if a == nil {
			t.Fatalf("no ARP: %x", raw)
		}
		return []*seen{{raw: raw, srcMAC: src, dstMAC: dst, arp: a}}
	}
	partialSum(t, raw)
	for _, b := range wirePackets(t, raw) {
		s := &seen{raw: raw, srcMAC: src, dstMAC: dst, packet: b}
		s.ip = new(layers.IPv4)
		if err := s.ip.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
			t.Fatalf("gopacket: %v: %x", err, b)
		}
		if head := int(b[0]&15) * 4; naiveSum(b[:head]) != 0xffff {
			t.Fatalf("IPv4 checksum: %x", b)
		}
		s.payload = s.ip.Payload
		if s.ip.FragOffset == 0 {
			s.transport(t)
		}
		all = append(all, s)
	}
	return all
}

func (s *seen) transport(t testing.TB) {
	t.Helper()
	b := s.ip.Payload
	whole := s.ip.Flags&layers.IPv4MoreFragments == 0
	valid := func(sum uint16) {
		if whole && sum != 0xffff {
			t.Fatalf("checksum of %v: %x", s.ip.Protocol, s.packet)
		}
	}
	var err error
	switch s.ip.Protocol {
	case layers.IPProtocolTCP:
		s.tcp = new(layers.TCP)
		err = s.tcp.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
		s.srcPort, s.dstPort, s.payload = uint16(s.tcp.SrcPort), uint16(s.tcp.DstPort), s.tcp.Payload
		valid(naiveSum(append(pseudo(s.packet, len(b)), b...)))
	case layers.IPProtocolUDP:
		s.udp = new(layers.UDP)
		err = s.udp.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
		s.srcPort, s.dstPort, s.payload = uint16(s.udp.SrcPort), uint16(s.udp.DstPort), s.udp.Payload
		if s.udp.Checksum != 0 {
			valid(naiveSum(append(pseudo(s.packet, len(b)), b...)))
		}
	case layers.IPProtocolICMPv4:
		s.icmp = new(layers.ICMPv4)
		err = s.icmp.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
		s.srcPort, s.dstPort, s.payload = s.icmp.Id, s.icmp.Id, s.icmp.Payload
		valid(naiveSum(b))
	}
	if err != nil {
		t.Fatalf("gopacket: %v: %x", err, s.packet)
	}
}

func payload(n int) gopacket.Payload { return gopacket.Payload(text(n)) }
