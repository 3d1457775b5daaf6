package forwarder

import (
	"slices"
	"testing"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// dropRows says for each reason how a packet is dropped for it.
var dropRows = map[Reason]struct {
	name   string
	change func(*Config)
	drop   func(b *bench)
}{
	OverShare: {"who fills a port that others use", nil, func(b *bench) {
		b.offer(clients.LAN, bobUp.udp(10))
		for range crowd + 2*turnShare {
			b.offer(clients.LAN, aliceUp.udp(10))
		}
		b.round()
	}},
	Malformed:   {"a total length beyond the frame", nil, func(b *bench) { raw := aliceUp.udp(10); raw[26]++; b.in(clients.LAN, raw) }},
	BadChecksum: {"an IPv4 header whose checksum is wrong", nil, func(b *bench) { raw := aliceUp.udp(10); raw[34]++; b.in(clients.LAN, raw) }},
	SourceRouted: {"a loose source route", nil, func(b *bench) {
		raw := aliceUp.udp(10)
		raw = append(raw[:44:44], append([]byte{131, 3, 4, 0}, raw[44:]...)...)
		raw[24], raw[27] = 0x46, raw[27]+4
		raw[34], raw[35] = 0, 0
		sum := ^naiveSum(raw[24:48])
		raw[34], raw[35] = byte(sum>>8), byte(sum)
		b.in(clients.LAN, raw)
	}},
	Tagged:          {"a VLAN tag", nil, func(b *bench) { raw := aliceUp.udp(10); raw[22], raw[23] = 0x81, 0; b.in(clients.LAN, raw) }},
	IPv6:            {"an IPv6 packet", nil, func(b *bench) { raw := aliceUp.udp(10); raw[22], raw[23] = 0x86, 0xdd; b.in(clients.LAN, raw) }},
	UnknownProtocol: {"LLDP", nil, func(b *bench) { raw := aliceUp.udp(10); raw[22], raw[23] = 0x88, 0xcc; b.in(clients.LAN, raw) }},
	BadARP: {"an ARP for another sender than the frame's", nil, func(b *bench) {
		b.in(clients.LAN, arp{from: bobMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}.raw())
	}},
	NotForUs:      {"a frame for another station", nil, func(b *bench) { w := aliceUp; w.dstMAC = bobMAC; b.in(clients.LAN, w.udp(10)) }},
	BadSource:     {"a loopback source", nil, func(b *bench) { w := aliceUp; w.src = 0x7f000001; b.in(clients.LAN, w.udp(10)) }},
	UnknownClient: {"somebody nobody knows", nil, func(b *bench) { w := bobUp; w.srcMAC = 0x020000000077; b.in(clients.LAN, w.udp(10)) }},
	Spoofed:       {"somebody else's address", nil, func(b *bench) { w := aliceUp; w.src = bobIP; b.in(clients.LAN, w.udp(10)) }},
	LocalClosed: {"a port of the box that is closed", nil, func(b *bench) {
		b.table.Header().SetOpen(false, nil)
		b.in(clients.LAN, toBox.tcp(1))
	}},
	LANDestination: {"a neighbour, by the gateway", nil, func(b *bench) { w := aliceUp; w.dst = bobIP; b.in(clients.LAN, w.udp(10)) }},
	Stopped: {"a client while all are stopped", nil, func(b *bench) {
		b.table.Header().Stop.Store(clients.StopPorts)
		b.in(clients.LAN, aliceUp.udp(10))
	}},
	NoGrant: {"a client without a grant", nil, func(b *bench) { b.in(clients.LAN, bobUp.udp(10)) }},
	DataUsedUp: {"the packet that does not fit", nil, func(b *bench) {
		b.grant(bob, bytesOf(10))
		b.in(clients.LAN, bobUp.udp(10))
	}},
	TTLExceeded: {"the last hop", nil, func(b *bench) { w := aliceUp; w.ttl = 1; b.in(clients.LAN, w.udp(10)) }},
	TooBig: {"over the MTU with DF", nil, func(b *bench) {
		w := aliceUp
		w.dont = true
		b.in(clients.LAN, w.udp(2000))
	}},
	Unresolved: {"a next hop that is silent", nil, func(b *bench) {
		w := aliceUp
		w.dst = routerIP + 5
		b.in(clients.LAN, w.udp(10))
		b.pass(4e9)
	}},
	ResolveFull: {"too many wait for a next hop", nil, func(b *bench) {
		w := aliceUp
		w.dst = routerIP + 5
		for range maxHeldEach + 1 {
			b.in(clients.LAN, w.udp(10))
		}
		b.pass(4e9)
	}},
	OverRate: {"more than the rate", nil, func(b *bench) {
		slow := free()
		slow.Up = 1
		b.grant(bob, slow)
		b.in(clients.LAN, bobUp.udpSuper(60000, 1000), bobUp.udpSuper(60000, 1000))
	}},
	QueueDelay: {"more than the rate for too long", nil, func(b *bench) {
		slow := free()
		slow.Up = 125_000
		b.grant(bob, slow)
		b.in(clients.LAN, bobUp.udpSuper(60000, 1000))
		b.pass(4e8)
	}},
	NotTranslatable: {"a protocol without ports", nil, func(b *bench) {
		b.in(clients.LAN, serialize(aliceUp.ethernet(), aliceUp.ip(47), payload(40)))
	}},
	NoMapping: {"what nobody asked for", nil, func(b *bench) {
		b.in(clients.WAN, flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 1, dstPort: 4444, ttl: 64}.udp(1))
	}},
	Filtered: {"what somebody else was asked for", nil, func(b *bench) {
		b.in(clients.LAN, aliceUp.udp(10))
		w := back(b.one(clients.WAN))
		w.src++
		b.in(clients.WAN, w.udp(10))
	}},
	NoPort: {"no port is left", func(c *Config) { c.NATFlows = 70000 }, func(b *bench) {
		b.cap(70000, 70000)
		for i := range 64513 {
			w := aliceUp
			w.srcPort = uint16(i + 1)
			b.offer(clients.LAN, w.udp(0))
			if i%512 == 0 {
				b.round()
				b.take(clients.WAN)
			}
		}
		b.round()
		b.take(clients.WAN)
	}},
	FlowsFull: {"the table is full", func(c *Config) { c.NATFlows = 8 }, func(b *bench) {
		for i := range 9 {
			w := aliceUp
			w.dst += uint32(i)
			b.in(clients.LAN, w.udp(0))
		}
	}},
	ClientCap: {"the client's cap", nil, func(b *bench) {
		b.cap(8, 0)
		for i := range 9 {
			w := aliceUp
			w.dst += uint32(i)
			b.in(clients.LAN, w.udp(0))
		}
	}},
	StrayFragment: {"a later fragment alone", nil, func(b *bench) { b.in(clients.LAN, fragmentsOf(aliceUp.udp(3000), 1480)[1]); b.pass(4e9) }},
	FragmentsFull: {"too many fragmented packets", nil, func(b *bench) {
		for i := range maxFragmentedEach + 1 {
			w := aliceUp
			w.id = uint16(i)
			b.in(clients.LAN, fragmentsOf(w.udp(3000), 1480)[0])
		}
	}},
	TxRefused: {"the kernel refuses it", nil, func(b *bench) {
		b.replace(clients.WAN, func(l link.Link) link.Link { return &fussy{l, func([]byte) bool { return true }} })
		b.in(clients.LAN, aliceUp.udp(10))
	}},
	HostUnknown: {"the box speaks to nobody", nil, func(b *bench) { w := boxUp; w.dst = 0x0a000063; b.in(clients.Host, w.udp(10)) }},
	NoHost: {"there is no host link", nil, func(b *bench) {
		b.replace(clients.Host, func(link.Link) link.Link { return nil })
		b.in(clients.LAN, toBox.tcp(1))
	}},
	NoLink: {"the cable is out", nil, func(b *bench) {
		b.table.Header().Down.Store(1 << clients.LAN)
		b.in(clients.LAN, aliceUp.udp(10))
		s := b.one(clients.WAN)
		b.in(clients.WAN, flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 443, dstPort: s.srcPort, ttl: 64}.udp(10))
	}},
	ForwarderEnded: {"a forwarder ends while something waits", nil, func(b *bench) {
		w := aliceUp
		w.dst = routerIP + 5
		b.in(clients.LAN, w.udp(10))
		b.start()
		b.round()
	}},
	NoAddress: {"the gateway has no address on the WAN", nil, func(b *bench) {
		b.addressed()
		b.in(clients.LAN, aliceUp.udp(10))
	}},
	MailFull: {"a flood of DHCP servers' answers", nil, func(b *bench) {
		b.table.Header().SetLeasing(true, 0)
		for range 50 {
			b.in(clients.WAN, flow{srcMAC: routerMAC, dstMAC: broadcast, src: routerIP, dst: 0xffffffff, srcPort: 67, dstPort: 68, ttl: 64}.udp(300))
		}
	}},
	LinkLocalGroup: {"spanning tree", bridged, func(b *bench) { w := across; w.dstMAC = linkLocalGroups; b.in(clients.LAN, w.udp(10)) }},
	Looped: {"a client's own frame comes in by the WAN", bridged, func(b *bench) {
		b.heard(bob)
		w := home
		w.srcMAC = bobMAC
		b.in(clients.WAN, w.udp(10))
	}},
	RogueServer: {"a DHCP server among the clients", bridged, func(b *bench) { b.in(clients.LAN, dhcp4(across, true, aliceMAC, 2, aliceIP)) }},
	RogueRouter: {"an IPv6 router among the clients", bridged, func(b *bench) {
		b.in(clients.LAN, discovery(aliceMAC, alice6, allNodes6, 255, 134, 0, make([]byte, 12)...))
	}},
	Storm: {"more questions than pass", bridged, func(b *bench) {
		for range 100 {
			b.in(clients.LAN, arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: 0x0a0000fe}.raw())
		}
	}},
	HandoverFull: {"too much at once for one worker comes to another", nil, func(b *bench) {
		b.team.astray()
		for range 40 {
			b.offer(clients.LAN, aliceUp.udpSuper(60000, 1200))
		}
		b.round()
	}},
}

