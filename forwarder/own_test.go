package forwarder

import (
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// The box hears who it has asked, and nobody else.
func TestTheBoxHearsWhomItAsked(t *testing.T) {
	out := flow{srcMAC: lanMAC, dstMAC: routerMAC, src: lanIP, dst: serverIP, srcPort: 6000, dstPort: 53, ttl: 64, id: 100}
	in := flow{srcMAC: routerMAC, dstMAC: lanMAC, src: serverIP, dst: lanIP, srcPort: 53, dstPort: 6000, ttl: 64, id: 100}
	udp := func(w flow) []byte { return w.udp(100) }
	tcp := func(w flow) []byte { return w.tcp(100) }
	ask := func(w flow) []byte { return w.echo(true, 100) }
	with := func(w flow, change func(*flow)) flow { change(&w); return w }
	same := func(*flow) {}
	rows := []struct {
		name  string
		said  []byte // by the box
		after time.Duration
		raw   []byte
		hears bool
	}{
		{"an answer", udp(out), 0, udp(with(in, same)), true},
		{"nobody was asked", nil, 0, udp(in), false},
		{"another port of who was asked", udp(out), 0, udp(with(in, func(w *flow) { w.srcPort++ })), false},
		{"another port of the box", udp(out), 0, udp(with(in, func(w *flow) { w.dstPort++ })), false},
		{"another one", udp(out), 0, udp(with(in, func(w *flow) { w.src++ })), false},
		{"another protocol", udp(out), 0, tcp(in), false},
		{"another address", udp(out), 0, udp(with(in, func(w *flow) { w.dst = serverIP + 1 })), false},
		{"UDP within two minutes", udp(out), 2*time.Minute - time.Second, udp(in), true},
		{"UDP after two minutes", udp(out), 2*time.Minute + time.Second, udp(in), false},
		{"TCP within five minutes", tcp(out), 5*time.Minute - time.Second, tcp(in), true},
		{"TCP after five minutes", tcp(out), 5*time.Minute + time.Second, tcp(in), false},
		{"an echo", ask(out), 0, with(in, func(w *flow) { w.srcPort = 6000 }).echo(false, 100), true},
		{"another echo", ask(out), 0, with(in, func(w *flow) { w.srcPort = 6001 }).echo(false, 100), false},
		{"an echo after a minute", ask(out), time.Minute + time.Second, with(in, func(w *flow) { w.srcPort = 6000 }).echo(false, 100), false},
		{"somebody asks the box", ask(out), 0, with(in, func(w *flow) { w.srcPort = 6000 }).echo(true, 100), false},
		{"an error about it", udp(out), 0, with(in, func(w *flow) { w.src = routerIP }).icmpError(3, 1, 0, udp(out)[l3:]), true},
		{"an error about what was not said", udp(out), 0, with(in, func(w *flow) { w.src = routerIP }).icmpError(3, 1, 0, udp(with(out, func(w *flow) { w.srcPort++ }))[l3:]), false},
		{"a later fragment of who was asked", udp(out), 0, fragmentsOf(in.udp(2000), 1480)[1], true},
		{"a later fragment of another one", udp(out), 0, fragmentsOf(with(in, func(w *flow) { w.src++ }).udp(2000), 1480)[1], false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBridge(t)
			if row.said != nil {
				b.in(clients.Host, row.said)
				b.onlyFrame(clients.WAN)
			}
			b.now += row.after
			b.in(clients.WAN, row.raw)
			if got := b.frames(clients.Host); (len(got) == 1) != row.hears {
				t.Errorf("%d came; drops %v", len(got), b.allDrops())
			}
			b.carried()
		})
	}
}

// As many as there is room for are known, the newest among them.
func TestTheBoxAsksMany(t *testing.T) {
	o := new(ownFlows)
	known := 0
	for i := range uint32(20 * ownBuckets) {
		k := ownFlow{remote: i * 7, proto: 17, remotePort: uint16(i), boxPort: 5, until: time.Duration(i + 1)}
		o.note(k)
		o.note(k)
		if !o.has(k, 0) {
			t.Fatalf("%d is not known", i)
		}
	}
	for i := range uint32(20 * ownBuckets) {
		if o.has(ownFlow{remote: i * 7, proto: 17, remotePort: uint16(i), boxPort: 5}, 0) {
			known++
		}
	}
	if known < ownBuckets*ownWays*9/10 || known > ownBuckets*ownWays {
		t.Errorf("%d are known", known)
	}
}

// Without a default route by the WAN nothing of it comes to the box.
func TestTheBoxIsNotOnTheWAN(t *testing.T) {
	b := newBridge(t, func(c *Config) { c.HostRoute = false })
	in := flow{srcMAC: routerMAC, dstMAC: lanMAC, src: serverIP, dst: lanIP, srcPort: 53, dstPort: 6000, ttl: 64}
	b.in(clients.WAN, in.udp(10), arp{from: routerMAC, to: broadcast, op: 1, mac: routerMAC, ip: 0x0a0000fe, target: lanIP}.raw())
	b.dropped(LocalClosed, 1)
	if got := b.frames(clients.Host); len(got) != 0 {
		t.Errorf("%x", got)
	}
	if got := b.frames(clients.WAN); len(got) != 0 {
		t.Errorf("it answers: %x", got)
	}
}
