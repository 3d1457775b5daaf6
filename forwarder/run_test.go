package forwarder

import (
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// counted counts how often it is asked.
type counted struct {
	link.Link
	asked atomic.Int64
}

func (l *counted) Receive() ([][]byte, error) {
	l.asked.Add(1)
	return l.Link.Receive()
}

func TestRun(t *testing.T) {
	b := online(t, free())
	bell, err := clients.NewBell()
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	var now atomic.Int64
	now.Store(int64(b.now))
	lan := &counted{Link: b.links[clients.LAN]}
	b.links[clients.LAN] = lan
	clock := func() time.Duration { return time.Duration(now.Load()) }
	crew, err := newCrew(b.cfg, []Links{b.links}, b.table, bell, func() {}, clock)
	if err != nil {
		t.Fatal(err)
	}
	b.f = crew.workers[0]
	b.f.announcements = [clients.NumPorts]announcement{}
	done := make(chan error)
	go func() { done <- crew.Run() }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for range 60000 {
			if ok() {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("waited for %s", what)
	}
	b.offer(clients.WAN, arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: routerIP, targetMAC: wanMAC, target: wanIP}.raw())
	until("the router", func() bool {
		now.Add(int64(time.Second))
		bell.Ring()
		return b.table.Header().Resolved()
	})
	b.take(clients.WAN)
	for i := range 100 {
		b.offer(clients.LAN, aliceUp.udp(i))
	}
	got := 0
	until("packets", func() bool {
		for _, f := range b.take(clients.WAN) {
			if !isARP(f) { // the router may be asked again: time has passed
				got++
			}
		}
		return got == 100
	})

	b.record(alice, 1).Revoke(clock())
	gen := b.table.Changed(alice)
	bell.Ring()
	until("the acknowledgement", func() bool { return b.table.Acked(alice) == gen })

	// A port that is gone is asked again when time passes, not again and again.
	b.ends[clients.LAN].Close()
	until("the port to be gone", func() bool { n := lan.asked.Load(); return n > 100/link.Batch })
	before := int64(-1)
	for i := 0; i < 500 && lan.asked.Load() != before; i++ { // until that is known
		before = lan.asked.Load()
		bell.Ring()
		time.Sleep(20 * time.Millisecond)
	}
	for range 100 {
		bell.Ring()
		time.Sleep(time.Millisecond)
	}
	if n := lan.asked.Load() - before; n > 2 {
		t.Errorf("a port that is gone was asked %d times while no time passed", n)
	}
	crew.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
