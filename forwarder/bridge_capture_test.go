package forwarder

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// On a bridge each frame is copied as it came, on both sides, and the copies are alike.
func TestACaptureOfABridgeIsWhatWasOnTheWire(t *testing.T) {
	for _, workers := range []int{1, 3} {
		for _, row := range bridgeRows {
			t.Run(fmt.Sprintf("%s, %d workers", row.name, workers), func(t *testing.T) {
				withWorkers(t, workers)
				b := aliceBridge(t)
				b.bind(bob, bobMAC, bobIP)
				b.grant(bob, free())
				r, other := b.capture(0, alice, 1<<16), b.capture(1, bob, 1<<16)
				for _, way := range []struct {
					port  int
					flow  flow
					sides []string
				}{{clients.LAN, across, []string{"in at lan", "out of wan"}}, {clients.WAN, home, []string{"in at wan", "out of lan"}}} {
					raw := row.make(way.flow)
					b.in(way.port, bytes.Clone(raw))
					got := r.read()
					if !slices.Equal(sides(got), way.sides) {
						t.Fatalf("copied %v, want %v; %v", sides(got), way.sides, b.allDrops())
					}
					left := b.onlyFrame(1 - way.port)
					for i, want := range [][]byte{raw, left} {
						if !bytes.Equal(got[i].raw, behindVirtio(want)) || got[i].Length != len(want)-packet.VirtioLen {
							t.Errorf("copy %d\n%x, the frame was\n%x", i, got[i].raw, behindVirtio(want))
						}
					}
				}
				if got := other.read(); len(got) != 0 {
					t.Errorf("of another client's: %v", sides(got))
				}
			})
		}
	}
}

// What is said without a session, to many and by the gateway itself.
func TestWhatACaptureOfABridgeHas(t *testing.T) {
	toMany := home
	toMany.dstMAC = broadcast
	toBob := flow{srcMAC: routerMAC, dstMAC: bobMAC, src: serverIP, dst: bobIP, srcPort: 443, dstPort: 5000, ttl: 60}
	ofBob := flow{srcMAC: bobMAC, dstMAC: routerMAC, src: bobIP, dst: serverIP, srcPort: 5000, dstPort: 443, ttl: 60}
	server := flow{srcMAC: routerMAC, dstMAC: broadcast, src: routerIP, dst: 0xffffffff, srcPort: dhcpServer, dstPort: dhcpClient, ttl: 64}
	for _, row := range []struct {
		name string
		do   func(b *bench)
		want []string
	}{
		{"ARP for the router", func(b *bench) {
			b.in(clients.LAN, arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: routerIP}.raw())
		}, []string{"in at lan", "out of wan"}},
		{"the router's answer", func(b *bench) {
			b.in(clients.WAN, arp{from: routerMAC, to: aliceMAC, op: 2, mac: routerMAC, ip: routerIP, target: aliceIP}.raw())
		}, []string{"in at wan", "out of lan"}},
		{"ARP for the box", func(b *bench) {
			b.in(clients.LAN, arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}.raw())
		}, []string{"in at lan", "out of lan"}},
		{"ARP to everybody", func(b *bench) {
			b.in(clients.WAN, arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: routerIP, target: aliceIP}.raw())
		}, []string{"in at wan", "out of lan"}},
		{"a broadcast", func(b *bench) { b.in(clients.WAN, toMany.udp(50)) }, []string{"in at wan", "out of lan"}},
		{"a broadcast over IPv6", func(b *bench) { b.in(clients.WAN, toMany.six(17, 50)) }, []string{"in at wan", "out of lan"}},
		{"a broadcast in a VLAN", func(b *bench) { b.in(clients.WAN, tagged(toMany.udp(50), 7)) }, []string{"in at wan", "out of lan"}},
		{"DHCP to it", func(b *bench) {
			b.f.heardAsking(aliceMAC)
			b.in(clients.WAN, dhcp4(server, true, aliceMAC, 5, aliceIP))
		}, []string{"in at wan", "out of lan"}},
		{"DHCP to it in a VLAN", func(b *bench) {
			b.f.heardAsking(aliceMAC)
			b.in(clients.WAN, tagged(dhcp4(server, true, aliceMAC, 5, aliceIP), 7))
		},
			[]string{"in at wan", "out of lan"}},
		{"DHCP to another by everybody's address", func(b *bench) { b.f.heardAsking(bobMAC); b.in(clients.WAN, dhcp4(server, true, bobMAC, 5, bobIP)) }, nil},
		{"DHCP to another in a VLAN", func(b *bench) {
			b.f.heardAsking(bobMAC)
			b.in(clients.WAN, tagged(dhcp4(server, true, bobMAC, 5, bobIP), 7))
		}, nil},
		{"another's", func(b *bench) {
			b.in(clients.LAN, ofBob.udp(100))
			b.in(clients.WAN, toBob.udp(100))
			b.in(clients.WAN, tagged(toBob.udp(100), 7))
			b.in(clients.WAN, toBob.six(17, 100))
		}, nil},
		{"nobody's", func(b *bench) {
			w := toBob
			w.dstMAC = 0x0200000000aa
			b.in(clients.WAN, w.udp(100))
		}, nil},
		{"over the MTU", func(b *bench) {
			b.table.Header().MTU[clients.WAN].Store(1400)
			b.round()
			w := across
			w.dont = true
			b.in(clients.LAN, w.udp(1450))
		}, []string{"in at lan", "out of lan"}},
		{"over the MTU down", func(b *bench) {
			b.table.Header().MTU[clients.LAN].Store(1400)
			b.round()
			w := home
			w.dont = true
			b.in(clients.WAN, w.udp(1450))
		}, []string{"in at wan", "out of wan"}},
		{"what nobody bridges", func(b *bench) { w := across; w.dstMAC = linkLocalGroups; b.in(clients.LAN, w.udp(10)) }, []string{"in at lan"}},
		{"probes for loops", func(b *bench) { b.pass(10 * probeEvery) }, nil},
		{"without a grant", func(b *bench) { b.record(alice, 1).Revoke(b.now); b.changed(alice); b.in(clients.WAN, home.udp(10)) }, []string{"in at wan"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			b.bind(bob, bobMAC, bobIP)
			b.grant(bob, free())
			r := b.capture(0, alice, 1<<16)
			row.do(b)
			if got := sides(r.read()); !slices.Equal(got, row.want) {
				t.Errorf("copied %v, want %v; %v", got, row.want, b.allDrops())
			}
		})
	}
}
