package forwarder

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// dhcp4 is a DHCPv4 message of a type, with more behind it; a server's if reply.
func dhcp4(w flow, reply bool, chaddr uint64, kind byte, yours uint32, more ...byte) []byte {
	d := &layers.DHCPv4{Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 7,
		ClientHWAddr: unpackMAC(chaddr), YourClientIP: unpackIP(yours),
		Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{kind})}}
	w.srcPort, w.dstPort = 68, 67
	if reply {
		d.Operation = layers.DHCPOpReply
		w.srcPort, w.dstPort = 67, 68
	}
	return serialize(w.ethernet(), w.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(w.srcPort), DstPort: layers.UDPPort(w.dstPort)}, d, gopacket.Payload(more))
}

// dhcp4Bytes is how much layer 3 dhcp4 makes with nothing more.
const dhcp4Bytes = 20 + 8 + bootpLen + 3 + 1

// six6 is a packet over IPv6 between two addresses, checksums right.
func six6(srcMAC, dstMAC uint64, src, dst string, hops uint8, l ...gopacket.SerializableLayer) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: hops, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
	for _, layer := range l {
		switch layer := layer.(type) {
		case *layers.UDP:
			ip.NextHeader = layers.IPProtocolUDP
		case *layers.ICMPv6:
			_ = layer.SetNetworkLayerForChecksum(ip)
		}
	}
	eth := &layers.Ethernet{SrcMAC: unpackMAC(srcMAC), DstMAC: unpackMAC(dstMAC), EthernetType: layers.EthernetTypeIPv6}
	return serialize(append([]gopacket.SerializableLayer{eth, ip}, l...)...)
}

// discovery is a message of neighbour discovery: its type, and what is behind the checksum.
func discovery(srcMAC uint64, src, dst string, hops, kind, code uint8, body ...byte) []byte {
	to := net.ParseIP(dst)
	group := uint64(0x3333)<<32 | uint64(binary.BigEndian.Uint32(to[12:]))
	return six6(srcMAC, group, src, dst, hops, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}, gopacket.Payload(body))
}

// target is the body of a solicitation or an advertisement about an address, with an option
// of its MAC.
func target(ip string, mac uint64) []byte {
	b := append(make([]byte, 4), net.ParseIP(ip).To16()...)
	return append(append(b, 1, 1), unpackMAC(mac)...)
}

// nonces are so many options of 8 bytes (RFC 7527).
func nonces(n int) []byte { return bytes.Repeat([]byte{14, 1, 0, 0, 0, 0, 0, 0}, n) }

func dhcp6(srcMAC uint64, src, dst string, srcPort, dstPort layers.UDPPort, body ...byte) []byte {
	return six6(srcMAC, 0x333300010002, src, dst, 1, &layers.UDP{SrcPort: srcPort, DstPort: dstPort}, gopacket.Payload(body))
}

// sixTo is a frame for another MAC.
func sixTo(mac uint64, raw []byte) []byte {
	packet.PutMAC(raw[packet.VirtioLen:], mac)
	return raw
}

const (
	alice6, bob6   = "fe80::a", "fe80::b"
	aliceGlobal    = "2001:db8::a"
	router6        = "fe80::1"
	allRouters6    = "ff02::2"
	allNodes6      = "ff02::1"
	dhcpServers6   = "ff02::1:2"
	solicitedAlice = "ff02::1:ff00:a"
	farAway6       = "2001:db8:ffff::1"
)

