package forwarder

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// datagrams are n of a flow that follow each other, from the first one's
// identification on.
func (w flow) datagrams(n, payload int) (raws [][]byte) {
	for i := range n {
		one := w
		one.id += uint16(i)
		raws = append(raws, one.udp(payload))
	}
	return raws
}

// stream is n data packets of a connection that follow each other.
func (w flow) stream(n, size int) (raws [][]byte) {
	for i := range n {
		one := w
		one.id += uint16(i)
		h := one.tcpHeader()
		h.ACK, h.Seq = true, h.Seq+uint32(i*size)
		raws = append(raws, serialize(one.ethernet(), one.ip(layers.IPProtocolTCP), h, payload(size)))
	}
	return raws
}

// mixed takes one of each in turn.
func mixed(a, b [][]byte) (raws [][]byte) {
	for i := range a {
		raws = append(raws, a[i], b[i])
	}
	return raws
}

func TestPacketsOfAFlowLeaveTogether(t *testing.T) {
	other := aliceUp
	other.srcPort++
	short := aliceUp
	short.id += 3
	afterwards := aliceUp
	afterwards.id += 4
	ack := serialize(aliceUp.ethernet(), aliceUp.ip(layers.IPProtocolTCP), func() *layers.TCP { h := aliceUp.tcpHeader(); h.ACK = true; return h }())
	for _, row := range []struct {
		name  string
		raws  [][]byte
		leave []int // wire packets of the frames that leave, in order
	}{
		{"datagrams", aliceUp.datagrams(5, 100), []int{5}},
		{"in many batches", aliceUp.datagrams(64*(joinBuffers+1), 18), slices.Repeat([]int{64}, joinBuffers+1)},
		{"a full batch", aliceUp.datagrams(64, 18), []int{64}},
		{"more than a batch", aliceUp.datagrams(70, 18), []int{64, 6}},
		{"TCP", aliceUp.stream(5, 1000), []int{5}},
		{"of two flows in turn", mixed(aliceUp.datagrams(5, 100), other.datagrams(5, 100)), []int{5, 5}},
		{"of two clients in turn", mixed(aliceUp.datagrams(5, 100), bobUp.datagrams(5, 100)), []int{5, 5}},
		{"a shorter one is the last", slices.Concat(aliceUp.datagrams(3, 100), short.datagrams(1, 50), afterwards.datagrams(2, 50)), []int{4, 2}},
		{"not over an acknowledgement", slices.Concat(aliceUp.stream(2, 100), [][]byte{ack}, aliceUp.stream(2, 100)), []int{2, 1, 2}},
		{"not over a fragment", slices.Concat(aliceUp.datagrams(2, 100), fragmentsOf(short.udp(1200), 1000), afterwards.datagrams(2, 100)), []int{2, 1, 1, 2}},
		{"not over a ping", slices.Concat(aliceUp.datagrams(2, 100), [][]byte{aliceUp.echo(true, 10)}, aliceUp.datagrams(4, 100)[2:]), []int{2, 1, 2}},
		{"not with a super-packet", slices.Concat(aliceUp.stream(2, 1000), [][]byte{aliceUp.tcpSuper(4000, 1000)}), []int{2, 4}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := online(t, free())
			b.bind(bob, bobMAC, bobIP)
			b.grant(bob, free())
			b.offer(clients.LAN, row.raws...)
			b.round()
			var leave []int
			var packets, bytes int
			for _, raw := range b.take(clients.WAN) {
				wire := look(t, raw)
				leave = append(leave, len(wire))
				for _, p := range wire {
					packets++
					bytes += len(p.packet)
				}
			}
			if !slices.Equal(leave, row.leave) {
				t.Errorf("frames of %v wire packets leave, want %v", leave, row.leave)
			}
			billed := b.use(alice, 1)
			billedBob := b.use(bob, 1)
			if got := int(billed.UpPackets + billedBob.UpPackets); got != packets {
				t.Errorf("%d packets billed, %d left", got, packets)
			}
			if got := int(billed.Up + billedBob.Up); got != bytes {
				t.Errorf("%d bytes billed, %d left", got, bytes)
			}
			b.witnessed()
		})
	}
}

func TestDownTogetherAsWell(t *testing.T) {
	b := online(t, free())
	b.in(clients.LAN, aliceUp.udp(10))
	down := back(b.one(clients.WAN))
	b.in(clients.WAN, down.datagrams(7, 1000)...)
	if got := b.take(clients.LAN); len(got) != 1 || len(look(t, got[0])) != 7 {
		t.Errorf("%d frames leave, want 1 of 7 wire packets", len(got))
	}
	b.running(alice, 1, 38+7*1028)
}

