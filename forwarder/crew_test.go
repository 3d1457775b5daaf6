package forwarder

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// inTeams runs a test with several workers: with frames that come to the right one,
// and with all of them at another.
func inTeams(t *testing.T, test func(t *testing.T, b *bench)) {
	for _, n := range []int{2, 3, 4} {
		for _, astray := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d workers, astray %v", n, astray), func(t *testing.T) {
				withWorkers(t, n)
				b := newBench(t)
				if astray {
					b.team.astray()
				}
				b.bind(alice, aliceMAC, aliceIP)
				b.bind(bob, bobMAC, bobIP)
				b.grant(alice, free())
				b.grant(bob, free())
				test(t, b)
				b.witnessed()
			})
		}
	}
}

// What holds for one worker holds for several.
func TestSeveralWorkersDoWhatOneDoes(t *testing.T) {
	sizes := []int{2, 4}
	if testing.Short() {
		sizes = []int{2}
	}
	for _, n := range sizes {
		for _, row := range []struct {
			name string
			test func(*testing.T)
		}{
			{"law", TestNothingIsLostOrMadeUp},
			{"mutated frames", TestNoMutatedFrameHarmsAnybodyElse},
			{"kills", TestAKilledForwarder},
			{"a new forwarder", TestANewForwarderGoesOn},
			{"what it finds", TestCountersCarryOnFromAnySeed},
			{"limits that it finds", TestALimitHoldsAtAnySeed},
			{"reasons", TestEveryReasonIsReached},
			{"fragments in any order", TestFragmentsInAnyOrder},
			{"a fragment that comes twice", TestAFragmentThatComesTwice},
			{"bad options", TestBadOptionsAreAnswered},
			{"bad options of strangers", TestBadOptionsThatNobodyIsTold},
			{"fragments at the edge of a grant", TestWhatWaitedForItsFirstMeetsTheEdge},
			{"hairpin", TestAHairpinShowsTheExternalSource},
			{"TCP by a hairpin", TestATCPConnectionThroughAHairpin},
			{"error by a hairpin", TestAnICMPErrorTurnsRound},
			{"grants of a hairpin", TestAHairpinIsHeldToTheGrantsOfBoth},
			{"rates of a hairpin", TestAHairpinIsHeldToTheRatesOfBoth},
			{"the box by a hairpin", TestTheBoxAndAClientByAHairpin},
			{"several addresses", TestClientsHaveAnAddressEach},
			{"ARP for several", TestEachAddressIsAnsweredForAndTold},
			{"no address", TestWithoutAnAddressNothingPassesAndNobodyIsBilled},
			{"fragments of several addresses", TestFragmentsKeepTheirAddress},
			{"a hairpin between addresses", TestAHairpinBetweenAddresses},
			{"mappings by address", TestMappingsAreCountedByAddress},
			{"forwards", TestWhoComesByAForwardIsBilledToTheClient},
			{"forwards of sessions", TestAForwardHoldsAsLongAsTheSessionRuns},
			{"forwards to the box", TestAForwardToTheBox},
			{"forwards by a hairpin", TestAClientComesByAForwardOfAnothers},
			{"errors about forwards", TestErrorsAboutAForwardFindTheirWay},
			{"forwards that change", TestForwardsChangeWhilePacketsPass},
			{"forwards that follow", TestAForwardFollowsTheAddress},
		} {
			t.Run(fmt.Sprintf("%s, %d workers", row.name, n), func(t *testing.T) {
				withWorkers(t, n)
				row.test(t)
			})
		}
	}
}

// Each client's packets pass in order, both ways, and each bill is what passed.
func TestBillsOfSeveralWorkersAreExact(t *testing.T) {
	inTeams(t, func(t *testing.T, b *bench) {
		var sum [3]uint64
		for i, w := range map[int]flow{alice: aliceUp, bob: bobUp} {
			for n := range 100 {
				b.offer(clients.LAN, w.udp(n))
				sum[i] += uint64(28 + n)
			}
		}
		b.round()
		var answers [][]byte
		next := map[uint16]int{}
		for _, s := range b.out(clients.WAN) {
			if n := len(s.payload); n != next[s.srcPort] {
				t.Fatalf("from port %d: %d bytes after %d", s.srcPort, n, next[s.srcPort])
			}
			next[s.srcPort]++
			answers = append(answers, back(s).udp(len(s.payload)))
			sum[0] += uint64(28 + len(s.payload))
		}
		if len(next) != 2 {
			t.Fatalf("%d clients passed", len(next))
		}
		b.in(clients.WAN, answers...)
		got := map[string]int{}
		for _, s := range b.out(clients.LAN) {
			if n := len(s.payload); n != got[s.ip.DstIP.String()] {
				t.Fatalf("to %v: %d bytes after %d", s.ip.DstIP, n, got[s.ip.DstIP.String()])
			}
			got[s.ip.DstIP.String()]++
		}
		for _, slot := range []int{alice, bob} {
			if u := b.use(slot, 1); u.Up != sum[slot] || u.Down != sum[slot] || u.UpPackets != 100 || u.DownPackets != 100 {
				t.Errorf("slot %d: %+v, want %d each way", slot, u, sum[slot])
			}
		}
	})
}

