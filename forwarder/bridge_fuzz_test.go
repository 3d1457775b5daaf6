package forwarder

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
)

// passesUnpaid says whether a frame from the LAN may be on the WAN without a session, by
// another reading of it than the forwarder's; an error says why not. heard is what came
// from the WAN before.
func passesUnpaid(raw, heard []byte) error {
	p := gopacket.NewPacket(raw[packet.VirtioLen:], layers.LayerTypeEthernet, gopacket.Default)
	eth, _ := p.LinkLayer().(*layers.Ethernet)
	if eth == nil {
		return fmt.Errorf("no Ethernet")
	}
	kind, body := eth.EthernetType, eth.Payload
	if kind == layers.EthernetTypeDot1Q || kind == layers.EthernetTypeQinQ {
		kind, body = layers.EthernetType(binary.BigEndian.Uint16(body[2:])), body[4:]
	}
	switch kind {
	case etherTypeProbe:
		if eth.EthernetType == etherTypeProbe && len(body) == 46 && eth.DstMAC.String() == "03:67:77:00:00:01" { // another bridge's
			return nil
		}
	case layers.EthernetTypeARP:
		if bytes.Equal(body[8:14], eth.SrcMAC) && body[7] <= 2 && len(body) <= 46 {
			return nil
		}
	case layers.EthernetTypeIPv4:
		var ip layers.IPv4
		if err := ip.DecodeFromBytes(body, gopacket.NilDecodeFeedback); err != nil {
			return err
		}
		b := ip.Payload
		if ip.Protocol == layers.IPProtocolUDP && ip.Length <= 833 && ip.FragOffset == 0 && ip.Flags&layers.IPv4MoreFragments == 0 && len(b) >= 8+240 &&
			binary.BigEndian.Uint16(b) == 68 && binary.BigEndian.Uint16(b[2:]) == 67 && bytes.Equal(b[8+28:8+34], eth.SrcMAC) && b[8] == 1 &&
			(ip.DstIP.String() == "255.255.255.255" || bytes.HasPrefix(ip.DstIP.To4(), []byte{10, 0, 0})) {
			return nil
		}
	case layers.EthernetTypeIPv6:
		var ip layers.IPv6
		if err := ip.DecodeFromBytes(body, gopacket.NilDecodeFeedback); err != nil {
			return err
		}
		b, to := ip.Payload, ip.DstIP
		switch {
		case ip.NextHeader == layers.IPProtocolICMPv6 && len(b) >= 8 && (b[0] == 133 || b[0] == 135 || b[0] == 136) && b[1] == 0 && ip.HopLimit == 255 && len(b) <= 24+32 &&
			(to.IsLinkLocalUnicast() || to[0] == 0xff && to[1] == 2 || bytes.Contains(heard, to)):
			return nil
		case ip.NextHeader == layers.IPProtocolUDP && len(b) >= 8+4 && len(b) <= 833-40 && binary.BigEndian.Uint16(b) == 546 && binary.BigEndian.Uint16(b[2:]) == 547 &&
			to.String() == dhcpServers6 && ip.SrcIP.IsLinkLocalUnicast():
			return nil
		}
	}
	return fmt.Errorf("it is neither ARP, DHCP nor discovery on the link")
}

const router6Global = "2001:db8::fe"

