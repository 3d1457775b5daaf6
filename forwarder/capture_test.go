package forwarder

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
)

// captureRead is a capture's reader.
type captureRead struct {
	b     *bench
	id    uint64
	rings []*clients.Copies
	at    []uint64
}

// copied is one frame of it.
type copied struct {
	clients.Copy
	raw []byte // from its Ethernet header on
}

// capture has a client's frames copied, as control does.
func (b *bench) capture(place, slot, most int) *captureRead {
	b.Helper()
	r := &captureRead{b: b, id: uint64(place) + 1000}
	for worker := range b.table.Workers() {
		r.rings = append(r.rings, b.table.Copies(worker, place))
		r.at = append(r.at, r.rings[worker].Begin())
	}
	c := &b.table.Header().Captures[place]
	c.Slot.Store(uint64(slot))
	c.MAC.Store(b.table.Slot(slot).MAC.Load())
	c.Most.Store(uint64(most))
	c.ID.Store(r.id)
	b.table.Changed(clients.HostSlot)
	b.round()
	if h := b.table.Header(); !h.CapturesTaken(h.Changes.Load()) {
		b.Fatal("the capture is not taken in")
	}
	return r
}

// read returns what was copied since the last read.
func (r *captureRead) read() (all []copied) {
	r.b.Helper()
	for i, c := range r.rings {
		for {
			what, raw, next, ok := c.Next(r.at[i])
			r.at[i] = next
			if !ok {
				break
			}
			if what.ID != r.id {
				r.b.Fatalf("a copy of capture %d", what.ID)
			}
			all = append(all, copied{what, slices.Clone(raw)})
		}
		c.Done(r.at[i])
	}
	slices.SortStableFunc(all, func(a, b copied) int { return int(a.When - b.When) })
	return all
}

// behindVirtio is a frame from its Ethernet header on.
func behindVirtio(raw []byte) []byte { return raw[packet.VirtioLen:] }

func (c copied) String() string {
	way := map[bool]string{true: "out of", false: "in at"}[c.Sent]
	return fmt.Sprintf("%s %s", way, []string{"lan", "wan"}[c.Port])
}

// sides is what was copied, in words.
func sides(all []copied) (text []string) {
	for _, c := range all {
		text = append(text, c.String())
	}
	return text
}

