package forwarder

import (
	"encoding/binary"
	"net"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// arpParser reads ARP with gopacket, without allocating.
type arpParser struct {
	arp    layers.ARP
	out    gopacket.SerializeBuffer
	parser *gopacket.DecodingLayerParser
	found  []gopacket.LayerType
}

func newARPParser() *arpParser {
	p := &arpParser{out: gopacket.NewSerializeBuffer()}
	p.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeARP, &p.arp)
	p.parser.IgnoreUnsupported = true
	return p
}

// broadcast is the Ethernet address of everybody.
const broadcast = 1<<48 - 1

// arp answers and learns (RFC 826, RFC 5227).
func (f *Forwarder) arp(fr *frame) Reason {
	op, ip, target, ok := f.readARP(fr)
	if !ok {
		return f.badARP(fr)
	}
	mac := fr.SrcMAC
	switch fr.from {
	case clients.LAN:
		f.arpLAN(op, mac, ip, target)
	case clients.WAN:
		if f.crew != nil && f.worker == 0 && (ip == f.gateway || op == layers.ARPReply && f.owns(target)) {
			f.tellOthers(fr)
		}
		if f.worker == 0 {
			f.toldOfClaim(fr, op, mac, ip, target)
		}
		f.arpWAN(op, mac, ip, target) // after which the frame may be one that waited
	}
	return Taken
}

// readARP reads a request or a reply of one station's, about itself; false if it is
// none.
func (f *Forwarder) readARP(fr *frame) (op uint16, ip, target uint32, ok bool) {
	a := &f.arpIO.arp
	if err := f.arpIO.parser.DecodeLayers(fr.Raw[fr.L3:], &f.arpIO.found); err != nil ||
		a.AddrType != layers.LinkTypeEthernet || a.Protocol != layers.EthernetTypeIPv4 ||
		a.HwAddressSize != 6 || a.ProtAddressSize != 4 ||
		a.Operation != layers.ARPRequest && a.Operation != layers.ARPReply {
		return 0, 0, 0, false
	}
	mac := packet.MAC(a.SourceHwAddress)
	return a.Operation, be32(a.SourceProtAddress), be32(a.DstProtAddress), mac == fr.SrcMAC && mac != 0 && !isGroup(mac)
}

// badARP counts an ARP frame that is about to be dropped; the others are not
// layer 3.
func (f *Forwarder) badARP(fr *frame) Reason {
	f.counters.received(fr.from, fr.Segments, fr.layer3())
	return BadARP
}

// arpLAN answers for the gateway's address and hears clients.
func (f *Forwarder) arpLAN(op uint16, mac uint64, ip, target uint32) {
	if mac == f.cfg.LANMAC {
		return // our own, come back
	}
	var c *client
	slot, ok := f.byMAC.find(mac)
	if ok {
		c = &f.clients[slot]
	}
	if f.host(ip) {
		switch {
		case !ok:
			f.sight(clients.UnknownMAC, 0, mac, ip)
		case c.ip != ip:
			f.sight(clients.NewAddress, slot, mac, ip)
		default:
			f.slot(c).Heard.Store(int64(f.now))
		}
	}
	if op == layers.ARPRequest && target == f.lan && ip != f.lan && f.mayAnswer(clients.LAN, c) {
		f.reply(clients.LAN, f.cfg.LANMAC, f.lan, mac, ip)
	}
}

// arpWAN answers for the WAN addresses and learns next hops that were asked for.
func (f *Forwarder) arpWAN(op uint16, mac uint64, ip, target uint32) {
	if n := f.neighbours[ip]; n != nil && f.inWAN(ip) && !f.owns(ip) {
		f.claimed(ip, n, mac, op == layers.ARPReply && f.owns(target))
	}
	if f.worker == 0 && op == layers.ARPRequest && f.owns(target) && !f.owns(ip) && f.mayAnswer(clients.WAN, nil) {
		f.reply(clients.WAN, f.cfg.WANMAC, target, mac, ip)
	}
}

// answer tells the box's kernel a client's MAC, from the table. Everything
// else goes on.
func (f *Forwarder) answer(fr *frame) Reason {
	if fr.Tagged {
		return UnknownProtocol
	}
	switch fr.EtherType {
	case packet.EtherTypeIPv4:
		return Kept
	case packet.EtherTypeIPv6:
		return IPv6
	case packet.EtherTypeARP:
	default:
		return UnknownProtocol
	}
	if r := f.arp(fr); r != Taken {
		return r
	}
	a := &f.arpIO.arp
	target := be32(a.DstProtAddress)
	if a.Operation == layers.ARPRequest && target != f.lan {
		mac := f.holder(target)
		if mac == 0 && f.cfg.Bridge {
			return f.askOutside(fr)
		}
		if mac != 0 && f.mayAnswer(clients.Host, nil) {
			f.reply(clients.Host, mac, target, fr.SrcMAC, be32(a.SourceProtAddress))
		}
	}
	return Taken
}

// holder is the MAC of the client that has an address; 0: nobody.
func (f *Forwarder) holder(ip uint32) uint64 {
	if slot, ok := f.byIP.find(uint64(ip)); ok {
		return f.clients[slot].mac
	}
	if slot, ok := f.elsewhere(ip); ok {
		return f.others.known[slot].mac
	}
	return 0
}

// probe asks whether a client still holds its address.
func (f *Forwarder) probe(c *client) {
	if c.ip != 0 {
		f.request(clients.LAN, 0, c.ip)
	}
}

// request sends an ARP request out of a port; to is 0 for everybody.
func (f *Forwarder) request(port uint8, to uint64, target uint32) {
	from := f.lan
	if port == clients.WAN {
		if from = f.wan; from == 0 {
			return // nobody who asks
		}
	}
	dst := to
	if dst == 0 {
		dst = broadcast
	}
	f.sendARP(port, layers.ARPRequest, f.mac[port], from, 0, target, dst)
}

// reply says that ip is at mac.
func (f *Forwarder) reply(port uint8, mac uint64, ip uint32, toMAC uint64, toIP uint32) {
	f.sendARP(port, layers.ARPReply, mac, ip, toMAC, toIP, toMAC)
}

func (f *Forwarder) sendARP(port uint8, op uint16, mac uint64, ip uint32, toMAC uint64, toIP uint32, dst uint64) {
	if f.links[port] == nil {
		return
	}
	eth := layers.Ethernet{SrcMAC: unpackMAC(mac), DstMAC: unpackMAC(dst), EthernetType: layers.EthernetTypeARP}
	arp := layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: unpackMAC(mac), SourceProtAddress: binary.BigEndian.AppendUint32(nil, ip),
		DstHwAddress: unpackMAC(toMAC), DstProtAddress: binary.BigEndian.AppendUint32(nil, toIP),
	}
	if raw := f.build(&eth, &arp); raw != nil {
		f.enqueue(port, raw, nil, queued{charge: unbilled})
		f.flush(port)
	}
}

// build serialises layers behind an empty virtio header; the result is valid
// until the next call. Nil if they do not fit together.
func (f *Forwarder) build(l ...gopacket.SerializableLayer) []byte {
	opt := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(f.arpIO.out, opt, l...); err != nil {
		return nil
	}
	return append(append(f.built[:0], make([]byte, packet.VirtioLen)...), f.arpIO.out.Bytes()...)
}

func unpackMAC(mac uint64) net.HardwareAddr {
	return binary.BigEndian.AppendUint64(nil, mac<<16)[:6]
}

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
