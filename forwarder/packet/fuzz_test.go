package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// FuzzDecode feeds frames as they are, and once more with a right IPv4 checksum, so that the fuzzer gets past it. Whatever is
// kept must survive every method; what had right checksums must have right ones after, and gopacket must read the same.
func FuzzDecode(f *testing.F) {
	seeds := [][]byte{
		nil, tcpFrame(f, 0), tcpFrame(f, 99), udpFrame(f, 99), icmpFrame(f, EchoRequest, text(60)),
		quote(f, TimeExceeded, udpFrame(f, 60), 60), synFrame(f, []byte{1, 2, 4, 5, 180, 3, 3, 7}),
		superTCP(f, 500, 100), superUDP(f, 500, 100), offload(f, udpFrame(f, 50), 0, 0),
		with(udpFrame(f, 99), func(_, ip []byte) { ip[6] = 0x20 }),
		with(udpFrame(f, 99), func(_, ip []byte) { ip[7] = 9 }),
		with(udpFrame(f, 99), func(_, ip []byte) { ip[0] = 0x46 }),
		tcp6Frame(f, 99), icmp6Frame(f, EchoRequest6, 60), icmp6Frame(f, 2, 60), superUDP6(f, 500, 100),
		extended(udp6Frame(f, 96), options(hopByHop, 8), part(0, true)), extended(udp6Frame(f, 96), part(96, false)),
		extended(udp6Frame(f, 96), route(sourceRoute, 1, clientIP6)), extended(udp6Frame(f, 96), route(3, 1, clientIP6)),
		vlan(vlan(tcpFrame(f, 9), EtherTypeVLAN, 7), EtherTypeQinQ, 8), vlan(nil14(), EtherTypeVLAN, 7),
	}
	for _, dress := range dresses {
		seeds = append(seeds, dress.on(superTCP6(f, 500, 100)), dress.on(udp6Frame(f, 9)))
		if !dress.six {
			seeds = append(seeds, dress.on(superTCP(f, 500, 100)))
		}
	}
	for _, raw := range seeds {
		f.Add(raw, uint32(wanIP), uint16(61000), uint16(1400))
	}
	f.Fuzz(func(t *testing.T, raw []byte, ip uint32, port, size uint16) {
		exercise(t, bytes.Clone(raw), ip, port, size)
		if len(raw) >= ipAt {
			exercise(t, with(raw, func([]byte, []byte) {}), ip, port, size)
		}
	})
}

func exercise(t *testing.T, raw []byte, ip uint32, port, size uint16) {
	var p Packet
	r := p.Decode(raw)
	if p.BadOption != 0 && (r != Malformed || p.BadOption < ipv4Len || p.L3+int(p.BadOption) >= p.L4 || p.L4 > len(p.Raw) || p.L3+p.HeaderLen > len(p.Raw)) {
		t.Fatalf("%v: %+v", r, p)
	}
	if r != Kept {
		return
	}
	if p.L3 > p.L4 || p.L4 > p.Payload || p.Payload > len(p.Raw) || p.Segments < 1 || p.WireLen < p.Len ||
		p.Segments > 1 && p.Payload > MaxHeaders ||
		(p.Version == 0) != (p.HeaderLen == 0) || p.Version != 0 && p.L3+p.Len != len(p.Raw) || p.Version == 6 && p.Src|p.Dst != 0 || p.Version != 6 && p.addresses != 0 {
		t.Fatalf("%+v", p)
	}
	consistent(t, &p)
	agrees(t, &p)
	right := willBeRight(&p)
	wasICMPError := p.IsICMPError()

	p.SetMACs(uint64(ip), uint64(port))
	p.SetSrc(ip, port)
	p.SetDst(ip+1, port+1)
	p.DecrementTTL()
	p.ClampMSS(size)
	if p.ECT() {
		p.MarkCE()
	}
	p.SetEmbeddedSrc(ip+2, port+2)
	p.SetEmbeddedDst(ip+3, port+3)
	consistent(t, &p)
	if right != willBeRight(&p) {
		t.Fatalf("checksum was right: %v, is not now: %x", right, p.Raw)
	}
	if wasICMPError != p.IsICMPError() {
		t.Fatal("became another packet")
	}

	for range 3 {
		p.Cut(int(port%5) + 1)
		consistent(t, &p)
		head := p
		head.Raw = bytes.Clone(p.Raw)
		wire, several := 0, head.Segments > 1
		done := head.Segment(make([]byte, head.Payload+head.SegmentSize), func(raw []byte) {
			var q Packet
			if q.Decode(bytes.Clone(raw)) != Kept || q.Segments != 1 || right && !q.ValidChecksum() {
				t.Fatalf("segment: %x", raw)
			}
			if wire += len(raw) - q.L3; several {
				checksumAgrees(t, &q)
			}
		})
		if done && p.Version != 0 && wire != p.WireLen {
			t.Fatalf("%d bytes on the wire, WireLen %d: %x", wire, p.WireLen, p.Raw)
		}
		if p.Rest(int(port%5)+1) == nil {
			break
		}
		consistent(t, &p)
	}
	mtu := 68 + int(size)
	p.Fragment(mtu, make([]byte, p.L3+mtu), func(raw []byte) {
		var q Packet
		if p.Proto == TCP && p.Len > mtu {
			return // a header with options may not fit the first fragment
		}
		if q.Decode(bytes.Clone(raw)) != Kept || q.Len > mtu {
			t.Fatalf("fragment: %x", raw)
		}
	})
	p.FinishChecksum()
	if p.HeaderLen != 0 && p.Segments == 1 && p.Partial() || right && !p.ValidChecksum() {
		t.Fatalf("not finished: %x", p.Raw)
	}
}

