//go:build netns

package gateway_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Without a session only ARP, DHCP and neighbour discovery of a client pass, whatever else
// it sends, over both families.
func TestNothingElseCrossesABridgeBeforeLogin(t *testing.T) {
	l := newBridge(t)
	d := l.start()
	d.must("POST", "/devices", `{"mac":"`+clientMAC+`","ip":"`+clientIP+`"}`, nil)
	client, server := newRawPort(l.client), newRawPort(l.server)
	all := unpaid(client.mac, server.mac)
	for _, frame := range all {
		client.write(frame)
	}
	// What came in front of this question has been judged.
	question := packed(&layers.Ethernet{SrcMAC: client.mac, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
			SourceHwAddress: client.mac, SourceProtAddress: net.ParseIP(clientIP).To4(), DstHwAddress: make([]byte, 6), DstProtAddress: net.ParseIP("10.10.9.9").To4()})
	client.write(question)
	sum := 0
	server.until("the question comes", func(frame []byte, tag int) bool {
		switch {
		case !bytes.Equal(frame[6:12], client.mac):
		case bytes.Equal(frame[:len(question)], question):
			return true
		case !harmless(frame) || tag >= 0:
			t.Errorf("it passed: %x, tag %d", frame[:min(len(frame), 80)], tag)
		}
		return false
	})
	for _, n := range d.status().Drops {
		sum += int(n)
	}
	if sum < len(all) {
		t.Errorf("of %d frames %d are counted as dropped: %v", len(all), sum, d.status().Drops)
	}
	t.Logf("%d frames, dropped %v", len(all), d.status().Drops)
}

// harmless says whether a frame is ARP, DHCP or neighbour discovery, and no longer than
// that is.
func harmless(frame []byte) bool {
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0806:
		return len(frame) <= 60
	case 0x0800:
		return len(frame) <= 14+833 && frame[14+9] == 17 && binary.BigEndian.Uint16(frame[34:]) == 68 && binary.BigEndian.Uint16(frame[36:]) == 67
	case 0x86dd:
		kind := frame[14+40]
		to := frame[14+24 : 14+40]
		onLink := bytes.HasPrefix(to, []byte{0xff, 0x02}) || bytes.HasPrefix(to, []byte{0xfe, 0x80}) || bytes.Equal(to, net.ParseIP(nextRouter6))
		return len(frame) <= 14+40+24+32 && onLink && frame[14+6] == 58 && (kind == 133 || kind == 135 || kind == 136) && frame[14+7] == 255
	}
	return false
}

