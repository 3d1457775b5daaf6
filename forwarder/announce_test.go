package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestTheGatewaySaysWhereItIs(t *testing.T) {
	b := newBench(t)
	b.announces = true
	b.start()
	h := b.table.Header()
	said := func(port int, times int) {
		t.Helper()
		mac, own := uint64(lanMAC), uint32(lanIP)
		if port == clients.WAN {
			mac, own = wanMAC, wanIP
		}
		for _, s := range b.out(port) {
			if s.arp == nil || be32(s.arp.DstProtAddress) != own {
				continue // the router is asked for as well
			}
			if times--; s.dstMAC != broadcast {
				t.Errorf("said to %x", s.dstMAC)
			}
			s.says(t, 1, mac, own, 0, own)
		}
		if times != 0 {
			t.Fatalf("%d times less on port %d than wanted", times, port)
		}
	}
	b.pass(100 * time.Millisecond)
	said(clients.LAN, 1)
	said(clients.WAN, 1)
	b.pass(10 * time.Second)
	said(clients.LAN, 1) // RFC 5227: twice
	said(clients.WAN, 1)
	h.Down.Store(1 << clients.LAN)
	b.pass(10 * time.Second)
	h.Down.Store(0)
	b.pass(10 * time.Second)
	said(clients.LAN, 2)
	said(clients.WAN, 0)
}

func TestAPortWithoutALinkIsSentNothing(t *testing.T) {
	b := online(t, free())
	h := b.table.Header()
	b.in(clients.LAN, aliceUp.udp(100))
	answer := b.one(clients.WAN)
	down := flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 443, dstPort: answer.srcPort, ttl: 64}
	b.running(alice, 1, 128)

	h.Down.Store(1 << clients.LAN)
	b.in(clients.WAN, down.udp(100))
	b.silent(clients.LAN)
	b.dropped(NoLink, 1)
	b.running(alice, 1, 128)
	h.Down.Store(0)
	b.in(clients.WAN, down.udp(100))
	b.one(clients.LAN)
	b.running(alice, 1, 256)

	h.Down.Store(1 << clients.WAN)
	b.in(clients.LAN, aliceUp.udp(100)) // the router may be another one when the link is back
	b.silent(clients.WAN)
	b.pass(5 * time.Second)
	b.silent(clients.WAN)
	for _, s := range b.out(clients.LAN) {
		if s.arp == nil {
			s.quotes(t, 3, 1, lanIP, aliceIP, aliceUp.udp(100))
		}
	}
	b.dropped(Unresolved, 1)
	b.running(alice, 1, 256)
	h.Down.Store(0)
	b.pass(200 * time.Millisecond)
	if got := b.out(clients.WAN); len(got) != 2 {
		t.Fatalf("%d frames, want one that asks for the router and one that says where the gateway is: %v", len(got), got)
	} else {
		got[0].says(t, 1, wanMAC, wanIP, 0, routerIP)
	}
	const newMAC = routerMAC + 1
	b.in(clients.WAN, arp{from: newMAC, to: wanMAC, op: 2, mac: newMAC, ip: routerIP, targetMAC: wanMAC, target: wanIP}.raw())
	b.in(clients.LAN, aliceUp.udp(100))
	if s := b.one(clients.WAN); s.dstMAC != newMAC {
		t.Errorf("sent to %x", s.dstMAC)
	}
	b.running(alice, 1, 384)
}