// What no program of the kernel's can send to the right worker crosses over.
func TestWhatCrosses(t *testing.T) {
	inTeams(t, func(t *testing.T, b *bench) {
		for _, row := range []struct {
			slot int
			w    flow
		}{{alice, aliceUp}, {bob, bobUp}} {
			b.in(clients.LAN, row.w.udp(5))
			r := back(b.one(clients.WAN))

			pieces := fragmentsOf(r.udp(3000), 1480)
			b.in(clients.WAN, pieces...)
			if got := b.out(clients.LAN); len(got) != len(pieces) {
				t.Errorf("%d of %d fragments arrive; dropped %v", len(got), len(pieces), b.allDrops())
			}
			for _, f := range b.workers() {
				if len(f.ledTo) != 0 {
					t.Errorf("%d packets are still waited for", len(f.ledTo))
				}
			}

			quote := flow{src: wanIP, dst: serverIP, srcPort: r.dstPort, dstPort: r.srcPort, ttl: 1}.udp(5)[24:]
			b.in(clients.WAN, r.icmpError(11, 0, 0, quote))
			b.one(clients.LAN)

			toClient := flow{srcMAC: lanMAC, dstMAC: row.w.srcMAC, src: lanIP, dst: row.w.src, srcPort: 80, dstPort: 4000, ttl: 64}
			b.in(clients.Host, toClient.udp(50))
			b.one(clients.LAN)
			if got := b.table.Slot(row.slot).ExemptDn.Load(); got != 78 {
				t.Errorf("slot %d: %d exempt bytes down, want 78", row.slot, got)
			}
			b.in(clients.Host, arp{from: lanMAC, to: broadcast, op: 1, mac: lanMAC, ip: lanIP, target: row.w.src}.raw())
			if raws := b.take(clients.Host); len(raws) != 1 || packet.MAC(raws[0][10+22:]) != row.w.srcMAC {
				t.Errorf("the box is told %d times who has the client's address", len(raws))
			}

			b.in(clients.LAN, arp{from: row.w.srcMAC, to: broadcast, op: 1, mac: row.w.srcMAC, ip: row.w.src, target: lanIP}.raw())
			if raws := b.take(clients.LAN); len(raws) != 1 {
				t.Errorf("%d answers to an ARP request", len(raws))
			}
			if b.table.Slot(row.slot).Heard.Load() == 0 {
				t.Error("its ARP was not heard")
			}
		}
		if n := b.drops(HandoverFull) + b.drops(StrayFragment); n != 0 {
			t.Errorf("dropped %v", b.allDrops())
		}
	})
}

// A client that is given another MAC keeps its slot and its bill, whatever worker
// the new MAC is.
func TestAnotherMACKeepsItsWorker(t *testing.T) {
	inTeams(t, func(t *testing.T, b *bench) {
		spread := b.table.Spread()
		mac := uint64(0x020000000500)
		for spread.Of(mac) == b.table.Owner(alice) {
			mac++
		}
		b.in(clients.LAN, aliceUp.udp(5))
		b.one(clients.WAN)
		b.table.Slot(alice).MAC.Store(mac)
		b.changed(alice)
		w := aliceUp
		w.srcMAC = mac
		b.in(clients.LAN, w.udp(5))
		r := back(b.one(clients.WAN))
		b.in(clients.WAN, r.udp(5))
		if s := b.one(clients.LAN); s.dstMAC != mac {
			t.Errorf("the answer went to %012x", s.dstMAC)
		}
		if u := b.use(alice, 1); u.Up != 66 || u.Down != 33 {
			t.Errorf("%+v", u)
		}
		b.table.Slot(alice).State.Store(clients.SlotFree)
		b.changed(alice)
		for _, f := range b.workers() {
			if f.others.strays != 0 {
				t.Errorf("%d strays at worker %d", f.others.strays, f.worker)
			}
		}
	})
}