// unpaid is what a client tries without a session.
func unpaid(from, to net.HardwareAddr) (frames [][]byte) {
	eth := func(kind layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: kind}
	}
	ip4 := func(proto layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: net.ParseIP(clientIP).To4(), DstIP: net.ParseIP(nextRouter).To4()}
	}
	ip6 := func(proto layers.IPProtocol) *layers.IPv6 {
		return &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: proto, SrcIP: net.ParseIP(clientIP6), DstIP: net.ParseIP(nextRouter6)}
	}
	body := gopacket.Payload(bytes.Repeat([]byte("unpaid"), 12))
	add := func(l ...gopacket.SerializableLayer) { frames = append(frames, packed(l...)) }
	// IPIP, EGP, DCCP, 6in4, GRE, ESP, AH, EIGRP, OSPF, PIM, VRRP, L2TP, SCTP, UDP-Lite and what nobody knows; IGMP and MOBILE, too.
	for _, proto := range []layers.IPProtocol{2, 4, 8, 33, 41, 47, 50, 51, 55, 88, 89, 103, 112, 115, 132, 136, 200, 255} {
		add(eth(layers.EthernetTypeIPv4), ip4(proto), body)
		add(eth(layers.EthernetTypeIPv6), ip6(proto), body)
	}
	for _, port := range []layers.UDPPort{53, 67, 68, 123, 443, 546, 547, 1900, 5353, 5355} {
		add(eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 4000, DstPort: port}, body)
		add(eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolUDP), &layers.UDP{SrcPort: 4000, DstPort: port}, body)
		add(eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4000, DstPort: layers.TCPPort(port), SYN: true, Window: 1000})
		add(eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4000, DstPort: layers.TCPPort(port), SYN: true, Window: 1000})
	}
	add(eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 68, DstPort: 67}, body) // DHCP in name only
	add(eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolUDP), &layers.UDP{SrcPort: 546, DstPort: 547}, body)
	add(eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}, body)
	for _, kind := range []uint8{1, 2, 3, 4, 128, 129, 130, 131, 132, 134, 137, 138, 139, 143, 144, 151} {
		icmp, ip := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}, ip6(layers.IPProtocolICMPv6)
		_ = icmp.SetNetworkLayerForChecksum(ip)
		add(eth(layers.EthernetTypeIPv6), ip, icmp, body)
	}
	for _, kind := range []uint8{133, 135, 136} { // discovery that a router would pass on
		icmp, ip := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}, ip6(layers.IPProtocolICMPv6)
		ip.DstIP = net.ParseIP("2001:db8:ffff::1")
		_ = icmp.SetNetworkLayerForChecksum(ip)
		add(eth(layers.EthernetTypeIPv6), ip, icmp, gopacket.Payload(append(append(make([]byte, 4), net.ParseIP(clientIP6)...), 1, 1, 2, 0, 0, 0, 0, 0xc)[:map[uint8]int{133: 4, 135: 28, 136: 28}[kind]]))
	}
	long := gopacket.Payload(bytes.Repeat([]byte{14, 1, 'u', 'n', 'p', 'a', 'i', 'd'}, 100)) // options of discovery, too
	add(&layers.Ethernet{SrcMAC: from, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
			SourceHwAddress: from, SourceProtAddress: net.ParseIP(clientIP).To4(), DstHwAddress: make([]byte, 6), DstProtAddress: net.ParseIP("10.10.9.9").To4()}, long)
	solicit, onLink := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(133, 0)}, ip6(layers.IPProtocolICMPv6)
	onLink.DstIP = net.ParseIP("ff02::2")
	_ = solicit.SetNetworkLayerForChecksum(onLink)
	add(eth(layers.EthernetTypeIPv6), onLink, solicit, gopacket.Payload(make([]byte, 4)), long)
	discover := ip4(layers.IPProtocolUDP)
	discover.SrcIP, discover.DstIP = net.IPv4zero.To4(), net.IPv4bcast.To4()
	add(eth(layers.EthernetTypeIPv4), discover, &layers.UDP{SrcPort: 68, DstPort: 67},
		&layers.DHCPv4{Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, ClientHWAddr: from,
			Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{1})}}, long)
	for _, next := range []layers.IPProtocol{0, 43, 44, 60} { // extension headers with UDP behind
		add(eth(layers.EthernetTypeIPv6), ip6(next), gopacket.Payload(append([]byte{17, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 64)...)))
	}
	part := ip4(layers.IPProtocolUDP)
	part.Flags = layers.IPv4MoreFragments
	add(eth(layers.EthernetTypeIPv4), part, &layers.UDP{SrcPort: 4000, DstPort: 53}, body)
	part.Flags, part.FragOffset = 0, 64
	add(eth(layers.EthernetTypeIPv4), part, body)
	add(eth(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}, ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 4000, DstPort: 53}, body)
	add(eth(layers.EthernetTypeQinQ), &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 8, Type: layers.EthernetTypeIPv4}, ip4(layers.IPProtocolUDP), body)
	for _, kind := range []layers.EthernetType{0x0001, 0x0026, 0x8035, 0x809b, 0x8137, 0x8847, 0x8863, 0x8864, 0x886d, 0x888e, 0x88b5, 0x88cc, 0x88e5, 0x88f7, 0x9000, 0xffff} {
		add(eth(kind), body)
	}
	for last := range byte(16) { // spanning tree and its like
		frames = append(frames, packed(&layers.Ethernet{SrcMAC: from, DstMAC: net.HardwareAddr{1, 0x80, 0xc2, 0, 0, last}, EthernetType: 0x0026}, body))
	}
	return frames
}

// A client gets its address by DHCP from a server on the WAN, before it has a session.
func TestDHCPThroughABridge(t *testing.T) {
	l := newBridge(t)
	d := l.start()
	l.server.start("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces", "--leasefile-ro",
		"--dhcp-range=10.10.5.5,10.10.5.5,255.255.0.0,1h", "--dhcp-option=3,"+nextRouter)
	l.client.run("ip", "addr", "flush", "dev", "eth0", "scope", "global")
	l.leases()
	eventually(t, soon, "the client has its address", func() error {
		if v := d.device(clientMAC); v.IP != "10.10.5.5" {
			return fmt.Errorf("it is %+v", v)
		}
		return nil
	})
	d.must("POST", "/devices/"+clientMAC+"/sessions", anHour, nil)
	d.connect()
	l.client.run("ip", "addr", "add", "10.10.5.5/16", "dev", "eth0")
	l.client.run("ip", "route", "replace", "default", "via", nextRouter)
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP)
}