// What passes without a session, and what of the like does not.
func TestWhatPassesWithoutASession(t *testing.T) {
	ask := func(change func(*arp)) []byte {
		a := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: 0x0a0000fe}
		change(&a)
		return a.raw()
	}
	said := func(change func(*arp)) []byte {
		a := arp{from: routerMAC, to: aliceMAC, op: 2, mac: routerMAC, ip: 0x0a0000fe, targetMAC: aliceMAC, target: aliceIP}
		change(&a)
		return a.raw()
	}
	toAll := func(src uint32) flow {
		return flow{srcMAC: aliceMAC, dstMAC: broadcast, src: src, dst: 0xffffffff, ttl: 64}
	}
	fromServer := flow{srcMAC: routerMAC, dstMAC: aliceMAC, src: 0x0a0000fe, dst: aliceIP, ttl: 64}
	rogue := fromServer
	rogue.srcMAC, rogue.dstMAC, rogue.src = aliceMAC, broadcast, aliceIP
	same := func(*arp) {}
	patchedAt := func(raw []byte, at int, v byte) []byte { raw[at] = v; return raw }
	bootp := l3 + 20 + 8
	const passes = Kept
	rows := []struct {
		name string
		port int
		raw  []byte
		why  Reason // Kept: it passes
	}{
		{"a question", clients.LAN, ask(same), passes},
		{"a probe of an address", clients.LAN, ask(func(a *arp) { a.ip, a.target = 0, aliceIP }), passes},
		{"an announcement", clients.LAN, ask(func(a *arp) { a.target = aliceIP }), passes},
		{"a question in a VLAN", clients.LAN, tagged(ask(same), 7), passes},
		{"a question from an address that nobody has", clients.LAN, ask(func(a *arp) { a.ip = 0x0a000077 }), passes},
		{"a question of somebody new", clients.LAN, ask(func(a *arp) { a.from, a.mac, a.ip = 0x020000000077, 0x020000000077, 0x0a000077 }), passes},
		{"an answer", clients.LAN, ask(func(a *arp) { a.op, a.to, a.targetMAC = 2, routerMAC, routerMAC }), passes},
		{"bob's address from alice", clients.LAN, ask(func(a *arp) { a.ip = bobIP }), Spoofed},
		{"the box's address from alice", clients.LAN, ask(func(a *arp) { a.ip = lanIP }), BadSource},
		{"another MAC in it than on it", clients.LAN, ask(func(a *arp) { a.mac = bobMAC }), BadARP},
		{"a reverse question", clients.LAN, ask(func(a *arp) { a.op = 3 }), BadARP},
		{"half of it", clients.LAN, ask(same)[:l3+20], BadARP},
		{"a question in a frame filled up", clients.LAN, ask(same)[:l3+46], passes},
		{"a question in a frame not filled up", clients.LAN, ask(same)[:l3+28], passes},
		{"a question with a byte more", clients.LAN, append(ask(same), 0), BadARP},
		{"a question in a VLAN with a byte more", clients.LAN, tagged(append(ask(same), 0), 7), BadARP},
		{"an answer from the WAN with a byte more", clients.WAN, append(said(same), 0), BadARP},
		{"an answer to a neighbour", clients.LAN, ask(func(a *arp) { a.op, a.to = 2, bobMAC }), LANDestination},
		{"an answer from the WAN", clients.WAN, said(same), passes},
		{"a question from the WAN", clients.WAN, said(func(a *arp) { a.op, a.to, a.targetMAC = 1, broadcast, 0 }), passes},
		{"bob's address from the WAN", clients.WAN, said(func(a *arp) { a.ip = bobIP }), Spoofed},
		{"the box's address from the WAN", clients.WAN, said(func(a *arp) { a.ip = lanIP }), Spoofed},

		{"a DHCP discover", clients.LAN, dhcp4(toAll(0), false, aliceMAC, 1, 0), passes},
		{"a DHCP request of who has an address", clients.LAN, dhcp4(toAll(aliceIP), false, aliceMAC, 3, 0), passes},
		{"a DHCP renewal inside the prefix", clients.LAN, dhcp4(flow{srcMAC: aliceMAC, dstMAC: routerMAC, src: aliceIP, dst: 0x0a0000fe, ttl: 64}, false, aliceMAC, 3, 0), passes},
		{"a DHCP renewal elsewhere", clients.LAN, dhcp4(flow{srcMAC: aliceMAC, dstMAC: routerMAC, src: aliceIP, dst: serverIP, ttl: 64}, false, aliceMAC, 3, 0), NoGrant},
		{"a DHCP discover in a VLAN", clients.LAN, tagged(dhcp4(toAll(0), false, aliceMAC, 1, 0), 7), passes},
		{"a DHCP discover of 833 bytes", clients.LAN, dhcp4(toAll(0), false, aliceMAC, 1, 0, make([]byte, 833-dhcp4Bytes)...), passes},
		{"a DHCP discover of 834 bytes", clients.LAN, dhcp4(toAll(0), false, aliceMAC, 1, 0, make([]byte, 834-dhcp4Bytes)...), Malformed},
		{"a DHCP discover for another's MAC", clients.LAN, dhcp4(toAll(0), false, bobMAC, 1, 0), Malformed},
		{"a DHCP discover from another's address", clients.LAN, dhcp4(toAll(bobIP), false, aliceMAC, 1, 0), Spoofed},
		{"BOOTP without the cookie", clients.LAN, patchedAt(dhcp4(toAll(0), false, aliceMAC, 1, 0), bootp+236, 0), Malformed},
		{"BOOTP of another hardware", clients.LAN, patchedAt(dhcp4(toAll(0), false, aliceMAC, 1, 0), bootp+1, 6), Malformed},
		{"a reply to the server's port", clients.LAN, patchedAt(dhcp4(toAll(0), false, aliceMAC, 1, 0), bootp, 2), Malformed},
		{"a datagram to the server's port", clients.LAN, func() []byte { w := toAll(0); w.srcPort, w.dstPort = 68, 67; return w.udp(100) }(), Malformed},
		{"a DHCP server on the LAN", clients.LAN, dhcp4(rogue, true, bobMAC, 2, bobIP), RogueServer},
		{"an offer that nobody asked for", clients.WAN, dhcp4(fromServer, true, aliceMAC, 2, aliceIP), NoGrant},

		{"a DHCPv6 solicit", clients.LAN, dhcp6(aliceMAC, alice6, dhcpServers6, 546, 547, 1, 1, 2, 3), passes},
		{"a DHCPv6 solicit of 833 bytes", clients.LAN, dhcp6(aliceMAC, alice6, dhcpServers6, 546, 547, append([]byte{1}, make([]byte, 833-49)...)...), passes},
		{"a DHCPv6 solicit of 834 bytes", clients.LAN, dhcp6(aliceMAC, alice6, dhcpServers6, 546, 547, append([]byte{1}, make([]byte, 834-49)...)...), Malformed},
		{"a DHCPv6 solicit from a global address", clients.LAN, dhcp6(aliceMAC, aliceGlobal, dhcpServers6, 546, 547, 1, 1, 2, 3), BadSource},
		{"a DHCPv6 solicit to one server", clients.LAN, dhcp6(aliceMAC, alice6, "2001:db8::1", 546, 547, 1, 1, 2, 3), NoGrant},
		{"a DHCPv6 relay's word", clients.LAN, dhcp6(aliceMAC, alice6, dhcpServers6, 546, 547, 12, 1, 2, 3), Malformed},
		{"a DHCPv6 server on the LAN", clients.LAN, dhcp6(aliceMAC, alice6, bob6, 547, 546, 2, 1, 2, 3), RogueServer},
		{"a DHCPv6 answer", clients.WAN, dhcp6(routerMAC, router6, alice6, 547, 546, 2, 1, 2, 3), passes},
		{"a datagram like one from far away", clients.WAN, sixTo(aliceMAC, dhcp6(routerMAC, "2001:db8:ffff::1", aliceGlobal, 547, 546, 2, 1, 2, 3)), NoGrant},

		{"a router solicitation", clients.LAN, discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0), passes},
		{"a router solicitation of who has no address", clients.LAN, discovery(aliceMAC, "::", allRouters6, 255, 133, 0, 0, 0, 0, 0), passes},
		{"a router advertisement", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 134, 0, make([]byte, 12)...), RogueRouter},
		{"a redirect", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 137, 0, make([]byte, 36)...), RogueRouter},
		{"a neighbour solicitation", clients.LAN, discovery(aliceMAC, alice6, "ff02::1:ff00:1", 255, 135, 0, target(router6, aliceMAC)...), passes},
		{"a neighbour solicitation in a VLAN", clients.LAN, tagged(discovery(aliceMAC, alice6, "ff02::1:ff00:1", 255, 135, 0, target(router6, aliceMAC)...), 7), passes},
		{"duplicate address detection", clients.LAN, discovery(aliceMAC, "::", solicitedAlice, 255, 135, 0, target(alice6, aliceMAC)...), passes},
		{"a question whether a router is still there", clients.LAN, sixTo(routerMAC, discovery(aliceMAC, alice6, router6, 255, 135, 0, target(router6, aliceMAC)...)), passes},
		{"a router solicitation to another network", clients.LAN, sixTo(routerMAC, discovery(aliceMAC, aliceGlobal, farAway6, 255, 133, 0, 0, 0, 0, 0)), Malformed},
		{"a neighbour solicitation to another network", clients.LAN, sixTo(routerMAC, discovery(aliceMAC, aliceGlobal, farAway6, 255, 135, 0, target(farAway6, aliceMAC)...)), Malformed},
		{"a neighbour advertisement to another network", clients.LAN, sixTo(routerMAC, discovery(aliceMAC, aliceGlobal, farAway6, 255, 136, 0, target(aliceGlobal, aliceMAC)...)), Malformed},
		{"a neighbour solicitation to a group beyond the link", clients.LAN, discovery(aliceMAC, aliceGlobal, "ff0e::1", 255, 135, 0, target(router6, aliceMAC)...), Malformed},
		{"a neighbour solicitation of somebody new to another network", clients.LAN, sixTo(routerMAC, discovery(0x020000000077, "2001:db8::77", farAway6, 255, 135, 0, target(farAway6, 0x020000000077)...)), Malformed},
		{"a neighbour advertisement", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(alice6, aliceMAC)...), passes},
		{"that has passed a router", clients.LAN, discovery(aliceMAC, alice6, allRouters6, 254, 133, 0, 0, 0, 0, 0), Malformed},
		{"of another code", clients.LAN, discovery(aliceMAC, alice6, allRouters6, 255, 133, 1, 0, 0, 0, 0), Malformed},
		{"behind another header", clients.LAN, headed(discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0)), Malformed},
		{"a DHCPv6 solicit behind another header", clients.LAN, headed(dhcp6(aliceMAC, alice6, dhcpServers6, 546, 547, 1, 1, 2, 3)), Malformed},
		{"an option of no length", clients.LAN, discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0), Malformed},
		{"an option longer than the packet", clients.LAN, discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0), Malformed},
		{"a host's options", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, append(target(alice6, aliceMAC), nonces(3)...)...), passes},
		{"a host's options and 8 bytes more", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, append(target(alice6, aliceMAC), nonces(4)...)...), Malformed},
		{"a neighbour solicitation with more", clients.LAN, discovery(aliceMAC, alice6, "ff02::1:ff00:1", 255, 135, 0, append(target(router6, aliceMAC), nonces(4)...)...), Malformed},
		{"a router solicitation with more", clients.LAN, discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, append(make([]byte, 4), nonces(5)...)...), Malformed},
		{"half a target", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(alice6, aliceMAC)[:12]...), Malformed},
		{"a group as target", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(allNodes6, aliceMAC)...), Malformed},
		{"from a group", clients.LAN, discovery(aliceMAC, allNodes6, allRouters6, 255, 133, 0, 0, 0, 0, 0), BadSource},
		{"bob's address as source", clients.LAN, discovery(aliceMAC, bob6, allRouters6, 255, 133, 0, 0, 0, 0, 0), Spoofed},
		{"bob's address as target", clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(bob6, aliceMAC)...), Spoofed},
		{"detection of bob's address", clients.LAN, discovery(aliceMAC, "::", solicitedAlice, 255, 135, 0, target(bob6, aliceMAC)...), Spoofed},
		{"bob's address from somebody new", clients.LAN, discovery(0x020000000077, bob6, allRouters6, 255, 133, 0, 0, 0, 0, 0), Spoofed},
		{"a router's word from the WAN", clients.WAN, discovery(routerMAC, router6, allNodes6, 255, 134, 0, make([]byte, 12)...), passes},
		{"a router's word with many prefixes", clients.WAN, discovery(routerMAC, router6, allNodes6, 255, 134, 0, append(make([]byte, 12), nonces(100)...)...), passes},
		{"a redirect from the WAN", clients.WAN, discovery(routerMAC, router6, allNodes6, 255, 137, 0, make([]byte, 36)...), passes},
		{"a neighbour's word from the WAN", clients.WAN, discovery(routerMAC, router6, solicitedAlice, 255, 135, 0, target(alice6, routerMAC)...), passes},
		{"bob's address from the WAN", clients.WAN, discovery(routerMAC, router6, allNodes6, 255, 136, 0, target(bob6, routerMAC)...), Spoofed},
		{"from another network", clients.WAN, discovery(routerMAC, router6, allNodes6, 254, 134, 0, make([]byte, 12)...), Malformed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBridge(t)
			b.bind(alice, aliceMAC, aliceIP)
			b.bind(bob, bobMAC, bobIP)
			b.heard(alice, bob)
			b.in(clients.LAN, discovery(bobMAC, bob6, allRouters6, 255, 133, 0, 0, 0, 0, 0)) // who has it from now on
			b.onlyFrame(clients.WAN)
			b.in(row.port, bytes.Clone(row.raw))
			var was packet.Packet
			was.Decode(row.raw)
			if row.why != passes {
				b.nothing()
				b.dropped(row.why, 1)
				return
			}
			if got := b.onlyFrame(1 - row.port); !bytes.Equal(got, was.Raw) {
				t.Errorf("sent\n%x, came\n%x", was.Raw, got)
			}
			b.carried()
			if c := b.table.Header().Counters().Totals; c.BilledBytes != 0 {
				t.Errorf("%d bytes are billed", c.BilledBytes)
			}
		})
	}
}

