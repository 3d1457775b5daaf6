package forwarder

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/forwarder/clients"
)

func TestDeadlinesAgainstAMap(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const slots = 20
		var d deadlines
		if err := d.init(nil, slots); err != nil {
			r.Fatal(err)
		}
		want := map[uint32]time.Duration{}
		for range rapid.IntRange(0, 200).Draw(r, "steps") {
			slot := rapid.Uint32Range(1, slots-1).Draw(r, "slot")
			at := time.Duration(rapid.IntRange(0, 30).Draw(r, "at"))
			if at == 0 {
				at = clients.NoTime
			}
			d.set(slot, at)
			if want[slot] = at; at == clients.NoTime {
				delete(want, slot)
			}
			next := time.Duration(clients.NoTime)
			for _, at := range want {
				next = min(next, at)
			}
			if d.next() != next || len(d.heap) != len(want) {
				r.Fatalf("next of %d is at %v, want %v of %d", len(d.heap), d.next(), next, len(want))
			}
			if next != clients.NoTime && want[d.heap[0].slot] != next {
				r.Fatalf("slot %d is next, whose deadline is %v", d.heap[0].slot, want[d.heap[0].slot])
			}
		}
	})
}

// Many that end at one moment end in a few rounds, each of which has a bound.
func TestManyDeadlinesAtOnce(t *testing.T) {
	const many = 3*deadlinesARound + 1
	plan := timeOf(10 * time.Second)
	b, up, _ := newCrowd(t, crowdSize{many, many}, plan, false)
	ended := func() (n int) {
		for i := 1; i <= many; i++ {
			if u := b.use(i, 1); u.Ended != 0 {
				n++
				if u.Reason != clients.EndTime || u.Ended-u.Started != 10*time.Second {
					t.Fatalf("slot %d: ended after %v for reason %d", i, u.Ended-u.Started, u.Reason)
				}
			}
		}
		return n
	}
	b.now += 9 * time.Second
	b.f.Round()
	if n := ended(); n != 0 {
		t.Fatalf("%d ended after 9 s", n)
	}
	b.now += 2 * time.Second
	b.f.Round()
	if n := ended(); n == 0 || n > deadlinesARound {
		t.Errorf("%d ended in a round, want at most %d", n, deadlinesARound)
	}
	for range 3 {
		if b.f.patience() != 0 {
			t.Error("it sleeps before all have ended")
		}
		b.f.Round()
	}
	if n := ended(); n != many {
		t.Errorf("%d of %d ended", n, many)
	}
	was := b.f.counters.Totals.BilledPackets
	up()
	if n := b.f.counters.Totals.BilledPackets - was; n != 0 {
		t.Errorf("%d packets passed afterwards", n)
	}
}

// Many changes at once are taken in over a few rounds, each of which has a
// bound, and a slot that is changed meanwhile is not forgotten.
func TestManyChangesAtOnce(t *testing.T) {
	const many = 3*takesARound + 1
	b, _, _ := newCrowd(t, crowdSize{many, many}, free(), false)
	acked := func() (n int) {
		for i := 1; i <= many; i++ {
			if b.table.Acked(i) == b.table.Policy(i) {
				n++
			}
		}
		return n
	}
	for i := 1; i <= many; i++ {
		b.table.Slot(i).Record(1).Revoke(b.now)
		b.table.Changed(i)
	}
	b.f.Round()
	if n := acked(); n == 0 || n > takesARound {
		t.Errorf("%d taken in in a round, want at most %d", n, takesARound)
	}
	b.table.Changed(1)
	for range 5 {
		if acked() != many && b.f.patience() != 0 {
			t.Error("it sleeps before all are taken in")
		}
		b.f.Round()
	}
	if n := acked(); n != many {
		t.Errorf("%d of %d taken in", n, many)
	}
	for i := 1; i <= many; i++ {
		if u := b.use(i, 1); u.Reason != clients.EndRevoked {
			t.Fatalf("slot %d ended for reason %d", i, u.Reason)
		}
	}
}