// leases has the client ask for an address, byte by byte, until it is given one.
func (l *lab) leases() {
	l.t.Helper()
	client := newRawPort(l.client)
	for _, kind := range []byte{1, 3} { // discover, request
		request := &layers.DHCPv4{Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 77, ClientHWAddr: client.mac,
			Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{kind})}}
		if kind == 3 {
			request.Options = append(request.Options, layers.NewDHCPOption(layers.DHCPOptRequestIP, []byte{10, 10, 5, 5}),
				layers.NewDHCPOption(layers.DHCPOptServerID, net.ParseIP(nextRouter).To4()))
		}
		frame := packed(&layers.Ethernet{SrcMAC: client.mac, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeIPv4},
			&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4zero.To4(), DstIP: net.IPv4bcast.To4()},
			&layers.UDP{SrcPort: 68, DstPort: 67}, request)
		eventually(l.t, 2*soon, fmt.Sprintf("an answer to message %d", kind), func() error {
			client.write(frame)
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				got, _, ok := client.read(200 * time.Millisecond)
				if ok && len(got) > 42+240 && got[23] == 17 && got[35] == 67 && binary.BigEndian.Uint32(got[42+4:]) == 77 {
					return nil
				}
			}
			return errNotYet
		})
	}
}

// A client without any IPv4 address is served over IPv6 alone.
func TestAClientOfABridgeWithIPv6Only(t *testing.T) {
	l := newBridge(t)
	l.client.run("ip", "-4", "addr", "flush", "dev", "eth0")
	d := l.start()
	_, _ = l.client.try("ping", "-c", "1", "-W", "1", nextRouter6)
	eventually(t, soon, "it is known", func() error {
		var v device
		if code, err := d.ask("GET", "/devices/"+clientMAC, "", &v); err != nil || code != 200 || v.IP != "" {
			return fmt.Errorf("%d %+v %v", code, v, err)
		}
		return nil
	})
	var v session
	d.must("POST", "/devices/"+clientMAC+"/sessions", anHour, &v)
	up, down := l.settle()
	up6, down6 := l.wire6()
	d.connect()
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "1000", nextRouter6)
	d.billedBoth(v.ID, up, down, up6, down6, v)
	var shown struct {
		IPv6 []string `json:"ipv6"`
	}
	d.must("GET", "/devices/"+clientMAC, "", &shown)
	if !slices.Contains(shown.IPv6, clientIP6) {
		t.Errorf("it is shown with %v", shown.IPv6)
	}
}

// A second way between the sides stops the bridge, says so, and its end lets it go on.
func TestALoopBesideABridge(t *testing.T) {
	l := newBridge(t)
	d := l.start()
	d.admit(anHour)
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP)
	l.client.wire("loop", l.server)
	eventually(t, 2*soon, "status tells of the loop", func() error {
		if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, "joined elsewhere") {
			return errors.New(said)
		}
		return nil
	})
	measured := func(looped, found float64) {
		t.Helper()
		s := l.scraped()
		if now, ok := s["gateway_bridge_looped"]; !ok || now != looped || s["gateway_bridge_loops_total"] != found {
			t.Errorf("gateway_bridge_looped is %v, want %v; gateway_bridge_loops_total %v, want %v", now, looped, s["gateway_bridge_loops_total"], found)
		}
		if _, ok := s["gateway_nat_flows_limit"]; ok {
			t.Error("a bridge tells of translations")
		}
	}
	measured(1, 1)
	l.client.run("ip", "link", "del", "loop")
	for _, n := range []*namespace{l.client, l.server} {
		n.run("ip", "link", "set", "eth0", "nomaster")
	}
	eventually(t, 30*time.Second+3*soon, "it goes on", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP)
		return err
	})
	d.well()
	measured(0, 1)
}

// wire joins the networks of two namespaces' eth0 by a cable of a name.
func (n *namespace) wire(name string, other *namespace) {
	n.t.Helper()
	check(n.t, n.do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(int(other.handle))})
	}))
	for _, n := range []*namespace{n, other} {
		n.run("ip", "link", "add", "br0", "type", "bridge")
		n.run("ip", "link", "set", name, "master", "br0", "up")
		n.run("ip", "link", "set", "br0", "up")
		n.run("ip", "link", "set", "eth0", "master", "br0")
	}
}

