package forwarder

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// six is a flow's packet over IPv6, from and to addresses that end as the IPv4 ones do.
func (w flow) six(proto layers.IPProtocol, n int) []byte {
	address := func(ip uint32) net.IP { return binary.BigEndian.AppendUint32(net.ParseIP("2001:db8::")[:12:12], ip) }
	eth := w.ethernet()
	eth.EthernetType = layers.EthernetTypeIPv6
	ip := &layers.IPv6{Version: 6, HopLimit: w.ttl, NextHeader: proto, SrcIP: address(w.src), DstIP: address(w.dst)}
	switch proto {
	case layers.IPProtocolTCP:
		h := w.tcpHeader()
		h.ACK = true
		return serialize(eth, ip, h, payload(n))
	case layers.IPProtocolUDP:
		return serialize(eth, ip, &layers.UDP{SrcPort: layers.UDPPort(w.srcPort), DstPort: layers.UDPPort(w.dstPort)}, payload(n))
	}
	return serialize(eth, ip, gopacket.Payload(text(n)))
}

// superSix is a super-packet over IPv6 as a kernel hands it over.
func (w flow) superSix(proto layers.IPProtocol, n, size int) []byte {
	raw, at := w.six(proto, n), byte(16)
	raw[0], raw[1] = 1, 4
	if proto == layers.IPProtocolUDP {
		raw[1], at = 5, 6
	}
	binary.LittleEndian.PutUint16(raw[4:], uint16(size))
	raw[6], raw[8] = l4+20-packet.VirtioLen, at
	pseudo := append(bytes.Clone(raw[l3+8:l3+40]), 0, byte(proto))
	binary.BigEndian.PutUint16(raw[l3+40+int(at):], naiveSum(append(pseudo, raw[l3+4:l3+6]...)))
	return raw
}

// wireOf6 is what a sound IPv6 frame is on the wire: packets, and their bytes of layer 3.
func wireOf6(raw []byte) (packets, bytes uint64) {
	n := uint64(binary.BigEndian.Uint16(raw[l3+4:]))
	if raw[1] == 0 {
		return 1, 40 + n
	}
	head, size := uint64(20), uint64(binary.LittleEndian.Uint16(raw[4:]))
	if raw[l3+6] == 17 {
		head = 8
	}
	packets = (n - head + size - 1) / size
	return packets, n - head + packets*(40+head)
}

