package forwarder

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// The kernel's programs say of any frame what the workers say.
func TestTheKernelAndTheWorkersAgree(t *testing.T) {
	for _, n := range []int{2, 3, 7, 16} {
		withWorkers(t, n)
		b := newBench(t)
		d := drawing{rand.New(rand.NewPCG(3, uint64(n)))}
		lan, wan := wholeFrames(t, FanOutLAN(b.table.Spread())), wholeFrames(t, FanOutWAN(n))
		for range 10000 {
			raw := d.frame()
			ownerOf(t, b, clients.LAN, lan, raw)
			ownerOf(t, b, clients.WAN, wan, raw)
		}
		b.close()
	}
}

// Each external port has one worker, the one in whose slice it is.
func TestPortOwners(t *testing.T) {
	for n := 1; n <= clients.MaxWorkers; n++ {
		opt := nat.Options{Owners: n}
		for owner := range n {
			low, high := opt.Slice(owner)
			for port := int(low); port <= int(high); port++ {
				if got := portOwner(uint16(port), n); got != owner {
					t.Fatalf("port %d of %d workers: %d, want %d", port, n, got, owner)
				}
			}
		}
	}
}

// drawing makes frames of every kind that can come to a port.
type drawing struct{ *rand.Rand }

func (d drawing) coin() bool { return d.IntN(2) == 0 }

func (d drawing) frame() []byte {
	w := flow{srcMAC: d.Uint64() >> 16, dstMAC: d.Uint64() >> 16 &^ (1 << 40), src: d.Uint32(), dst: d.Uint32(),
		srcPort: uint16(d.Uint32()), dstPort: uint16(d.Uint32()), ttl: uint8(d.Uint32()), id: uint16(d.Uint32()), dont: d.coin()}
	raw := d.packet(w)
	if isIPv4(raw) && d.IntN(4) == 0 {
		raw = withOptions(raw, make([]byte, 4*d.IntN(10))...)
	}
	switch d.IntN(8) {
	case 0:
		raw = raw[:packet.VirtioLen+packet.EthernetLen+d.IntN(len(raw)-packet.VirtioLen-packet.EthernetLen+1)]
	case 1: // a few octets are others
		for range 1 + d.IntN(4) {
			raw[l2+12+d.IntN(min(len(raw)-l2-12, 70))] = byte(d.Uint32())
		}
		if raw[22] == 0x81 || raw[22] == 0x88 {
			raw[22] = 0x08
		}
		raw = checksummed(raw)
	case 2:
		raw = tagged(raw, uint16(1+d.IntN(4000)))
	}
	return raw
}

func (d drawing) packet(w flow) []byte {
	n := d.IntN(100)
	switch d.IntN(9) {
	case 0:
		return w.udp(n)
	case 1:
		return w.tcp(n)
	case 2:
		raw := w.icmpError(uint8(d.IntN(20)), uint8(d.IntN(16)), uint16(d.Uint32()), text(n)) // also queries and their answers
		binary.BigEndian.PutUint16(raw[l4+4:], w.dstPort)
		return raw
	case 3, 4: // an error about something, which may have options, or be cut short
		inner := d.packet(flow{src: w.dst, dst: w.src, srcPort: w.dstPort, dstPort: w.srcPort, ttl: 1})
		if isIPv4(inner) && d.coin() {
			inner = withOptions(inner, make([]byte, 4*d.IntN(10))...)
		}
		quote := inner[l3:]
		if d.coin() {
			quote = quote[:min(len(quote), 28+d.IntN(20))]
		}
		return w.icmpError([]uint8{3, 4, 5, 11, 12}[d.IntN(5)], 0, 0, quote)
	case 5:
		return w.echo(d.coin(), n)
	case 6:
		pieces := fragmentsOf(w.udp(300), 104)
		return pieces[d.IntN(len(pieces))]
	case 7:
		return arp{from: w.srcMAC, to: w.dstMAC, op: 1 + uint16(d.IntN(2)), mac: w.srcMAC, ip: w.src, targetMAC: w.dstMAC, target: w.dst}.raw()
	default: // another protocol over IPv4
		raw := w.udp(n)
		raw[l3+9] = byte(d.Uint32())
		return checksummed(raw)
	}
}

func isIPv4(raw []byte) bool { return binary.BigEndian.Uint16(raw[l2+12:]) == packet.EtherTypeIPv4 }

// tagged is a frame in a VLAN. The kernel takes the tag out before its program runs.
func tagged(raw []byte, vlan uint16) []byte {
	raw = append(binary.BigEndian.AppendUint16(append(bytes.Clone(raw[:l2+12]), 0x81, 0), vlan), raw[l2+12:]...)
	if raw[0]&1 != 0 {
		raw[6] += 4 // csum_start
	}
	return raw
}

// untagged is a frame without the tag that tagged has put there.
func untagged(raw []byte) []byte {
	if binary.BigEndian.Uint16(raw[l2+12:]) != packet.EtherTypeVLAN {
		return raw
	}
	raw = append(bytes.Clone(raw[:l2+12]), raw[l2+16:]...)
	if raw[0]&1 != 0 {
		raw[6] -= 4
	}
	return raw
}

// ownerOf is whose a frame is: as the workers say, where all say the same, and where
// it is nobody's as the program says, which has to agree with them.
func ownerOf(t *testing.T, b *bench, port int, program *bpf.VM, raw []byte) int {
	t.Helper()
	seen := untagged(raw)
	said, err := program.Run(seen[packet.VirtioLen:])
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]bool{}
	for _, f := range b.workers() {
		fr := &frame{from: uint8(port)}
		if reason := fr.Decode(bytes.Clone(seen)); reason != packet.Kept {
			return said
		}
		if port == clients.WAN && fr.IsFragment() {
			return sameWorker(t, seen, said, 0) // which leads them on
		}
		want[f.home(fr)] = true
	}
	if len(want) > 1 {
		return said // whoever has it
	}
	for home := range want {
		return sameWorker(t, seen, said, home)
	}
	return said
}

func sameWorker(t *testing.T, raw []byte, said, home int) int {
	t.Helper()
	if said != home {
		t.Fatalf("the program says %d, the workers %d: %x", said, home, raw)
	}
	return said
}

// What the kernel is told of a bridge's WAN is what the workers say.
func TestTheFanOutOfABridge(t *testing.T) {
	for _, n := range []int{2, 3, 16} {
		spread := clients.NewSpread(uint64(n), n)
		vm := wholeFrames(t, FanOutBridge(spread))
		for i := range uint64(200) {
			w := home
			w.dstMAC = 0x020000000000 | i*0x1234567&0xffffffff
			for _, raw := range [][]byte{w.udp(10), w.six(17, 10), tagged(w.udp(10), 7), arp{from: routerMAC, to: w.dstMAC, op: 2, mac: routerMAC}.raw()} {
				if said, err := vm.Run(raw[packet.VirtioLen:]); err != nil || said != spread.Of(w.dstMAC) {
					t.Fatalf("%d workers, to %x: worker %d, want %d; %v", n, w.dstMAC, said, spread.Of(w.dstMAC), err)
				}
			}
			w.dstMAC |= 1 << 40
			if said, err := vm.Run(w.udp(10)[packet.VirtioLen:]); err != nil || said != 0 {
				t.Fatalf("%d workers, to the group %x: worker %d; %v", n, w.dstMAC, said, err)
			}
		}
	}
}
