package forwarder

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

func slowly(bytes uint64) clients.Terms {
	t := bytesOf(bytes)
	t.Up, t.Down = 125_000, 125_000 // 1 Mbit/s: the burst is 3,036 bytes, 65,536 may wait
	return t
}

// briskly is slowly so fast that nothing waits for as long as CoDel asks.
func briskly(bytes uint64) clients.Terms {
	t := bytesOf(bytes)
	t.Up, t.Down = 2_500_000, 2_500_000 // 20 Mbit/s: the burst is 50,000 bytes
	return t
}

// spend empties alice's bucket upwards.
func (b *bench) spend() (bytes uint64) {
	b.Helper()
	b.in(clients.LAN, aliceUp.tcpSuper(3*972, 972))
	if n, _ := b.delivered(clients.WAN); n != 3 {
		b.Fatalf("%d packets passed", n)
	}
	return 3036
}

func TestWhatWaitsMeetsTheEdgeOfAGrant(t *testing.T) {
	for _, short := range []uint64{1, 500, 1039, 1040, 2000} {
		b := online(t, slowly(3036+3*1040+short), slowly(1_000_000))
		b.spend()
		b.in(clients.LAN, aliceUp.tcpSuper(10000, 1000))
		b.silent(clients.WAN)
		for range 1000 {
			b.now += time.Millisecond
			b.round()
		}
		got := b.out(clients.WAN)
		if len(got) != 10 {
			t.Fatalf("%d packets passed: %v", len(got), b.allDrops())
		}
		for i, p := range got {
			if p.tcp.Seq != 1000+uint32(i)*1000 || be32(p.ip.SrcIP.To4()) != wanIP || p.srcPort != got[0].srcPort {
				t.Errorf("packet %d: %v, sequence %d", i, p, p.tcp.Seq)
			}
		}
		b.ended(alice, 1, clients.EndData, 3036+3*1040+short)
		b.running(alice, 2, 7*1040-short)
		b.witnessed()
		b.close()
	}
}

func TestManyPacketsAtOnceOfWhatWaits(t *testing.T) {
	b := online(t, briskly(49*1040+5), briskly(2*1040), briskly(1_000_000))
	b.in(clients.LAN, aliceUp.tcpSuper(60000, 1000)) // more than the burst: it leaves in pieces of two, of which some go over an edge
	for range 20 {
		b.now += time.Millisecond
		b.round()
	}
	got := b.out(clients.WAN)
	if len(got) != 60 {
		t.Fatalf("%d packets passed: %v", len(got), b.allDrops())
	}
	for i, p := range got {
		if p.tcp.Seq != 1000+uint32(i)*1000 || p.srcPort != got[0].srcPort {
			t.Errorf("packet %d: %v, sequence %d", i, p, p.tcp.Seq)
		}
	}
	b.ended(alice, 1, clients.EndData, 49*1040+5)
	b.ended(alice, 2, clients.EndData, 2*1040)
	b.running(alice, 3, 60*1040-51*1040-5)
	b.witnessed()
}

func TestWhatWaitsIsNotSentAfterTheGrant(t *testing.T) {
	b := online(t, slowly(clients.NoLimit))
	n := b.spend()
	b.in(clients.LAN, aliceUp.udp(1000), aliceUp.tcpSuper(3000, 1000))
	b.record(alice, 1).Revoke(b.now)
	b.changed(alice)
	b.now += time.Second
	b.round()
	b.silent(clients.WAN)
	b.dropped(NoGrant, 4)
	b.ended(alice, 1, clients.EndRevoked, n)
}

func TestWhatWaitsForASlotsFormerClient(t *testing.T) {
	b := online(t, slowly(clients.NoLimit))
	for range 3 {
		b.spend()
		b.in(clients.LAN, aliceUp.udp(1000))
		s := b.table.Slot(alice)
		s.Saved.Store(s.Published.Load())
		b.bind(alice, aliceMAC, aliceIP) // another generation
		b.grant(alice, slowly(clients.NoLimit))
	}
	b.now += time.Second
	b.round()
	b.silent(clients.WAN)
	b.dropped(NoMapping, 3)
	if b.table.Header().Counters().Totals.QueuedPackets != 0 {
		t.Error("still queued")
	}
}

func TestAStoppedGatewayHoldsNothingBack(t *testing.T) {
	b := online(t, slowly(clients.NoLimit))
	b.spend()
	b.in(clients.LAN, aliceUp.udp(1000))
	b.table.Header().Stop.Store(clients.StopPorts)
	b.now += time.Millisecond
	b.round()
	b.silent(clients.WAN)
	b.dropped(Stopped, 1)
}