// Discovery with a global address is for who was heard on the WAN with discovery's hop
// limit, and for as long.
func TestDiscoveryReachesWhoWasHeard(t *testing.T) {
	const neighbour = "2001:db8::fe"
	question := sixTo(routerMAC, discovery(aliceMAC, aliceGlobal, neighbour, 255, 135, 0, target(neighbour, aliceMAC)...))
	word := discovery(routerMAC, neighbour, allNodes6, 255, 136, 0, target(neighbour, routerMAC)...)
	farther := discovery(routerMAC, neighbour, allNodes6, 254, 136, 0, target(neighbour, routerMAC)...)
	data := six6(routerMAC, aliceMAC, neighbour, aliceGlobal, 64, &layers.UDP{SrcPort: 443, DstPort: 5000})
	rows := []struct {
		name  string
		heard []byte
		wait  time.Duration
		want  int
	}{
		{"its advertisement", word, 0, 1},
		{"its advertisement from its link-local address", discovery(routerMAC, router6, allNodes6, 255, 136, 0, target(neighbour, routerMAC)...), 0, 1},
		{"nine minutes ago", word, 9 * time.Minute, 1},
		{"eleven minutes ago", word, 11 * time.Minute, 0},
		{"one that has passed a router", farther, 0, 0},
		{"a packet that may have come from anywhere", data, 0, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBridge(t)
			b.bind(alice, aliceMAC, aliceIP)
			b.in(clients.WAN, bytes.Clone(row.heard))
			b.frames(clients.LAN)
			b.now += row.wait
			b.in(clients.LAN, bytes.Clone(question))
			if got := len(b.frames(clients.WAN)); got != row.want {
				t.Errorf("%d frames out, want %d; drops %v", got, row.want, b.allDrops())
			}
		})
	}
}