// FuzzBeforeLogin feeds frames of a client without a session, and of the WAN, into a
// bridge: what reaches the WAN is what passesUnpaid says, and nobody pays. Input: per frame a port (its highest
// bit has the source MAC put right), a length, the bytes.
func FuzzBeforeLogin(f *testing.F) {
	frame := func(port byte, raw []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{port}, uint16(len(raw))), raw...)
	}
	word := discovery(routerMAC, router6Global, allNodes6, 255, 136, 0, target(router6Global, routerMAC)...)
	bootp := flow{srcMAC: aliceMAC, dstMAC: broadcast, src: 0, dst: 0xffffffff, ttl: 64}
	f.Add(frame(0x80, dhcp4(bootp, false, aliceMAC, 1, 0)))
	f.Add(frame(0x80, dhcp6(aliceMAC, alice6, dhcpServers6, 546, 547, 1, 1, 2, 3)))
	f.Add(frame(0x80, dhcp6(aliceMAC, aliceGlobal, dhcpServers6, 546, 547, 1, 1, 2, 3)))
	f.Add(frame(0x80, discovery(aliceMAC, alice6, allRouters6, 254, 133, 0, 0, 0, 0, 0)))
	f.Add(frame(0x80, headed(dhcp6(aliceMAC, alice6, dhcpServers6, 546, 547, 1, 1, 2, 3))))
	f.Add(frame(0x80, discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0)))
	f.Add(frame(0x80, headed(discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0))))
	f.Add(frame(0x80, discovery(aliceMAC, "::", solicitedAlice, 255, 135, 0, target(alice6, aliceMAC)...)))
	f.Add(frame(0x80, discovery(aliceMAC, aliceGlobal, farAway6, 255, 135, 0, target(farAway6, aliceMAC)...)))
	f.Add(frame(0x80, tagged(discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(alice6, aliceMAC)...), 7)))
	f.Add(frame(0x80, arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: 0x0a0000fe}.raw()))
	f.Add(frame(0x80, append(arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: 0x0a0000fe}.raw(), make([]byte, 100)...)))
	f.Add(frame(0x80, discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, append(target(alice6, aliceMAC), nonces(9)...)...)))
	f.Add(frame(0x80, dhcp4(bootp, false, aliceMAC, 1, 0, make([]byte, 900)...)))
	f.Add(frame(0x80, across.udp(100)))
	probe := serialize(&layers.Ethernet{SrcMAC: unpackMAC(aliceMAC), DstMAC: unpackMAC(probeGroup), EthernetType: etherTypeProbe}, gopacket.Payload(make([]byte, 46)))
	f.Add(frame(0x80, probe))
	f.Add(frame(0x80, tagged(probe, 7)))
	f.Add(frame(0x80, across.superSix(6, 3000, 1000)))
	f.Add(frame(1, dhcp4(flow{srcMAC: routerMAC, dstMAC: aliceMAC, src: 0x0a0000fe, dst: aliceIP, ttl: 64}, true, aliceMAC, 5, aliceIP)))
	f.Add(frame(1, dhcp6(routerMAC, router6, alice6, 547, 546, 2, 1, 2, 3)))
	f.Add(append(frame(1, word), frame(0x80, sixTo(routerMAC, discovery(aliceMAC, alice6, router6Global, 255, 135, 0, target(router6Global, aliceMAC)...)))...))

	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBridge(t)
		defer b.close()
		b.bind(alice, aliceMAC, aliceIP)
		b.bind(bob, bobMAC, bobIP)
		b.heard(alice, bob)
		var heard []byte
		for n := 0; len(in) >= 3 && n < link.Batch; n++ {
			port, size := int(in[0]&1), int(binary.BigEndian.Uint16(in[1:]))
			size = min(size, len(in)-3)
			raw := append([]byte(nil), in[3:3+size]...)
			if in[0]&0x80 != 0 && len(raw) >= packet.VirtioLen+12 {
				packet.PutMAC(raw[packet.VirtioLen+6:], []uint64{aliceMAC, routerMAC}[port])
			}
			in = in[3+size:]
			if port == clients.WAN {
				heard = append(heard, raw...)
			}
			b.in(port, raw)
			out := b.frames(clients.WAN)
			if port == clients.WAN && len(out) > 0 {
				t.Fatalf("it came back: %x", out)
			}
			for _, raw := range out {
				if err := passesUnpaid(raw, heard); err != nil {
					t.Fatalf("%v: %x", err, raw)
				}
			}
			b.frames(clients.LAN)
		}
		b.now += time.Second
		b.round()
		b.carried()
		if c := b.table.Header().Counters().Totals; c.BilledBytes != 0 {
			t.Fatalf("%d bytes are billed", c.BilledBytes)
		}
	})
}
