package forwarder

import (
	"encoding/binary"
	"net"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// Most of an offending packet that an error quotes, so that the error is at
// most 576 bytes (RFC 1812, 4.3.2.3), and what is in front of it.
const (
	maxQuote  = 576 - errorHead
	errorHead = 20 + 8
)

func (f *Forwarder) timeExceeded(fr *frame) {
	f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeTTLExceeded), 0)
}

// tooBig answers a packet over the MTU (RFC 1191).
func (f *Forwarder) tooBig(fr *frame, mtu int) {
	if f.cfg.Bridge {
		f.tellTooBig(fr, mtu)
		return
	}
	f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded), uint32(mtu))
}

// silent drops a packet that waited for a next hop in vain, and answers it.
func (f *Forwarder) silent(h held) {
	fr := &f.frame
	*fr = frame{Packet: packet.Packet{Raw: h.raw}, from: h.port}
	known := fr.Decode(h.raw) == packet.Kept && (h.port != clients.LAN || f.identify(fr) == Kept)
	f.drop(fr.client, Unresolved, h.packets, h.bytes)
	if known {
		f.unreachable(fr)
	}
}

// unreachable answers a packet that cannot be delivered just now: its next hop does
// not answer ARP, or its flow found no room.
func (f *Forwarder) unreachable(fr *frame) {
	f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeHost), 0)
}

// refused answers a flow for which no room was left (RFC 6888, REQ-11): by host
// unreachable, which ends no attempt to connect (RFC 1122, 4.2.3.9), not by the
// 3/13 of RFC 5508, REQ-8, for it may pass with the next try.
func (f *Forwarder) refused(fr *frame, v nat.Verdict) {
	switch v {
	case nat.NoPort, nat.NoAddress, nat.FlowsFull, nat.ClientFlows, nat.ClientPorts:
		f.unreachable(fr)
	}
}

// badOption answers a packet that is dropped for its IPv4 options (RFC 1812, 4.3.3.5)
// by a pointer to the octet, if it comes from a client and could go on without them,
// or belongs to what one has begun: nobody else is told that we are here.
func (f *Forwarder) badOption(fr *frame) {
	if fr.Proto == packet.ICMP && fr.HeaderLen == 0 {
		return // too short to tell that it is no error
	}
	if fr.from == clients.LAN && f.sentByClient(fr) || fr.from == clients.WAN && f.sentToClient(fr) {
		f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeParameterProblem, layers.ICMPv4CodePointerIndicatesError), uint32(fr.BadOption)<<24)
	}
}

// sentByClient says whether a dropped frame is one that its client may send, to the
// box or out, and notes the client.
func (f *Forwarder) sentByClient(fr *frame) bool {
	slot, ok := f.byMAC.find(fr.SrcMAC)
	if !ok || f.clients[slot].ip != fr.Src || fr.DstMAC != f.cfg.LANMAC {
		return false
	}
	fr.client = &f.clients[slot]
	if fr.Dst == f.lan {
		return true
	}
	return fr.client.running && !f.stopped && f.beyond(fr.Dst) == Kept && !f.broadcastsWAN(fr.Dst)
}

// sentToClient says whether a dropped frame from the WAN is of a flow that a client,
// or the box, has; what has no ports, or none that can be read, is of none.
func (f *Forwarder) sentToClient(fr *frame) bool {
	if fr.DstMAC != f.cfg.WANMAC || !f.owns(fr.Dst) || f.badRemote(fr.Src) || fr.IsFragment() {
		return false
	}
	_, _, id, v := f.nat.InError(fr.Proto, cameTo(fr), fr.Src, remotePort(fr))
	if v != nat.Translated {
		return false
	}
	fr.external = cameTo(fr)
	return id.Slot == clients.HostSlot || f.clients[id.Slot].id == id && f.clients[id.Slot].running && !f.stopped
}

// sendError tells the sender of fr what became of it, with the second word of the
// ICMP header. Never about another
// error, a later fragment, or to somebody who is not one host (RFC 1812,
// 4.3.2.7), and not more often than the rate allows. What turned round was
// judged, as far as it can be answered, on its way out.
func (f *Forwarder) sendError(fr *frame, code layers.ICMPv4TypeCode, word uint32) {
	if fr.turned || fr.IsICMPError() || fr.FragOffset != 0 || fr.Src == 0 || fr.Src>>28 >= 14 || fr.Src>>24 == 127 {
		return
	}
	if !f.mayAnswerTo(fr) {
		return
	}
	ours := f.lan
	if fr.from == clients.WAN {
		if ours = f.wan; ours == 0 {
			return // nobody to say it
		}
		fr.SetDst(fr.external.Addr, fr.external.Port) // as the sender knows it
	}
	f.report(fr.from, fr.SrcMAC, ours, fr.Src, code, word, fr.Raw[fr.L3:], fr.client)
}

