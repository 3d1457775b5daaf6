package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// nil14 is an Ethernet header with nothing behind it.
func nil14() []byte { return make([]byte, VirtioLen+EthernetLen) }

// tagAgrees fails if gopacket reads another VLAN tag, or another EtherType behind it.
func tagAgrees(t *testing.T, p *Packet) {
	var eth layers.Ethernet
	var tag layers.Dot1Q
	if eth.DecodeFromBytes(p.Raw[VirtioLen:], gopacket.NilDecodeFeedback) != nil {
		return
	}
	if tagged := eth.EthernetType == layers.EthernetTypeDot1Q || eth.EthernetType == layers.EthernetTypeQinQ; tagged != p.Tagged {
		t.Fatalf("gopacket: %+v\n%+v", eth, *p)
	} else if !tagged || tag.DecodeFromBytes(p.Raw[VirtioLen+EthernetLen:], gopacket.NilDecodeFeedback) != nil {
		return
	}
	if tag.VLANIdentifier != p.VLAN&0xfff || tag.Priority != uint8(p.VLAN>>13) || tag.DropEligible != (p.VLAN&0x1000 != 0) ||
		uint16(tag.Type) != p.EtherType || !bytes.Equal(tag.Payload, p.Raw[p.L3:]) {
		t.Fatalf("gopacket: %+v\n%+v", tag, *p)
	}
}

// agrees6 is agrees for IPv6. gopacket stops at routing headers that it does not know, and at fragments.
func agrees6(t *testing.T, p *Packet) {
	all := gopacket.NewPacket(p.Raw[p.L3:], layers.LayerTypeIPv6, gopacket.NoCopy).Layers()
	if len(all) == 0 {
		return // it finds no length of 0 right but a jumbogram's
	}
	for _, layer := range all {
		switch l := layer.(type) {
		case *layers.IPv6:
			src, dst := p.Src6(), p.Dst6()
			if !bytes.Equal(l.SrcIP, src[:]) || !bytes.Equal(l.DstIP, dst[:]) || l.HopLimit != p.TTL ||
				l.TrafficClass&3 != 0 != p.ECT() || int(l.Length) != p.Len-ipv6Len {
				t.Fatalf("gopacket: %+v\n%+v", l, *p)
			}
			if isExtension(uint8(l.NextHeader)) {
				continue
			}
			l4Agrees(t, p, uint8(l.NextHeader), p.Raw[p.L3+ipv6Len:])
			return
		case *layers.IPv6HopByHop:
			if isExtension(uint8(l.NextHeader)) {
				continue
			}
			l4Agrees(t, p, uint8(l.NextHeader), l.Payload)
			return
		case *layers.IPv6Destination:
			if isExtension(uint8(l.NextHeader)) {
				continue
			}
			l4Agrees(t, p, uint8(l.NextHeader), l.Payload)
			return
		case *layers.IPv6Fragment:
			if l.FragmentOffset*8 != p.FragOffset || l.MoreFragments != p.MoreFragments {
				t.Fatalf("gopacket: %+v\n%+v", l, *p)
			}
			if p.FragOffset != 0 || !isExtension(uint8(l.NextHeader)) {
				l4Agrees(t, p, uint8(l.NextHeader), l.Payload)
			}
			return
		default:
			return
		}
	}
}

// l4Agrees fails if p's layer 4 is another one, or begins elsewhere.
func l4Agrees(t *testing.T, p *Packet, proto uint8, payload []byte) {
	if proto != p.Proto || !bytes.Equal(payload, p.Raw[p.L4:]) {
		t.Fatalf("gopacket: protocol %d, %d bytes\n%+v", proto, len(payload), *p)
	}
	if p.FragOffset != 0 {
		return
	}
	transportAgrees(t, p, payload)
	if p.Proto == ICMPv6 {
		var l layers.ICMPv6
		if l.DecodeFromBytes(payload, gopacket.NilDecodeFeedback) != nil || l.TypeCode.Type() != p.ICMPType || l.TypeCode.Code() != p.ICMPCode {
			t.Fatalf("gopacket: %+v\n%+v", l, *p)
		}
	}
}

// checksumAgrees fails if gopacket finds another layer 4 checksum than the one that Segment has made.
func checksumAgrees(t *testing.T, p *Packet) {
	if p.Version == 4 && p.L4-p.L3 != ipv4Len {
		return // stricter about options
	}
	raw := bare(t, p.Raw)
	_, ip, proto := dissect(t, raw)
	var want uint16
	switch proto {
	case layers.IPProtocolTCP:
		var l layers.TCP
		if l.DecodeFromBytes(ip.LayerPayload(), gopacket.NilDecodeFeedback) != nil {
			return // stricter about options
		}
		l.SetNetworkLayerForChecksum(ip)
		b := bytes.Clone(ip.LayerPayload())
		put16(b[tcpChecksumAt:], 0)
		l.Contents, l.Payload = b, nil
		want, _ = l.ComputeChecksum()
	case layers.IPProtocolUDP:
		q := decode(t, reserialize(t, raw))
		want = get16(q.Raw[q.L4+udpChecksumAt:])
	}
	got := get16(p.Raw[p.L4+p.checksumOffset():])
	if got != want && (got != 0xffff || want != 0) {
		t.Fatalf("checksum %#x, gopacket has %#x: %x", got, want, p.Raw)
	}
}
