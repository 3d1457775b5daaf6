package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestWithoutAGrantNothingPasses(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.in(clients.LAN, aliceUp.udp(100), aliceUp.tcp(100), aliceUp.echo(true, 10))
	b.silent(clients.LAN, clients.WAN, clients.Host)
	b.dropped(NoGrant, 3)
	if got := b.lost(alice, NoGrant); got != 3 {
		t.Errorf("%d are counted to her", got)
	}
	if s := b.sightings(); len(s) != 1 || s[0] != (clients.Sighting{Kind: clients.NoGrant, Slot: alice, MAC: aliceMAC, IP: aliceIP, When: b.now}) {
		t.Errorf("sightings %v", s)
	}
	b.pass(29 * time.Second)
	b.in(clients.LAN, aliceUp.udp(100))
	if s := b.sightings(); len(s) != 0 {
		t.Errorf("reminded too soon: %v", s)
	}
	b.pass(time.Second)
	b.in(clients.LAN, aliceUp.udp(100))
	if s := b.sightings(); len(s) != 1 {
		t.Errorf("not reminded: %v", s)
	}
}

func TestAnUnknownMACIsSightedOnceASecond(t *testing.T) {
	b := newBench(t)
	for range 25 {
		b.in(clients.LAN, aliceUp.udp(100))
		b.now += 100 * time.Millisecond
	}
	b.dropped(UnknownClient, 25)
	b.silent(clients.LAN, clients.WAN, clients.Host)
	s := b.sightings()
	if len(s) != 3 {
		t.Fatalf("%d sightings in 2.5 s: %v", len(s), s)
	}
	if s[0].Kind != clients.UnknownMAC || s[0].MAC != aliceMAC || s[0].IP != aliceIP {
		t.Errorf("%+v", s[0])
	}
}

func TestNobodyCanHideAnothersSighting(t *testing.T) {
	b := newBench(t)
	thief := aliceUp // its MAC and address sum up to what alice's do
	thief.src = bobIP
	thief.srcMAC = aliceMAC ^ (aliceIP^bobIP)<<16
	b.in(clients.LAN, thief.udp(10), aliceUp.udp(10))
	if s := b.sightings(); len(s) != 2 {
		t.Errorf("sightings %v", s)
	}
}

func TestABorrowedAddressEndsHere(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(bob, free())
	b.grant(alice, free())
	spoof := aliceUp
	spoof.src = bobIP
	b.in(clients.LAN, spoof.udp(100))
	b.silent(clients.LAN, clients.WAN)
	b.dropped(Spoofed, 1)
	if s := b.sightings(); len(s) != 1 || s[0].Kind != clients.NewAddress || s[0].Slot != alice || s[0].IP != bobIP {
		t.Errorf("sightings %v", s)
	}
	if u := b.use(bob, 1); u.Up != 0 {
		t.Errorf("the victim was billed %d bytes", u.Up)
	}
}

func TestSourcesThatCannotBe(t *testing.T) {
	rows := []struct {
		name string
		src  uint32
		mac  uint64
	}{
		{"an address outside of the LAN", serverIP, aliceMAC},
		{"the gateway's own address", lanIP, aliceMAC},
		{"the LAN's network address", 0x0a000000, aliceMAC},
		{"the LAN's broadcast address", 0x0a0000ff, aliceMAC},
		{"no address", 0, aliceMAC},
		{"loopback", 0x7f000001, aliceMAC},
		{"a group's MAC", bobIP, 0x010000000005},
		{"our own MAC", bobIP, lanMAC},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			w := aliceUp
			w.src, w.srcMAC = row.src, row.mac
			b.in(clients.LAN, w.udp(10))
			b.dropped(BadSource, 1)
			b.silent(clients.LAN, clients.WAN, clients.Host)
			if s := b.sightings(); len(s) != 0 {
				t.Errorf("sightings %v", s)
			}
		})
	}
}

func TestWhatIsNotServedIsCounted(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	etherType := func(v uint16) []byte {
		raw := aliceUp.udp(100)
		raw[22], raw[23] = byte(v>>8), byte(v)
		return raw
	}
	multicast := aliceUp
	multicast.dst = 0xe00000fb
	neighbour := aliceUp
	neighbour.dst = bobIP
	outside := aliceUp
	outside.dst = wanIP
	other := aliceUp
	other.dstMAC = bobMAC
	b.in(clients.LAN, etherType(0x86dd), etherType(0x8100), etherType(0x88a8), etherType(0x88cc), multicast.udp(1), neighbour.udp(1), outside.udp(1), other.udp(1))
	b.silent(clients.LAN, clients.WAN, clients.Host)
	b.dropped(IPv6, 1)
	b.dropped(Tagged, 2)
	b.dropped(UnknownProtocol, 1)
	b.dropped(NotForUs, 2)
	b.dropped(LANDestination, 1)
	b.dropped(NoMapping, 1)
}

func TestAStoppedGatewayPassesNobody(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	b.in(clients.LAN, aliceUp.udp(100))
	reply := back(b.one(clients.WAN))
	b.table.Header().Stop.Store(clients.StopPorts)
	b.in(clients.LAN, aliceUp.udp(100))
	b.in(clients.WAN, reply.udp(100))
	b.silent(clients.LAN, clients.WAN)
	b.dropped(Stopped, 2)
	toBox := aliceUp
	toBox.dst = lanIP
	b.in(clients.LAN, toBox.udp(10)) // the box stays in reach
	b.one(clients.Host)
	b.table.Header().Stop.Store(0)
	b.in(clients.LAN, aliceUp.udp(100))
	b.one(clients.WAN)
}
