package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"gatewayd/forwarder/packet"
)

var (
	everybody   = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	unspecified = netip.IPv4Unspecified()
	allHosts    = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// claim is somebody's word by ARP that an address is theirs, or a question whether it
// is somebody's before it is (RFC 5227).
type claim struct {
	mac    net.HardwareAddr
	sender netip.Addr // unspecified in a probe
	target netip.Addr
	asks   bool
}

// parse reads a frame from its Ethernet header on: a claim, or what a server says and
// the MAC it came from. partial says that its UDP checksum is left to a device.
func parse(frame []byte, partial bool) (c *claim, m *dhcpv4.DHCPv4, by net.HardwareAddr, err error) {
	defer func() {
		if p := recover(); p != nil { // of the decoders; nothing hostile ends control
			c, m, by, err = nil, nil, nil, fmt.Errorf("unreadable: %v", p)
		}
	}()
	var (
		eth layers.Ethernet
		arp layers.ARP
		ip  layers.IPv4
		udp layers.UDP
	)
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &arp, &ip, &udp)
	parser.IgnoreUnsupported = true
	var found []gopacket.LayerType
	if err := parser.DecodeLayers(frame, &found); err != nil {
		return nil, nil, nil, err
	}
	by = append(net.HardwareAddr(nil), eth.SrcMAC...)
	switch {
	case len(found) == 2 && found[1] == layers.LayerTypeARP:
		if arp.AddrType != layers.LinkTypeEthernet || arp.Protocol != layers.EthernetTypeIPv4 || arp.HwAddressSize != 6 || arp.ProtAddressSize != 4 {
			return nil, nil, nil, errors.New("ARP of another kind")
		}
		mac := append(net.HardwareAddr(nil), arp.SourceHwAddress...) // who claims it, whoever passes that on (RFC 5227, 2.1.1)
		return &claim{mac, address(arp.SourceProtAddress), address(arp.DstProtAddress), arp.Operation == layers.ARPRequest}, nil, by, nil
	case len(found) == 3 && found[2] == layers.LayerTypeUDP && udp.SrcPort == serverPort && udp.DstPort == clientPort:
		if int(udp.Length) != len(udp.Contents)+len(udp.Payload) {
			return nil, nil, nil, errors.New("a part of a datagram")
		}
		if udp.Checksum != 0 && !partial && checksum(&ip) != 0 {
			return nil, nil, nil, errors.New("its UDP checksum is wrong")
		}
		m, err := dhcpv4.FromBytes(udp.Payload)
		return nil, m, by, err
	}
	return nil, nil, nil, errors.New("neither ARP nor DHCP")
}

// checksum is that of a whole UDP datagram, its own included: 0 if that is right.
func checksum(ip *layers.IPv4) uint16 {
	pseudo := append(append([]byte(nil), ip.SrcIP.To4()...), ip.DstIP.To4()...)
	pseudo = binary.BigEndian.AppendUint16(append(pseudo, 0, packet.UDP), uint16(len(ip.Payload)))
	return packet.Checksum(append(pseudo, ip.Payload...), 0)
}

// The ports of RFC 2131, 4.1.
const serverPort, clientPort = 67, 68

// datagram is a frame with a message for a server.
func datagram(m *dhcpv4.DHCPv4, from, to netip.Addr, by net.HardwareAddr) []byte {
	ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	udp := layers.UDP{SrcPort: clientPort, DstPort: serverPort}
	if err := udp.SetNetworkLayerForChecksum(&ip); err != nil {
		panic("dhcp: its own datagram: " + err.Error())
	}
	return build(&layers.Ethernet{SrcMAC: m.ClientHWAddr, DstMAC: by, EthernetType: layers.EthernetTypeIPv4}, &ip, &udp, gopacket.Payload(m.ToBytes()))
}

// question is an ARP request for an address; from unspecified it is a probe, from the
// same address an announcement (RFC 5227, 1.1).
func question(mac net.HardwareAddr, from, target netip.Addr) []byte {
	return build(&layers.Ethernet{SrcMAC: mac, DstMAC: everybody, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: mac, SourceProtAddress: from.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice(),
	})
}

func build(l ...gopacket.SerializableLayer) []byte {
	out := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic("dhcp: its own frame: " + err.Error())
	}
	return out.Bytes()
}
