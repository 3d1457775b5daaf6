package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// fussy is a link whose kernel refuses some frames.
type fussy struct {
	link.Link
	refuse func(frame []byte) bool
}

func (l *fussy) Send(frames [][]byte, taken []bool) error {
	for i := range frames {
		if taken[i] = !l.refuse(frames[i]); taken[i] {
			if err := l.Link.Send(frames[i:i+1], taken[i:i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// total is what a grant was charged.
func total(u clients.Use) uint64 { return u.Up + u.Down }

// ended fails unless a grant ended for that reason at that use.
func (b *bench) ended(slot int, seq, reason, bytes uint64) {
	b.Helper()
	if u := b.use(slot, seq); u.Ended == 0 || u.Reason != reason || total(u) != bytes {
		b.Fatalf("grant %d: %+v, want %d bytes and reason %d", seq, u, bytes, reason)
	}
}

// running fails unless a grant runs and was charged that much.
func (b *bench) running(slot int, seq, bytes uint64) {
	b.Helper()
	if u := b.use(slot, seq); u.Started == 0 || u.Ended != 0 || total(u) != bytes {
		b.Fatalf("grant %d: %+v, want it to run with %d bytes", seq, u, bytes)
	}
}

// delivered is how many wire packets and payload bytes came out of a port.
func (b *bench) delivered(port int) (packets, bytes int) {
	b.Helper()
	for _, p := range b.out(port) {
		packets++
		bytes += len(p.payload)
	}
	return packets, bytes
}

// online has alice bound with grants.
func online(t testing.TB, terms ...clients.Terms) *bench {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, terms...)
	return b
}

func TestTheByteAtWhichAGrantEnds(t *testing.T) {
	const ip, tcp, udp = 20, 40, 28
	rows := []struct {
		name    string
		limit   uint64
		raws    [][]byte
		packets int    // that pass
		used    uint64 // of the grant
		ended   bool
	}{
		{"all that fits, to the byte", 3 * 128, [][]byte{aliceUp.udp(100), aliceUp.udp(100), aliceUp.udp(100)}, 3, 3 * 128, false},
		{"one byte short for the last", 3*128 - 1, [][]byte{aliceUp.udp(100), aliceUp.udp(100), aliceUp.udp(100)}, 2, 2 * 128, true},
		{"a smaller packet does not pass after one that did not fit", 200, [][]byte{aliceUp.udp(100), aliceUp.udp(100), aliceUp.udp(1)}, 1, 128, true},
		{"a super-packet that fits, to the byte", 4000 + 4*tcp, [][]byte{aliceUp.tcpSuper(4000, 1000)}, 4, 4000 + 4*tcp, false},
		{"a super-packet is cut to what fits", 4000 + 4*tcp - 1, [][]byte{aliceUp.tcpSuper(4000, 1000)}, 3, 3000 + 3*tcp, true},
		{"a super-packet's short end does not fit", 3001 + 4*tcp - 1, [][]byte{aliceUp.tcpSuper(3001, 1000)}, 3, 3000 + 3*tcp, true},
		{"a super-packet's short end fits, to the byte", 3001 + 4*tcp, [][]byte{aliceUp.tcpSuper(3001, 1000)}, 4, 3001 + 4*tcp, false},
		{"nothing of a super-packet fits", 1000 + tcp - 1, [][]byte{aliceUp.tcpSuper(4000, 1000)}, 0, 0, true},
		{"a UDP super-packet is cut to what fits", 2*(1200+udp) + 1, [][]byte{aliceUp.udpSuper(6000, 1200)}, 2, 2 * (1200 + udp), true},
		{"fragments are billed with their headers, to the byte", 2928 + 2*ip + udp + 44, [][]byte{aliceUp.udp(2972)}, 3, 3000 + 2*ip, false},
		{"a packet whose fragments do not all fit", 2928 + 2*ip + udp + 43, [][]byte{aliceUp.udp(2972)}, 0, 0, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := online(t, bytesOf(row.limit))
			b.in(clients.LAN, row.raws...)
			if packets, _ := b.delivered(clients.WAN); packets != row.packets {
				t.Errorf("%d packets passed, want %d", packets, row.packets)
			}
			if row.ended {
				b.ended(alice, 1, clients.EndData, row.used)
			} else {
				b.running(alice, 1, row.used)
				b.in(clients.LAN, aliceUp.udp(0))
				b.silent(clients.WAN)
				b.ended(alice, 1, clients.EndData, row.used)
			}
			b.in(clients.LAN, aliceUp.udp(0))
			if b.drops(NoGrant) == 0 {
				t.Error("no NoGrant")
			}
			b.witnessed()
		})
	}
}

func TestBothDirectionsCountToTheLimit(t *testing.T) {
	b := online(t, bytesOf(2*128+1))
	b.in(clients.LAN, aliceUp.udp(100))
	r := back(b.one(clients.WAN))
	b.in(clients.WAN, r.udp(100), r.udp(100))
	b.one(clients.LAN)
	b.ended(alice, 1, clients.EndData, 2*128)
	if u := b.use(alice, 1); u.Up != 128 || u.Down != 128 || u.UpPackets != 1 || u.DownPackets != 1 {
		t.Errorf("%+v", u)
	}
	b.dropped(DataUsedUp, 1)
}

func TestADownstreamSuperPacketIsCut(t *testing.T) {
	b := online(t, bytesOf(40+3*1040+500))
	b.in(clients.LAN, aliceUp.tcp(0))
	r := back(b.one(clients.WAN))
	b.in(clients.WAN, r.tcpSuper(10000, 1000))
	packets, n := b.delivered(clients.LAN)
	if packets != 3 || n != 3000 {
		t.Errorf("%d packets, %d bytes", packets, n)
	}
	b.ended(alice, 1, clients.EndData, 40+3*1040)
	b.dropped(DataUsedUp, 7)
	b.witnessed()
}

func TestTheNextGrantTakesOverWithNoPacketLost(t *testing.T) {
	rows := []struct {
		name   string
		limits []uint64
		raws   func() [][]byte
		want   []uint64 // charged to each
	}{
		{"a packet on the edge is charged to both", []uint64{200, 10000}, func() [][]byte { return [][]byte{aliceUp.udp(100), aliceUp.udp(100), aliceUp.udp(100)} }, []uint64{200, 184}},
		{"a grant that ended on a packet's end gives nothing to the next packet", []uint64{256, 10000}, func() [][]byte { return [][]byte{aliceUp.udp(100), aliceUp.udp(100), aliceUp.udp(100)} }, []uint64{256, 128}},
		{"a super-packet over the edge", []uint64{2500, 10000}, func() [][]byte { return [][]byte{aliceUp.tcpSuper(5000, 1000)} }, []uint64{2500, 2700}},
		{"a super-packet whose end crosses", []uint64{5190, 10000}, func() [][]byte { return [][]byte{aliceUp.tcpSuper(5000, 1000)} }, []uint64{5190, 10}},
		{"a UDP super-packet over the edge", []uint64{2500, 10000}, func() [][]byte { return [][]byte{aliceUp.udpSuper(5000, 1000)} }, []uint64{2500, 2640}},
		{"a packet over several tiny grants", []uint64{10, 20, 30, 10000}, func() [][]byte { return [][]byte{aliceUp.udp(100)} }, []uint64{10, 20, 30, 68}},
		{"a super-packet over several tiny grants", []uint64{10, 1500, 30, 10000}, func() [][]byte { return [][]byte{aliceUp.tcpSuper(5000, 1000)} }, []uint64{10, 1500, 30, 3660}},
		{"fragments over the edge", []uint64{100, 1500, 10000}, func() [][]byte { return [][]byte{aliceUp.udp(2972)} }, []uint64{100, 1500, 1440}},
		{"an empty grant is passed over", []uint64{100, 0, 10000}, func() [][]byte { return [][]byte{aliceUp.udp(100)} }, []uint64{100, 0, 28}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var terms []clients.Terms
			for _, l := range row.limits {
				terms = append(terms, bytesOf(l))
			}
			b := online(t, terms...)
			raws := row.raws()
			b.in(clients.LAN, raws...)
			sum, all := uint64(0), 0
			for i, want := range row.want {
				sum += want
				if i < len(row.want)-1 {
					b.ended(alice, uint64(i+1), clients.EndData, want)
				} else {
					b.running(alice, uint64(i+1), want)
				}
			}
			for _, p := range b.out(clients.WAN) {
				all += len(p.packet)
			}
			if uint64(all) != sum {
				t.Errorf("%d bytes left, %d were charged", all, sum)
			}
			if d := b.allDrops(); len(d) != 0 {
				t.Errorf("dropped %v", d)
			}
			if billed := b.table.Header().Counters().Totals.BilledBytes; billed != sum {
				t.Errorf("%d billed", billed)
			}
			b.witnessed()
		})
	}
}

// What control writes while a packet that two grants pay is on its way: the kernel
// has it, so both pay, and control's word holds from the next packet on.
func TestControlsWordAsAPacketCrossesTheEdge(t *testing.T) {
	less := func(limit uint64) func(*clients.Grant) {
		return func(g *clients.Grant) { g.Amend(bytesOf(limit)) }
	}
	revoke := func(g *clients.Grant) { g.Revoke(1000 * time.Second) }
	past := bytesOf(10000)
	past.Expiry = 999 * time.Second
	rows := []struct {
		name   string
		limits []uint64
		does   map[uint64]func(*clients.Grant) // by sequence
		want   []uint64                        // charged to each
		after  int                             // packets that pass later
	}{
		{"the next is revoked", []uint64{100, 10000}, map[uint64]func(*clients.Grant){2: revoke}, []uint64{100, 28}, 0},
		{"both are", []uint64{100, 10000}, map[uint64]func(*clients.Grant){1: revoke, 2: revoke}, []uint64{100, 28}, 0},
		{"the next of several", []uint64{100, 10, 10000}, map[uint64]func(*clients.Grant){2: revoke}, []uint64{100, 10, 18}, 1},
		{"the last of several", []uint64{100, 10, 10000}, map[uint64]func(*clients.Grant){3: revoke}, []uint64{100, 10, 18}, 0},
		{"the next has nothing any more", []uint64{100, 10000}, map[uint64]func(*clients.Grant){2: less(0)}, []uint64{100, 28}, 0},
		{"the next has too little", []uint64{100, 10000}, map[uint64]func(*clients.Grant){2: less(20)}, []uint64{100, 28}, 0},
		{"the next has expired", []uint64{100, 10000}, map[uint64]func(*clients.Grant){2: func(g *clients.Grant) { g.Amend(past) }}, []uint64{100, 28}, 0},
		{"the first has less: it keeps what it paid with", []uint64{100, 10000}, map[uint64]func(*clients.Grant){1: less(50)}, []uint64{100, 28}, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var terms []clients.Terms
			for _, l := range row.limits {
				terms = append(terms, bytesOf(l))
			}
			b := online(t, terms...)
			wan := b.f.links[clients.WAN]
			b.f.links[clients.WAN] = &fussy{wan, func([]byte) bool {
				for seq, does := range row.does {
					does(b.record(alice, seq))
				}
				return false
			}}
			b.in(clients.LAN, aliceUp.udp(100))
			b.one(clients.WAN)
			b.f.links[clients.WAN] = wan
			b.changed(alice)
			for i, want := range row.want {
				if got := total(b.use(alice, uint64(i+1))); got != want {
					t.Errorf("grant %d was charged %d bytes, want %d", i+1, got, want)
				}
			}
			b.in(clients.LAN, aliceUp.udp(100))
			if packets, _ := b.delivered(clients.WAN); packets != row.after {
				t.Errorf("%d packets passed after it, want %d", packets, row.after)
			}
			b.witnessed()
		})
	}
}

func TestWhatNoGrantCanPayDoesNotPass(t *testing.T) {
	b := online(t, bytesOf(100), bytesOf(20))
	b.in(clients.LAN, aliceUp.udp(100))
	b.silent(clients.WAN)
	b.dropped(DataUsedUp, 1)
	b.ended(alice, 1, clients.EndData, 0)
	b.ended(alice, 2, clients.EndData, 0)
}

func TestAnExpiredNextGrantPaysNothing(t *testing.T) {
	next := bytesOf(10000)
	next.Expiry = 1005 * time.Second
	b := online(t, bytesOf(100), next)
	b.now = 1010 * time.Second
	b.in(clients.LAN, aliceUp.udp(100))
	b.silent(clients.WAN)
	b.dropped(DataUsedUp, 1)
	b.ended(alice, 1, clients.EndData, 0)
	b.ended(alice, 2, clients.EndExpiry, 0)
}

func TestWhatTheKernelRefusesIsNotBilled(t *testing.T) {
	b := online(t, bytesOf(1000))
	n := 0
	b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], func([]byte) bool { n++; return n%3 == 0 }}
	for range 9 {
		b.in(clients.LAN, aliceUp.udp(100))
	}
	if packets, _ := b.delivered(clients.WAN); packets != 6 {
		t.Errorf("%d passed", packets)
	}
	b.running(alice, 1, 6*128)
	b.dropped(TxRefused, 3)
	if got := b.table.Header().Counters().Ports[clients.WAN].Refused; got != 3 {
		t.Errorf("port: %d refused", got)
	}
	b.witnessed()
}

