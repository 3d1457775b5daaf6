package forwarder

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// mailed returns the frames that control finds in its inbox.
func (b *bench) mailed(from *uint64) (frames [][]byte) {
	b.Helper()
	in := b.table.Inbox()
	for {
		what, raw, next, ok := in.Next(*from)
		*from = next
		if !ok {
			in.Done(next)
			return frames
		}
		if what.Port != clients.WAN || what.Sent || what.When != b.now || what.Length != len(raw) {
			b.Errorf("%+v of %d bytes, at %v", what, len(raw), b.now)
		}
		frames = append(frames, bytes.Clone(raw))
	}
}

const theirsMAC, strangerMAC = 0x0200000000ee, 0x0200000000ef // a DHCP server's, and who has nothing to do with it

// What DHCP servers on the WAN say to the gateway is control's while it has it by DHCP,
// and nobody else's, whether or not the gateway has an address.
func TestServersAnswersAreControls(t *testing.T) {
	with := func(change func(*flow)) flow {
		w := flow{srcMAC: theirsMAC, dstMAC: wanMAC, src: routerIP, dst: 0xcb007163, srcPort: 67, dstPort: 68, ttl: 64}
		change(&w)
		return w
	}
	piece := with(func(w *flow) {}).udp(300)
	binary.BigEndian.PutUint16(piece[packet.VirtioLen+packet.EthernetLen+6:], 0x2000)
	piece = checksummed(piece)
	rows := []struct {
		name string
		raw  []byte
		off  bool // the address is the config's
		ours bool
	}{
		{"to the address that it offers, which is not ours yet", with(func(w *flow) {}).udp(300), false, true},
		{"to everybody", with(func(w *flow) { w.dstMAC, w.dst = broadcast, 0xffffffff }).udp(300), false, true},
		{"to the address that we have", with(func(w *flow) { w.dst = wanIP }).udp(300), false, true},
		{"from an address that is nobody's", with(func(w *flow) { w.src = 0 }).udp(300), false, true},
		{"while the address is the config's", with(func(w *flow) { w.dst = wanIP }).udp(300), true, false},
		{"to another station", with(func(w *flow) { w.dstMAC = strangerMAC }).udp(300), false, false},
		{"to a group", with(func(w *flow) { w.dstMAC = 0x01005e000001 }).udp(300), false, false},
		{"from another port", with(func(w *flow) { w.srcPort = 66 }).udp(300), false, false},
		{"to another port", with(func(w *flow) { w.dstPort = 69 }).udp(300), false, false},
		{"over TCP", with(func(w *flow) {}).tcp(300), false, false},
		{"a piece of a datagram", piece, false, false},
	}
	for _, addressed := range []bool{true, false} {
		for _, row := range rows {
			name := row.name + ", with an address"
			if !addressed {
				name = row.name + ", without one"
			}
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				if !addressed {
					b.table.Header().SetAddressing(clients.Addressing{})
				}
				b.round()
				b.table.Header().SetLeasing(!row.off, 0)
				at := b.table.Inbox().Begin()
				b.take(clients.WAN)
				before := b.table.Header().Counters().Totals
				b.in(clients.WAN, row.raw)
				got := b.mailed(&at)
				if row.ours != (len(got) == 1) || row.ours && !bytes.Equal(got[0], row.raw[packet.VirtioLen:]) {
					t.Fatalf("control has %d frames", len(got))
				}
				now, layer3 := b.table.Header().Counters().Totals, uint64(0)
				if row.ours {
					layer3 = uint64(len(row.raw) - packet.VirtioLen - packet.EthernetLen)
				}
				if now.LocalBytes-before.LocalBytes != layer3 || (now.LocalPackets-before.LocalPackets == 1) != row.ours {
					t.Errorf("%+v, before %+v", now, before)
				}
				b.silent(clients.LAN, clients.WAN, clients.Host)
				b.conserve()
			})
		}
	}
}

// A flood of answers fills control's inbox, is counted, and passes.
func TestAFullInboxIsCounted(t *testing.T) {
	b := newBench(t)
	b.round()
	b.table.Header().SetLeasing(true, 0)
	at := b.table.Inbox().Begin()
	w := flow{srcMAC: theirsMAC, dstMAC: broadcast, src: routerIP, dst: 0xffffffff, srcPort: 67, dstPort: 68, ttl: 64}
	const sent = 100
	for range sent {
		b.in(clients.WAN, w.udp(300))
	}
	c := b.table.Header().Counters()
	if local, lost := c.Totals.LocalPackets, c.Drops[MailFull]; local < 10 || lost < 10 || local+lost != sent {
		t.Fatalf("%d taken, %d dropped", local, lost)
	}
	b.conserve()
	in := b.table.Inbox()
	for ok := true; ok; {
		_, _, at, ok = in.Next(at)
	}
	in.Done(at)
	b.in(clients.WAN, w.udp(300))
	if got := b.mailed(&at); len(got) != 1 {
		t.Errorf("%d frames, once there is room", len(got))
	}
}

