package forwarder

import (
	"runtime"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

const start = 1000 * time.Second // when the bench starts

func TestATimeGrantEndsAtItsDeadline(t *testing.T) {
	b := online(t, timeOf(10*time.Second))
	b.now = start + 10*time.Second - 1
	b.in(clients.LAN, aliceUp.udp(100))
	b.one(clients.WAN)
	b.now = start + 10*time.Second
	b.in(clients.LAN, aliceUp.udp(100))
	b.silent(clients.WAN)
	b.ended(alice, 1, clients.EndTime, 128)
	if u := b.use(alice, 1); u.Ended-u.Started != 10*time.Second {
		t.Errorf("lasted %v", u.Ended-u.Started)
	}
	b.dropped(NoGrant, 1)
}

func TestTheNextGrantStartsAtTheDeadline(t *testing.T) {
	b := online(t, timeOf(10*time.Second), timeOf(300*time.Millisecond), timeOf(time.Hour))
	b.now = start + 10*time.Second + 350*time.Millisecond
	b.in(clients.LAN, aliceUp.udp(100))
	b.one(clients.WAN)
	for seq, want := range []clients.Use{
		{Started: start, Ended: start + 10*time.Second, Reason: clients.EndTime},
		{Started: start + 10*time.Second, Ended: start + 10300*time.Millisecond, Reason: clients.EndTime},
		{Started: start + 10300*time.Millisecond, Up: 128, UpPackets: 1},
	} {
		if u := b.use(alice, uint64(seq+1)); u != want {
			t.Errorf("grant %d: %+v, want %+v", seq+1, u, want)
		}
	}
}

func TestNobodyPaysForTheTimeNobodyForwarded(t *testing.T) {
	b := online(t, timeOf(10*time.Second), timeOf(time.Hour))
	b.now = start + 5*time.Minute
	b.round()
	if u := b.use(alice, 1); u.Ended != start+10*time.Second {
		t.Errorf("the first %+v", u)
	}
	if u := b.use(alice, 2); u.Started != b.now {
		t.Errorf("the next %+v", u)
	}
}

func TestExpiry(t *testing.T) {
	terms := timeOf(time.Hour)
	terms.Expiry = start + 10*time.Second
	late := free()
	late.Expiry = start + 5*time.Second
	b := online(t, terms, late, free())
	b.now = start + 10*time.Second - 1
	b.in(clients.LAN, aliceUp.udp(100))
	b.running(alice, 1, 128)
	b.now++
	b.in(clients.LAN, aliceUp.udp(100))
	b.ended(alice, 1, clients.EndExpiry, 128)
	b.ended(alice, 2, clients.EndExpiry, 0) // never started
	if b.use(alice, 2).Started != 0 {
		t.Error("an expired grant started")
	}
	b.running(alice, 3, 128)
}

func TestRevoked(t *testing.T) {
	t.Run("while it runs", func(t *testing.T) {
		b := online(t, timeOf(time.Hour))
		b.in(clients.LAN, aliceUp.udp(100))
		r := back(b.one(clients.WAN))
		b.now += 7 * time.Second
		b.record(alice, 1).Revoke(b.now - time.Second)
		b.changed(alice)
		b.in(clients.LAN, aliceUp.udp(100))
		b.in(clients.WAN, r.udp(100))
		b.silent(clients.LAN, clients.WAN)
		b.ended(alice, 1, clients.EndRevoked, 128)
		if u := b.use(alice, 1); u.Ended != start+6*time.Second {
			t.Errorf("ended at %v", u.Ended)
		}
	})
	t.Run("before it starts", func(t *testing.T) {
		b := online(t, timeOf(time.Second), free(), free())
		b.record(alice, 2).Revoke(b.now)
		b.changed(alice)
		b.running(alice, 1, 0)
		b.now += time.Second
		b.in(clients.LAN, aliceUp.udp(100))
		b.ended(alice, 1, clients.EndTime, 0)
		b.ended(alice, 2, clients.EndRevoked, 0)
		b.running(alice, 3, 128)
	})
	t.Run("after it had ended by itself", func(t *testing.T) {
		b := online(t, timeOf(time.Second))
		b.now = start + 3*time.Second
		b.record(alice, 1).Revoke(start + 2*time.Second)
		b.changed(alice)
		b.ended(alice, 1, clients.EndTime, 0)
		if u := b.use(alice, 1); u.Ended != start+time.Second {
			t.Errorf("ended at %v", u.Ended)
		}
	})
	t.Run("as of a moment before it started", func(t *testing.T) {
		b := online(t, free())
		b.record(alice, 1).Revoke(start - time.Hour)
		b.now += time.Second
		b.changed(alice)
		if u := b.use(alice, 1); u.Ended != start || u.Reason != clients.EndRevoked {
			t.Errorf("%+v", u)
		}
	})
}

func TestATopUpWhileItRuns(t *testing.T) {
	b := online(t, bytesOf(200))
	b.in(clients.LAN, aliceUp.udp(100))
	b.record(alice, 1).Amend(bytesOf(400))
	b.changed(alice)
	b.in(clients.LAN, aliceUp.udp(100), aliceUp.udp(100), aliceUp.udp(100))
	b.ended(alice, 1, clients.EndData, 3*128)
	b.grant(alice, timeOf(time.Second))
	b.record(alice, 2).Amend(timeOf(time.Minute))
	b.changed(alice)
	b.now += 59 * time.Second
	b.in(clients.LAN, aliceUp.udp(100))
	b.running(alice, 2, 128)
	b.record(alice, 2).Amend(timeOf(30 * time.Second)) // less than it has used
	b.changed(alice)
	b.ended(alice, 2, clients.EndTime, 128)
}

func TestAGrantThatIsAllUsedUpNeverStarts(t *testing.T) {
	b := online(t, timeOf(0), bytesOf(0))
	b.in(clients.LAN, aliceUp.udp(100))
	b.silent(clients.WAN)
	b.ended(alice, 1, clients.EndTime, 0)
	b.ended(alice, 2, clients.EndData, 0)
}

func TestRecordsAreReused(t *testing.T) {
	b := online(t)
	s := b.table.Slot(alice)
	for seq := uint64(1); seq <= 20; seq++ {
		if _, err := s.Publish(bytesOf(1000 + seq)); err != nil {
			t.Fatalf("grant %d: %v", seq, err)
		}
		b.changed(alice)
		b.in(clients.LAN, aliceUp.udp(int(seq)))
		b.running(alice, seq, 28+seq)
		if u := b.use(alice, seq); u.UpPackets != 1 {
			t.Fatalf("grant %d: %+v", seq, u)
		}
		b.record(alice, seq).Revoke(b.now)
		b.changed(alice)
		b.ended(alice, seq, clients.EndRevoked, 28+seq)
		if seq%3 == 0 {
			s.Saved.Store(seq)
		}
	}
	s.Saved.Store(16)
	for range 4 {
		if _, err := s.Publish(free()); err != nil && s.Published.Load() < 20 {
			t.Fatal(err)
		}
	}
	if _, err := s.Publish(free()); err == nil {
		t.Error("a record in use was given away")
	}
}

func TestManyGrantsAreUsedInSequence(t *testing.T) {
	b := online(t)
	s := b.table.Slot(alice)
	sum := uint64(0)
	for seq := uint64(1); seq <= 40; {
		for {
			if _, err := s.Publish(bytesOf(1000)); err != nil {
				break
			}
		}
		b.changed(alice)
		b.in(clients.LAN, aliceUp.tcpSuper(1000, 200))
		b.delivered(clients.WAN)
		for ; b.use(alice, seq).Ended != 0; seq++ {
			b.ended(alice, seq, clients.EndData, 1000)
			sum += 1000
			s.Saved.Store(seq)
		}
	}
	b.witnessed()
	if d := b.allDrops(); len(d) != 0 {
		t.Errorf("dropped %v", d)
	}
	left := b.use(alice, s.Active.Load())
	if billed := b.table.Header().Counters().Totals.BilledBytes; left.Ended == 0 && billed != sum+total(left) {
		t.Errorf("%d billed, grants say %d", billed, sum+total(left))
	}
}

func TestASlotsNextClientInheritsNothing(t *testing.T) {
	for _, killed := range []bool{false, true} {
		b := online(t, free(), free())
		b.in(clients.LAN, aliceUp.udp(100))
		reply := back(b.one(clients.WAN))
		s := b.table.Slot(alice)
		b.record(alice, 2).Revoke(b.now)
		s.Generation.Add(1)
		s.MAC.Store(bobMAC)
		s.IP.Store(bobIP)
		gen := b.table.Changed(alice)
		if killed {
			b.start()
			b.resolve()
		}
		b.round()
		if b.table.Acked(alice) != gen {
			t.Fatal("not acknowledged")
		}
		b.ended(alice, 1, clients.EndRevoked, 128)
		b.in(clients.LAN, bobUp.udp(100), aliceUp.udp(100))
		b.in(clients.WAN, reply.udp(100))
		b.silent(clients.LAN, clients.WAN)
		b.dropped(NoGrant, 1)
		b.dropped(UnknownClient, 1)
		b.dropped(NoMapping, 1)
	}
}

func TestANewAddressTakesTheOldTranslationsAway(t *testing.T) {
	b := online(t, free())
	b.in(clients.LAN, aliceUp.udp(100))
	reply := back(b.one(clients.WAN))
	s := b.table.Slot(alice)
	s.IP.Store(bobIP)
	b.changed(alice)
	if n, _ := b.table.Header().Translations(); n != 0 {
		t.Errorf("%d mappings lead to the old address", n)
	}
	b.in(clients.WAN, reply.udp(100))
	b.silent(clients.LAN)
	moved := aliceUp
	moved.src = bobIP
	b.in(clients.LAN, moved.udp(100))
	b.one(clients.WAN)
	b.running(alice, 1, 256)
	b.in(clients.LAN, aliceUp.udp(100))
	b.dropped(Spoofed, 1)
}

func TestAClientMovesBetweenSlots(t *testing.T) {
	for _, order := range [][2]int{{alice, bob}, {bob, alice}} {
		b := newBench(t)
		from, to := order[0], order[1]
		b.bind(from, aliceMAC, aliceIP)
		b.table.Slot(from).State.Store(clients.SlotFree)
		b.table.Changed(from)
		b.bind(to, aliceMAC, aliceIP)
		b.grant(to, free())
		b.in(clients.LAN, aliceUp.udp(1))
		b.running(to, 1, 29)
		b.in(clients.Host, arp{from: lanMAC, to: broadcast, op: 1, mac: lanMAC, ip: lanIP, target: aliceIP}.raw())
		b.one(clients.Host)
	}
}

// TestControlPublishesWhileTheForwarderReads has control publish grants without
// waiting; each of them must be taken in, and end.
func TestControlPublishesWhileTheForwarderReads(t *testing.T) {
	b := online(t)
	s := b.table.Slot(alice)
	const grants = 20000
	done := make(chan string)
	go func() {
		for seq := uint64(1); seq <= grants; runtime.Gosched() {
			if got, err := s.Publish(bytesOf(0)); err == nil {
				b.table.Changed(alice)
				seq = got + 1
			}
			for saved := s.Saved.Load() + 1; saved <= s.Published.Load() && s.Record(saved).Use(saved).Ended != 0; saved++ {
				s.Saved.Store(saved)
			}
		}
		for s.Record(grants).Use(grants).Ended == 0 {
			runtime.Gosched()
		}
		done <- ""
	}()
	const patience = time.Minute // without a grant more
	for moved, last := time.Now(), uint64(0); ; {
		select {
		case <-done:
			return
		default:
			b.f.Round()
			runtime.Gosched()
		}
		if p := s.Published.Load(); p != last {
			moved, last = time.Now(), p
		} else if time.Since(moved) > patience {
			t.Fatalf("stuck: %d published, %d saved, %d active", p, s.Saved.Load(), s.Active.Load())
		}
	}
}

// What ended a grant is told from a top-up that came after.
func TestTheLimitThatEndedAGrant(t *testing.T) {
	b := online(t, bytesOf(100))
	b.record(alice, 1).ByteLimit.Store(60) // published, and not yet announced
	b.in(clients.LAN, aliceUp.udp(50), aliceUp.udp(50))
	b.record(alice, 1).ByteLimit.Store(5000)
	b.changed(alice)
	if u := b.use(alice, 1); u.Reason != clients.EndData || u.EndLimit != 100 || u.Up != 78 {
		t.Errorf("grant 1: %+v, want it ended at the limit of 100", u)
	}
}
