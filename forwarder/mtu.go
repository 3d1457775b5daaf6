package forwarder

import (
	"sync/atomic"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// leastMTU is what every link carries whole (RFC 791, 3.2), bytes.
const leastMTU = 68

// measurePorts takes in the ports' MTUs. What waits was measured by those before, and
// is measured again as it leaves (fitMTU).
func (f *Forwarder) measurePorts() {
	lan, wan := readMTU(&f.header.MTU[clients.LAN]), readMTU(&f.header.MTU[clients.WAN])
	if lan == f.mtu[clients.LAN] && wan == f.mtu[clients.WAN] {
		return
	}
	f.mtu = [clients.NumPorts]int{clients.LAN: lan, clients.WAN: wan, clients.Host: lan}
	f.mss = uint16(min(lan, wan) - 40)
}

func readMTU(word *atomic.Uint64) int { return int(min(max(word.Load(), leastMTU), 65535)) }

// mtuOf is the MTU of where a frame leaves.
func (f *Forwarder) mtuOf(fr *frame) int {
	if fr.hairpin {
		return f.mtu[clients.LAN] // it leaves by no other port
	}
	if fr.Tagged && fr.outerType() == packet.EtherTypeQinQ {
		return f.mtu[fr.to] - packet.VLANLen // ports give room beside their MTU to customers' tags only
	}
	return f.mtu[fr.to]
}

// longest is the length of the frame's longest wire packet, bytes.
func (fr *frame) longest() int {
	if fr.Segments > 1 {
		return fr.HeaderLen + fr.SegmentSize
	}
	return fr.Len
}

// fitMTU finds what fragmenting adds to a frame over the MTU of where it leaves. What
// may not be fragmented is answered (RFC 1191).
func (f *Forwarder) fitMTU(fr *frame) Reason {
	fr.added = 0
	mtu := f.mtuOf(fr)
	if fr.longest() <= mtu {
		return Kept
	}
	if fr.DontFragment || !f.measure(fr, mtu) {
		f.tooBig(fr, mtu)
		return TooBig
	}
	if fr.hairpin {
		fr.added = 0 // it is cut on its way back
	}
	return Kept
}

// refit is fitMTU of what leaves of a frame that waited, and so may be over an MTU that
// was larger then. It is answered with its last part: that takes the headers.
func (f *Forwarder) refit(fr *frame, last bool) Reason {
	switch {
	case last:
		return f.fitMTU(fr)
	case fr.longest() > f.mtuOf(fr):
		return TooBig
	}
	return Kept
}

// measure finds what fragmenting adds to a frame; false if it is not possible.
func (f *Forwarder) measure(fr *frame, mtu int) bool {
	sum := 0
	ok := fr.Fragment(mtu, f.scratch, func(raw []byte) { sum += len(raw) - fr.L3 })
	fr.added = sum - fr.Len
	return ok
}

// routeSingly sends all wire packets of a super-packet but the last through the steps
// from route on, each by itself, and leaves the last. They are over the MTU and without
// DF, so that each leaves as fragments of its own, as it would have had it come alone:
// their sender need not listen to an ICMP error, and a Linux that has path MTU discovery
// off does not. What of it follows the packet that ended a grant is admitted by the next
// one, or not at all.
func (f *Forwarder) routeSingly(fr *frame) Reason {
	for fr.Segments > 1 {
		f.passHead(fr, 1, false, false, f.routing[fr.from])
		if r := f.admit(fr); r != Kept {
			return r
		}
	}
	return Kept
}

// sendPieces fragments a frame over the MTU; the pieces leave one by one.
func (f *Forwarder) sendPieces(fr *frame, charge uint8) {
	to, what := fr.to, queued{fr.client, 0, 1, charge, fr.direction}
	pieces, bytes := 0, 0
	fr.Fragment(f.mtuOf(fr), f.scratch, func(raw []byte) {
		pieces++
		what.bytes = uint32(len(raw) - fr.L3)
		bytes += len(raw) - fr.L3
		f.enqueue(to, raw, nil, what)
		f.flush(to)
	})
	f.counters.Totals.AddedPackets += uint64(pieces - 1)
	f.counters.Totals.AddedBytes += uint64(bytes - fr.WireLen)
}