// report sends an ICMP error from our address at a port. quote is what it is about, from
// layer 3 on, of a client's packet or of nobody's, word the second one of the ICMP header;
// the error holds as much of it as it may. It is an atomic datagram, whose identification means nothing (RFC 6864, 4.1): no worker alone
// could tell which the others and the clients have used from the same address.
func (f *Forwarder) report(port uint8, mac uint64, ours, to uint32, code layers.ICMPv4TypeCode, word uint32, quote []byte, about *client) {
	eth := layers.Ethernet{SrcMAC: unpackMAC(f.mac[port]), DstMAC: unpackMAC(mac), EthernetType: layers.EthernetTypeIPv4}
	ip, icmp, body := f.errorLayers(port, ours, to, code, word, quote)
	f.sendOwn(port, about, packet.VirtioLen+packet.EthernetLen, &eth, ip, icmp, body)
}

// errorLayers are those of an ICMP error, from layer 3 on.
func (f *Forwarder) errorLayers(port uint8, ours, to uint32, code layers.ICMPv4TypeCode, word uint32, quote []byte) (*layers.IPv4, *layers.ICMPv4, gopacket.Payload) {
	return &layers.IPv4{Version: 4, TTL: 64, TOS: 0xc0, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolICMPv4, SrcIP: unpackIP(ours), DstIP: unpackIP(to)},
		&layers.ICMPv4{TypeCode: code, Id: uint16(word >> 16), Seq: uint16(word)},
		quote[:min(len(quote), maxQuote, f.mtu[port]-errorHead)]
}

// sendOwn sends what the gateway itself says, about a client's packet or nobody's, whose
// layer 3 begins at l3.
func (f *Forwarder) sendOwn(port uint8, about *client, l3 int, l ...gopacket.SerializableLayer) {
	raw := f.build(l...)
	if raw == nil {
		return
	}
	f.enqueue(port, raw, nil, queued{client: about, bytes: uint32(len(raw) - l3), packets: 1, charge: own})
	f.flushAll()
}

// translateError rewrites a client's ICMP error about a packet it received.
func (f *Forwarder) translateError(fr *frame) Reason {
	var in packet.Inner
	if !fr.Embedded(&in) || in.Dst != fr.Src {
		return NotTranslatable
	}
	if !fr.ValidChecksum() {
		return BadChecksum
	}
	k := nat.Tuple{Proto: in.Proto, Addr: in.Dst, Port: in.DstPort, Remote: in.Src, RemotePort: in.SrcPort}
	if in.Proto == packet.ICMP {
		k.RemotePort = 0
	}
	ext, v := f.nat.OutError(k)
	if v != nat.Translated {
		return ofNAT(v)
	}
	fr.SetEmbeddedDst(ext.Addr, ext.Port)
	fr.SetSrc(ext.Addr, 0)
	return Kept
}

// restoreError rewrites an ICMP error about a packet that a client sent.
func (f *Forwarder) restoreError(fr *frame) Reason {
	var in packet.Inner
	if !fr.Embedded(&in) || in.Src != fr.Dst {
		return NoMapping
	}
	if !fr.ValidChecksum() {
		return BadChecksum
	}
	if fr.ICMPType == packet.Unreachable && fr.ICMPCode == layers.ICMPv4CodeFragmentationNeeded {
		if mtu := binary.BigEndian.Uint16(fr.Raw[fr.L4+6:]); mtu != 0 && mtu < 68 {
			return Malformed // RFC 1191: no link has less
		}
	}
	remotePort := in.DstPort
	if in.Proto == packet.ICMP {
		remotePort = 0
	}
	addr, port, id, v := f.nat.InError(in.Proto, nat.Endpoint{Addr: in.Src, Port: in.SrcPort}, in.Dst, remotePort)
	if v != nat.Translated {
		return ofNAT(v)
	}
	fr.SetEmbeddedSrc(addr, port)
	fr.SetDst(addr, 0)
	return f.deliver(fr, id)
}

func unpackIP(ip uint32) net.IP { return binary.BigEndian.AppendUint32(nil, ip) }
