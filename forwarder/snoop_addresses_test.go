package forwarder

import (
	"bytes"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// A DHCP server is heard by who has asked, for a minute; what else comes to a client's
// port is as any packet.
func TestDHCPAnswersAreForWhoAsked(t *testing.T) {
	const newMAC, newIP = 0x020000000077, 0x0a000077
	ask := func(mac uint64) []byte {
		return dhcp4(flow{srcMAC: mac, dstMAC: broadcast, dst: 0xffffffff, ttl: 64}, false, mac, 3, 0)
	}
	to := func(mac uint64, ip uint32) flow {
		return flow{srcMAC: routerMAC, dstMAC: mac, src: 0x0a0000fe, dst: ip, ttl: 64}
	}
	forAll := to(broadcast, 0xffffffff)
	rows := []struct {
		name  string
		asked []byte
		wait  time.Duration
		raw   []byte
		why   Reason
	}{
		{"an offer", ask(aliceMAC), 0, dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP), Kept},
		{"an offer for everybody to hear", ask(aliceMAC), 0, dhcp4(forAll, true, aliceMAC, 2, aliceIP), Kept},
		{"an offer in a VLAN", tagged(ask(aliceMAC), 7), 0, tagged(dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP), 7), Kept},
		{"an offer as long as a packet can be", ask(aliceMAC), 0, dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP, make([]byte, 1500-dhcp4Bytes)...), Kept},
		{"an offer to somebody new", ask(newMAC), 0, dhcp4(to(newMAC, newIP), true, newMAC, 2, newIP), Kept},
		{"after 59 s", ask(aliceMAC), 59 * time.Second, dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP), Kept},
		{"after a minute", ask(aliceMAC), 61 * time.Second, dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP), NoGrant},
		{"to somebody new who did not ask", ask(aliceMAC), 0, dhcp4(to(newMAC, newIP), true, newMAC, 2, newIP), UnknownClient},
		{"that bob asked for", ask(bobMAC), 0, dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP), NoGrant},
		{"for bob in a frame to alice", ask(bobMAC), 0, dhcp4(to(aliceMAC, aliceIP), true, bobMAC, 2, bobIP), NoGrant},
		{"a question", ask(aliceMAC), 0, func() []byte {
			raw := dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP)
			raw[l3+28] = 1
			return raw
		}(), NoGrant},
		{"a datagram", ask(aliceMAC), 0, func() []byte { w := to(aliceMAC, aliceIP); w.srcPort, w.dstPort = 67, 68; return w.udp(100) }(), NoGrant},
		{"a part of one", ask(aliceMAC), 0, fragmentsOf(dhcp4(to(aliceMAC, aliceIP), true, aliceMAC, 2, aliceIP), 248)[0], NoGrant},
	}
	for _, n := range []int{1, 3} {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				withWorkers(t, n)
				b := newBridge(t)
				b.bind(alice, aliceMAC, aliceIP)
				b.bind(bob, bobMAC, bobIP)
				b.in(clients.LAN, bytes.Clone(row.asked))
				b.onlyFrame(clients.WAN)
				b.now += row.wait
				b.in(clients.WAN, bytes.Clone(row.raw))
				if row.why != Kept {
					b.dropped(row.why, 1)
					b.nothing()
					return
				}
				b.onlyFrame(clients.LAN)
				b.carried()
			})
		}
	}
}

// What is for everybody reaches everybody, but nobody is told of an address in it that was
// not asked for.
func TestALeaseThatNobodyAskedFor(t *testing.T) {
	b := newBridge(t)
	b.bind(alice, aliceMAC, aliceIP)
	lease := dhcp4(flow{srcMAC: routerMAC, dstMAC: broadcast, src: 0x0a0000fe, dst: 0xffffffff, ttl: 64}, true, aliceMAC, 5, 0x0a000077)
	for range 300 {
		b.offer(clients.WAN, lease)
	}
	b.round()
	if got, want := len(b.frames(clients.LAN)), int(wanGroupSaved/(dhcp4Bytes*wanGroupByte)); got != want {
		t.Errorf("%d of 300 pass, want %d as of any", got, want)
	}
	if s := b.sightings(); len(s) != 0 {
		t.Errorf("control is told %+v", s)
	}
}