// captureRows are what is copied of what alice sends or gets.
var captureRows = []struct {
	name  string
	terms clients.Terms
	do    func(b *bench)
	want  []string
}{
	{"up", free(), func(b *bench) { b.in(clients.LAN, aliceUp.udp(100)) }, []string{"in at lan", "out of wan"}},
	{"a super-packet up", free(), func(b *bench) { b.in(clients.LAN, aliceUp.udpSuper(3000, 1200)) }, []string{"in at lan", "out of wan"}},
	{"up and down", free(), func(b *bench) {
		b.in(clients.LAN, aliceUp.udp(100))
		b.in(clients.WAN, back(b.one(clients.WAN)).udp(50))
	}, []string{"in at lan", "out of wan", "in at wan", "out of lan"}},
	{"in fragments", free(), func(b *bench) { b.in(clients.LAN, fragmentsOf(aliceUp.udp(3000), 1480)...) },
		[]string{"in at lan", "in at lan", "in at lan", "out of wan", "out of wan", "out of wan"}},
	{"cut into fragments", free(), func(b *bench) { b.in(clients.LAN, aliceUp.udp(3000)) },
		[]string{"in at lan", "out of wan", "out of wan", "out of wan"}},
	{"without a grant", timeOf(0), func(b *bench) { b.in(clients.LAN, aliceUp.udp(100)) }, []string{"in at lan"}},
	{"with a borrowed address", free(), func(b *bench) { w := aliceUp; w.src++; b.in(clients.LAN, w.udp(100)) }, []string{"in at lan"}},
	{"IPv6", free(), func(b *bench) {
		raw := aliceUp.udp(100)
		raw[packet.VirtioLen+12], raw[packet.VirtioLen+13] = 0x86, 0xdd
		b.in(clients.LAN, raw)
	}, []string{"in at lan"}},
	{"a broken header", free(), func(b *bench) {
		raw := aliceUp.udp(100)
		raw[packet.VirtioLen+14] = 0x4f
		b.in(clients.LAN, raw)
	}, []string{"in at lan"}},
	{"to the box and back", free(), func(b *bench) {
		w := aliceUp
		w.dst = lanIP
		b.in(clients.LAN, w.udp(100))
		w = boxUp
		w.dst = aliceIP
		b.in(clients.Host, w.udp(100))
	}, []string{"in at lan", "out of lan"}},
	{"ARP and the answer", free(), func(b *bench) {
		b.in(clients.LAN, arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}.raw())
	}, []string{"in at lan", "out of lan"}},
	{"a question of the gateway's", free(), func(b *bench) {
		b.table.Slot(alice).Probe.Add(1)
		b.changed(alice)
	}, []string{"out of lan"}},
	{"an error of the gateway's", free(), func(b *bench) { w := aliceUp; w.ttl = 1; b.in(clients.LAN, w.udp(100)) }, []string{"in at lan", "out of lan"}},
	{"an error of the gateway's to the server", free(), func(b *bench) {
		b.in(clients.LAN, aliceUp.udp(100))
		r := back(b.one(clients.WAN))
		r.ttl = 1
		b.in(clients.WAN, r.udp(100))
	}, []string{"in at lan", "out of wan", "in at wan", "out of wan"}},
	{"down, when the grant has ended", free(), func(b *bench) {
		b.in(clients.LAN, aliceUp.udp(100))
		r := back(b.one(clients.WAN))
		b.record(alice, 1).Revoke(b.now)
		b.changed(alice)
		b.in(clients.WAN, r.udp(100))
	}, []string{"in at lan", "out of wan", "in at wan"}},
	{"an ICMP error from the WAN", free(), func(b *bench) {
		b.in(clients.LAN, aliceUp.udp(100))
		p := b.one(clients.WAN)
		r := back(p)
		b.in(clients.WAN, r.icmpError(3, 4, 1400, p.raw[packet.VirtioLen+packet.EthernetLen:]))
	}, []string{"in at lan", "out of wan", "in at wan", "out of lan"}},
	{"a DHCP server's answers, one of them to another", free(), func(b *bench) {
		w := flow{srcMAC: lanMAC, dstMAC: broadcast, src: lanIP, dst: 0xffffffff, srcPort: 67, dstPort: 68, ttl: 64}
		for _, mac := range []uint64{bobMAC, aliceMAC} {
			raw := w.udp(300)
			copy(raw[packet.VirtioLen+packet.EthernetLen+28+28:], unpackMAC(mac))
			b.in(clients.Host, raw)
		}
	}, []string{"out of lan"}},
	{"to a neighbour on the WAN who has to be asked for first", free(), func(b *bench) {
		const nextMAC, nextIP = 0x020000000109, wanIP + 9
		w := aliceUp
		w.dst = nextIP
		b.in(clients.LAN, w.udp(100))
		b.in(clients.WAN, arp{from: nextMAC, to: wanMAC, op: 2, mac: nextMAC, ip: nextIP, targetMAC: wanMAC, target: wanIP}.raw())
	}, []string{"in at lan", "out of wan"}},
	{"what the kernel refuses", free(), func(b *bench) {
		b.replace(clients.WAN, func(l link.Link) link.Link { return &fussy{l, func([]byte) bool { return true }} })
		b.in(clients.LAN, aliceUp.udp(100))
	}, []string{"in at lan"}},
	{"somebody else's", free(), func(b *bench) {
		b.in(clients.LAN, bobUp.udp(100))
		b.in(clients.WAN, back(b.one(clients.WAN)).udp(50))
		b.in(clients.LAN, arp{from: bobMAC, to: broadcast, op: 1, mac: bobMAC, ip: bobIP, target: lanIP}.raw())
	}, nil},
	{"between two clients", free(), func(b *bench) {
		b.in(clients.LAN, aliceUp.udp(100))
		p := b.one(clients.WAN)
		w := bobUp
		w.dst, w.dstPort = wanIP, p.srcPort
		b.in(clients.LAN, w.udp(100))
	}, []string{"in at lan", "out of wan", "out of lan"}},
	{"what nobody asked for", free(), func(b *bench) {
		b.in(clients.WAN, flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 1, dstPort: 40000, ttl: 60}.udp(10))
	}, nil},
}