// Each worker asks for the next hop and hears the answer, and its silence.
func TestEveryWorkerHearsTheNextHop(t *testing.T) {
	withWorkers(t, 3)
	b := newColdBench(t)
	b.round()
	if n := len(b.take(clients.WAN)); n != 3 {
		t.Errorf("the router is asked %d times", n)
	}
	b.resolve()
	for _, f := range b.workers() {
		if f.hop.mac != routerMAC {
			t.Errorf("worker %d knows no router", f.worker)
		}
	}
	b.in(clients.WAN, arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: routerIP, target: wanIP}.raw())
	if n := len(b.take(clients.WAN)); n != 1 {
		t.Errorf("%d answers to the router's question", n)
	}
	b.mute = true
	b.pass(10 * time.Second)
	if b.table.Header().Resolved() {
		t.Error("a silent router counts as there")
	}
}

// What waits for a next hop leaves once when that answers, at each worker.
func TestWhatWaitsAtSeveralWorkersLeavesOnce(t *testing.T) {
	withWorkers(t, 2)
	b := newColdBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.grant(alice, free())
	b.grant(bob, free())
	b.in(clients.LAN, aliceUp.udp(5), bobUp.udp(6))
	b.take(clients.WAN)
	b.in(clients.WAN, arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: routerIP, targetMAC: wanMAC, target: wanIP}.raw())
	if got := b.out(clients.WAN); len(got) != 2 {
		t.Errorf("%d packets leave, want 2: %v", len(got), got)
	}
	for _, slot := range []int{alice, bob} {
		if u := b.use(slot, 1); u.UpPackets != 1 {
			t.Errorf("slot %d: %+v", slot, u)
		}
	}
}

// One worker says where the gateway is.
func TestOneWorkerAnnounces(t *testing.T) {
	withWorkers(t, 3)
	b := newColdBench(t)
	b.announces = true
	b.start()
	b.pass(10 * time.Second)
	said := 0
	for _, raw := range b.take(clients.LAN) {
		if isARP(raw) {
			said++
		}
	}
	if said != announceTimes {
		t.Errorf("said %d times, want %d", said, announceTimes)
	}
}

// What was on its way between two workers of a forwarder that ended is lost, and
// counted, wherever it was.
func TestWhatWasOnItsWayIsCounted(t *testing.T) {
	withWorkers(t, 2)
	b := newBench(t)
	b.team.astray()
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	w := aliceUp
	w.dst = routerIP + 5 // waits for a next hop that does not answer
	b.in(clients.LAN, w.udp(5), w.udp(6))
	b.offer(clients.LAN, aliceUp.udp(7), aliceUp.udp(8))
	sender := b.workers()[(b.table.Owner(alice)+1)%2]
	sender.ready[clients.LAN] = true
	sender.Round() // and nobody takes it over
	if q := b.table.Header().Counters().Totals.QueuedPackets; q != 4 {
		t.Fatalf("%d packets wait, want 4", q)
	}
	b.start()
	b.conserve()
	b.round()
	b.dropped(ForwarderEnded, 4)
	if q := b.table.Header().Counters().Totals.QueuedPackets; q != 0 {
		t.Errorf("%d packets still wait", q)
	}
	b.resolve()
	b.in(clients.LAN, aliceUp.udp(9))
	b.one(clients.WAN)
}

func TestCrossingAllocatesNothing(t *testing.T) {
	withWorkers(t, 2)
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	b.in(clients.LAN, aliceUp.udp(0))
	b.out(clients.WAN)
	wrong := b.workers()[1-b.table.Owner(alice)]
	right := b.workers()[b.table.Owner(alice)]
	wrong.links = Links{newMill(batchOf(aliceUp.udp(18))...), newMill(), newMill()}
	taken := newMill()
	right.links = Links{newMill(), taken, newMill()}
	round := func() {
		wrong.ready, right.ready = [clients.NumPorts]bool{true, true, true}, [clients.NumPorts]bool{true, true, true}
		b.now += 10 * time.Microsecond
		wrong.Round()
		right.Round()
	}
	round()
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations in a batch", n)
	}
	if taken.sent < 64*50 {
		t.Errorf("%d frames crossed and were sent: %v", taken.sent, b.allDrops())
	}
	b.conserve()
}