// Control hears of new addresses as soon as they are spoken of.
func TestABridgeTellsOfAddresses(t *testing.T) {
	leased := flow{srcMAC: routerMAC, dstMAC: aliceMAC, src: 0x0a0000fe, dst: 0x0a000077, ttl: 64}
	rows := []struct {
		name string
		port int
		raw  []byte
		want []clients.Sighting
	}{
		{"a lease", clients.WAN, dhcp4(leased, true, aliceMAC, 5, 0x0a000077), []clients.Sighting{{Kind: clients.NewAddress, Slot: alice, MAC: aliceMAC, IP: 0x0a000077}}},
		{"a lease that everybody hears", clients.WAN, dhcp4(flow{srcMAC: routerMAC, dstMAC: broadcast, src: 0x0a0000fe, dst: 0xffffffff, ttl: 64}, true, aliceMAC, 5, 0x0a000077),
			[]clients.Sighting{{Kind: clients.NewAddress, Slot: alice, MAC: aliceMAC, IP: 0x0a000077}}},
		{"an offer is none", clients.WAN, dhcp4(leased, true, aliceMAC, 2, 0x0a000077), nil},
		{"a lease of what she has", clients.WAN, dhcp4(leased, true, aliceMAC, 5, aliceIP), nil},
		{"a lease of somebody on the WAN", clients.WAN, dhcp4(leased, true, 0x020000000088, 5, 0x0a000077), nil},
		{"an announcement", clients.LAN, arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: 0x0a000077, target: 0x0a000077}.raw(),
			[]clients.Sighting{{Kind: clients.NewAddress, Slot: alice, MAC: aliceMAC, IP: 0x0a000077}}},
		{"somebody new, over IPv6 only", clients.LAN, discovery(0x020000000077, "fe80::77", allRouters6, 255, 133, 0, 0, 0, 0, 0),
			[]clients.Sighting{{Kind: clients.UnknownMAC, MAC: 0x020000000077}}},
		{"an address of another prefix", clients.LAN, flow{srcMAC: 0x020000000077, dstMAC: routerMAC, src: serverIP, dst: wanIP, ttl: 9}.udp(10),
			[]clients.Sighting{{Kind: clients.UnknownMAC, MAC: 0x020000000077, IP: serverIP}}},
	}
	for _, row := range rows {
		b := newBridge(t)
		b.bind(alice, aliceMAC, aliceIP)
		b.in(clients.LAN, dhcp4(flow{srcMAC: aliceMAC, dstMAC: broadcast, dst: 0xffffffff, ttl: 64}, false, aliceMAC, 3, 0))
		b.in(row.port, row.raw)
		got := b.sightings()
		for i := range got {
			got[i].When = 0
		}
		if len(got) != len(row.want) || len(got) == 1 && got[0] != row.want[0] {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
		b.close()
	}
}

// What gives a client an IPv4 address: its first packet, then its own ARP and DHCP alone.
func TestWhatGivesAClientItsAddress(t *testing.T) {
	const other, far = 0x0a000077, 0x0a0000fe
	from := func(ip uint32) []byte { w := across; w.src = ip; return w.udp(10) }
	arpOf := func(ip uint32) []byte {
		return arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: ip, target: far}.raw()
	}
	ask := func(ip uint32) []byte {
		return dhcp4(flow{srcMAC: aliceMAC, dstMAC: broadcast, src: ip, dst: 0xffffffff, ttl: 64}, false, aliceMAC, 3, 0)
	}
	lease := func(ip uint32) []byte {
		return dhcp4(flow{srcMAC: routerMAC, dstMAC: aliceMAC, src: far, dst: ip, ttl: 64}, true, aliceMAC, 5, ip)
	}
	rows := []struct {
		name string
		has  uint32        // 0: none
		last time.Duration // ago, a packet or ARP from there; below 0: none yet
		raw  [][]byte      // the first from the LAN, the second from the WAN
		told bool          // control is, of the other address
		why  Reason        // of the first; Kept: it passes
	}{
		{"a packet, to who has none", 0, 0, [][]byte{from(other)}, true, Spoofed},
		{"a packet, to who has one", aliceIP, 0, [][]byte{from(other)}, false, Spoofed},
		{"a packet from far away", aliceIP, 0, [][]byte{from(serverIP)}, false, Spoofed},
		{"a packet, after four minutes of silence", aliceIP, 4 * time.Minute, [][]byte{from(other)}, false, Spoofed},
		{"a packet, after six", aliceIP, 6 * time.Minute, [][]byte{from(other)}, true, Spoofed},
		{"a packet, to who never spoke from what it was given", aliceIP, -1, [][]byte{from(other)}, true, Spoofed},
		{"ARP", aliceIP, 0, [][]byte{arpOf(other)}, true, Kept},
		{"ARP of who has none", 0, 0, [][]byte{arpOf(other)}, true, Kept},
		{"ARP about the router's", aliceIP, 0, [][]byte{arpOf(far)}, false, Spoofed},
		{"ARP about the box's", aliceIP, 0, [][]byte{arpOf(lanIP)}, false, BadSource},
		{"a question to a DHCP server from another", aliceIP, 0, [][]byte{ask(other)}, false, Spoofed},
		{"a question to a DHCP server, of who has none", 0, 0, [][]byte{ask(other)}, true, Kept},
		{"a DHCP server's answer", aliceIP, 0, [][]byte{ask(0), lease(other)}, true, Kept},
		{"a DHCP server's answer, to who has none", 0, 0, [][]byte{ask(0), lease(other)}, true, Kept},
	}
	for _, n := range []int{1, 3} {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				withWorkers(t, n)
				b := newBridge(t)
				b.in(clients.WAN, arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: far, target: serverIP}.raw())
				b.bind(alice, aliceMAC, row.has)
				b.grant(alice, free())
				b.round()
				b.now += time.Second
				if row.last >= 0 {
					b.heard(alice)
					b.now += row.last
				}
				b.frames(clients.WAN)
				b.frames(clients.LAN)
				b.sightings()
				b.in(clients.LAN, row.raw[0])
				if row.why != Kept {
					b.dropped(row.why, 1)
					b.nothing()
				} else {
					b.onlyFrame(clients.WAN)
				}
				if len(row.raw) > 1 {
					b.in(clients.WAN, row.raw[1])
					b.onlyFrame(clients.LAN)
				}
				got := b.sightings()
				for i := range got {
					got[i].When = 0
				}
				want := clients.Sighting{Kind: clients.NewAddress, Slot: alice, MAC: aliceMAC, IP: other}
				if row.told && (len(got) != 1 || got[0] != want) || !row.told && len(got) != 0 {
					t.Errorf("control is told %+v", got)
				}
			})
		}
	}
}
