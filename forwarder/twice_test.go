package forwarder

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// ordersOf are all orders of some numbers, of which some may be equal.
func ordersOf(numbers []int) (all [][]int) {
	if len(numbers) == 0 {
		return [][]int{nil}
	}
	for i, n := range numbers {
		if slices.Contains(numbers[:i], n) {
			continue
		}
		rest := slices.Concat(numbers[:i], numbers[i+1:])
		for _, order := range ordersOf(rest) {
			all = append(all, append([]int{n}, order...))
		}
	}
	return all
}

// lastToLeave is the last of fragments in an order, those before the first behind it.
func lastToLeave(order []int) int {
	if order[len(order)-1] == 0 {
		return order[len(order)-2]
	}
	return order[len(order)-1]
}

// RFC 791: a fragment that comes twice is the receiver's to judge. Whatever the order,
// the others of its packet still pass, and the bill is what left.
func TestAFragmentThatComesTwice(t *testing.T) {
	const pieces = 4
	for _, row := range []struct {
		name     string
		from, to int
	}{
		{"up", clients.LAN, clients.WAN},
		{"down", clients.WAN, clients.LAN},
		{"by a hairpin", clients.LAN, clients.LAN},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, w := neighbours(t, free(), free())
			b.in(clients.LAN, aliceUp.udp(0))
			switch p := b.one(clients.WAN); row.name {
			case "up":
				w = aliceUp
			case "down":
				w = back(p)
			default:
				w.dstPort = p.srcPort
			}
			billed := func() (sum uint64) {
				a, o := b.use(alice, 1), b.use(bob, 1)
				if row.name == "by a hairpin" && (a.Down != o.Up || a.DownPackets != o.UpPackets) {
					t.Errorf("alice is billed %+v, bob %+v", a, o)
				}
				return a.Up + a.Down
			}
			for twice := range pieces {
				for _, order := range ordersOf([]int{0, 1, 2, 3, twice}) {
					b.in(clients.LAN, aliceUp.udp(0)) // it keeps her mapping
					b.one(clients.WAN)
					w.id++
					all, before, late := fragmentsOf(w.udp(4*1480-8), 1480), billed(), b.drops(StrayFragment)
					for _, i := range order {
						b.in(row.from, all[i])
					}
					whole, came, bytes := map[uint16]bool{}, 0, uint64(0)
					for _, p := range b.out(row.to) {
						whole[p.ip.FragOffset*8] = true
						came++
						bytes += uint64(len(p.packet))
					}
					b.pass(earlyFor + 500*time.Millisecond) // what comes when all have passed waits for another first
					late = b.drops(StrayFragment) - late
					if len(whole) != pieces || came+int(late) != pieces+1 || (late == 1) != (twice != 0 && lastToLeave(order) == twice) {
						t.Fatalf("order %v: %d fragments came, at %v, %d did not: %v", order, came, whole, late, b.allDrops())
					}
					if n := billed() - before; n != bytes {
						t.Fatalf("order %v: %d bytes came, %d are billed", order, bytes, n)
					}
				}
			}
			b.pass(fragmentedFor)
			for _, f := range b.workers() {
				if len(f.fragments.seen)+len(f.fragments.each)+len(f.ledTo) != 0 {
					t.Errorf("%d, %d and %d are not forgotten", len(f.fragments.seen), len(f.fragments.each), len(f.ledTo))
				}
			}
			b.witnessed()
		})
	}
}

// A packet of as many fragments as there can be, each of them twice, the first at first.
func TestFragmentsOfALongPacketThatComeTwice(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := online(t, free())
			all := fragmentsOf(aliceUp.udp(65000), 1480)
			order := rand.New(rand.NewPCG(seed, 1)).Perm(2 * len(all))
			b.in(clients.LAN, all[0])
			for _, i := range order {
				if i %= len(all); i != 0 {
					b.in(clients.LAN, all[i])
				}
			}
			whole := map[uint16]bool{}
			for _, p := range b.out(clients.WAN) {
				whole[p.ip.FragOffset] = true
			}
			if len(whole) != len(all) {
				t.Errorf("%d of %d: %v", len(whole), len(all), b.allDrops())
			}
			b.pass(fragmentedFor + time.Second)
			b.witnessed()
		})
	}
}
