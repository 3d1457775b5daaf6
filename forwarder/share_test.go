package forwarder

import (
	"testing"

	"gatewayd/forwarder/clients"
)

// offered is a flood, in frames.
const offered = 2 * crowd

// flooded offers a port a flood: one frame of bob's in every 32, the rest made by
// other, and returns how many of bob's and of the others' came out.
func flooded(b *bench, other func(i int) []byte) (ofBob, others int) {
	b.Helper()
	for i := range offered {
		if i%32 == 0 {
			b.offer(clients.LAN, bobUp.udp(10))
		} else {
			b.offer(clients.LAN, other(i))
		}
	}
	b.round()
	for _, p := range b.out(clients.WAN) {
		if len(p.payload) == 10 {
			ofBob++
		} else {
			others++
		}
	}
	return ofBob, others
}

func TestAFloodTakesNothingFromTheOthers(t *testing.T) {
	stranger := func(i int) []byte {
		w := aliceUp
		w.srcMAC = 0x020000010000 + uint64(i)
		return w.udp(18)
	}
	for _, row := range []struct {
		name   string
		flood  func(i int) []byte
		passes bool // some of it
	}{
		{"of one client with a session", func(int) []byte { return aliceUp.udp(18) }, true},
		{"of a MAC that is not bound", func(int) []byte { return stranger(0) }, false},
		{"of made-up MACs", stranger, false},
		{"of ARP", func(int) []byte {
			return arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP + 9}.raw()
		}, false},
		{"of runts", func(int) []byte { return make([]byte, 15) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := online(t, free())
			b.bind(bob, bobMAC, bobIP)
			b.grant(bob, free())
			b.in(clients.LAN, aliceUp.udp(10), bobUp.udp(10))
			b.take(clients.WAN)
			for i := range 3 {
				ofBob, others := flooded(b, row.flood)
				if ofBob != offered/32 || (others > 0) != row.passes {
					t.Fatalf("%d of bob's %d frames passed, %d of the flood: %v", ofBob, offered/32, others, b.allDrops())
				}
				if n := b.drops(OverShare); (n > 0) != (row.name != "of runts") || n > uint64(i+1)*offered*31/32 {
					t.Fatalf("%d frames were over the share", n)
				}
			}
		})
	}
}

func TestWhoIsAloneHasNoShare(t *testing.T) {
	b := online(t, free())
	sends := func() {
		b.Helper()
		for range offered {
			b.offer(clients.LAN, aliceUp.udp(18))
		}
		b.round()
	}
	sends()
	b.dropped(OverShare, 0)
	flooded(b, func(int) []byte { return aliceUp.udp(18) })
	before := b.drops(OverShare)
	sends()
	if b.drops(OverShare) == before {
		t.Error("right after another one sent, all of a flood passed")
	}
	b.pass(2 * alone)
	before = b.drops(OverShare)
	sends()
	b.dropped(OverShare, before)
}

func TestSharesAllocateNothing(t *testing.T) {
	b := online(t, free())
	raw := aliceUp.udp(18)
	if n := testing.AllocsPerRun(100, func() {
		if b.f.crowded(clients.LAN, b.links[clients.LAN]) {
			t.Error("an empty port is crowded")
		}
		b.f.turn.left = 1
		if b.f.crowded(clients.LAN, b.links[clients.LAN]) {
			b.f.overShare(raw)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
