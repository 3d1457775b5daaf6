package forwarder

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// Nobody on the LAN takes the router's place: neither its MAC nor its addresses make a client.
func TestNobodyBecomesTheRouter(t *testing.T) {
	const strangerMAC, far = 0x020000000077, 0x0a0000fe
	word := arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: far, target: aliceIP}.raw()
	forger := across
	forger.srcMAC, forger.dstMAC = routerMAC, broadcast
	rows := []struct {
		name  string
		heard []byte // from the WAN
		wait  time.Duration
		raw   []byte
		why   Reason
	}{
		{"its MAC", word, 0, forger.udp(10), Looped},
		{"its MAC over IPv6", word, 0, forger.six(17, 10), Looped},
		{"its MAC in ARP", word, 0, arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, target: lanIP}.raw(), Looped},
		{"its MAC, after ordinary traffic", home.udp(10), 0, forger.udp(10), Looped},
		{"its MAC, a minute after it went silent", word, 61 * time.Second, forger.udp(10), UnknownClient},
		{"its address", word, 0, flow{srcMAC: strangerMAC, dstMAC: broadcast, src: far, dst: serverIP}.udp(10), Spoofed},
		{"its address from a client", word, 0, flow{srcMAC: aliceMAC, dstMAC: broadcast, src: far, dst: serverIP}.udp(10), Spoofed},
		{"its address in ARP", word, 0, arp{from: strangerMAC, to: broadcast, op: 2, mac: strangerMAC, ip: far, target: far}.raw(), Spoofed},
		{"its address, after nine minutes", word, 9 * time.Minute, flow{srcMAC: strangerMAC, dstMAC: broadcast, src: far, dst: serverIP}.udp(10), Spoofed},
		{"its IPv6 address from a client", discovery(routerMAC, router6, allNodes6, 255, 134, 0, make([]byte, 12)...), 0, from6(aliceMAC, router6), Spoofed},
		{"its IPv6 address in discovery", discovery(routerMAC, router6, allNodes6, 255, 134, 0, make([]byte, 12)...), 0,
			discovery(strangerMAC, router6, allNodes6, 255, 136, 0, target(router6, strangerMAC)...), Spoofed},
		{"its IPv6 address as a client's target", discovery(routerMAC, router6, allNodes6, 255, 134, 0, make([]byte, 12)...), 0,
			discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(router6, aliceMAC)...), Spoofed},
	}
	for _, n := range []int{1, 3} {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				withWorkers(t, n)
				b := aliceBridge(t)
				b.in(clients.WAN, row.heard)
				b.now += row.wait
				b.frames(clients.LAN)
				b.sightings()
				b.in(clients.LAN, row.raw)
				b.dropped(row.why, 1)
				b.nothing()
				if s := b.sightings(); row.why != UnknownClient && len(s) != 0 {
					t.Errorf("control is told %+v", s)
				}
			})
		}
	}
}

// The next router that the config names is kept free before it was heard.
func TestTheNamedRouterIsKeptFree(t *testing.T) {
	b := aliceBridge(t)
	b.table.Header().SetAddressing(clients.Addressing{Bits: 24, Gateway: 0x0a0000fe})
	b.round()
	b.frames(clients.WAN)
	b.in(clients.LAN, flow{srcMAC: aliceMAC, dstMAC: broadcast, src: 0x0a0000fe, dst: serverIP}.udp(10),
		arp{from: aliceMAC, to: broadcast, op: layers.ARPReply, mac: aliceMAC, ip: 0x0a0000fe, target: bobIP}.raw())
	b.dropped(Spoofed, 2)
	b.nothing()
	b.sightings()
	b.in(clients.LAN, dhcp4(flow{srcMAC: aliceMAC, dstMAC: broadcast, dst: 0xffffffff, ttl: 64}, false, aliceMAC, 3, 0))
	b.in(clients.WAN, dhcp4(flow{srcMAC: routerMAC, dstMAC: aliceMAC, src: 0x0a0000fd, dst: 0x0a0000fe, ttl: 64}, true, aliceMAC, 5, 0x0a0000fe))
	if s := b.sightings(); len(s) != 0 {
		t.Errorf("control is told %+v", s)
	}
}

