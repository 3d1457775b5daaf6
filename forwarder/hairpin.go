package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// A client's packet for a WAN address turns round there (RFC 4787 REQ-9, RFC
// 5382 REQ-8), as if it had gone out and come back: the first half admits, paces,
// translates and charges its sender, the second restores it and admits, paces and
// charges its receiver, which sees the sender's external address and port. The hop
// is counted once, on the first half, since one router forwards it once (RFC 1812,
// 5.3.1). The second half leads to a client or to the box and never to a WAN
// address again, so nothing goes round in circles.

// hairpin marks a packet for a WAN address. Of ICMP it is errors that turn
// round (RFC 5508 REQ-7); behind a query nobody can be: its id was drawn for
// who asks.
func (f *Forwarder) hairpin(fr *frame) Reason {
	if fr.Proto == packet.ICMP && !fr.IsICMPError() {
		return NoMapping
	}
	fr.hairpin = true
	return Kept
}

// turnRound charges the sender and begins the second half.
func (f *Forwarder) turnRound(fr *frame, charge uint8) Reason {
	what := queued{fr.client, uint32(fr.WireLen), uint32(fr.Segments), charge, fr.direction}
	bytes, packets := uint64(what.bytes), uint64(what.packets)
	f.counters.Totals.HairpinBytes += bytes
	f.counters.Totals.HairpinPackets += packets
	f.account(&what, bytes, packets)
	origin := uint32(clients.HostSlot)
	if charge >= billed {
		f.store(fr.client)
		origin = fr.client.id.Slot
	}
	f.comeBack(fr.Raw, origin)
	return Taken
}

// comeBack takes in a translated frame that the client of a slot sent to the WAN
// address, at the worker whose port it is for. It may be in a batch until the next
// flush.
func (f *Forwarder) comeBack(raw []byte, origin uint32) {
	fr := f.turned(raw, origin)
	if f.crew != nil {
		if home := f.homeWAN(fr); home != f.worker {
			if r := f.cross(home, fr); r != Taken {
				f.drop(nil, r, fr.Segments, fr.WireLen)
			}
			return
		}
	}
	f.run(fr, f.following[clients.WAN])
}

// comeBackHere is comeBack of a frame that another worker has handed over.
func (f *Forwarder) comeBackHere(raw []byte, origin uint32) {
	f.run(f.turned(raw, origin), f.following[clients.WAN])
}

// turned is a frame that turns round.
func (f *Forwarder) turned(raw []byte, origin uint32) *frame {
	fr := &f.back
	*fr = frame{from: clients.WAN, turned: true, origin: origin}
	fr.Decode(raw) // as it was kept before
	return fr
}
