package demo

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// captured is a frame as the kernel hands it over: the vnet header, Ethernet,
// and what is above it.
func captured(t testing.TB, gso uint8, size uint16, kind layers.EthernetType, above ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	ether := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: kind}
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, append([]gopacket.SerializableLayer{ether}, above...)...)
	if err != nil {
		t.Fatal(err)
	}
	raw := append(make([]byte, vnetHeader), b.Bytes()...)
	raw[1] = gso
	binary.LittleEndian.PutUint16(raw[4:], size)
	return raw[:min(len(raw), captureHead)]
}

func ipv4(p layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: p, SrcIP: net.IP{10, 10, 0, 2}, DstIP: net.IP{198, 51, 100, 80}}
}

func frames(t testing.TB) map[string][]byte {
	ip4, stamps := layers.EthernetTypeIPv4, []layers.TCPOption{{OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}}
	first := ipv4(layers.IPProtocolUDP)
	first.Flags = layers.IPv4MoreFragments
	return map[string][]byte{
		"plain TCP":           captured(t, gsoNone, 0, ip4, ipv4(6), &layers.TCP{}, gopacket.Payload(make([]byte, 1460))),
		"UDP without payload": captured(t, gsoNone, 0, ip4, ipv4(17), &layers.UDP{}),
		"ping":                captured(t, gsoNone, 0, ip4, ipv4(1), &layers.ICMPv4{}, gopacket.Payload("knock")),
		"a fragment":          captured(t, gsoNone, 0, ip4, first, gopacket.Payload(make([]byte, 1480))),
		"another protocol":    captured(t, gsoNone, 0, ip4, ipv4(47), gopacket.Payload(make([]byte, 30))),
		"ARP":                 captured(t, gsoNone, 0, layers.EthernetTypeARP, gopacket.Payload(make([]byte, 28))),
		"IPv6":                captured(t, gsoNone, 0, layers.EthernetTypeIPv6, gopacket.Payload(make([]byte, 40))),
		"TCP of two and a bit": captured(t, gsoTCPv4|gsoECNFlag, 1448, ip4, ipv4(6), &layers.TCP{Options: stamps},
			gopacket.Payload(make([]byte, 2*1448+1))),
		"TCP of exactly two":               captured(t, gsoTCPv4, 1448, ip4, ipv4(6), &layers.TCP{Options: stamps}, gopacket.Payload(make([]byte, 2*1448))),
		"UDP of three":                     captured(t, gsoUDPL4, 100, ip4, ipv4(17), &layers.UDP{}, gopacket.Payload(make([]byte, 300))),
		"UDP to be fragmented by the card": captured(t, 3, 1480, ip4, ipv4(17), &layers.UDP{}, gopacket.Payload(make([]byte, 4000))),
		"a segment size of nothing":        captured(t, gsoTCPv4, 0, ip4, ipv4(6), &layers.TCP{}, gopacket.Payload(make([]byte, 4000))),
		"TCP for UDP's cutting":            captured(t, gsoUDPL4, 100, ip4, ipv4(6), &layers.TCP{}, gopacket.Payload(make([]byte, 300))),
	}
}

func TestRead(t *testing.T) {
	all := frames(t)
	rows := []struct {
		name     string
		protocol protocol
		packets  uint64
		bytes    uint64
	}{
		{"plain TCP", tcp, 1, 1500},
		{"UDP without payload", udp, 1, 28},
		{"ping", icmp, 1, 33},
		{"a fragment", udp, 1, 1500},
		{"another protocol", other, 1, 50},
		{"IPv6", other, 1, 0},
		{"TCP of two and a bit", tcp, 3, 2*1448 + 1 + 3*52},
		{"TCP of exactly two", tcp, 2, 2*1448 + 2*52},
		{"UDP of three", udp, 3, 300 + 3*28},
	}
	r := newReader()
	for _, row := range rows {
		p, counts, err := r.read(all[row.name])
		if err != nil || !counts || p.protocol != row.protocol || p.packets != row.packets || p.bytes != row.bytes {
			t.Errorf("%s: %+v, %v, %v; want protocol %d, %d packets, %d bytes", row.name, p, counts, err, row.protocol, row.packets, row.bytes)
		}
		if row.bytes > 0 && (p.from != netip.MustParseAddr(clientIP) || p.to != netip.MustParseAddr(serverIP)) {
			t.Errorf("%s: from %v to %v", row.name, p.from, p.to)
		}
	}
	if _, counts, err := r.read(all["ARP"]); counts || err != nil {
		t.Errorf("ARP: counted %v, %v", counts, err)
	}
}

func TestReadRefusesWhatItCannotCount(t *testing.T) {
	all, r := frames(t), newReader()
	for _, name := range []string{"UDP to be fragmented by the card", "a segment size of nothing", "TCP for UDP's cutting"} {
		if _, counts, err := r.read(all[name]); counts || !errors.Is(err, errSuper) {
			t.Errorf("%s: counted %v, %v", name, counts, err)
		}
	}
	for _, n := range []int{0, vnetHeader - 1, vnetHeader, vnetHeader + 13, vnetHeader + 14 + 19} {
		if _, counts, err := r.read(all["plain TCP"][:n]); counts || err == nil {
			t.Errorf("%d bytes of a frame: counted %v, %v", n, counts, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, raw := range frames(f) {
		f.Add(raw)
	}
	r := newReader()
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, counts, err := r.read(raw)
		if counts && (err != nil || p.packets == 0 || p.protocol >= protocols) {
			t.Errorf("%+v, %v", p, err)
		}
	})
}