// Who claims the watched address by ARP, or asks whether it is free, is told to control.
func TestClaimsOfTheWatchedAddress(t *testing.T) {
	const watched = wanIP + 40
	claim := arp{from: strangerMAC, to: broadcast, op: 2, mac: strangerMAC, ip: watched, target: watched}
	with := func(change func(*arp)) arp { a := claim; change(&a); return a }
	for _, row := range []struct {
		name  string
		arp   arp
		watch uint32
		told  bool
	}{
		{"a reply", claim, watched, true},
		{"a question by who has it", with(func(a *arp) { a.op, a.target = 1, routerIP }), watched, true},
		{"a probe of it", with(func(a *arp) { a.op, a.ip = 1, 0 }), watched, true},
		{"a probe of another address", with(func(a *arp) { a.op, a.ip, a.target = 1, 0, routerIP }), watched, false},
		{"a question for it", with(func(a *arp) { a.op, a.ip = 1, routerIP }), watched, false},
		{"a reply for another address", with(func(a *arp) { a.ip = watched + 1 }), watched, false},
		{"our own word, come back", with(func(a *arp) { a.from, a.mac = wanMAC, wanMAC }), watched, false},
		{"while no address is watched", claim, 0, false},
		{"a probe of no address while none is watched", with(func(a *arp) { a.op, a.ip, a.target = 1, 0, 0 }), 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			b.round()
			b.table.Header().SetLeasing(true, row.watch)
			at := b.table.Inbox().Begin()
			b.in(clients.WAN, row.arp.raw())
			if got := b.mailed(&at); row.told != (len(got) == 1) {
				t.Errorf("control has %d frames", len(got))
			}
		})
	}
}

// What control posts leaves by the WAN within 0.1 s, from the port's own MAC; IPv4 as the
// gateway's own.
func TestWhatControlPostsLeaves(t *testing.T) {
	b := newBench(t)
	b.round()
	b.take(clients.WAN)
	before := b.table.Header().Counters().Totals
	asks := flow{srcMAC: strangerMAC, dstMAC: broadcast, dst: 0xffffffff, srcPort: 68, dstPort: 67, ttl: 64}.udp(300)[packet.VirtioLen:]
	probe := arp{from: strangerMAC, to: broadcast, op: 1, mac: wanMAC, target: wanIP}.raw()[packet.VirtioLen:]
	out := b.table.Outbox()
	for _, frame := range [][]byte{asks, probe, asks[:packet.EthernetLen-1], make([]byte, 4000)} {
		if !out.Put(clients.Copy{Port: clients.WAN, Length: len(frame)}, nil, frame) {
			t.Fatal("the outbox is full")
		}
	}
	b.pass(100 * time.Millisecond)
	left := b.out(clients.WAN)
	if len(left) != 2 || left[0].srcMAC != wanMAC || left[0].dstPort != 67 || left[1].arp == nil || left[1].srcMAC != wanMAC {
		t.Fatalf("%v left", left)
	}
	now := b.table.Header().Counters().Totals
	if now.OwnPackets-before.OwnPackets != 1 || now.OwnBytes-before.OwnBytes != uint64(len(asks)-packet.EthernetLen) {
		t.Errorf("own: %+v, before %+v", now, before)
	}
	b.conserve()
	b.pass(time.Second)
	b.silent(clients.WAN)
}

// What was posted while no forwarder ran is not sent by the next one: it is late, and its
// sender asks again.
func TestWhatIsOldIsNotPosted(t *testing.T) {
	b := newBench(t)
	asks := flow{srcMAC: wanMAC, dstMAC: broadcast, dst: 0xffffffff, srcPort: 68, dstPort: 67, ttl: 64}.udp(300)[packet.VirtioLen:]
	for range 5 {
		b.table.Outbox().Put(clients.Copy{Port: clients.WAN, Length: len(asks)}, nil, asks)
	}
	b.start()
	b.pass(time.Second)
	for _, p := range b.out(clients.WAN) {
		if p.arp == nil {
			t.Errorf("%v left", p)
		}
	}
}