func TestRefusedInOneBatchAtTheEdge(t *testing.T) {
	// Ten packets in one batch, of which five fit; the kernel takes every other:
	// what it refuses leaves room for those behind.
	b := online(t, bytesOf(5*128))
	n := 0
	b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], func([]byte) bool { n++; return n%2 == 0 }}
	var raws [][]byte
	for range 10 {
		raws = append(raws, aliceUp.udp(100))
	}
	b.in(clients.LAN, raws...)
	packets, _ := b.delivered(clients.WAN)
	if packets != 5 {
		t.Errorf("%d passed", packets)
	}
	b.ended(alice, 1, clients.EndData, 5*128)
	b.dropped(TxRefused, 4)
	b.dropped(DataUsedUp, 1)
}

func TestARefusedEdgePacketEndsNothing(t *testing.T) {
	b := online(t, bytesOf(1500), bytesOf(10000))
	b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], func([]byte) bool { return true }}
	b.in(clients.LAN, aliceUp.tcpSuper(5000, 1000), aliceUp.udp(1480))
	b.running(alice, 1, 0)
	b.dropped(TxRefused, 5+2) // the second would leave in two fragments
	if b.use(alice, 2).Started != 0 {
		t.Error("the next grant has started")
	}
}

func TestARefusedErrorIsNobodys(t *testing.T) {
	b := online(t, free())
	b.f.links[clients.LAN] = &fussy{b.links[clients.LAN], func([]byte) bool { return true }}
	w := aliceUp
	w.ttl = 1
	b.in(clients.LAN, w.udp(10))
	b.silent(clients.LAN)
	b.dropped(TTLExceeded, 1)
	b.dropped(TxRefused, 0)
	if b.table.Header().Counters().Ports[clients.LAN].Refused != 1 {
		t.Error("not counted as refused")
	}
}

