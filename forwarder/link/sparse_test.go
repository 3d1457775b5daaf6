package link

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// ip4 is a frame of n bytes, with its virtio header, of a flow of this protocol
// between two hosts, numbered in its last bytes. It is a fragment if offset is not 0.
func ip4(proto byte, flow, offset uint16, number uint32, n int) []byte {
	f := make([]byte, HeaderLen+n)
	e := f[HeaderLen:]
	binary.BigEndian.PutUint16(e[12:], unix.ETH_P_IP)
	e = e[14:]
	e[0], e[9] = 0x45, proto
	binary.BigEndian.PutUint16(e[6:], offset)
	copy(e[12:], []byte{10, 0, 0, 1, 192, 0, 2, 1})
	binary.BigEndian.PutUint16(e[20:], flow)
	binary.BigEndian.PutUint16(e[22:], 53)
	binary.BigEndian.PutUint32(f[len(f)-4:], number)
	return f
}

// ip6 is ip4 for IPv6; with a fragment header if the protocol is 44.
func ip6(proto byte, flow uint16, number uint32, n int) []byte {
	f := ip4(0, 0, 0, number, n)
	e := f[HeaderLen:]
	binary.BigEndian.PutUint16(e[12:], unix.ETH_P_IPV6)
	e = e[14:]
	clear(e[:min(40, len(e)-4)])
	e[0], e[6], e[8], e[24] = 0x60, proto, 0xfd, 0xfd
	binary.BigEndian.PutUint16(e[40:], flow)
	binary.BigEndian.PutUint16(e[42:], 53)
	return f
}

func arp(number uint32) []byte {
	f := ip4(0, 0, 0, number, 60)
	binary.BigEndian.PutUint16(f[HeaderLen+12:], unix.ETH_P_ARP)
	return f
}

func numberOf(frame []byte) uint32 { return binary.BigEndian.Uint32(frame[len(frame)-4:]) }

// write puts a frame into the ring as the kernel does: a long one on the queue, too.
func (p *Packet) write(t testing.TB, queue, slot int, frame []byte) {
	if h := p.kernel(slot, frame); h.Snaplen < h.Len {
		h.Status |= unix.TP_STATUS_COPY
		if _, err := unix.Write(queue, frame); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhoIsSparseGoesFirst(t *testing.T) {
	const tcp, udp, icmp, icmp6, more = unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, 0x2000
	long := func(flow uint16) []byte { return ip4(tcp, flow, 0, 0, 9000) }
	long6 := ip4(tcp, 1, 0, 0, 9000)
	binary.BigEndian.PutUint16(long6[HeaderLen+12:], unix.ETH_P_IPV6)
	for _, row := range []struct {
		name  string
		held  []byte // the last Receive's
		waits [][]byte
		want  []uint32
	}{
		{"nothing waits", long(1), nil, nil},
		{"a ping", long(1), [][]byte{long(1), ip4(icmp, 0, 0, 1, 84)}, []uint32{1}},
		{"ARP", long(1), [][]byte{long(1), arp(1)}, []uint32{1}},
		{"other flows", long(1), [][]byte{ip4(tcp, 2, 0, 1, 60), ip4(udp, 2, 0, 2, 60)}, []uint32{1, 2}},
		{"the second of a flow whose first went is next", long(1), [][]byte{ip4(tcp, 2, 0, 1, 60), long(1), ip4(tcp, 2, 0, 2, 60)}, []uint32{1, 2}},
		{"the flow that is held", long(1), [][]byte{ip4(tcp, 1, 0, 1, 60)}, nil},
		{"the flow that waits", long(1), [][]byte{long(2), ip4(tcp, 2, 0, 1, 60)}, nil},
		{"a long one", long(1), [][]byte{ip4(tcp, 2, 0, 1, sparseLen)}, nil},
		{"one of the longest", long(1), [][]byte{ip4(tcp, 2, 0, 1, sparseLen-HeaderLen)}, []uint32{1}},
		{"behind a long one of its own", long(1), [][]byte{ip4(udp, 2, 0, 1, 1400), ip4(udp, 2, 0, 2, 60)}, nil},
		{"a fragment", long(1), [][]byte{ip4(udp, 2, more, 1, 60), ip4(udp, 2, 1, 2, 60)}, nil},
		{"behind a fragment between its hosts", long(1), [][]byte{ip4(udp, 0, 7, 1, 60), ip4(udp, 2, 0, 2, 60), ip4(icmp, 2, 0, 3, 60)}, []uint32{3}},
		{"IPv6 with an extension header", long(1), [][]byte{long6[:HeaderLen+60]}, nil},
		{"other flows over IPv6", long(1), [][]byte{ip6(tcp, 2, 1, 80), ip6(udp, 2, 2, 80), ip6(icmp6, 0, 3, 80)}, []uint32{1, 2, 3}},
		{"the flow over IPv6 that is held", ip6(tcp, 1, 0, 9000), [][]byte{ip6(tcp, 1, 1, 80), ip6(tcp, 2, 2, 80)}, []uint32{2}},
		{"the flow over IPv6 that waits", long(1), [][]byte{ip6(udp, 2, 0, 9000), ip6(udp, 2, 1, 80)}, nil},
		{"a fragment over IPv6", long(1), [][]byte{ip6(unix.IPPROTO_FRAGMENT, 2, 1, 80)}, nil},
		{"behind a fragment between its hosts over IPv6", long(1), [][]byte{ip6(unix.IPPROTO_FRAGMENT, 0, 1, 80), ip6(udp, 2, 2, 80), ip6(icmp6, 2, 3, 80), ip4(udp, 2, 0, 4, 60)}, []uint32{4}},
		{"behind IPv6", long6, [][]byte{ip4(tcp, 1, 0, 1, 60)}, []uint32{1}},
		{"too short for a header", long(1), [][]byte{ip4(tcp, 2, 0, 1, 60)[:HeaderLen+33]}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, queue := ringed(t)
			p.write(t, queue, 0, row.held)
			if got, err := p.Receive(); len(got) != 1 || err != nil {
				t.Fatalf("%d frames, %v", len(got), err)
			}
			for i, frame := range row.waits {
				p.write(t, queue, i+1, frame)
			}
			var got []uint32
			for _, frame := range p.Sparse() {
				got = append(got, numberOf(frame))
			}
			if fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("%v go first, want %v", got, row.want)
			}
			if again := p.Sparse(); len(again) != 0 {
				t.Errorf("%d more at once", len(again))
			}
		})
	}
	p := &Packet{}
	if got := p.Sparse(); got != nil {
		t.Errorf("%d without a ring", len(got))
	}
}

