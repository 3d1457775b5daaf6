package forwarder

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// Each packet is held to the MTU of its moment, and so is what a connection announces.
func TestMTUsChangeWhilePacketsPass(t *testing.T) {
	b, down := talking(t)
	up := aliceUp
	up.dont, down.dont = true, true
	for _, row := range []struct{ lan, wan int }{{1500, 1400}, {1500, 9000}, {9000, 9000}, {9000, 1500}, {576, 1492}, {1500, 576}, {1500, 1280}, {68, 68}, {65535, 65535}, {1500, 1500}} {
		b.mtus(row.lan, row.wan)
		for _, way := range []struct {
			from, to, mtu int
			w             flow
			ours          uint32
			sender        uint32
		}{{clients.LAN, clients.WAN, row.wan, up, lanIP, aliceIP}, {clients.WAN, clients.LAN, row.lan, down, wanIP, serverIP}} {
			b.in(way.from, way.w.udp(way.mtu-28))
			if p := b.one(way.to); len(p.packet) != way.mtu {
				t.Errorf("%+v: %d bytes came to port %d", row, len(p.packet), way.to)
			}
			if way.mtu < 65535 {
				b.in(way.from, way.w.udp(way.mtu-27))
				e := b.one(way.from)
				if e.quotes(t, 3, 4, way.ours, way.sender, way.w.udp(way.mtu - 27)[:24+min(maxQuote, [...]int{row.lan, row.wan}[way.from]-errorHead)]); int(e.icmp.Seq) != way.mtu {
					t.Errorf("%+v: from port %d: next-hop MTU %d", row, way.from, e.icmp.Seq)
				}
				b.silent(way.to)
			}
			b.pass(5 * time.Second) // the allowance for answers
		}
		if got, want := b.announced(0xffff), uint16(min(row.lan, row.wan)-40); got != want {
			t.Errorf("%+v: a segment size of %d is announced, want %d", row, got, want)
		}
		if got := b.announced(20); got != 20 {
			t.Errorf("%+v: a segment size of 20 is raised to %d", row, got)
		}
	}
	b.witnessed()
}

// announced is the segment size that the server reads of what a client announces.
func (b *bench) announced(mss uint16) uint16 {
	b.Helper()
	w := aliceUp
	w.srcPort = 6000 + mss%1000
	b.in(clients.LAN, w.syn(false, mss))
	return binary.BigEndian.Uint16(b.one(clients.WAN).tcp.Options[0].OptionData)
}