// What is not served is dropped for what it is, whatever is in it, counted as the wire packets it would become, and not
// answered.
func TestWhatIsNotServedIsCountedAsItsPackets(t *testing.T) {
	request := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}.raw()
	wrong := func(raw []byte, at int) []byte { raw[at] ^= 0x30; return raw }
	routed := aliceUp.six(layers.IPProtocolIPv6Routing, 64) // whose second octet is its length
	routed[l3+42] = 0
	_, known := talking(t)
	rows := []struct {
		name string
		port int
		raw  []byte
		why  Reason
		want tally
	}{
		{"IPv6", clients.LAN, aliceUp.six(17, 100), IPv6, tally{1, 148}},
		{"IPv6 with Ethernet's padding", clients.LAN, aliceUp.six(59, 0), IPv6, tally{1, 40}},
		{"a TCP super-packet over IPv6", clients.LAN, aliceUp.superSix(6, 2500, 1000), IPv6, tally{3, 2500 + 3*60}},
		{"a UDP super-packet over IPv6", clients.WAN, known.superSix(17, 3000, 1000), IPv6, tally{3, 3000 + 3*48}},
		{"IPv6 from the box", clients.Host, boxUp.six(6, 100), IPv6, tally{1, 160}},
		{"IPv6 of version 5", clients.LAN, wrong(aliceUp.six(17, 100), l3), IPv6, tally{1, 148}},
		{"IPv6 with a source route", clients.LAN, routed, IPv6, tally{1, 104}},
		{"IPv6 longer than the frame", clients.WAN, wrong(known.six(17, 100), l3+4), IPv6, tally{1, 148}},
		{"IPv4 in a VLAN", clients.LAN, tagged(aliceUp.udp(100), 7), Tagged, tally{1, 128}},
		{"IPv4 in VLAN 0", clients.LAN, tagged(aliceUp.udp(100), 0), Tagged, tally{1, 128}},
		{"an answer in a VLAN", clients.WAN, tagged(known.udp(100), 7), Tagged, tally{1, 128}},
		{"a fragment in a VLAN", clients.WAN, tagged(fragmentsOf(known.udp(2000), 1480)[0], 7), Tagged, tally{1, 1500}},
		{"a super-packet in a VLAN", clients.LAN, tagged(aliceUp.tcpSuper(2500, 1000), 7), Tagged, tally{3, 2500 + 3*40}},
		{"an IPv6 super-packet in a VLAN", clients.LAN, tagged(aliceUp.superSix(6, 2500, 1000), 7), Tagged, tally{3, 2500 + 3*60}},
		{"ARP in a VLAN", clients.LAN, tagged(request, 7), Tagged, tally{1, 46}},
		{"ARP in a VLAN on the WAN", clients.WAN, tagged(request, 7), Tagged, tally{1, 46}},
		{"a bad option in a VLAN", clients.LAN, tagged(withOptions(aliceUp.udp(100), 7, 0, 0, 0), 7), Tagged, tally{1, 132}},
		{"a source route in a VLAN", clients.LAN, tagged(withOptions(aliceUp.udp(100), 131, 3, 4, 0), 7), Tagged, tally{1, 132}},
		{"a wrong checksum in a VLAN", clients.LAN, tagged(wrong(aliceUp.udp(100), l3+10), 7), Tagged, tally{1, 128}},
		{"two tags", clients.LAN, tagged(tagged(aliceUp.udp(100), 7), 8), Tagged, tally{1, 132}},
		{"half a tag", clients.LAN, tagged(aliceUp.udp(100), 7)[:l3+3], Tagged, tally{1, 3}},
		{"IPv4 in a VLAN from the box", clients.Host, tagged(boxUp.udp(100), 7), UnknownProtocol, tally{1, 128}},
		{"ARP in a VLAN from the box", clients.Host, tagged(request, 7), UnknownProtocol, tally{1, 46}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b, _ := talking(t)
			h := b.table.Header().Counters()
			was, drops, bytes := h.Ports[row.port], h.Drops[row.why], h.DropBytes[row.why]
			b.in(row.port, row.raw)
			h = b.table.Header().Counters()
			if got := (tally{h.Ports[row.port].RxPackets - was.RxPackets, h.Ports[row.port].RxBytes - was.RxBytes}); got != row.want {
				t.Errorf("received %+v, want %+v", got, row.want)
			}
			if got := (tally{h.Drops[row.why] - drops, h.DropBytes[row.why] - bytes}); got != row.want {
				t.Errorf("dropped as %v %+v, want %+v; all: %v", row.why, got, row.want, b.allDrops())
			}
			b.silent(clients.LAN, clients.WAN, clients.Host)
		})
	}
}

// Nobody but the addresses tells two hosts' conversations over IPv6 apart.
func TestIPv6ConversationsAreToldApart(t *testing.T) {
	decoded := func(raw []byte) *frame {
		fr := new(frame)
		if r := fr.Decode(raw); r != packet.Kept {
			t.Fatal(r)
		}
		return fr
	}
	j, p := newJoins(), pacer{seed: 0x1234567}
	for i := range 4 {
		j.add(2*i, &decoded(aliceUp.six(17, 100)).Packet)
		j.add(2*i+1, &decoded(bobUp.six(17, 100)).Packet)
	}
	if j.leave[0] != 4 || j.leave[1] != 4 {
		t.Errorf("%d and %d datagrams leave together, want 4 and 4", j.leave[0], j.leave[1])
	}
	if p.flow(decoded(aliceUp.six(17, 100))) == p.flow(decoded(bobUp.six(17, 100))) {
		t.Error("two hosts' packets wait in one queue")
	}
	if p.flow(decoded(aliceUp.six(17, 100))) != p.flow(decoded(tagged(aliceUp.six(17, 9), 7))) {
		t.Error("one conversation's packets wait in two queues")
	}
	kinds := map[uint8]bool{}
	for _, raw := range [][]byte{aliceUp.udp(9), aliceUp.tcp(9), aliceUp.six(17, 9), aliceUp.six(6, 9)} {
		kinds[kind(&decoded(raw).Packet)], kinds[kind(&decoded(tagged(raw, 7)).Packet)] = true, true
	}
	if len(kinds) != joinKinds {
		t.Errorf("%d kinds of super-packets, want %d", len(kinds), joinKinds)
	}
}