// TestNoFlowOvertakesItself fills the ring at random, with what goes first taken out
// of it at random: each frame comes once, and those of a flow in their order.
func TestNoFlowOvertakesItself(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, queue := ringed(t)
		const flows = 12
		var sent, came [flows]uint32
		slot, waits, early := 0, 0, 0
		take := func(frames [][]byte) {
			for _, frame := range frames {
				flow := binary.BigEndian.Uint16(frame[HeaderLen+14+20:])
				if number := numberOf(frame); number != came[flow]+1 {
					t.Fatalf("seed %d: flow %d: frame %d after %d", seed, flow, number, came[flow])
				}
				came[flow]++
				waits--
			}
		}
		for range 20000 {
			switch r.IntN(8) {
			case 0:
				got, err := p.Receive()
				if err != nil {
					t.Fatal(err)
				}
				take(got)
			case 1:
				got := p.Sparse()
				early += len(got)
				take(got)
			default:
				flow, n := uint16(r.IntN(flows)), 60
				if flow < 4 && r.IntN(2) == 0 {
					n = 1000 + r.IntN(4000)
				}
				if waits > ringSlots/2 {
					continue
				}
				sent[flow]++
				p.write(t, queue, slot, ip4(unix.IPPROTO_UDP, flow, 0, sent[flow], n))
				slot = (slot + 1) % ringSlots
				waits++
			}
		}
		for waits > 0 {
			got, err := p.Receive()
			if err != nil || got == nil {
				t.Fatalf("seed %d: %d are missing, %v", seed, waits, err)
			}
			take(got)
		}
		if came != sent || early == 0 {
			t.Errorf("seed %d: %v came of %v, %d early", seed, came, sent, early)
		}
		p.Receive()
		if p.ring.ahead.count != [sparseFlows]uint16{} || p.ring.ahead.seen != 0 {
			t.Errorf("seed %d: of an empty ring %d slots are seen", seed, p.ring.ahead.seen)
		}
	}
}

func TestAFloodOfSparseFlowsDoesNotHoldUpTheOthers(t *testing.T) {
	p, queue := ringed(t)
	p.write(t, queue, 0, ip4(unix.IPPROTO_TCP, 1, 0, 0, 9000))
	p.Receive()
	for i := range 3 * sparseMost {
		p.write(t, queue, 1+i, ip4(unix.IPPROTO_UDP, uint16(i+1), 0, 0, 60))
	}
	if got := p.Sparse(); len(got) != sparseMost {
		t.Errorf("%d go first", len(got))
	}
}