// Of two gatewayds beside each other one stands still, until the other ends.
func TestTwoBridgesBesideEachOther(t *testing.T) {
	one, other := newBridge4(t), newBridge4(t)
	daemons := []*daemon{one.start(), other.start()}
	one.client.wire("lan", other.client)
	one.server.wire("wan", other.server)
	still := func() (n int, goesOn *daemon) {
		for _, d := range daemons {
			if strings.Contains(strings.Join(d.status().Degraded, "; "), "joined elsewhere") {
				n++
			} else {
				goesOn = d
			}
		}
		return n, goesOn
	}
	var active *daemon
	eventually(t, 60*time.Second+3*soon, "one stands still", func() error { // twice if both did at the same moment
		n, d := still()
		if active = d; n != 1 {
			return fmt.Errorf("%d of 2 do", n)
		}
		return nil
	})
	for range 30 {
		time.Sleep(100 * time.Millisecond)
		if n, d := still(); n != 1 || d != active {
			t.Fatalf("%d stand still now, or it is the other one", n)
		}
	}
	active.stop()
	daemons = slices.DeleteFunc(daemons, func(d *daemon) bool { return d == active })
	eventually(t, 30*time.Second+3*soon, "the other one goes on", func() error {
		if n, _ := still(); n != 0 {
			return errNotYet
		}
		return nil
	})
}

// The box itself speaks through the WAN port of a bridge, and only who it asked answers.
func TestTheBoxOnTheWANOfABridge(t *testing.T) {
	l := newBridge(t, "wan: {interface: eth0, gateway: "+nextRouter+"}", "host: {default_route: true}")
	d := l.start()
	d.well()
	eventually(t, soon, "the box reaches the world", func() error {
		_, err := l.gateway.try("ping", "-c", "2", "-i", "0.1", "-W", "1", serverIP)
		return err
	})
	if out, err := l.server.try("ping", "-c", "2", "-i", "0.1", "-W", "1", lanIP); err == nil {
		t.Errorf("the box answers somebody on the WAN: %s", out)
	}
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", lanIP) // without a session
}

// rawPort is a namespace's eth0, frame by frame.
type rawPort struct {
	t   *testing.T
	fd  int
	mac net.HardwareAddr
}

func newRawPort(n *namespace) *rawPort {
	n.t.Helper()
	p := &rawPort{t: n.t}
	check(n.t, n.do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		p.mac = eth0.HardwareAddr
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL))); err != nil {
			return err
		}
		if err := unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: eth0.Index}); err != nil {
			return err
		}
		return unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
	}))
	n.t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

// write sends a frame.
func (p *rawPort) write(frame []byte) {
	p.t.Helper()
	if _, err := unix.Write(p.fd, frame); err != nil {
		p.t.Fatal(err)
	}
}

// read is the next frame that comes, and its tag; -1: it has none.
func (p *rawPort) read(patience time.Duration) (frame []byte, tag int, ok bool) {
	p.t.Helper()
	patient := unix.NsecToTimeval(int64(patience))
	check(p.t, unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patient))
	data, control := make([]byte, 65600), make([]byte, 256)
	n, oobn, _, _, err := unix.Recvmsg(p.fd, data, control, 0)
	if err != nil {
		return nil, -1, false
	}
	messages, err := unix.ParseSocketControlMessage(control[:oobn])
	check(p.t, err)
	tag = -1
	if aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&messages[0].Data[0])); aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
		tag = int(aux.Vlan_tci)
	}
	return data[:n], tag, true
}

// until reads frames until one is what is waited for.
func (p *rawPort) until(what string, is func(frame []byte, tag int) bool) {
	p.t.Helper()
	for end := time.Now().Add(2 * soon); time.Now().Before(end); {
		if frame, tag, ok := p.read(soon); ok && len(frame) >= 14 && is(frame, tag) {
			return
		}
	}
	p.t.Fatalf("not after %v: %s", 2*soon, what)
}

// sends sends a datagram of 128 bytes of IPv4 in a tag and waits until it has come, with it.
func (p *rawPort) sends(to *rawPort, src, dst string, tci uint16) {
	p.t.Helper()
	const port = 7777
	frame := packed(&layers.Ethernet{SrcMAC: p.mac, DstMAC: to.mac, EthernetType: layers.EthernetTypeDot1Q},
		&layers.Dot1Q{Priority: uint8(tci >> 13), VLANIdentifier: tci & 0xfff, Type: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.ParseIP(src).To4(), DstIP: net.ParseIP(dst).To4()},
		&layers.UDP{SrcPort: port, DstPort: port}, gopacket.Payload(make([]byte, 100)))
	p.write(frame)
	to.until(fmt.Sprintf("a frame of tag %#x comes", tci), func(got []byte, tag int) bool {
		const udpPort = 14 + 20
		if len(got) < udpPort+4 || binary.BigEndian.Uint16(got[udpPort:]) != port || !bytes.Equal(got[6:12], p.mac) {
			return false
		}
		if tag != int(tci) {
			p.t.Errorf("sent with tag %#x, came with %#x", tci, tag)
		}
		return true
	})
}
