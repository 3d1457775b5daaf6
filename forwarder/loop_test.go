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
	if !b.table.Header().Looped(b.now) {
		t.Error("nobody is told")
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
