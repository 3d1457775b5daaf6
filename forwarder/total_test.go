package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// What all may have together is divided by weights, to the clients of one worker and
// of several, and what one leaves the others get.
func TestATotalIsDivided(t *testing.T) {
	const total = 2_500_000 // bytes a second
	weight := func(n int) clients.Terms { w := free(); w.Weight = n; return w }
	slow := free()
	slow.Up = 250_000
	for _, row := range []struct {
		name       string
		alice, bob clients.Terms
		want       float64 // of what both get, alice's
	}{
		{"equal weights", weight(1), weight(1), 0.5},
		{"one has three times the other's", weight(3), weight(1), 0.75},
		{"one has a plan of less than its share", slow, weight(1), 0.1},
	} {
		for workers := 1; workers <= 2; workers++ {
			t.Run(row.name, func(t *testing.T) {
				withWorkers(t, workers)
				b := online(t, row.alice)
				b.bind(bob, bobMAC, bobIP)
				b.grant(bob, row.bob)
				b.table.Header().TotalUp.Store(total)
				used := func() (a, o uint64) { return b.use(alice, 1).Up, b.use(bob, 1).Up }
				var a, o uint64
				for ms := range 600 {
					if ms == 100 { // what passed until it was known
						a, o = used()
					}
					b.now += time.Millisecond
					b.in(clients.LAN, aliceUp.udpSuper(20000, 1000), bobUp.udpSuper(20000, 1000))
					b.out(clients.WAN)
				}
				x, y := used()
				x, y = x-a, y-o
				if all := float64(x + y); all < 0.97*total/2 || all > 1.03*total/2 {
					t.Errorf("%d and %d bytes in half a second, want %d together", x, y, total/2)
				}
				if got := float64(x) / float64(x+y); got < row.want-0.03 || got > row.want+0.03 {
					t.Errorf("%d and %d bytes: %.3f, want %.3f", x, y, got, row.want)
				}
			})
		}
	}
}

// The box's own traffic waits for nobody, and what it takes the clients go without.
func TestTheBoxGoesFirst(t *testing.T) {
	const total = 2_500_000
	b := online(t, free())
	b.table.Header().TotalUp.Store(total)
	own := 0
	for range 500 {
		b.now += time.Millisecond
		b.offer(clients.LAN, aliceUp.udpSuper(20000, 1000))
		b.in(clients.Host, boxUp.udp(972))
		for _, p := range b.out(clients.WAN) {
			if len(p.payload) == 972 {
				own++
			}
		}
	}
	if own != 500 {
		t.Errorf("%d of 500 datagrams of the box passed", own)
	}
	if got, want := float64(b.use(alice, 1).Up), float64(total/2-500*1000); got < 0.95*want || got > 1.1*want {
		t.Errorf("%.0f bytes of a client passed beside them, want %.0f", got, want)
	}
}
