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
// most 576 bytes (RFC 1812, 4.3.2.3).
const maxQuote = 576 - 20 - 8

func (f *Forwarder) timeExceeded(fr *frame) {
	f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeTTLExceeded), 0)
}

// tooBig answers a packet over the MTU (RFC 1191).
func (f *Forwarder) tooBig(fr *frame, mtu int) {
	f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded), uint16(mtu))
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

// unreachable answers a packet whose next hop does not answer ARP.
func (f *Forwarder) unreachable(fr *frame) {
	f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeHost), 0)
}

// refused answers a flow for which no room was left (RFC 6888, REQ-4).
func (f *Forwarder) refused(fr *frame, v nat.Verdict) {
	switch v {
	case nat.NoPort, nat.FlowsFull, nat.ClientFlows, nat.ClientPorts:
		f.sendError(fr, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeCommAdminProhibited), 0)
	}
}

// sendError tells the sender of fr what became of it. Never about another
// error, a later fragment, or to somebody who is not one host (RFC 1812,
// 4.3.2.7), and not more often than the rate allows. What turned round was
// judged, as far as it can be answered, on its way out.
func (f *Forwarder) sendError(fr *frame, code layers.ICMPv4TypeCode, mtu uint16) {
	if fr.turned || fr.IsICMPError() || fr.FragOffset != 0 || fr.Src == 0 || fr.Src>>28 >= 14 || fr.Src>>24 == 127 {
		return
	}
	var c *client
	if fr.from == clients.LAN {
		c = fr.client
	}
	if !f.mayAnswer(fr.from, c) {
		return
	}
	ours := f.lan
	if fr.from == clients.WAN {
		ours = f.wan
		fr.SetDst(f.wan, fr.external) // as the sender knows it
	}
	f.report(fr.from, fr.SrcMAC, ours, fr.Src, code, mtu, fr.Raw[fr.L3:min(len(fr.Raw), fr.L3+maxQuote)])
}

// report sends an ICMP error from our address at a port. quote is what it is
// about, from layer 3 on.
func (f *Forwarder) report(port uint8, mac uint64, ours, to uint32, code layers.ICMPv4TypeCode, mtu uint16, quote []byte) {
	eth := layers.Ethernet{SrcMAC: unpackMAC(f.mac[port]), DstMAC: unpackMAC(mac), EthernetType: layers.EthernetTypeIPv4}
	ip := layers.IPv4{Version: 4, TTL: 64, TOS: 0xc0, Protocol: layers.IPProtocolICMPv4, SrcIP: unpackIP(ours), DstIP: unpackIP(to)}
	icmp := layers.ICMPv4{TypeCode: code, Seq: mtu} // the next-hop MTU stands where echo keeps its sequence number
	raw := f.build(&eth, &ip, &icmp, gopacket.Payload(quote))
	if raw == nil {
		return
	}
	n := len(raw) - packet.VirtioLen - packet.EthernetLen
	f.enqueue(port, raw, nil, queued{bytes: uint32(n), packets: 1, charge: own})
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
	fr.SetEmbeddedDst(f.wan, ext)
	fr.SetSrc(f.wan, 0)
	return Kept
}

// restoreError rewrites an ICMP error about a packet that a client sent.
func (f *Forwarder) restoreError(fr *frame) Reason {
	var in packet.Inner
	if !fr.Embedded(&in) || in.Src != f.wan {
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
	addr, port, id, v := f.nat.InError(in.Proto, in.SrcPort, in.Dst, remotePort)
	if v != nat.Translated {
		return ofNAT(v)
	}
	fr.SetEmbeddedSrc(addr, port)
	fr.SetDst(addr, 0)
	return f.deliver(fr, id)
}

func unpackIP(ip uint32) net.IP { return binary.BigEndian.AppendUint32(nil, ip) }