// willBeRight reports whether p's checksum is right on the wire; a partial one holds whatever the sender wrote.
func willBeRight(p *Packet) bool {
	q := *p
	q.Raw = bytes.Clone(p.Raw)
	q.FinishChecksum()
	return q.ValidChecksum()
}

// agrees fails if gopacket reads other values from the same bytes.
func agrees(t *testing.T, p *Packet) {
	tagAgrees(t, p)
	switch p.EtherType {
	case EtherTypeIPv6:
		agrees6(t, p)
		return
	case EtherTypeIPv4:
	default:
		return
	}
	var ip layers.IPv4
	if err := ip.DecodeFromBytes(p.Raw[p.L3:], gopacket.NilDecodeFeedback); err != nil {
		return // gopacket is stricter about options
	}
	if !ip.SrcIP.Equal(netIP(p.Src)) || !ip.DstIP.Equal(netIP(p.Dst)) || uint8(ip.Protocol) != p.Proto ||
		ip.TTL != p.TTL || ip.Id != p.ID || ip.FragOffset*8 != p.FragOffset ||
		ip.Flags&layers.IPv4MoreFragments != 0 != p.MoreFragments || len(ip.Payload) != len(p.Raw)-p.L4 {
		t.Fatalf("gopacket: %+v\n%+v", ip, *p)
	}
	if p.FragOffset == 0 {
		transportAgrees(t, p, ip.Payload)
	}
}

// transportAgrees is agrees for layer 4.
func transportAgrees(t *testing.T, p *Packet, payload []byte) {
	switch p.Proto {
	case TCP:
		var l layers.TCP
		if l.DecodeFromBytes(payload, gopacket.NilDecodeFeedback) == nil &&
			(uint16(l.SrcPort) != p.SrcPort || uint16(l.DstPort) != p.DstPort || l.Seq != p.Seq || l.Ack != p.Ack ||
				l.Window != p.Window || l.SYN != (p.Flags&SYN != 0) || l.CWR != (p.Flags&CWR != 0) || l.FIN != (p.Flags&FIN != 0) ||
				len(l.Payload) != len(p.Raw)-p.Payload) {
			t.Fatalf("gopacket: %+v\n%+v", l, *p)
		}
	case UDP:
		var l layers.UDP
		if l.DecodeFromBytes(payload, gopacket.NilDecodeFeedback) == nil &&
			(uint16(l.SrcPort) != p.SrcPort || uint16(l.DstPort) != p.DstPort) {
			t.Fatalf("gopacket: %+v\n%+v", l, *p)
		}
	}
}
