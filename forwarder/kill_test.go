package forwarder

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// deadly is a link at which the forwarder is killed: after the kernel took so
// many more frames nothing of it runs any more.
type deadly struct {
	link.Link
	left *int // frames; negative: it lives
}

type killed struct{}

func (l *deadly) Send(frames [][]byte, taken []bool) error {
	for i := range frames {
		if *l.left == 0 {
			panic(killed{})
		}
		*l.left--
		if err := l.Link.Send(frames[i:i+1], taken[i:i+1]); err != nil {
			return err
		}
	}
	if *l.left == 0 {
		panic(killed{})
	}
	return nil
}

// TestAKilledForwarder draws traffic and kills, and compares each bill with what
// the links carried.
func TestAKilledForwarder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newBench(t)
		defer b.close()
		left := -1
		b.between(func(_ int, l link.Link) link.Link { return &deadly{l, &left} })
		if b.team != nil && rapid.Bool().Draw(r, "astray") {
			b.team.astray()
		}
		b.start()
		b.resolve()
		kills := 0
		// live runs the forwarder, and starts another one where it is killed.
		live := func() {
			for {
				dead := func() (dead bool) {
					defer func() {
						if e := recover(); e != nil {
							if _, dead = e.(killed); !dead {
								panic(e)
							}
						}
					}()
					for _, f := range b.workers() {
						f.ready = [clients.NumPorts]bool{true, true, true}
					}
					b.turn()
					return false
				}()
				if !dead {
					return
				}
				left = -1
				kills++
				b.start()
				b.turn()
				_ = b.ends[clients.WAN].Send([][]byte{arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: routerIP, targetMAC: wanMAC, target: wanIP}.raw()}, make([]bool, 1))
			}
		}
		limit := rapid.SampledFrom([]uint64{clients.NoLimit, 3_000_000, 200_000, 20_000}).Draw(r, "limit")
		b.bind(alice, aliceMAC, aliceIP)
		s := b.table.Slot(alice)
		for range 4 {
			if _, err := s.Publish(bytesOf(limit)); err != nil {
				t.Fatal(err)
			}
		}
		b.table.Changed(alice)
		live()
		b.in(clients.LAN, aliceUp.udp(0)) // one conversation for all time
		first := b.one(clients.WAN)
		carried := uint64(len(first.packet))
		port := first.srcPort

		frame := func(w flow) []byte {
			n := rapid.IntRange(0, 60000).Draw(r, "payload")
			switch {
			case n <= 1400:
				return w.udp(n)
			default:
				return w.udpSuper(n, rapid.SampledFrom([]int{1400, 536, 100}).Draw(r, "segment"))
			}
		}
		charged := func() (sum uint64) {
			for seq := uint64(1); seq <= 4; seq++ {
				u := s.Record(seq).Use(seq)
				if got := total(u); got > limit {
					r.Fatalf("grant %d: %d bytes of %d", seq, got, limit)
				}
				sum += total(u)
			}
			return sum
		}
		lost := uint64(0)
		for range rapid.IntRange(1, 12).Draw(r, "rounds") {
			if rapid.Bool().Draw(r, "kill") {
				left = rapid.IntRange(0, 40).Draw(r, "frames before it")
			}
			for range rapid.IntRange(0, 20).Draw(r, "up") {
				b.offer(clients.LAN, frame(aliceUp))
			}
			for range rapid.IntRange(0, 20).Draw(r, "down") {
				b.offer(clients.WAN, frame(back(first)))
			}
			b.now += time.Millisecond
			before := kills
			live()
			for _, p := range append(b.out(clients.LAN), b.out(clients.WAN)...) {
				if p.ip == nil {
					continue
				}
				if p.srcPort == 5000 || p.srcPort != port && be32(p.ip.SrcIP.To4()) == wanIP {
					r.Fatalf("the conversation changed its port: %v", p)
				}
				if p.icmp == nil {
					carried += uint64(len(p.packet))
				}
			}
			sum := charged()
			if sum+lost > carried {
				r.Fatalf("%d bytes charged and %d forgotten before, the links carried %d", sum, lost, carried)
			}
			if now := carried - sum - lost; now > uint64(kills-before)*maxUncounted {
				r.Fatalf("%d bytes forgotten in %d kills", now, kills-before)
			}
			lost = carried - sum
		}
		left = -1
		active := s.Active.Load()
		if u := s.Record(active).Use(active); u.Ended == 0 { // it still runs: so does the conversation
			for _, f := range b.workers() {
				f.now = b.now
			}
			b.offer(clients.WAN, back(first).udp(0))
			live()
			if got := b.out(clients.LAN); len(got) != 1 && s.Record(active).Use(active).Ended == 0 {
				r.Fatalf("the conversation ended: %v", got)
			}
		}
	})
}

func TestANewForwarderGoesOn(t *testing.T) {
	b := online(t, bytesOf(1000), timeOf(time.Minute))
	b.in(clients.LAN, aliceUp.udp(100))
	p := b.one(clients.WAN)
	seen := b.table.Slot(alice).LastSeen.Load()
	drops := b.drops(NoGrant)
	for range 3 {
		b.start()
		if b.table.Slot(alice).LastSeen.Load() != seen || b.drops(NoGrant) != drops {
			t.Error("counters were lost")
		}
		b.resolve()
		b.in(clients.LAN, aliceUp.udp(100))
		if q := b.one(clients.WAN); q.srcPort != p.srcPort {
			t.Errorf("port %d became %d", p.srcPort, q.srcPort)
		}
		b.in(clients.WAN, back(p).udp(100))
		b.one(clients.LAN)
	}
	b.running(alice, 1, 7*128)
	if u := b.use(alice, 1); u.Started != start {
		t.Errorf("started at %v", u.Started)
	}
	b.in(clients.LAN, aliceUp.udp(100))
	b.ended(alice, 1, clients.EndData, 1000)
	b.running(alice, 2, 24)
	b.witnessed()
}

func TestAKillWhileARecordIsTakenIn(t *testing.T) {
	// Killed after Ended was cleared for grant 5, before it was taken: what
	// grant 1 left in the record must not run on.
	b := online(t, free())
	b.record(alice, 1).Revoke(b.now)
	b.changed(alice)
	s := b.table.Slot(alice)
	s.Saved.Store(1)
	g := s.Record(5)
	g.Sequence.Store(5)
	g.Revoked.Store(0)
	g.Started.Store(0)
	s.Published.Store(1)
	b.start()
	b.resolve()
	b.in(clients.LAN, aliceUp.udp(100))
	b.silent(clients.WAN)
	g.Started.Store(int64(start)) // the other order
	g.Ended.Store(0)
	b.start()
	b.resolve()
	b.in(clients.LAN, aliceUp.udp(100))
	b.silent(clients.WAN)
}
