package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// What is for many from the WAN has two rates, of frames and of bytes, and nobody pays.
func TestWhatIsForManyHasARate(t *testing.T) {
	group := home
	group.dstMAC, group.dst = 0x01005e0000fb, 0xe00000fb
	rows := []struct {
		name    string
		raw     []byte
		offered int
		least   int // that pass at once
		most    int
		later   int // at least, after a second
	}{
		{"small ones", group.udp(10), 500, 250, 250, 250},
		{"large ones", group.udp(1400), 500, 34, 37, 34},
		{"over IPv6", func() []byte {
			raw := group.six(17, 10)
			copy(raw[packet.VirtioLen:], []byte{0x33, 0x33, 0, 0, 0, 0xfb})
			return raw
		}(), 500, 250, 250, 250},
		{"to all", func() []byte { w := group; w.dstMAC, w.dst = broadcast, 0xffffffff; return w.udp(10) }(), 500, 250, 250, 250},
		{"in a VLAN", tagged(group.udp(10), 7), 500, 250, 250, 250},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			count := func() int {
				for range row.offered {
					b.offer(clients.WAN, row.raw)
				}
				before := b.sent[clients.LAN].packets
				b.round()
				b.frames(clients.LAN) // in which some are joined
				return int(b.sent[clients.LAN].packets - before)
			}
			n := count()
			if n < row.least || n > row.most {
				t.Errorf("%d at once, want %d to %d", n, row.least, row.most)
			}
			b.dropped(Storm, uint64(row.offered-n))
			b.now += time.Second
			if got := count(); got < row.later {
				t.Errorf("%d after a second, want %d", got, row.later)
			}
			if u := b.use(alice, 1); u.Down != 0 {
				t.Errorf("she is billed %d bytes", u.Down)
			}
			b.in(clients.WAN, home.udp(10)) // what is for one is not held up
			b.onlyFrame(clients.LAN)
			b.carried()
		})
	}
}

// A client's own words to many are its traffic.
func TestAClientPaysForWhatItTellsMany(t *testing.T) {
	group := across
	group.dstMAC, group.dst = 0x01005e0000fb, 0xe00000fb
	b := aliceBridge(t)
	b.in(clients.LAN, group.udp(100))
	b.onlyFrame(clients.WAN)
	if u := b.use(alice, 1); u.Up != 128 {
		t.Errorf("billed %d bytes", u.Up)
	}
}