// Who was not heard on the LAN for long does not keep his MAC and his address from who has
// them on the WAN now.
func TestWhoHasLeftHoldsNothing(t *testing.T) {
	for _, n := range []int{1, 3} {
		for _, row := range []struct {
			name   string
			silent time.Duration
			passes bool
		}{{"not yet", hereFor - time.Second, false}, {"five minutes", hereFor + time.Second, true}} {
			t.Run(row.name, func(t *testing.T) {
				withWorkers(t, n)
				b := aliceBridge(t)
				b.bind(bob, bobMAC, bobIP)
				b.heard(alice, bob)
				b.now += row.silent
				mac, ip := home, home
				mac.srcMAC, ip.src = bobMAC, bobIP
				b.in(clients.WAN, mac.udp(10), ip.udp(20), arp{from: routerMAC, to: aliceMAC, op: 2, mac: routerMAC, ip: bobIP, target: aliceIP}.raw())
				if got := len(b.frames(clients.LAN)); row.passes && got != 3 || !row.passes && got != 0 {
					t.Errorf("%d of 3 pass; drops %v", got, b.allDrops())
				}
			})
		}
	}
}

// A router on the WAN has its address, though a client had it before it was heard.
func TestARouterTakesItsAddressBack(t *testing.T) {
	const global = "2001:db8::fe"
	says := func(src string) []byte { return discovery(routerMAC, src, allNodes6, 255, 134, 0, make([]byte, 12)...) }
	rows := []struct {
		name  string
		wait  time.Duration // after the router was heard
		heard []byte
		raw   []byte
		why   Reason // Kept: it passes
	}{
		{"discovery from it", 0, says(router6), discovery(aliceMAC, router6, allRouters6, 255, 133, 0, 0, 0, 0, 0), Spoofed},
		{"an advertisement of it", 0, says(router6), discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(router6, aliceMAC)...), Spoofed},
		{"an advertisement of it, after two hours", 2 * time.Hour, says(router6), discovery(aliceMAC, alice6, allNodes6, 255, 136, 0, target(router6, aliceMAC)...), Spoofed},
		{"a packet from it, as the forwarder looks again", saidEvery, says(router6), from6(aliceMAC, router6), Spoofed},
		{"somebody else's discovery from it", 0, says(router6), discovery(bobMAC, router6, allRouters6, 255, 133, 0, 0, 0, 0, 0), Spoofed},
		{"after two hours", 2 * time.Hour, says(router6), from6(aliceMAC, router6), Spoofed},
		{"after three hours", 3 * time.Hour, says(router6), from6(aliceMAC, router6), Kept},
		{"another's advertisement", 0, says("fe80::2"), discovery(aliceMAC, router6, allRouters6, 255, 133, 0, 0, 0, 0, 0), Kept},
	}
	for _, n := range []int{1, 3} {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				withWorkers(t, n)
				b := aliceBridge(t)
				b.bind(bob, bobMAC, bobIP)
				b.in(clients.LAN, discovery(aliceMAC, router6, allRouters6, 255, 133, 0, 0, 0, 0, 0)) // nobody has it yet
				b.onlyFrame(clients.WAN)
				b.in(clients.WAN, bytes.Clone(row.heard))
				b.onlyFrame(clients.LAN)
				b.now += row.wait
				b.in(clients.LAN, row.raw)
				if row.why == Kept {
					b.onlyFrame(clients.WAN)
					return
				}
				b.dropped(row.why, 1)
				b.nothing()
			})
		}
	}
	t.Run("an advertisement from no link-local address", func(t *testing.T) {
		b := aliceBridge(t)
		b.in(clients.LAN, from6(aliceMAC, global))
		b.onlyFrame(clients.WAN)
		b.in(clients.WAN, says(global))
		b.dropped(Spoofed, 1)
		b.nothing()
	})
}