// nobodys are reasons whose packets are no client's, as far as can be told.
var nobodys = []Reason{UnknownClient, NoMapping, Filtered, HostUnknown, ForwarderEnded, HandoverFull, Looped, MailFull}

func TestEveryReasonIsReached(t *testing.T) {
	for r, name := range Reasons() {
		r := Reason(r)
		if name == "" {
			t.Errorf("reason %d has no name", r)
		}
		if r == Kept || r == Taken {
			continue
		}
		row, ok := dropRows[r]
		if !ok {
			t.Errorf("%v: no row says when", r)
			continue
		}
		if r == OverShare && teamSize > 1 {
			continue // who has a worker alone takes nothing from anybody
		}
		t.Run(name+": "+row.name, func(t *testing.T) {
			if r == HandoverFull && teamSize == 1 {
				withWorkers(t, 2)
			}
			change := func(c *Config) {
				if row.change != nil {
					row.change(c)
				}
			}
			b := newBench(t, change)
			b.bind(alice, aliceMAC, aliceIP)
			b.grant(alice, free())
			b.bind(bob, bobMAC, bobIP)
			row.drop(b)
			if b.drops(r) == 0 {
				t.Errorf("not reached; dropped %v", b.allDrops())
			}
			want := b.drops(r)
			if slices.Contains(nobodys, r) {
				want = 0
			}
			if got := b.lost(alice, r) + b.lost(bob, r); got != want {
				t.Errorf("%d are counted to their client, want %d", got, want)
			}
		})
	}
}
