package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// vnetHeader is the length of the legacy struct virtio_net_hdr that the kernel
// puts before each captured frame; it says into how many wire packets a
// super-packet is cut.
const vnetHeader = 10 // bytes

// Its gso_type (virtio 1.2, 5.1.6).
const (
	gsoNone    = 0
	gsoTCPv4   = 1
	gsoUDPL4   = 5
	gsoECNFlag = 0x80
)

// protocol is what an IPv4 packet carries, as far as the demo tells.
type protocol uint8

const (
	tcp protocol = iota
	udp
	icmp
	other // also every frame that is not IPv4, except ARP
	protocols
)

// packet is one captured frame, as the wire packets it stands for.
type packet struct {
	protocol protocol
	from, to netip.Addr
	packets  uint64
	bytes    uint64 // layer 3: IPv4 headers on, no Ethernet header
}

// reader reads frames with gopacket. It is one goroutine's.
type reader struct {
	parser *gopacket.DecodingLayerParser
	found  []gopacket.LayerType
	ether  layers.Ethernet
	ip     layers.IPv4
	tcp    layers.TCP
	udp    layers.UDP
	icmp   layers.ICMPv4
}

func newReader() *reader {
	r := &reader{}
	r.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &r.ether, &r.ip, &r.tcp, &r.udp, &r.icmp)
	r.parser.IgnoreUnsupported = true
	return r
}

// errSuper says that a super-packet cannot be counted.
var errSuper = errors.New("super-packet of a kind that cannot be counted")

// read returns the packet in a captured frame, of which the end may be cut
// off behind the headers; false for ARP, which is no packet of layer 3.
func (r *reader) read(raw []byte) (packet, bool, error) {
	if len(raw) < vnetHeader {
		return packet{}, false, fmt.Errorf("captured frame of %d bytes: too short", len(raw))
	}
	gso, size := raw[1]&^gsoECNFlag, uint64(binary.LittleEndian.Uint16(raw[4:]))
	if err := r.parser.DecodeLayers(raw[vnetHeader:], &r.found); err != nil {
		return packet{}, false, fmt.Errorf("captured frame: %w", err)
	}
	if r.ether.EthernetType == layers.EthernetTypeARP {
		return packet{}, false, nil
	}
	p := packet{protocol: other, packets: 1}
	header := uint64(0)
	for _, layer := range r.found {
		switch layer {
		case layers.LayerTypeIPv4:
			p.from, _ = netip.AddrFromSlice(r.ip.SrcIP.To4())
			p.to, _ = netip.AddrFromSlice(r.ip.DstIP.To4())
			p.bytes = uint64(r.ip.Length)
			p.protocol = protocolOf(r.ip.Protocol)
			header = 4 * uint64(r.ip.IHL)
		case layers.LayerTypeTCP:
			header += 4 * uint64(r.tcp.DataOffset)
		case layers.LayerTypeUDP:
			header += 8
		}
	}
	if gso == gsoNone {
		return p, true, nil
	}
	if size == 0 || header == 0 || p.bytes <= header ||
		!(gso == gsoTCPv4 && p.protocol == tcp || gso == gsoUDPL4 && p.protocol == udp) {
		return packet{}, false, errSuper
	}
	p.packets = (p.bytes - header + size - 1) / size
	p.bytes += (p.packets - 1) * header
	return p, true, nil
}

func protocolOf(p layers.IPProtocol) protocol {
	switch p {
	case layers.IPProtocolTCP:
		return tcp
	case layers.IPProtocolUDP:
		return udp
	case layers.IPProtocolICMPv4:
		return icmp
	default:
		return other
	}
}
