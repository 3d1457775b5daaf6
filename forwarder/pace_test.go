package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func slowly(bytes uint64) clients.Terms {
	t := bytesOf(bytes)
	t.Up, t.Down = 125_000, 125_000 // 1 Mbit/s: the burst is 98,304 bytes, 16,384 may wait
	return t
}

// spend empties alice's bucket upwards but for less than 1000 bytes.
func (b *bench) spend() (packets uint64) {
	b.Helper()
	b.in(clients.LAN, aliceUp.tcpSuper(60000, 1000), aliceUp.tcpSuper(34000, 1000))
	if n, _ := b.delivered(clients.WAN); n != 94 {
		b.Fatalf("%d packets passed", n)
	}
	return 94
}

func TestWhatWaitsMeetsTheEdgeOfAGrant(t *testing.T) {
	for _, short := range []uint64{1, 500, 1039, 1040, 2000} {
		b := online(t, slowly(97*1040+short), slowly(1_000_000))
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
		b.ended(alice, 1, clients.EndData, 97*1040+short)
		b.running(alice, 2, 104*1040-97*1040-short)
		b.witnessed()
		b.close()
	}
}

func TestManyPacketsAtOnceOfWhatWaits(t *testing.T) {
	b := online(t, slowly(98*1040+5), slowly(2*1040), slowly(1_000_000))
	b.spend()
	b.in(clients.LAN, aliceUp.tcpSuper(15000, 1000))
	for range 4 { // portions of several wire packets, each over an edge
		b.now += 40 * time.Millisecond
		b.round()
	}
	got := b.out(clients.WAN)
	if len(got) != 15 {
		t.Fatalf("%d packets passed: %v", len(got), b.allDrops())
	}
	for i, p := range got {
		if p.tcp.Seq != 1000+uint32(i)*1000 || p.srcPort != got[0].srcPort {
			t.Errorf("packet %d: %v, sequence %d", i, p, p.tcp.Seq)
		}
	}
	b.ended(alice, 1, clients.EndData, 98*1040+5)
	b.ended(alice, 2, clients.EndData, 2*1040)
	b.running(alice, 3, 109*1040-100*1040-5)
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
	b.ended(alice, 1, clients.EndRevoked, n*1040)
}

func TestWhatWaitsForASlotsFormerClient(t *testing.T) {
	b := online(t, slowly(clients.NoLimit))
	for range 3 {
		b.spend()
		b.in(clients.LAN, aliceUp.udp(1000))
		s := b.table.Slot(alice)
		b.record(alice, s.Published.Load()).Revoke(b.now)
		b.changed(alice)
		s.Saved.Store(s.Published.Load())
		b.bind(alice, aliceMAC, aliceIP) // another generation
		b.grant(alice, slowly(clients.NoLimit))
		if n := len(b.f.pacer.due); n > 1 {
			t.Fatalf("%d backlogs of one client are due", n)
		}
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
