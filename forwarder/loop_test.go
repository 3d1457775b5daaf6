package forwarder

import (
	"bytes"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// probe is the newest that went out by the LAN; nil: there is none.
func (b *bench) probe() (last []byte) {
	b.Helper()
	for {
		got, err := b.ends[clients.LAN].Receive()
		if err != nil {
			b.Fatal(err)
		}
		if got == nil {
			return last
		}
		for _, raw := range got {
			var p packet.Packet
			if p.Decode(bytes.Clone(raw)); p.EtherType == etherTypeProbe {
				last = bytes.Clone(raw)
			}
		}
	}
}

// aColdBridge has alice online, and has read nothing.
func aColdBridge(t *testing.T) *bench {
	b := newSilentBridge(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	return b
}

func TestALoopStopsTheBridge(t *testing.T) {
	b := aColdBridge(t)
	p := b.probe()
	if p == nil {
		t.Fatal("nothing asks")
	}
	b.in(clients.LAN, across.udp(10))
	b.onlyFrame(clients.WAN)
	b.in(clients.WAN, bytes.Clone(p)) // there is another way
	b.dropped(Looped, 1)
	if h := b.table.Header(); !h.Looped(b.now) || h.Loops() != 1 {
		t.Errorf("looped %v, found %d times", h.Looped(b.now), h.Loops())
	}
	question := arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: 0x0a0000fe}
	b.in(clients.LAN, across.udp(10), question.raw(), discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0))
	b.in(clients.WAN, home.udp(10))
	b.nothing()
	b.dropped(Looped, 5)

	asked := 0
	for range 29 {
		if b.pass(time.Second); b.probe() != nil {
			asked++
		}
	}
	if asked < 28 {
		t.Errorf("asked %d times in 29 s", asked)
	}
	b.in(clients.LAN, across.udp(10))
	b.nothing()
	b.pass(time.Second)
	b.in(clients.LAN, across.udp(10))
	if len(b.frames(clients.WAN)) != 1 || b.table.Header().Looped(b.now) {
		t.Error("it does not go on 30 s after the last one came")
	}
	for range 3 { // the next loop, of which many come
		b.in(clients.WAN, bytes.Clone(p))
		b.pass(time.Second)
	}
	if n := b.table.Header().Loops(); n != 2 {
		t.Errorf("found %d times, want twice", n)
	}
	b.pass(loopedFor)
	b.start()
	b.pass(time.Second)
	if n := b.table.Header().Loops(); n != 2 {
		t.Errorf("found %d times after a restart", n)
	}
}

func TestWhatIsNoProofOfALoop(t *testing.T) {
	b := aColdBridge(t)
	p := b.probe()
	other := bytes.Clone(p)
	other[packet.VirtioLen+20] ^= 1 // of another bridge, or made up
	other[packet.VirtioLen+11] ^= 0xf0
	b.in(clients.WAN, other, other[:packet.VirtioLen+20])
	b.dropped(UnknownProtocol, 2)
	b.in(clients.LAN, bytes.Clone(p)) // only the LAN has it twice
	b.dropped(Looped, 1)
	b.in(clients.LAN, across.udp(10))
	b.onlyFrame(clients.WAN)
}

func TestProbesBecomeFewer(t *testing.T) {
	b := aColdBridge(t)
	count := func(seconds int) (n int) {
		for range seconds {
			if b.pass(time.Second); b.probe() != nil {
				n++
			}
		}
		return n
	}
	count(1)
	if n := count(10); n < 9 {
		t.Errorf("%d in the first 10 s", n)
	}
	if n := count(60); n < 11 || n > 13 {
		t.Errorf("%d in a minute", n)
	}
}