// What goes in and comes out of the test's ends of the links is what is copied, byte by
// byte, with and without translation, and nothing else.
func TestACaptureIsWhatWasOnTheWire(t *testing.T) {
	for _, workers := range []int{1, 3} {
		for _, row := range captureRows {
			t.Run(fmt.Sprintf("%s, %d workers", row.name, workers), func(t *testing.T) {
				withWorkers(t, workers)
				b := online(t, row.terms)
				b.bind(bob, bobMAC, bobIP)
				b.grant(bob, free())
				for port := range b.ends {
					b.take(port)
				}
				r := b.capture(0, alice, 1<<16)
				row.do(b)
				got := r.read()
				if !slices.Equal(sides(got), row.want) {
					t.Fatalf("copied %v, want %v; %v", sides(got), row.want, b.allDrops())
				}
				for port := range 2 {
					if lost := r.rings[0].Lost(); lost[port] != 0 {
						t.Errorf("%d lost", lost[port])
					}
				}
			})
		}
	}
}

func TestACopyIsTheFrame(t *testing.T) {
	b := online(t, free())
	r := b.capture(1, alice, 1<<16)
	up := aliceUp.tcpSuper(3000, 1000)
	asSent := slices.Clone(up)
	b.in(clients.LAN, aliceUp.syn(false, 9000))
	p := b.one(clients.WAN)
	w := back(p)
	answer := w.syn(true, 9000)
	b.in(clients.WAN, slices.Clone(answer)) // its MSS is clamped on the way
	b.take(clients.LAN)
	b.in(clients.LAN, up)
	out := b.take(clients.WAN)
	got := r.read()
	if len(got) != 6 {
		t.Fatalf("%v", sides(got))
	}
	answer = answer[:packet.VirtioLen+packet.EthernetLen+44] // what is behind the packet was Ethernet's
	for i, want := range map[int][]byte{2: answer, 4: asSent, 5: out[0]} {
		if !bytes.Equal(got[i].raw, behindVirtio(want)) || got[i].Length != len(want)-packet.VirtioLen {
			t.Errorf("copy %d\n%x, the frame was\n%x", i, got[i].raw, behindVirtio(want))
		}
	}
	if got[4].SumFrom != 34 || got[4].SumAt != 16 || got[2].SumFrom != 0 {
		t.Errorf("the checksum of the super-packet is said to be at %d+%d, of the other at %d", got[4].SumFrom, got[4].SumAt, got[2].SumFrom)
	}
}

func TestACaptureTakesTheBeginning(t *testing.T) {
	b := online(t, free())
	for _, most := range []int{14, 60, 200, 300} {
		r := b.capture(0, alice, most)
		b.in(clients.LAN, aliceUp.udp(500))
		b.in(clients.WAN, back(b.one(clients.WAN)).udp(600))
		for _, c := range r.read() {
			if len(c.raw) != most || c.Length < 542 {
				t.Errorf("%v: %d of %d bytes, want %d", c, len(c.raw), c.Length, most)
			}
		}
	}
}

// What waits for its rate leaves later, and is copied then.
func TestACaptureShowsWhenItLeaves(t *testing.T) {
	slow := free()
	slow.Up = 12500
	b := online(t, slow)
	r := b.capture(0, alice, 100)
	for range 8 {
		b.in(clients.LAN, aliceUp.udp(1000))
	}
	came := r.read()
	b.pass(2 * time.Second)
	left := r.read()
	if n := len(came) + len(left); n != 16 || len(left) < 4 {
		t.Fatalf("%v at once, then %v", sides(came), sides(left))
	}
	for _, c := range left {
		if c.String() != "out of wan" || c.When <= came[len(came)-1].When {
			t.Errorf("%v at %v", c, c.When)
		}
	}
}

