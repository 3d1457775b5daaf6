package forwarder

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"gatewayd/forwarder/clients"
)

// What was published before the running grant is revoked takes over from it, whatever the
// forwarder reads when.
func TestAGrantThatIsPublishedFirstTakesOverWithoutALoss(t *testing.T) {
	takeovers := 20000
	if testing.Short() {
		takeovers = 2000
	}
	b := online(t, free())
	b.in(clients.LAN, aliceUp.udp(18))
	b.take(clients.WAN)
	slot := b.table.Slot(alice)
	var stop atomic.Bool
	var control sync.WaitGroup
	control.Go(func() { // other changes of the slot, which the forwarder takes in meanwhile
		for !stop.Load() {
			b.table.Changed(alice)
		}
	})
	control.Go(func() {
		defer stop.Store(true)
		for range takeovers {
			seq, err := slot.Publish(free())
			if err != nil {
				t.Error(err)
				return
			}
			slot.Record(seq - 1).Revoke(b.now)
			for b.table.Changed(alice); slot.Active.Load() != seq; {
				runtime.Gosched()
			}
			slot.Saved.Store(seq - 1)
		}
	})
	for !stop.Load() {
		b.offer(clients.LAN, aliceUp.udp(18))
		b.f.ready[clients.LAN] = true
		b.f.Round()
		b.take(clients.WAN)
	}
	control.Wait()
	b.round()
	b.take(clients.WAN)
	if n := b.drops(NoGrant); n != 0 {
		t.Errorf("%d packets had no grant", n)
	}
}
