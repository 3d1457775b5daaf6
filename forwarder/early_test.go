package forwarder

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// reassembled puts fragments together whatever their order, as a receiver does.
func reassembled(t *testing.T, pieces []*seen) []byte {
	t.Helper()
	slices.SortFunc(pieces, func(a, b *seen) int { return int(a.ip.FragOffset) - int(b.ip.FragOffset) })
	return whole(t, pieces)
}

// RFC 4787 REQ-14: fragments in any order, up, down and by a hairpin; the bills are
// what left.
func TestFragmentsInAnyOrder(t *testing.T) {
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for _, row := range []struct {
		name string
		from int
		to   int
		pays func(b *bench) (bytes, packets uint64)
	}{
		{"up", clients.LAN, clients.WAN, func(b *bench) (uint64, uint64) { u := b.use(alice, 1); return u.Up, u.UpPackets }},
		{"down", clients.WAN, clients.LAN, func(b *bench) (uint64, uint64) { u := b.use(alice, 1); return u.Down, u.DownPackets }},
		{"by a hairpin", clients.LAN, clients.LAN, func(b *bench) (uint64, uint64) {
			a, o := b.use(alice, 1), b.use(bob, 1)
			if a.Down != o.Up || a.DownPackets != o.UpPackets {
				b.Errorf("alice is billed %+v, bob %+v", a, o)
			}
			return a.Down, a.DownPackets
		}},
		{"of the box", clients.Host, clients.WAN, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, together := range []bool{true, false} { // in one batch, or each in its own
				for _, order := range orders {
					b, w := neighbours(t, free(), free())
					b.in(clients.LAN, aliceUp.udp(0))
					p := b.one(clients.WAN)
					opened := uint64(28)
					switch row.name {
					case "up":
						w = aliceUp
					case "down":
						w, opened = back(p), 0
					case "by a hairpin":
						w.dstPort, opened = p.srcPort, 0
					case "of the box":
						w = boxUp
					}
					pieces := fragmentsOf(w.udp(3000), 1480)
					var raws [][]byte
					for _, i := range order {
						raws = append(raws, pieces[i])
					}
					if together {
						b.in(row.from, raws...)
					} else {
						for _, raw := range raws {
							b.in(row.from, raw)
							b.pass(100 * time.Millisecond)
						}
					}
					got := b.out(row.to)
					if len(got) != 3 {
						t.Fatalf("order %v: %d fragments came: %v", order, len(got), b.allDrops())
					}
					if got[0].ip.FragOffset != 0 {
						t.Errorf("order %v: the first came later", order)
					}
					if body := reassembled(t, got); !bytes.Equal(body[8:], text(3000)) {
						t.Errorf("order %v: the payload changed", order)
					}
					if row.pays != nil {
						if n, packets := row.pays(b); n-opened != 3008+3*20 || packets < 3 {
							t.Errorf("order %v: %d bytes billed", order, n-opened)
						}
					}
					b.pass(5 * time.Second)
					for _, f := range b.workers() {
						if h := f.earlies.held; h != [2]int{} || len(b.allDrops()) != 0 {
							t.Errorf("order %v: %v are still held, dropped %v", order, h, b.allDrops())
						}
					}
					b.witnessed()
					b.close()
				}
			}
		})
	}
}

// What waits for its first pays its rate once, and meets the edge of the grant that
// runs as it leaves.
func TestWhatWaitedForItsFirstMeetsTheEdge(t *testing.T) {
	pieces := fragmentsOf(aliceUp.udp(3000), 1480)
	b := online(t, bytesOf(1500+1500), bytesOf(10_000))
	b.in(clients.LAN, pieces[2], pieces[1])
	b.silent(clients.WAN)
	b.in(clients.LAN, pieces[0])
	if n := len(b.out(clients.WAN)); n != 3 {
		t.Errorf("%d fragments: %v", n, b.allDrops())
	}
	b.ended(alice, 1, clients.EndData, 3000)
	b.running(alice, 2, 68)
	b.witnessed()
}

func TestWhatWaitsForItsFirstIsNotSentAfterTheGrant(t *testing.T) {
	pieces := fragmentsOf(aliceUp.udp(2000), 1480)
	b := online(t, free())
	b.in(clients.LAN, pieces[1])
	b.offer(clients.LAN, pieces[0])
	b.record(alice, 1).Revoke(b.now)
	b.changed(alice)
	b.silent(clients.WAN)
	b.pass(5 * time.Second)
	b.dropped(NoGrant, 1)
	b.dropped(StrayFragment, 1)
}

