package forwarder

import (
	"encoding/binary"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// Where the WAN's address comes by DHCP, control speaks it: what servers answer, and who
// claims the address by ARP, goes to its inbox, and what is in its outbox leaves by the
// WAN. The fan-out and home give these frames to worker 0.

// toLease gives control what a DHCP server has answered; Kept if it is nothing such. A
// server may send it to an address that is not ours yet (RFC 2131, 4.1).
func (f *Forwarder) toLease(fr *frame) Reason {
	if fr.Proto != packet.UDP || fr.SrcPort != dhcpServer || fr.IsFragment() || f.worker != 0 ||
		fr.DstMAC != f.cfg.WANMAC && fr.DstMAC != broadcast {
		return Kept
	}
	if on, _ := f.header.Leasing(); !on {
		return Kept
	}
	if !f.mail(fr) {
		return MailFull
	}
	f.counters.Totals.LocalPackets += uint64(fr.Segments)
	f.counters.Totals.LocalBytes += uint64(fr.layer3())
	return Taken
}

// toldOfClaim has control know who claims the address that it watches, or asks whether
// it is anybody's (RFC 5227, 2.1.1).
func (f *Forwarder) toldOfClaim(fr *frame, op uint16, mac uint64, ip, target uint32) {
	_, watched := f.header.Leasing()
	if watched == 0 || mac == f.cfg.WANMAC || ip != watched && (ip != 0 || op != layers.ARPRequest || target != watched) {
		return
	}
	f.mail(fr)
}

// mail puts a frame in control's inbox; false when that is full.
func (f *Forwarder) mail(fr *frame) bool {
	what := clients.Copy{When: f.now, Port: clients.WAN, Length: len(fr.Raw) - packet.VirtioLen}
	what.SumFrom, what.SumAt = packet.LeftSum(fr.Raw)
	f.hint = true // a flood wakes control no more often than that
	return f.table.Inbox().Put(what, nil, fr.Raw[packet.VirtioLen:])
}

// post sends what is in control's outbox; called a few times a second.
func (f *Forwarder) post() {
	out := f.table.Outbox()
	for {
		_, said, next, ok := out.Next(f.posted)
		f.posted = next
		if !ok {
			out.Done(next)
			return
		}
		if len(said) < packet.EthernetLen || len(said) > cap(f.built)-packet.VirtioLen {
			continue
		}
		raw := append(append(f.built[:0], make([]byte, packet.VirtioLen)...), said...)
		packet.PutMAC(raw[packet.VirtioLen+6:], f.cfg.WANMAC)
		what := queued{charge: unbilled}
		if binary.BigEndian.Uint16(said[12:]) == packet.EtherTypeIPv4 {
			what = queued{charge: own, bytes: uint32(len(said) - packet.EthernetLen), packets: 1}
		}
		f.enqueue(clients.WAN, raw, nil, what)
		f.flush(clients.WAN)
	}
}