func TestTogetherUpToTheLastByte(t *testing.T) {
	b := online(t, bytesOf(4*128+60), bytesOf(3*128))
	b.in(clients.LAN, aliceUp.datagrams(10, 100)...)
	packets, _ := b.delivered(clients.WAN)
	if packets != 7 {
		t.Errorf("%d packets left, want 7", packets)
	}
	b.ended(alice, 1, clients.EndData, 4*128+60)
	b.ended(alice, 2, clients.EndData, 7*128-(4*128+60))
	b.dropped(DataUsedUp, 1)
}

func TestEachByItselfWhenAsked(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Single = true })
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, free())
	b.in(clients.LAN, aliceUp.datagrams(5, 100)...)
	if got := len(b.take(clients.WAN)); got != 5 {
		t.Errorf("%d frames leave, want 5", got)
	}
}

// A kernel before Linux 6.2 refuses super-packets of datagrams, and takes them one
// by one; what it takes is billed, and after a few it is not offered any more.
func TestAKernelThatKnowsNoSuchSuperPackets(t *testing.T) {
	for _, kind := range []struct {
		name string
		gso  byte
		raws [][]byte
	}{{"UDP", 5, aliceUp.datagrams(5, 100)}, {"TCP", 1, aliceUp.stream(5, 100)}} {
		t.Run(kind.name, func(t *testing.T) {
			b := online(t, free())
			refused := 0
			b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], func(frame []byte) bool {
				if frame[1] == kind.gso {
					refused++
				}
				return frame[1] == kind.gso
			}}
			length := uint64(0)
			for i := range 6 {
				b.in(clients.LAN, kind.raws...)
				if got := len(b.take(clients.WAN)); got != 5 {
					t.Fatalf("round %d: %d frames leave, want 5", i, got)
				}
				for _, raw := range kind.raws {
					length += uint64(len(raw) - 24)
				}
				b.running(alice, 1, length)
			}
			if refused != joinRefused {
				t.Errorf("%d super-packets were offered, want %d", refused, joinRefused)
			}
			b.dropped(TxRefused, 0)
		})
	}
}

// What the kernel takes in no form is not billed, and says nothing about the kind.
func TestARefusedSuperPacketIsNotBilled(t *testing.T) {
	b := online(t, free())
	full := true
	b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], func([]byte) bool { return full }}
	for range 2 * joinRefused {
		b.in(clients.LAN, aliceUp.datagrams(5, 100)...)
	}
	b.silent(clients.WAN)
	b.dropped(TxRefused, 5*2*joinRefused)
	b.running(alice, 1, 0)
	full = false
	b.in(clients.LAN, aliceUp.datagrams(5, 100)...)
	if got := len(b.take(clients.WAN)); got != 1 {
		t.Errorf("%d frames leave once there is room, want 1", got)
	}
	b.running(alice, 1, 5*128)
}

func TestARefusalNowAndThenIsForgotten(t *testing.T) {
	b := online(t, free())
	refuse := false
	b.f.links[clients.WAN] = &fussy{b.links[clients.WAN], func(frame []byte) bool { return refuse && frame[1] != 0 }}
	for i := range 4 * joinRefused {
		refuse = i%2 == 0
		b.in(clients.LAN, aliceUp.datagrams(5, 100)...)
		if got, want := len(b.take(clients.WAN)), 1+4*((i+1)%2); got != want {
			t.Fatalf("batch %d: %d frames leave, want %d", i, got, want)
		}
	}
}

func TestMoreFlowsThanSuperPackets(t *testing.T) {
	b := online(t, free())
	var raws [][]byte
	for i := range 2 * joinBuffers {
		w := aliceUp
		w.srcPort += uint16(i)
		raws = append(raws, w.datagrams(2, 18)...)
	}
	b.in(clients.LAN, raws...)
	got := b.take(clients.WAN)
	if len(got) < 2*joinBuffers || len(got) > 4*joinBuffers-joinBuffers/2 {
		t.Errorf("%d frames leave", len(got))
	}
	ports := map[string]int{}
	for _, raw := range got {
		for _, p := range look(t, raw) {
			ports[fmt.Sprint(p.srcPort)]++
		}
	}
	if n := len(b.f.queues[clients.WAN].joins.buffers); n > joinBuffers {
		t.Errorf("%d buffers, want %d at most", n, joinBuffers)
	}
	for port, n := range ports {
		if n != 2 {
			t.Errorf("%d packets from port %s, want 2", n, port)
		}
	}
}