func TestNoClientTakesTheOthersRoomToWait(t *testing.T) {
	b := online(t, slowly(clients.NoLimit))
	b.bind(bob, bobMAC, bobIP)
	fast := free()
	fast.Up = 12_500_000
	b.grant(bob, fast)
	g := b.record(alice, 1)
	g.Amend(fast)
	b.changed(alice)
	for range 400 {
		b.in(clients.LAN, aliceUp.tcpSuper(2100, 1050))
	}
	b.delivered(clients.WAN)
	n := 0
	for range 12 {
		b.in(clients.LAN, bobUp.tcpSuper(60000, 1200))
		got, _ := b.delivered(clients.WAN)
		n += got
	}
	b.now += time.Second
	b.round()
	got, _ := b.delivered(clients.WAN)
	n += got
	if d := b.lost(bob, OverRate); d != 0 {
		t.Errorf("%d of bob's packets found no room, %d passed", d, n)
	}
}

// What waits is looked at again when it conforms, and as soon as control or the
// clock changes what it waits for.
func TestWhatWaitsIsLookedAtInTime(t *testing.T) {
	fast := free()
	fast.Up, fast.Down = 125_000_000, 125_000_000
	rows := []struct {
		name    string
		terms   clients.Terms
		change  func(*bench)
		passes  int
		dropped Reason
	}{
		{"nothing", slowly(clients.NoLimit), func(*bench) {}, 0, Kept},
		{"its time comes", slowly(clients.NoLimit), func(b *bench) { b.now += 8 * time.Millisecond }, 1, Kept},
		{"the rate is raised", slowly(clients.NoLimit), func(b *bench) { b.record(alice, 1).Amend(fast); b.changed(alice) }, 2, Kept},
		{"the grant is revoked", slowly(clients.NoLimit), func(b *bench) { b.record(alice, 1).Revoke(b.now); b.changed(alice) }, 0, NoGrant},
		{"the grant's time is up", func() clients.Terms { w := slowly(clients.NoLimit); w.Duration = 3 * time.Millisecond; return w }(),
			func(b *bench) { b.now += time.Millisecond }, 0, NoGrant},
		{"the gateway is stopped", slowly(clients.NoLimit), func(b *bench) { b.table.Header().Stop.Store(clients.StopPorts) }, 0, Stopped},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := online(t, row.terms)
			b.spend()
			b.in(clients.LAN, aliceUp.udp(1000), aliceUp.udp(1000)) // of 1028 bytes
			b.now += time.Millisecond
			b.round() // knows now when they conform
			b.silent(clients.WAN)
			b.now += time.Millisecond
			row.change(b)
			b.round()
			b.now += releaseEvery
			b.round()
			if n, _ := b.delivered(clients.WAN); n != row.passes {
				t.Errorf("%d packets passed, want %d", n, row.passes)
			}
			if row.dropped != Kept {
				b.dropped(row.dropped, 2)
			}
		})
	}
}

// What leaves in pieces is the same segments: identification and sequence go on, FIN
// and PSH are the last one's, CWR the first one's.
func TestPiecesAreTheSameSegments(t *testing.T) {
	b := online(t, briskly(clients.NoLimit))
	w := aliceUp
	h := w.tcpHeader()
	h.ACK, h.PSH, h.FIN, h.CWR = true, true, true, true
	raw := offload(serialize(w.ethernet(), w.ip(layers.IPProtocolTCP), h, gopacket.Payload(text(60000))), 1, 1000)
	b.in(clients.LAN, raw)
	for range 20 {
		b.now += time.Millisecond
		b.round()
	}
	got := b.out(clients.WAN)
	if len(got) != 60 {
		t.Fatalf("%d packets passed", len(got))
	}
	pieces := map[string]bool{}
	var body []byte
	for i, p := range got {
		pieces[string(p.raw)] = true
		body = append(body, p.payload...)
		first, last := bytes.Equal(p.raw, got[0].raw), i == len(got)-1 // a piece bears CWR as a whole
		if p.tcp.Seq != 1000+uint32(i)*1000 || p.ip.Id != w.id+uint16(i) || p.tcp.CWR != first || p.tcp.PSH != last || p.tcp.FIN != last {
			t.Errorf("packet %d: sequence %d, identification %d, CWR %v, PSH %v, FIN %v", i, p.tcp.Seq, p.ip.Id, p.tcp.CWR, p.tcp.PSH, p.tcp.FIN)
		}
	}
	if !bytes.Equal(body, text(60000)) {
		t.Errorf("%d other bytes came", len(body))
	}
	if len(pieces) < 6 {
		t.Errorf("they left in %d pieces", len(pieces))
	}
	b.running(alice, 1, 60*1040)
	b.witnessed()
}