func TestOverTheRate(t *testing.T) {
	slow := free()
	slow.Up, slow.Down = 125_000, 125_000 // 1 Mbit/s: the burst is 3,036 bytes, 65,536 may wait
	b := online(t, slow)
	b.in(clients.LAN, aliceUp.tcpSuper(60000, 1000), aliceUp.tcpSuper(60000, 1000), aliceUp.udp(1000))
	const lost = 58 // so that 63 of 1040 bytes at most wait: of the longest queue, from its head on
	b.now += time.Microsecond * 200
	b.round()
	if got := b.out(clients.WAN); len(got) != 2 || got[0].tcp == nil || got[0].tcp.Seq != 1000+lost*1000 {
		t.Errorf("passed at once: %v, want the first two that are left", got)
	}
	b.dropped(OverRate, lost)
	if got := b.lost(alice, OverRate); got != lost {
		t.Errorf("%d are counted to her", got)
	}
	if s := b.table.Slot(alice); time.Duration(s.WaitedUp.Load()) != b.now-200*time.Microsecond || s.WaitedDown.Load() != 0 {
		t.Errorf("at %v she is said to have waited at %d up, %d down", b.now, s.WaitedUp.Load(), s.WaitedDown.Load())
	}
	b.running(alice, 1, 2*1040)
	const waits = 121 - lost - 2
	if q := b.table.Header().Counters().Totals.QueuedPackets; q != waits {
		t.Errorf("%d packets wait", q)
	}
	if s := b.table.Slot(alice); s.Waiting[up].Load() != waits*1040-12 || s.Waiting[down].Load() != 0 {
		t.Errorf("%d bytes wait up, %d down", s.Waiting[up].Load(), s.Waiting[down].Load())
	}
	for range 80 { // less than CoDel's interval
		b.now += time.Millisecond
		b.round()
	}
	const later = 10 // of 80 ms: 10,000 bytes and what was left of the burst
	b.running(alice, 1, (2+later)*1040-12)
	if got := b.out(clients.WAN); len(got) != later || got[0].tcp != nil || got[later-1].tcp.Seq != 1000+(later-2)*1000 { // the second super-packet begins
		t.Errorf("passed later: %v, want the datagram first", got)
	}
	if d := time.Duration(b.table.Slot(alice).Delay[up].Load()); d < 5*time.Millisecond || d > 80*time.Millisecond {
		t.Errorf("they are said to have waited for %v", d)
	}
	b.witnessed()
}