// headed is a packet with hop-by-hop options, which pad, before its upper layer.
func headed(raw []byte) []byte {
	at := l3 + ipv6HeaderLen
	out := append(bytes.Clone(raw[:at]), raw[l3+6], 0, 1, 4, 0, 0, 0, 0)
	out = append(out, raw[at:]...)
	out[l3+6] = 0
	binary.BigEndian.PutUint16(out[l3+4:], binary.BigEndian.Uint16(raw[l3+4:])+8)
	return out
}

// The box answers for its address, and nobody beyond it is asked.
func TestABridgeAnswersForTheBox(t *testing.T) {
	b := newBridge(t)
	b.bind(alice, aliceMAC, aliceIP)
	q := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}
	b.in(clients.LAN, q.raw())
	b.one(clients.LAN).says(t, 2, lanMAC, lanIP, aliceMAC, aliceIP)
	b.nothing()
	if b.table.Slot(alice).Heard.Load() != int64(b.now) {
		t.Error("she was not heard")
	}
}

// What passes without a session has a rate: each client its own, each way.
func TestControlFramesHaveARate(t *testing.T) {
	q := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: 0x0a0000fe}
	other := arp{from: bobMAC, to: broadcast, op: 1, mac: bobMAC, ip: bobIP, target: 0x0a0000fe}
	stranger := arp{from: 0x020000000077, to: broadcast, op: 1, mac: 0x020000000077, target: 0x0a0000fe}
	answer := arp{from: routerMAC, to: aliceMAC, op: 2, mac: routerMAC, ip: 0x0a0000fe, targetMAC: aliceMAC, target: aliceIP}
	toAll := answer
	toAll.to = broadcast
	rows := []struct {
		name        string
		port        int
		raw         []byte
		atOnce, per int // that pass at once, and each second
	}{
		{"a client's", clients.LAN, q.raw(), 40, 20},
		{"strangers'", clients.LAN, stranger.raw(), 200, 200},
		{"answers to a client", clients.WAN, answer.raw(), 40, 20},
		{"for everybody", clients.WAN, toAll.raw(), 1000, 1000},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBridge(t)
			b.bind(alice, aliceMAC, aliceIP)
			b.bind(bob, bobMAC, bobIP)
			count := func(n int) int {
				for range n {
					b.offer(row.port, row.raw)
				}
				b.round()
				return len(b.frames(1 - row.port))
			}
			if got := count(row.atOnce + 60); got != row.atOnce {
				t.Errorf("%d at once, want %d", got, row.atOnce)
			}
			b.dropped(Storm, 60)
			b.now += time.Second
			if got := count(row.atOnce + 60); got != row.per {
				t.Errorf("%d after a second, want %d", got, row.per)
			}
			b.in(clients.LAN, other.raw())
			if len(b.frames(clients.WAN)) != 1 {
				t.Error("another one has to wait")
			}
		})
	}
}
