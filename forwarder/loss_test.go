package forwarder

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// The names that others speak of the steps by are those of the one list.
func TestStepsAreTheList(t *testing.T) {
	b := newBench(t)
	for port, steps := range b.f.paths {
		var names []string
		for _, s := range steps {
			name := runtime.FuncForPC(reflect.ValueOf(s).Pointer()).Name()
			names = append(names, strings.TrimSuffix(name[strings.LastIndexByte(name, '.')+1:], "-fm"))
		}
		if !slices.Equal(names, Steps(port)) {
			t.Errorf("port %d: Steps says %v, the list is %v", port, Steps(port), names)
		}
	}
}

func TestLossesAreAClientsOwn(t *testing.T) {
	b := newBench(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.bind(bob, bobMAC, bobIP)
	b.in(clients.LAN, aliceUp.udp(10))
	b.pass(3 * time.Second)
	b.in(clients.LAN, aliceUp.udp(10))
	last := b.now
	b.pass(time.Second)
	says := func(when string, slot int, packets uint64, at time.Duration) {
		t.Helper()
		l := &b.table.Losses(slot)[NoGrant]
		if l.Packets.Load() != packets || time.Duration(l.Last.Load()) != at {
			t.Errorf("%s slot %d lost %d, last at %v; want %d at %v", when, slot, l.Packets.Load(), time.Duration(l.Last.Load()), packets, at)
		}
	}
	says("at first", alice, 2, last)
	says("at first", bob, 0, 0)

	b.start() // another forwarder
	b.round()
	says("after a restart", alice, 2, last)

	w := aliceUp
	w.src = bobIP
	b.in(clients.LAN, w.udp(10))
	if got := b.table.Slot(alice).Foreign.Load(); got != bobIP {
		t.Errorf("the address that is not hers is %#x, want %#x", got, bobIP)
	}
	b.table.Slot(alice).Generation.Add(1) // somebody else's slot
	b.changed(alice)
	says("of the next client", alice, 0, 0)
	if got := b.table.Slot(alice).Foreign.Load(); got != 0 {
		t.Errorf("the next client is said to have sent from %#x", got)
	}
}

func TestTheLastPacketDownIsNoted(t *testing.T) {
	b := online(t, free())
	b.in(clients.LAN, aliceUp.udp(10))
	s := b.one(clients.WAN)
	if at := b.table.Slot(alice).LastDown.Load(); at != 0 {
		t.Errorf("before an answer one came at %d", at)
	}
	b.pass(time.Second)
	b.in(clients.WAN, flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: s.dstPort, dstPort: s.srcPort, ttl: 64}.udp(10))
	b.one(clients.LAN)
	if at := time.Duration(b.table.Slot(alice).LastDown.Load()); at != b.now {
		t.Errorf("the answer came at %v, want %v", at, b.now)
	}
}

func TestWaitingForTheRateIsNoted(t *testing.T) {
	slow := free()
	slow.Up, slow.Down = 125_000, 125_000 // 1 Mbit/s, burst 3,036
	b := online(t, slow)
	s := b.table.Slot(alice)
	b.in(clients.LAN, aliceUp.tcpSuper(2000, 1000)) // 2,080 bytes
	if s.WaitedUp.Load() != 0 {
		t.Error("what conforms is said to have waited")
	}
	b.in(clients.LAN, aliceUp.tcpSuper(50000, 1000)) // 52,000, and 65,536 may wait
	b.dropped(OverRate, 0)
	if time.Duration(s.WaitedUp.Load()) != b.now || s.WaitedDown.Load() != 0 {
		t.Errorf("at %v what waits is said to have waited at %d up, %d down", b.now, s.WaitedUp.Load(), s.WaitedDown.Load())
	}
}