func TestCutByTheRateAndByTheLimit(t *testing.T) {
	slow, next := briskly(30*1040+7), briskly(clients.NoLimit)
	b := online(t, slow, next)
	b.in(clients.LAN, aliceUp.tcpSuper(30000, 1000), aliceUp.tcpSuper(60000, 1000), aliceUp.tcpSuper(60000, 1000))
	b.ended(alice, 1, clients.EndData, 30*1040+7)
	for range 90 {
		b.now += time.Millisecond
		b.round()
	}
	packets, n := b.delivered(clients.WAN)
	if want := 150; packets != want || n != want*1000 {
		t.Errorf("%d packets, %d bytes passed, want %d", packets, n, want)
	}
	b.running(alice, 2, uint64(packets)*1040-30*1040-7)
	b.witnessed()
}

func TestANewRateHoldsFromTheNextPacket(t *testing.T) {
	b := online(t, free())
	g := b.record(alice, 1)
	slow := free()
	slow.Up = 125_000
	g.Amend(slow)
	b.changed(alice)
	b.in(clients.LAN, aliceUp.tcpSuper(60000, 1000), aliceUp.tcpSuper(60000, 1000))
	if packets, _ := b.delivered(clients.WAN); packets != 2 {
		t.Errorf("%d packets passed", packets)
	}
	g.Amend(free())
	b.now += time.Millisecond
	b.changed(alice)
	b.in(clients.LAN, aliceUp.tcpSuper(60000, 1000), aliceUp.tcpSuper(60000, 1000))
	if packets, _ := b.delivered(clients.WAN); packets != 61+120 {
		t.Errorf("%d packets passed without a rate", packets)
	}
}

