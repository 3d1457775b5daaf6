package link

import (
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Sparse flows first (RFC 8290, section 1.2), in the receive ring: who has little to
// say does not wait until all that came before has been copied through the kernel. The
// ring itself is the queue, and nothing is moved in it.
const (
	sparseLen   = 512 // bytes of the longest frame that may go first, with its virtio header
	sparseMost  = 32  // frames that go first at a time
	sparseBits  = 10
	sparseFlows = 1 << sparseBits
)

// ahead is what was seen of the frames that wait, in the slots from the first one
// held on.
type ahead struct {
	seen  int
	flows [ringSlots]uint16   // of each slot seen: its flow; noFlow, or wentFirst
	count [sparseFlows]uint16 // frames seen that wait, by flow
}

// What stands in place of a slot's flow.
const (
	noFlow = sparseFlows + iota
	wentFirst
)

// Sparse returns short frames that wait behind those of the last Receive, each of a
// flow of which nothing waits before it, the last Receive's frames included; Receive
// will not return them again. They belong to the link again when Receive's next do,
// the slice at the next Sparse. Without a ring there are none.
func (p *Packet) Sparse() [][]byte {
	r, n := &p.ring, 0
	if r.mapped == nil {
		return nil
	}
	for a := &r.ahead; n < sparseMost && a.seen < ringSlots; a.seen++ {
		i := (r.head - r.held + a.seen) % ringSlots
		h, b := r.slot(i)
		status := atomic.LoadUint32(&h.Status)
		if status&unix.TP_STATUS_USER == 0 {
			break
		}
		flow, whole := flowAt(h, b)
		first := a.seen >= r.held && whole && status&unix.TP_STATUS_COPY == 0 && h.Len == h.Snaplen && h.Len <= sparseLen-HeaderLen
		if first && (flow.ports == noFlow || a.count[flow.ports] == 0 && a.count[flow.hosts] == 0) {
			if frame := p.short(h, b); frame != nil {
				p.early[n] = frame
				n++
				a.flows[i] = wentFirst
				continue
			}
		}
		if a.flows[i] = flow.ports; flow.ports != noFlow {
			a.count[flow.ports]++
		}
	}
	return p.early[:n]
}

// went says whether the next slot's frame went first.
func (r *ring) went() bool {
	return r.ahead.seen > r.held && r.ahead.flows[r.head%ringSlots] == wentFirst
}

// forget forgets the frames that are given back.
func (r *ring) forget() {
	a := &r.ahead
	for i := r.head - r.held; i < r.head && a.seen > 0; i++ {
		if flow := a.flows[i%ringSlots]; flow < sparseFlows {
			a.count[flow]--
		}
		a.seen--
	}
}

// slotFlow is the flow of a frame, and that of all fragments between its hosts.
type slotFlow struct{ ports, hosts uint16 }

// flowAt is the flow of the frame in a slot; whole is false for a fragment, for what
// has IPv6 extension headers, and for what is neither IP nor ARP.
func flowAt(h *unix.Tpacket2Hdr, b []byte) (flow slotFlow, whole bool) {
	const ethernet, ip, ports = 14, 20, 4
	flow = slotFlow{noFlow, noFlow}
	at := int(h.Mac)
	if h.Snaplen < ethernet+ip || at+int(h.Snaplen) > len(b) {
		return flow, false
	}
	b = b[at : at+int(h.Snaplen)]
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		return flow, true
	case unix.ETH_P_IP:
	case unix.ETH_P_IPV6:
		return flowAt6(b[ethernet:])
	default:
		return flow, false
	}
	b = b[ethernet:]
	hosts := binary.NativeEndian.Uint32(b[12:])*0x9e3779b1 ^ binary.NativeEndian.Uint32(b[16:])*0x85ebca77 ^ uint32(b[9])
	flow.hosts = placeOf(hosts)
	flow.ports = flow.hosts
	const moreOrOffset = 0x3fff
	if binary.BigEndian.Uint16(b[6:])&moreOrOffset != 0 {
		return flow, false
	}
	header := int(b[0]&15) * 4
	if proto := b[9]; (proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_UDP) && header >= ip && len(b) >= header+ports {
		flow.ports = placeOf(hosts ^ binary.NativeEndian.Uint32(b[header:])*0xc2b2ae35)
	}
	return flow, true
}

// flowAt6 is flowAt for IPv6. What is between two hosts and shows no ports has one flow,
// whatever it is, which nothing between them overtakes.
func flowAt6(b []byte) (flow slotFlow, whole bool) {
	const ip, ports, nextHeader = 40, 4, 6
	flow = slotFlow{noFlow, noFlow}
	if len(b) < ip {
		return flow, false
	}
	var hosts uint32
	for at := 8; at < ip; at += 4 {
		hosts = (hosts ^ binary.NativeEndian.Uint32(b[at:])) * 0x9e3779b1
	}
	flow.hosts = placeOf(hosts)
	flow.ports = flow.hosts
	switch b[nextHeader] {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		if len(b) < ip+ports {
			return flow, false
		}
		flow.ports = placeOf(hosts ^ uint32(b[nextHeader]) ^ binary.NativeEndian.Uint32(b[ip:])*0xc2b2ae35)
		return flow, true
	case unix.IPPROTO_ICMPV6:
		return flow, true
	}
	return flow, false
}

// placeOf is a hash's place among flows.
func placeOf(hash uint32) uint16 {
	hash *= 0x9e3779b1
	return uint16(hash >> (32 - sparseBits))
}