func TestACaptureGoesOnWithTheNextForwarder(t *testing.T) {
	b := online(t, free())
	r := b.capture(3, alice, 1<<16)
	b.in(clients.LAN, aliceUp.udp(100))
	b.start()
	b.resolve()
	b.in(clients.LAN, aliceUp.udp(100))
	if got := sides(r.read()); !slices.Equal(got, []string{"in at lan", "out of wan", "in at lan", "out of wan"}) {
		t.Errorf("copied %v", got)
	}
}

// A slot that has another client by now, and a capture that is over.
func TestACaptureIsOneClients(t *testing.T) {
	b := online(t, free())
	b.bind(bob, bobMAC, bobIP)
	b.grant(bob, free())
	r := b.capture(0, alice, 1<<16)
	other := b.capture(1, bob, 1<<16)
	b.in(clients.LAN, aliceUp.udp(100), bobUp.udp(100))
	if got, too := r.read(), other.read(); len(got) != 2 || len(too) != 2 {
		t.Errorf("copied %v and %v", sides(got), sides(too))
	}
	b.take(clients.WAN)
	const carolMAC = 0x020000000007
	b.table.Slot(alice).MAC.Store(0)
	b.changed(alice)
	b.bind(alice, carolMAC, aliceIP)
	b.grant(alice, free())
	w := aliceUp
	w.srcMAC = carolMAC
	b.in(clients.LAN, w.udp(100))
	b.in(clients.WAN, back(b.one(clients.WAN)).udp(50))
	if got := r.read(); len(got) != 0 {
		t.Errorf("of the slot's next client: %v", sides(got))
	}
	b.table.Header().Captures[1].ID.Store(0)
	b.table.Changed(clients.HostSlot)
	b.round()
	b.in(clients.LAN, bobUp.udp(100))
	if got := other.read(); len(got) != 0 {
		t.Errorf("after the end: %v", sides(got))
	}
}

// A reader that stands still costs copies, and no packet.
func TestAFullRingLosesCopiesOnly(t *testing.T) {
	b := online(t, free())
	r := b.capture(0, alice, 1<<16)
	for range 40 {
		b.in(clients.LAN, aliceUp.udpSuper(30000, 1200))
		if n, _ := b.delivered(clients.WAN); n != 25 {
			t.Fatalf("%d of 25 packets", n)
		}
	}
	got := r.read()
	lost := r.rings[0].Lost()
	if len(got)+int(lost[clients.LAN]+lost[clients.WAN]) != 80 || lost[clients.LAN] < 20 || lost[clients.WAN] < 20 || len(got) < 6 {
		t.Errorf("%d copies, %v lost, of 80 frames", len(got), lost)
	}
	b.in(clients.LAN, aliceUp.udp(100))
	if got := r.read(); len(got) != 2 {
		t.Errorf("after that: %v", sides(got))
	}
}

// BenchmarkCaptured is what a packet costs while somebody, or who sends it, is captured.
func BenchmarkCaptured(b *testing.B) {
	for _, row := range []struct {
		name     string
		who      int
		lan, wan func(flow) []byte
	}{
		{"nobody up", 0, small, nil}, {"another up", bob, small, nil}, {"its own up", alice, small, nil},
		{"nobody down", 0, nil, small}, {"another down", bob, nil, small}, {"its own down", alice, nil, small},
	} {
		b.Run(row.name, func(b *testing.B) {
			bn := online(b, free())
			bn.bind(bob, bobMAC, bobIP)
			var r *captureRead
			if row.who != 0 {
				r = bn.capture(0, row.who, 1<<16)
			}
			run, lanMill, wanMill := grind(b, bn, row.lan, row.wan)
			run()
			lanMill.sent, wanMill.sent = 0, 0
			for b.Loop() {
				run()
				if r != nil {
					r.rings[0].Begin()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lanMill.sent+wanMill.sent), "ns/packet")
		})
	}
}