func TestAnMTUThatNoLinkHas(t *testing.T) {
	b := aliceBench(t)
	b.mtus(0, 1<<30)
	b.round()
	if got, want := b.f.mtu, [...]int{clients.LAN: 68, clients.WAN: 65535, clients.Host: 68}; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// datagrams sorts fragments by the packet they are of, and puts each together.
func datagrams(t *testing.T, all []*seen) (ids []uint16, bodies [][]byte) {
	t.Helper()
	for len(all) > 0 {
		id := all[0].ip.Id
		last := slices.IndexFunc(all, func(p *seen) bool { return p.ip.Id != id })
		if last < 0 {
			last = len(all)
		}
		ids, bodies = append(ids, id), append(bodies, whole(t, all[:last]))
		all = all[last:]
	}
	return ids, bodies
}

// A super-packet over the MTU whose sender forbids no fragments leaves as its wire
// packets would have, and is billed as they are.
func TestASuperPacketOverTheMTUThatMayBeFragmented(t *testing.T) {
	tcp := func(w flow) []byte { return w.tcpSuper(5000, 1400) }
	udp := func(w flow) []byte { return w.udpSuper(5000, 1400) }
	for _, row := range []struct {
		name     string
		from, to int
		raw      func(flow) []byte
		head     int // layer 4, bytes
	}{
		{"UDP up", clients.LAN, clients.WAN, udp, 8}, {"TCP up", clients.LAN, clients.WAN, tcp, 20},
		{"UDP down", clients.WAN, clients.LAN, udp, 8}, {"TCP down", clients.WAN, clients.LAN, tcp, 20},
		{"UDP of the box", clients.Host, clients.WAN, udp, 8}, {"TCP of the box", clients.Host, clients.WAN, tcp, 20},
	} {
		for _, mtu := range []int{68, 576, 1400} {
			t.Run(fmt.Sprintf("%s, MTU %d", row.name, mtu), func(t *testing.T) {
				b := aliceBench(t)
				w := map[int]flow{clients.LAN: aliceUp, clients.Host: boxUp}[row.from]
				if row.from == clients.WAN {
					first := aliceUp.udp(0)
					if row.head == 20 {
						first = aliceUp.tcp(0)
					}
					b.in(clients.LAN, first)
					w = back(b.one(clients.WAN))
				}
				b.mtus(mtu, mtu)
				before := b.use(alice, 1)
				b.in(row.from, row.raw(w))
				all := b.out(row.to)
				sum := uint64(0)
				for _, p := range all {
					if sum += uint64(len(p.packet)); len(p.packet) > mtu {
						t.Fatalf("%d bytes of a packet", len(p.packet))
					}
				}
				ids, bodies := datagrams(t, all)
				if want := []uint16{w.id, w.id + 1, w.id + 2, w.id + 3}; !slices.Equal(ids, want) {
					t.Fatalf("packets %v, want %v: %v", ids, want, b.allDrops())
				}
				var got []byte
				for _, body := range bodies {
					got = append(got, body[row.head:]...)
				}
				if !bytes.Equal(got, text(5000)) {
					t.Error("the payload changed")
				}
				if u := b.use(alice, 1); row.from != clients.Host && total(u)-total(before) != sum {
					t.Errorf("billed %d bytes, %d left", total(u)-total(before), sum)
				}
				b.silent(row.from)
				b.witnessed()
			})
		}
	}
}

// The edge of a grant may lie among its wire packets.
func TestASuperPacketOverTheMTUAtTheEdge(t *testing.T) {
	const each = 1428 + 20 // a wire packet, as two fragments
	for limit, want := range map[uint64]struct {
		packets int
		first   uint64 // bytes of the first grant
	}{each: {1, each}, each + 1: {4, each + 1}, 3*each - 1: {4, 3*each - 1}, 4 * each: {4, 4 * each}} {
		b := online(t, bytesOf(limit))
		if want.packets == 4 && limit < 4*each {
			b = online(t, bytesOf(limit), free())
		}
		b.mtus(1500, 1400)
		b.in(clients.LAN, aliceUp.udpSuper(4*1400, 1400))
		if ids, _ := datagrams(t, b.out(clients.WAN)); len(ids) != want.packets {
			t.Errorf("%d bytes: packets %v left, want %d: %v", limit, ids, want.packets, b.allDrops())
		}
		if u := b.use(alice, 1); total(u) != want.first {
			t.Errorf("%d bytes: billed %+v, want %d", limit, u, want.first)
		}
		b.witnessed()
		b.close()
	}
}

// Nothing follows the packet that ended the last grant, however little it is.
func TestNothingOfASuperPacketFollowsTheEndOfTheGrant(t *testing.T) {
	const each = 1428 + 20
	b := online(t, bytesOf(2*each-1))
	b.mtus(1500, 1400)
	b.in(clients.LAN, aliceUp.udpSuper(2*1400+100, 1400))
	if ids, _ := datagrams(t, b.out(clients.WAN)); len(ids) != 1 {
		t.Errorf("packets %v left", ids)
	}
	b.ended(alice, 1, clients.EndData, each)
	b.dropped(DataUsedUp, 1)
	b.dropped(NoGrant, 1)
	b.witnessed()
}

// What waits was measured by an MTU that may be another one as it leaves.
func TestWhatWaitedMeetsTheMTUOfAsItLeaves(t *testing.T) {
	slow := free()
	slow.Up, slow.Down = 20_000, 20_000
	rows := []struct {
		name   string
		raws   func(w flow) [][]byte
		before int // the MTU as they come
		after  int // and as they leave
		leave  int // packets
		drop   uint64
		told   int // ICMP errors
	}{
		{"what is too long now and may be cut", func(w flow) [][]byte { return [][]byte{w.udp(1400), w.udp(1400)} }, 1500, 1000, 4, 0, 0},
		{"what is too long now and may not", func(w flow) [][]byte { w.dont = true; return [][]byte{w.udp(1400), w.udp(1400)} }, 1500, 1000, 0, 2, 2},
		{"segments that are too long now", func(w flow) [][]byte { w.dont = true; return [][]byte{w.tcpSuper(4000, 1000)} }, 1500, 1000, 0, 4, 1},
		{"segments that fit now as before", func(w flow) [][]byte { w.dont = true; return [][]byte{w.tcpSuper(4000, 1000)} }, 1500, 1040, 4, 0, 0},
		{"what need not be cut any more", func(w flow) [][]byte { return [][]byte{w.udp(1400), w.udp(1400)} }, 1000, 1500, 2, 0, 0},
		{"what is cut otherwise now", func(w flow) [][]byte { return [][]byte{w.udp(1400), w.udp(1400)} }, 1000, 940, 4, 0, 0},
	}
	for _, row := range rows {
		for _, way := range []struct {
			name     string
			from, to int
		}{{"up", clients.LAN, clients.WAN}, {"down", clients.WAN, clients.LAN}} {
			t.Run(row.name+", "+way.name, func(t *testing.T) {
				b := newBench(t)
				b.bind(alice, aliceMAC, aliceIP)
				b.grant(alice, slow)
				w := aliceUp
				tcp := row.raws(aliceUp)[0][33] == 6
				filler := func() []byte {
					if tcp {
						return w.tcp(888)
					}
					return w.udp(900)
				}
				if way.from == clients.WAN {
					b.in(clients.LAN, filler())
					w = back(b.one(clients.WAN))
				}
				b.mtus(row.before, row.before)
				b.in(way.from, filler(), filler(), filler(), filler()) // the burst, and something to wait behind
				b.out(way.to)
				before := b.use(alice, 1)
				waited := b.table.Header().Counters().Totals.QueuedPackets
				b.in(way.from, row.raws(w)...)
				if now := b.table.Header().Counters().Totals.QueuedPackets; now == waited {
					t.Fatal("nothing of it waits")
				}
				b.mtus(row.after, row.after)
				sum, n := uint64(0), 0
				for range 30 {
					b.pass(100 * time.Millisecond)
					for _, p := range b.out(way.to) {
						if sum += uint64(len(p.packet)); len(p.packet) == 928 {
							continue
						}
						n++
						if len(p.packet) > row.after {
							t.Errorf("%d bytes of a packet", len(p.packet))
						}
					}
				}
				if n != row.leave {
					t.Errorf("%d packets left, want %d: %v", n, row.leave, b.allDrops())
				}
				b.dropped(TooBig, row.drop)
				told := b.out(way.from)
				if len(told) < min(row.told, 1) || len(told) > row.told {
					t.Errorf("told %v", told)
				}
				for _, e := range told {
					if e.icmp == nil || int(e.icmp.Seq) != row.after {
						t.Errorf("told %v", e)
					}
				}
				if u := b.use(alice, 1); total(u)-total(before) != sum {
					t.Errorf("billed %d bytes, %d left", total(u)-total(before), sum)
				}
				b.witnessed()
			})
		}
	}
}

func TestAFragmentThatWaitedMeetsTheMTUOfAsItLeaves(t *testing.T) {
	pieces := fragmentsOf(aliceUp.udp(2000), 1480)
	b := online(t, free())
	w := fragmentsOf(aliceUp.udp(2900), 1480)
	b.in(clients.LAN, w[1])
	b.mtus(1500, 1000)
	b.in(clients.LAN, w[0])
	if body := reassembled(t, b.out(clients.WAN)); !bytes.Equal(body[8:], text(2900)) {
		t.Error("the payload changed")
	}
	b.mtus(1500, 1500)
	b.in(clients.LAN, patched(pieces[1], func(ip []byte) { ip[6] |= 0x40 }))
	b.mtus(1500, 500)
	b.in(clients.LAN, pieces[0])
	if packets, _ := b.delivered(clients.WAN); packets != 4 { // of the first alone
		t.Errorf("%d fragments left", packets)
	}
	b.dropped(TooBig, 1)
	b.witnessed()
}

// RFC 4787 REQ-14 for fragments longer than one buffer.
func TestLongFragmentsInAnyOrder(t *testing.T) {
	for _, mtu := range []int{2100, 9000, 32000} {
		for _, way := range []string{"up", "down"} {
			b, down := talking(t)
			b.mtus(65535, 65535)
			from, to, w := clients.LAN, clients.WAN, aliceUp
			if way == "down" {
				from, to, w = clients.WAN, clients.LAN, down
			}
			before := total(b.use(alice, 1))
			n := min(65507, 5*mtu)
			pieces := fragmentsOf(w.udp(n), (mtu-20)&^7)
			slices.Reverse(pieces)
			b.in(from, pieces...)
			got := b.out(to)
			if len(got) != len(pieces) || got[0].ip.FragOffset != 0 {
				t.Fatalf("MTU %d, %s: %d of %d fragments, %v dropped", mtu, way, len(got), len(pieces), b.allDrops())
			}
			if body := reassembled(t, got); !bytes.Equal(body[8:], text(n)) {
				t.Errorf("MTU %d, %s: the payload changed", mtu, way)
			}
			if used := total(b.use(alice, 1)) - before; used != uint64(n+8+20*len(pieces)) {
				t.Errorf("MTU %d, %s: billed %d bytes", mtu, way, used)
			}
			for _, f := range b.workers() {
				if f.earlies.held != [2]int{} {
					t.Errorf("MTU %d, %s: %v are still held", mtu, way, f.earlies.held)
				}
			}
			b.witnessed()
			b.close()
		}
	}
}

// Long fragments take as many buffers as they need of what there is for all, and give
// all of them back.
func TestLongFragmentsWithoutAFirstAreBounded(t *testing.T) {
	b := online(t, free())
	b.mtus(65535, 65535)
	for round := range 3 {
		for i := range 20 {
			w := aliceUp
			w.id = uint16(100*round + i)
			b.in(clients.LAN, fragmentsOf(w.udp(12000), 8976)[1], fragmentsOf(w.udp(30000), 8976)[1]) // 2 and 5 buffers
		}
		held := 0
		for _, f := range b.workers() {
			held += f.earlies.held[fromClients]
		}
		if held > maxEarlyEach || held <= maxEarlyEach-2 {
			t.Errorf("%d buffers are held", held)
		}
		b.pass(earlyFor + time.Second)
		if q := b.table.Header().Counters().Totals.QueuedPackets; q != 0 || b.f.earlies.held != [2]int{} {
			t.Errorf("%d queued, %v held", q, b.f.earlies.held)
		}
		if n := b.drops(StrayFragment) + b.drops(FragmentsFull); n != uint64(40*(round+1)) {
			t.Errorf("dropped %v", b.allDrops())
		}
	}
	b.silent(clients.WAN)
}

// What turned round and waits for its receiver's rate is answered to nobody: its sender
// is known by the WAN address alone.
func TestWhatTurnedRoundAndWaitedIsNotAnswered(t *testing.T) {
	slow := free()
	slow.Down = 20_000
	b, from := neighbours(t, slow, free())
	from.dstPort = b.mapped(aliceUp.udp(0))
	from.dont = true
	b.in(clients.LAN, from.udp(1400), from.udp(1400), from.udp(1400), from.udp(1400))
	b.mtus(1000, 1500)
	b.pass(time.Second)
	if packets, _ := b.delivered(clients.LAN); packets != 2 {
		t.Errorf("%d packets conform to the rate", packets)
	}
	b.dropped(TooBig, 2)
	b.silent(clients.WAN)
	b.witnessed()
}

// What waits on its way to the WAN address is cut only as it comes back, so that its
// sender's grant need not last for the fragments' headers.
func TestWhatWaitsBeforeItTurnsRoundCostsItsSenderNoFragments(t *testing.T) {
	slow := bytesOf(4 * 1428)
	slow.Up = 20_000
	b, from := neighbours(t, free(), slow)
	from.dstPort = b.mapped(aliceUp.udp(0))
	b.in(clients.LAN, from.udp(1400), from.udp(1400), from.udp(1400), from.udp(1400))
	b.mtus(1000, 1500)
	b.pass(time.Second)
	b.out(clients.LAN)
	if u := b.use(bob, 1); total(u) != 4*1428 {
		t.Errorf("billed %+v, want %d: %v", u, 4*1428, b.allDrops())
	}
	b.witnessed()
}