// TestTinySegments: a super-packet may cost more than the most that may be in
// flight.
func TestTinySegments(t *testing.T) {
	b := online(t, bytesOf(1_000_000))
	var most uint64
	b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], func([]byte) bool {
		most = max(most, b.f.clients[alice].flight)
		return false
	}}
	b.in(clients.LAN, aliceUp.tcpSuper(60000, 4))
	packets, n := b.delivered(clients.WAN)
	if packets != 15000 || n != 60000 {
		t.Errorf("%d packets, %d bytes", packets, n)
	}
	b.running(alice, 1, 15000*44)
	if most > maxUncounted {
		t.Errorf("%d bytes in flight", most)
	}
	b.witnessed()
}

func TestNoMoreInFlightThanMayBeForgotten(t *testing.T) {
	b := online(t, free())
	b.in(clients.LAN, aliceUp.udp(0))
	r := back(b.one(clients.WAN))
	var most uint64
	watch := func([]byte) bool {
		most = max(most, b.f.clients[alice].flight)
		return false
	}
	b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], watch}
	b.f.links[clients.LAN] = &fussy{b.links[clients.LAN], watch}
	var ups, downs [][]byte
	for range 20 {
		ups = append(ups, aliceUp.udpSuper(60000, 1200))
		downs = append(downs, r.udpSuper(60000, 1200))
	}
	b.offer(clients.LAN, ups...)
	b.offer(clients.WAN, downs...)
	b.round()
	if most > maxUncounted || most == 0 {
		t.Errorf("%d bytes in flight", most)
	}
	b.running(alice, 1, 28+2*20*50*1228)
}