// Above 500 Mbit/s what waits leaves as it came.
func TestFastPiecesAreWhole(t *testing.T) {
	fast := free()
	fast.Up = 75_000_000 // the burst is 1.5 MB
	b := online(t, fast)
	for range 30 {
		b.offer(clients.LAN, aliceUp.tcpSuper(60000, 1000))
	}
	b.round()
	b.now += 20 * time.Millisecond
	b.round()
	pieces := map[string]int{}
	for _, p := range b.out(clients.WAN) {
		pieces[string(p.raw)]++
	}
	n := 0
	for _, segments := range pieces {
		n += segments
		if segments%60 != 0 {
			t.Errorf("a piece of %d segments", segments)
		}
	}
	if n != 30*60 {
		t.Errorf("%d segments passed", n)
	}
}

// Whose sender understands marks is marked where others are dropped, one wire packet at
// a time, and loses none.
func TestCongestionIsMarked(t *testing.T) {
	for _, ect := range []uint8{0, 1, 2} {
		b := online(t, slowly(clients.NoLimit))
		w := aliceUp
		w.tos = 0x28 | ect
		b.in(clients.LAN, w.tcpSuper(40000, 1000))
		for range 400 {
			b.now += time.Millisecond
			b.round()
		}
		marked, dropped := uint64(0), b.table.Header().Counters().Drops[QueueDelay]
		got := b.out(clients.WAN)
		for _, p := range got {
			switch p.ip.TOS {
			case 0x28 | 3:
				marked++
			case w.tos:
			default:
				t.Errorf("type of service %#x became %#x", w.tos, p.ip.TOS)
			}
		}
		sum := b.table.Header().Counters()
		if said := b.table.Slot(alice).Marked.Load(); said != marked || sum.Marked[up] != marked || sum.Marked[down] != 0 {
			t.Errorf("%d are marked, %d of hers are said to be, %v of all", marked, said, sum.Marked)
		}
		if ect == 0 && (marked != 0 || dropped < 2) || ect != 0 && (marked < 2 || dropped != 0) {
			t.Errorf("type of service %#x: %d marked, %d dropped", w.tos, marked, dropped)
		}
		if n := uint64(0); sum.Delays[up].Nanos == 0 || sum.Delays[down].Nanos != 0 {
			t.Error("nothing is said to have waited")
		} else {
			for _, many := range sum.Given[up].Buckets {
				n += many
			}
			if n != dropped {
				t.Errorf("%d dropped are said to have waited, want %d", n, dropped)
			}
		}
		b.running(alice, 1, uint64(len(got))*1040)
		b.witnessed()
	}
}

// A ping beside bulk leaves with the next piece, also when it comes again and again.
func TestWhoNeedsLittleWaitsForNobody(t *testing.T) {
	b := online(t, briskly(clients.NoLimit))
	for ms := range 300 {
		b.now += time.Millisecond
		for i := range 8 {
			w := aliceUp
			w.srcPort += uint16(i)
			b.offer(clients.LAN, w.udpSuper(20000, 1000))
		}
		if ms%10 == 0 {
			b.offer(clients.LAN, aliceUp.echo(true, 56))
		}
		b.round()
		if ms == 10 {
			b.out(clients.WAN) // all were new at first
		}
		if ms > 10 && ms%10 == 1 {
			pings := 0
			for _, p := range b.out(clients.WAN) {
				if p.icmp != nil {
					pings++
				}
			}
			if pings != 1 {
				t.Fatalf("%d pings of one have passed after a millisecond, at %d ms", pings, ms)
			}
		}
	}
}

// The memory for what waits has a bound, and who has the most waiting makes room.
func TestTheLongestQueuePays(t *testing.T) {
	b := newBench(t, func(c *Config) { c.QueueMemory = 128 << 10 })
	for _, c := range []struct {
		slot int
		mac  uint64
		ip   uint32
	}{{alice, aliceMAC, aliceIP}, {bob, bobMAC, bobIP}} {
		b.bind(c.slot, c.mac, c.ip)
		b.grant(c.slot, slowly(clients.NoLimit))
	}
	for range 100 {
		b.offer(clients.LAN, aliceUp.udp(1000))
	}
	b.round()
	for range 20 {
		b.offer(clients.LAN, bobUp.udp(1000))
	}
	b.round()
	if n := b.lost(bob, OverRate); n != 0 {
		t.Errorf("%d of who has little waiting were dropped", n)
	}
	if n := b.lost(alice, OverRate); n == 0 {
		t.Error("none of who has the most waiting was dropped")
	}
	if q := b.table.Header().Counters().Totals.QueuedBytes; q > 128<<10 {
		t.Errorf("%d bytes wait", q)
	}
	b.witnessed()
}
