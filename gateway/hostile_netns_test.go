//go:build netns

package gateway_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// attacker is who sends a hostile capture: its own and the gateway's
// addresses, and whom else it has in view.
type attacker struct {
	mac, gateway        net.HardwareAddr
	ip, gatewayIP       net.IP
	victimMAC           net.HardwareAddr
	victimIP, farAwayIP net.IP
}

func (a attacker) ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: a.mac, DstMAC: a.gateway, EthernetType: kind}
}

func (a attacker) ipv4(from, to net.IP, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 77, Protocol: proto, SrcIP: from, DstIP: to}
}

// packed are layers as bytes, lengths and checksums right.
func packed(l ...gopacket.SerializableLayer) []byte {
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
	return append([]byte(nil), b.Bytes()...)
}

// patched is a frame with octets of its IP header changed, its checksum right.
func patched(frame []byte, change map[int]byte) []byte {
	ip := frame[14:]
	for at, v := range change {
		ip[at] = v
	}
	ip[10], ip[11] = 0, 0
	head := min(max(int(ip[0]&15)*4, 20), len(ip)) &^ 1
	sum := uint32(0)
	for i := 0; i < head; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	return frame
}

// capture are the frames of an attacker, each kind under its name.
func (a attacker) capture() map[string][][]byte {
	body := func(n int) gopacket.Payload { return gopacket.Payload(strings.Repeat("A", n)) }
	udp := func(from, to net.IP, n int) []byte {
		return packed(a.ethernet(layers.EthernetTypeIPv4), a.ipv4(from, to, layers.IPProtocolUDP), &layers.UDP{SrcPort: 4000, DstPort: 53}, body(n))
	}
	tcp := func(from, to net.IP, h layers.TCP) []byte {
		return packed(a.ethernet(layers.EthernetTypeIPv4), a.ipv4(from, to, layers.IPProtocolTCP), &h)
	}
	option := func(data ...byte) []byte {
		ip := a.ipv4(a.ip, a.farAwayIP, layers.IPProtocolUDP)
		ip.Options = []layers.IPv4Option{{OptionType: data[0], OptionLength: uint8(len(data)), OptionData: data[2:]}}
		return packed(a.ethernet(layers.EthernetTypeIPv4), ip, &layers.UDP{SrcPort: 4000, DstPort: 53}, body(20))
	}
	piece := func(from, to net.IP, proto layers.IPProtocol, offset uint16, more bool, n int) []byte {
		ip := a.ipv4(from, to, proto)
		if ip.FragOffset = offset; more {
			ip.Flags = layers.IPv4MoreFragments
		}
		return packed(a.ethernet(layers.EthernetTypeIPv4), ip, body(n))
	}
	arp := func(op uint16, mac net.HardwareAddr, ip, target net.IP) []byte {
		eth := a.ethernet(layers.EthernetTypeARP)
		eth.SrcMAC, eth.DstMAC = mac, layers.EthernetBroadcast
		return packed(eth, &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: op, SourceHwAddress: mac, SourceProtAddress: ip.To4(), DstHwAddress: make([]byte, 6), DstProtAddress: target.To4()})
	}
	group := func(mac string, ip net.IP, from, to layers.UDPPort) []byte {
		eth := a.ethernet(layers.EthernetTypeIPv4)
		eth.DstMAC, _ = net.ParseMAC(mac)
		return packed(eth, a.ipv4(net.IPv4zero, ip, layers.IPProtocolUDP), &layers.UDP{SrcPort: from, DstPort: to}, body(300))
	}
	six := func(to string, proto layers.IPProtocol, n int) []byte {
		return packed(a.ethernet(layers.EthernetTypeIPv6), &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: proto,
			SrcIP: net.ParseIP("fe80::1"), DstIP: net.ParseIP(to)}, body(n))
	}
	tagged := func(kinds ...layers.EthernetType) []byte {
		all := []gopacket.SerializableLayer{a.ethernet(kinds[0])}
		for i := range kinds {
			next := layers.EthernetTypeIPv4
			if i+1 < len(kinds) {
				next = kinds[i+1]
			}
			all = append(all, &layers.Dot1Q{VLANIdentifier: uint16(i + 1), Type: next})
		}
		return packed(append(all, a.ipv4(a.ip, a.farAwayIP, layers.IPProtocolUDP), &layers.UDP{SrcPort: 4000, DstPort: 53}, body(20))...)
	}
	all := map[string][][]byte{
		"land": {tcp(a.gatewayIP, a.gatewayIP, layers.TCP{SrcPort: 80, DstPort: 80, SYN: true}), tcp(a.victimIP, a.victimIP, layers.TCP{SrcPort: 80, DstPort: 80, SYN: true}),
			udp(a.gatewayIP, a.gatewayIP, 10)},
		"teardrop": {piece(a.ip, a.farAwayIP, layers.IPProtocolUDP, 0, true, 36), piece(a.ip, a.farAwayIP, layers.IPProtocolUDP, 3, false, 4),
			piece(a.ip, a.gatewayIP, layers.IPProtocolUDP, 0, true, 36), piece(a.ip, a.gatewayIP, layers.IPProtocolUDP, 3, false, 4)},
		"ping of death":  {piece(a.ip, a.farAwayIP, layers.IPProtocolICMPv4, 8189, false, 1400), piece(a.ip, a.gatewayIP, layers.IPProtocolICMPv4, 8189, false, 1400)},
		"tiny fragments": {piece(a.ip, a.farAwayIP, layers.IPProtocolTCP, 0, true, 8), piece(a.ip, a.farAwayIP, layers.IPProtocolTCP, 1, false, 32)},
		"scans": {tcp(a.ip, a.gatewayIP, layers.TCP{DstPort: 22, FIN: true, PSH: true, URG: true}), tcp(a.ip, a.gatewayIP, layers.TCP{DstPort: 22}),
			tcp(a.ip, a.farAwayIP, layers.TCP{DstPort: 22, FIN: true, PSH: true, URG: true}), tcp(a.ip, a.farAwayIP, layers.TCP{DstPort: 22, SYN: true, FIN: true, RST: true, ACK: true})},
		"options": {option(131, 7, 4, 198, 51, 100, 1), option(137, 7, 4, 198, 51, 100, 1), option(7, 7, 4, 0, 0, 0, 0), option(68, 8, 5, 0, 0, 0, 0, 0),
			option(148, 4, 0, 0), option(255, 3, 9)},
		"malformed": {patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{0: 0x44}), patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{0: 0x4f}),
			patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{0: 0x65}), patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{2: 0xff}),
			patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{2: 0, 3: 19}), patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{8: 0}),
			patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{9: 0}), patched(udp(a.ip, a.farAwayIP, 20), map[int]byte{24: 0, 25: 1})},
		"ARP poison": {arp(2, a.mac, a.gatewayIP, a.gatewayIP), arp(1, a.mac, a.gatewayIP, a.gatewayIP), arp(2, a.mac, a.victimIP, a.victimIP),
			arp(2, a.mac, a.victimIP, a.gatewayIP), arp(1, a.mac, a.victimIP, a.gatewayIP), arp(2, a.gateway, a.victimIP, a.gatewayIP), arp(9, a.mac, a.ip, a.gatewayIP)},
		"noise": {group("ff:ff:ff:ff:ff:ff", net.IPv4bcast, 68, 67), group("01:00:5e:00:00:fb", net.IPv4(224, 0, 0, 251), 5353, 5353),
			group("01:00:5e:7f:ff:fa", net.IPv4(239, 255, 255, 250), 1900, 1900)},
		"IPv6":        {six("ff02::2", layers.IPProtocolICMPv6, 40), six("2001:db8::1", layers.IPProtocolTCP, 60), six("ff02::1", layers.IPProtocolIPv6HopByHop, 60)},
		"VLAN":        {tagged(layers.EthernetTypeDot1Q), tagged(layers.EthernetTypeQinQ, layers.EthernetTypeDot1Q), tagged(layers.EthernetTypeDot1Q, layers.EthernetTypeDot1Q)},
		"jumbo":       {udp(a.ip, a.farAwayIP, 8000), udp(a.ip, a.gatewayIP, 8000)},
		"runts":       {udp(a.ip, a.farAwayIP, 0)[:15], udp(a.ip, a.farAwayIP, 0)[:20], udp(a.ip, a.farAwayIP, 0)[:34], udp(a.ip, a.farAwayIP, 0)[:38]},
		"bad sources": {udp(net.IPv4(127, 0, 0, 1), a.farAwayIP, 10), udp(net.IPv4bcast, a.farAwayIP, 10), udp(net.IPv4zero, a.farAwayIP, 10), udp(a.victimIP, a.farAwayIP, 10)},
	}
	for _, icmp := range []uint16{0x0000, 0x0300, 0x0304, 0x0400, 0x0500, 0x0800, 0x0b00, 0x0c00, 0x0d00, 0x1100, 0xff00} {
		all["ICMP"] = append(all["ICMP"], packed(a.ethernet(layers.EthernetTypeIPv4), a.ipv4(a.ip, a.gatewayIP, layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.ICMPv4TypeCode(icmp), Id: 1, Seq: 2}, gopacket.Payload(udp(a.gatewayIP, a.farAwayIP, 20)[14:])))
	}
	return all
}