// A forwarder that takes over draws another secret, and asks anew.
func TestALoopIsFoundAnewByTheNextForwarder(t *testing.T) {
	b := aColdBridge(t)
	p := b.probe()
	b.start()
	b.round()
	q := b.probe()
	if q == nil || bytes.Equal(p[l3:l3+16], q[l3:l3+16]) {
		t.Fatalf("%x, %x", p, q)
	}
	b.in(clients.WAN, p)
	b.dropped(BadSource, 1)
	b.in(clients.WAN, q)
	b.dropped(Looped, 1)
}

// foreign is a probe of another bridge.
func foreign(t *testing.T) []byte {
	p := aColdBridge(t).probe()
	packet.PutMAC(p[packet.VirtioLen+6:], lanMAC+1)
	return p
}

// Probes of another bridge pass from the LAN to the WAN, as they came, and nothing like
// them.
func TestProbesOfOthersPass(t *testing.T) {
	p := foreign(t)
	toOne := bytes.Clone(p)
	packet.PutMAC(toOne[packet.VirtioLen:], routerMAC)
	for _, row := range []struct {
		name string
		port int
		raw  []byte
		why  Reason // Kept: it passes
	}{
		{"from the LAN", clients.LAN, p, Kept},
		{"from the WAN", clients.WAN, p, UnknownProtocol},
		{"a byte longer", clients.LAN, append(bytes.Clone(p), 0), UnknownProtocol},
		{"a byte shorter", clients.LAN, p[:len(p)-1], UnknownProtocol},
		{"in a VLAN", clients.LAN, tagged(p, 7), UnknownProtocol},
		{"to one station", clients.LAN, toOne, UnknownProtocol},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := aColdBridge(t)
			b.in(row.port, bytes.Clone(row.raw))
			if row.why != Kept {
				b.dropped(row.why, 1)
				b.nothing()
				return
			}
			if got := b.onlyFrame(clients.WAN); !bytes.Equal(got, row.raw) {
				t.Errorf("%x", got)
			}
			c := b.table.Header().Counters()
			if c.Totals.ExemptBytes != 46 || c.Ports[clients.LAN].RxBytes != 46 || c.Ports[clients.WAN].TxBytes != 46 {
				t.Errorf("%+v", c.Totals)
			}
			for range 20 {
				b.offer(row.port, row.raw)
			}
			b.round()
			if n := len(b.frames(clients.WAN)); n != othersProbes.burst-1 {
				t.Errorf("%d more pass", n)
			}
			b.dropped(Storm, uint64(20-othersProbes.burst+1))
		})
	}
}

// Of two bridges beside each other one stands still, for as long as the other is there.
func TestTwoBridgesBesideEachOther(t *testing.T) {
	one, other := aColdBridge(t), newSilentBridge(t, func(c *Config) { c.LANMAC++ })
	out := func(b *bench, port int) (raws [][]byte) {
		for {
			got, err := b.ends[port].Receive()
			if err != nil {
				t.Fatal(err)
			}
			if got == nil {
				return raws
			}
			for _, raw := range got {
				raws = append(raws, bytes.Clone(raw))
			}
		}
	}
	passes := func(from, to *bench, port int) {
		for _, raw := range out(from, port) {
			to.in(port, raw)
		}
	}
	looped := func(b *bench) bool { return b.table.Header().Looped(b.now) }
	apart := 0
	for second := range 120 {
		one.pass(time.Second)
		other.pass(time.Second)
		passes(one, other, clients.LAN)
		passes(other, one, clients.WAN)
		passes(other, one, clients.LAN)
		passes(one, other, clients.WAN)
		if second < 2 {
			continue
		}
		if !looped(one) || looped(other) {
			apart++
		}
	}
	if apart != 0 {
		t.Errorf("for %d of 118 s it was not the first that stood still", apart)
	}
	for range 32 { // the other is gone
		one.pass(time.Second)
		out(one, clients.LAN)
	}
	one.in(clients.LAN, across.udp(10))
	if looped(one) || len(one.frames(clients.WAN)) != 1 {
		t.Error("it does not go on alone")
	}
}