// Another client has the slot when the first comes.
func TestAFragmentDoesNotFollowAnotherClientsFirst(t *testing.T) {
	pieces := fragmentsOf(aliceUp.udp(2000), 1480)
	b := online(t, free())
	b.in(clients.LAN, pieces[1])
	s := b.table.Slot(alice)
	b.record(alice, 1).Revoke(b.now)
	b.changed(alice)
	s.Saved.Store(1)
	b.bind(alice, aliceMAC, aliceIP) // another generation
	b.grant(alice, free())
	b.in(clients.LAN, pieces[0])
	if p := b.one(clients.WAN); p.ip.FragOffset != 0 {
		t.Errorf("%v", p)
	}
	b.dropped(NoMapping, 1)
}

// RFC 4787 REQ-14: memory is bounded, and whoever fills it keeps from nobody what
// comes in order; nor does what comes from outside keep anything from a client.
func TestFragmentsWithoutAFirstAreBounded(t *testing.T) {
	b, _ := neighbours(t, free(), free())
	b.in(clients.LAN, aliceUp.udp(0))
	down := back(b.one(clients.WAN))
	for i := range 3 * maxEarly {
		w, from := bobUp, down
		w.id, from.id = uint16(i), uint16(i)
		from.src = serverIP + uint32(i)%200
		b.in(clients.LAN, fragmentsOf(w.udp(2000), 1480)[1])
		b.in(clients.WAN, fragmentsOf(from.udp(2000), 1480)[1])
	}
	h := b.f.earlies.held
	if h[fromClients] != maxEarlyEach || h[fromOutside] < earlyHalf*3/4 || h[fromOutside] > earlyHalf {
		t.Errorf("%v are held", h)
	}
	b.dropped(FragmentsFull, uint64(6*maxEarly-h[0]-h[1]))
	pieces := fragmentsOf(aliceUp.udp(3000), 1480)
	b.in(clients.LAN, pieces[1], pieces[2], pieces[0]) // out of order: bob's are not hers
	reassembled(t, b.out(clients.WAN))
	down.id = 60000
	b.in(clients.WAN, fragmentsOf(down.udp(3000), 1480)...)
	whole(t, b.out(clients.LAN))
	b.pass(earlyFor + time.Second)
	b.dropped(StrayFragment, uint64(h[0]+h[1]))
	if n := b.lost(bob, StrayFragment); n != uint64(h[0]) {
		t.Errorf("%d of bob's lost", n)
	}
	if q := b.table.Header().Counters().Totals.QueuedPackets; q != 0 || b.f.earlies.held != [2]int{} {
		t.Errorf("%d queued, %v held", q, b.f.earlies.held)
	}
	w := bobUp // and all of it can be used again
	w.id = 7
	pieces = fragmentsOf(w.udp(3000), 1480)
	b.in(clients.LAN, pieces[2], pieces[1], pieces[0])
	reassembled(t, b.out(clients.WAN))
	b.witnessed()
}

// RFC 1858, RFC 3128: what would overwrite the header that was judged is dropped
// and does not wait, nor does what can have no first.
func TestFragmentsThatNeverWait(t *testing.T) {
	b := online(t, free())
	overlap := fragmentsOf(aliceUp.tcp(2000), 8)[1]
	tunnel := serialize(aliceUp.ethernet(), aliceUp.ip(layers.IPProtocolGRE), payload(2000))
	b.in(clients.LAN, overlap, fragmentsOf(tunnel, 1480)[1])
	b.silent(clients.WAN)
	b.dropped(Malformed, 1)
	b.dropped(StrayFragment, 1)
	if b.f.earlies.held != [2]int{} {
		t.Error("held")
	}
}

func TestAForwarderThatEndsForgetsNoFragment(t *testing.T) {
	b := online(t, free())
	b.in(clients.LAN, fragmentsOf(aliceUp.udp(3000), 1480)[1:]...)
	b.start()
	b.resolve()
	b.dropped(ForwarderEnded, 2)
	b.pass(5 * time.Second)
	b.silent(clients.WAN)
}