// writePcap writes all frames of a capture into one file and returns how many.
func (a attacker) writePcap(t *testing.T, path string) (frames int) {
	t.Helper()
	file, err := os.Create(path)
	check(t, err)
	defer file.Close()
	w := pcapgo.NewWriter(file)
	check(t, w.WriteFileHeader(65535, layers.LinkTypeEthernet))
	all := a.capture()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, f := range all[name] {
			frames++
			check(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(int64(frames), 0), CaptureLength: len(f), Length: len(f)}, f))
		}
	}
	return frames
}

func TestHostileCapturesHarmNobodyElse(t *testing.T) { inBothModes(t, hostileCapturesHarmNobodyElse) }

func hostileCapturesHarmNobodyElse(t *testing.T, newLab makeLab) {
	const pace, loops = 2000, 40 // frames a second; times each copy is sent
	copies := 3                  // each with errors of its own
	if soaking() {
		copies = 30
	}
	l := newLab(t)
	for _, end := range []struct {
		n    *namespace
		port string
	}{{l.client, "eth0"}, {l.gateway, "eth1"}, {l.gateway, "eth0"}, {l.server, "eth0"}} {
		end.n.run("ip", "link", "set", end.port, "mtu", "9000")
	}
	d := l.start()
	victim := l.neighbour(neighbourMAC, neighbourIP)
	for _, call := range [][2]string{
		{"/devices", `{"mac":"` + neighbourMAC + `","ip":"` + neighbourIP + `"}`},
		{"/devices/" + neighbourMAC + "/sessions", anHour}, {"/devices/" + neighbourMAC + "/connect", ""},
	} {
		d.must("POST", call[0], call[1], nil)
	}
	d.admit(anHour)
	lan, wan := l.portMAC("eth1"), l.portMAC("eth0")
	// What the victim's own kernel believes is not the gateway's to protect.
	victim.run("ip", "neigh", "replace", lanIP, "lladdr", lan.String(), "dev", "eth0", "nud", "permanent")
	l.server.run("ip", "neigh", "replace", wanIP, "lladdr", wan.String(), "dev", "eth0", "nud", "permanent")
	mac := func(text string) net.HardwareAddr { m, _ := net.ParseMAC(text); return m }
	for _, row := range []struct {
		side string
		from *namespace
		attacker
	}{
		{"client", l.client, attacker{mac(clientMAC), lan, net.ParseIP(clientIP), net.ParseIP(lanIP), mac(neighbourMAC), net.ParseIP(neighbourIP), net.ParseIP(serverIP)}},
		{"WAN", l.server, attacker{mac("02:00:00:00:00:66"), wan, net.ParseIP("203.0.113.66"), net.ParseIP(wanIP), mac("02:00:00:00:00:77"), net.ParseIP(routerIP), net.ParseIP(neighbourIP)}},
	} {
		t.Run("from the "+row.side, func(t *testing.T) {
			clean := l.dir + "/" + row.side + ".pcap"
			frames := row.writePcap(t, clean)
			pids := d.children()
			s := l.streamOf(victim, neighbourIP, 100*time.Microsecond, 100)
			s.t = t
			s.flows()
			for seed := range copies + 1 {
				broken := clean // the first time as it is
				if seed > 0 {
					broken = fmt.Sprintf("%s/%s.%d.pcap", l.dir, row.side, seed)
					l.client.run("editcap", "-E", "0.05", "--seed", fmt.Sprint(seed), clean, broken)
				}
				if out, err := row.from.try("tcpreplay", "-q", "-i", "eth0", "--pps", fmt.Sprint(pace), "--loop", fmt.Sprint(loops), broken); err != nil {
					t.Fatalf("%v: %s", err, out)
				} else if seed == 0 {
					t.Logf("%d frames, %d times: %s", frames, loops, strings.Join(strings.Fields(out), " "))
				}
			}
			sent, arrived := s.end()
			lost := 100 * float64(sent-arrived) / float64(sent)
			t.Logf("the victim lost %d of %d datagrams, %.2f %%", sent-arrived, sent, lost)
			if lost >= 5 {
				t.Errorf("the victim lost %.1f %%, want less than 5: %v", lost, d.status().Drops)
			}
			d.unharmed(pids)
		})
	}
	t.Logf("dropped %v", d.status().Drops)
}
