package forwarder

import (
	"testing"

	"gatewayd/forwarder/clients"
)

// lengthless puts an option of length 0 in a packet's header, at octet 20.
func lengthless(raw []byte) []byte { return withOptions(raw, 7, 0, 4, 0) }

// cutShort leaves n octets behind the 24 of a header with lengthless.
func cutShort(raw []byte, n byte) []byte {
	return patched(raw, func(ip []byte) { ip[2], ip[3] = 0, 24+n })
}

// RFC 1812, 4.3.3.5, RFC 792: the pointer is to the octet that is wrong.
func TestBadOptionsAreAnswered(t *testing.T) {
	rows := []struct {
		name    string
		options []byte
		at      uint16
	}{
		{"a length of 0", []byte{7, 0, 4, 0}, 21},
		{"a length of 1 behind no operation", []byte{1, 7, 1, 0}, 22},
		{"a length over the header's end", []byte{148, 5, 0, 0}, 21},
		{"an option without a length", []byte{1, 1, 1, 7}, 23},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b, down := talking(t)
			for _, way := range []struct {
				port     int
				raw      []byte
				from, to uint32
			}{
				{clients.LAN, aliceUp.udp(1000), lanIP, aliceIP},
				{clients.LAN, aliceUp.syn(false, 1460), lanIP, aliceIP},
				{clients.LAN, aliceUp.echo(true, 10), lanIP, aliceIP},
				{clients.LAN, fragmentsOf(aliceUp.udp(2000), 1480)[0], lanIP, aliceIP},
				{clients.LAN, toBox.tcp(10), lanIP, aliceIP},
				{clients.WAN, down.udp(1000), wanIP, serverIP},
			} {
				before := b.drops(Malformed)
				raw := withOptions(way.raw, row.options...)
				b.in(way.port, append([]byte(nil), raw...))
				e := b.one(way.port)
				e.quotes(t, 12, 0, way.from, way.to, raw)
				if e.icmp.Id != row.at<<8 || e.icmp.Seq != 0 {
					t.Errorf("points at %d, and %d %d behind it", e.icmp.Id>>8, e.icmp.Id&0xff, e.icmp.Seq)
				}
				b.dropped(Malformed, before+1)
			}
			if n := b.lost(alice, Malformed); n != 5 {
				t.Errorf("%d of alice's are counted", n)
			}
			b.silent(clients.LAN, clients.WAN, clients.Host)
			b.witnessed()
		})
	}
}

// RFC 1812, 4.3.2.7, and nobody learns of us who could not before.
func TestBadOptionsThatNobodyIsTold(t *testing.T) {
	up := func(change func(*flow)) func(*bench, flow) (int, []byte) {
		return func(*bench, flow) (int, []byte) {
			w := aliceUp
			change(&w)
			return clients.LAN, lengthless(w.udp(10))
		}
	}
	down := func(change func(*flow)) func(*bench, flow) (int, []byte) {
		return func(_ *bench, w flow) (int, []byte) {
			change(&w)
			return clients.WAN, lengthless(w.udp(10))
		}
	}
	rows := []struct {
		name string
		sent func(b *bench, down flow) (port int, raw []byte)
	}{
		{"an ICMP error", func(*bench, flow) (int, []byte) {
			return clients.LAN, lengthless(aliceUp.icmpError(3, 3, 0, aliceUp.udp(10)[l3:]))
		}},
		{"ICMP that is too short to tell", func(*bench, flow) (int, []byte) {
			return clients.LAN, cutShort(lengthless(aliceUp.echo(true, 10)), 7)
		}},
		{"a later fragment", func(*bench, flow) (int, []byte) {
			return clients.LAN, lengthless(fragmentsOf(aliceUp.udp(3000), 1480)[1])
		}},
		{"to everybody on the cable", up(func(w *flow) { w.dstMAC = broadcast })},
		{"to another station", up(func(w *flow) { w.dstMAC = wanMAC })},
		{"to a group", up(func(w *flow) { w.dst = 0xe0000001 })},
		{"to everybody", up(func(w *flow) { w.dst = 0xffffffff })},
		{"to everybody on the WAN", up(func(w *flow) { w.dst = wanIP | 0xff })},
		{"to another client", up(func(w *flow) { w.dst = bobIP })},
		{"to loopback", up(func(w *flow) { w.dst = 0x7f000001 })},
		{"from nobody", up(func(w *flow) { w.src = 0 })},
		{"from elsewhere", up(func(w *flow) { w.src = serverIP })},
		{"from a stranger", up(func(w *flow) { w.srcMAC, w.src = bobMAC, bobIP })},
		{"without a grant", func(b *bench, _ flow) (int, []byte) {
			b.record(alice, 1).Revoke(b.now)
			b.changed(alice)
			return clients.LAN, lengthless(aliceUp.udp(10))
		}},
		{"on the WAN, to somebody without a grant", func(b *bench, w flow) (int, []byte) {
			b.record(alice, 1).Revoke(b.now)
			b.changed(alice)
			return clients.WAN, lengthless(w.udp(10))
		}},
		{"on the WAN, from who was not asked", down(func(w *flow) { w.src++ })},
		{"on the WAN, to a port nobody has", down(func(w *flow) { w.dstPort ^= 1 })},
		{"on the WAN, to another address", down(func(w *flow) { w.dst++ })},
		{"on the WAN, to another station", down(func(w *flow) { w.dstMAC = lanMAC })},
		{"on the WAN, from the LAN's prefix", down(func(w *flow) { w.src = bobIP })},
		{"on the WAN, a first fragment", func(_ *bench, w flow) (int, []byte) {
			return clients.WAN, lengthless(fragmentsOf(w.udp(3000), 1480)[0])
		}},
		{"on the WAN, without a layer 4", func(_ *bench, w flow) (int, []byte) {
			return clients.WAN, cutShort(lengthless(w.udp(10)), 7)
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b, down := talking(t)
			port, raw := row.sent(b, down)
			b.in(port, raw)
			b.dropped(Malformed, 1)
			b.silent(clients.LAN, clients.WAN, clients.Host)
			b.witnessed()
		})
	}
}

func TestBadOptionsAreAnsweredAtARate(t *testing.T) {
	b, down := talking(t)
	for range 1000 {
		b.offer(clients.LAN, lengthless(aliceUp.udp(10)))
		b.offer(clients.WAN, lengthless(down.udp(10)))
		b.round()
	}
	if lan, wan := len(b.take(clients.LAN)), len(b.take(clients.WAN)); lan != clientRation.burst || wan != portRations[clients.WAN].burst {
		t.Errorf("%d and %d errors in one moment", lan, wan)
	}
	b.dropped(Malformed, 2000)
	b.witnessed()
}
