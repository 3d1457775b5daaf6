package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func TestRewriting(t *testing.T) {
	translate := func(p *Packet) { p.SetSrc(wanIP, 61000) }
	rows := []struct {
		name   string
		frame  []byte
		change func(*Packet)
	}{
		{"a source of TCP", tcpFrame(t, 100), translate},
		{"a source of TCP whose payload is odd", tcpFrame(t, 101), translate},
		{"a source of TCP with a partial checksum", offload(t, tcpFrame(t, 100), 0, 0), translate},
		{"a source of UDP", udpFrame(t, 33), translate},
		{"a source of UDP with a partial checksum", offload(t, udpFrame(t, 33), 0, 0), translate},
		{"a source of an echo request", icmpFrame(t, EchoRequest, text(56)), translate},
		{"a destination of TCP", tcpFrame(t, 100), func(p *Packet) { p.SetDst(clientIP+1, 9) }},
		{"a destination of UDP with a partial checksum", offload(t, udpFrame(t, 1), 0, 0), func(p *Packet) { p.SetDst(0xffffffff, 0xffff) }},
		{"a destination of an echo reply", icmpFrame(t, EchoReply, text(3)), func(p *Packet) { p.SetDst(clientIP, 0) }},
		{"source and destination, for hairpin", tcpFrame(t, 9), func(p *Packet) { translate(p); p.SetDst(clientIP+9, 22) }},
		{"the same source again", udpFrame(t, 8), func(p *Packet) { p.SetSrc(p.Src, p.SrcPort) }},
		{"a hop", tcpFrame(t, 0), (*Packet).DecrementTTL},
		{"all hops", tcpFrame(t, 0), func(p *Packet) {
			for range 300 {
				p.DecrementTTL()
			}
		}},
		{"a hop of IPv6", tcp6Frame(t, 0), (*Packet).DecrementTTL},
		{"all hops of IPv6", udp6Frame(t, 9), func(p *Packet) {
			for range 300 {
				p.DecrementTTL()
			}
		}},
		{"MAC addresses of IPv6", icmp6Frame(t, EchoRequest6, 9), func(p *Packet) { p.SetMACs(0x0200deadbeef, 0x0a0b0c0d0e0f) }},
		{"an IPv4 source of IPv6", tcp6Frame(t, 0), translate},
		{"an IPv4 destination of IPv6 with a partial checksum", offload(t, udp6Frame(t, 0), 0, 0), func(p *Packet) { p.SetDst(1, 2) }},
		{"MAC addresses", tcpFrame(t, 0), func(p *Packet) { p.SetMACs(0x0200deadbeef, 0x0a0b0c0d0e0f) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := decode(t, row.frame)
			row.change(p)
			var again Packet
			if r := again.Decode(bytes.Clone(p.Raw)); r != Kept {
				t.Fatal(r)
			}
			again.Raw = p.Raw
			if again := again; !same(&again, p) {
				t.Errorf("fields differ from bytes:\n%+v\n%+v", *p, again)
			}
			p.FinishChecksum()
			finished(t, p.Raw)
			if !p.ValidChecksum() {
				t.Error("ValidChecksum is false")
			}
		})
	}
}

// same compares all fields but Raw's bytes.
func same(a, b *Packet) bool {
	x, y := *a, *b
	x.Raw, y.Raw = nil, nil
	x.tail, y.tail = tail{}, tail{}
	return x.equal(&y)
}

func (p *Packet) equal(q *Packet) bool {
	return p.VLAN == q.VLAN && p.Tagged == q.Tagged && p.Version == q.Version && p.hidden == q.hidden && p.addresses == q.addresses && p.L3 == q.L3 && p.L4 == q.L4 && p.Payload == q.Payload && p.Len == q.Len && p.HeaderLen == q.HeaderLen &&
		p.SrcMAC == q.SrcMAC && p.DstMAC == q.DstMAC && p.EtherType == q.EtherType && p.Proto == q.Proto && p.TTL == q.TTL &&
		p.Src == q.Src && p.Dst == q.Dst && p.SrcPort == q.SrcPort && p.DstPort == q.DstPort && p.ID == q.ID &&
		p.FragOffset == q.FragOffset && p.MoreFragments == q.MoreFragments && p.DontFragment == q.DontFragment &&
		p.Flags == q.Flags && p.Seq == q.Seq && p.Ack == q.Ack && p.Window == q.Window && p.WScale == q.WScale &&
		p.ICMPType == q.ICMPType && p.ICMPCode == q.ICMPCode && p.Segments == q.Segments &&
		p.SegmentSize == q.SegmentSize && p.WireLen == q.WireLen
}

func TestUDPWithoutChecksumStaysWithout(t *testing.T) {
	raw := udpFrame(t, 20)
	copy(raw[VirtioLen+EthernetLen+20+6:], []byte{0, 0})
	p := decode(t, raw)
	p.SetSrc(wanIP, 1)
	p.SetDst(clientIP, 2)
	if got := get16(p.Raw[p.L4+6:]); got != 0 {
		t.Errorf("checksum %#x", got)
	}
	if !p.ValidChecksum() {
		t.Error("ValidChecksum is false")
	}
}

// Every port is tried, so that the sum passes through zero.
func TestUDPComputedZeroIsSentAsOnes(t *testing.T) {
	zeros := 0
	for _, partial := range []bool{false, true} {
		raw := udpFrame(t, 20)
		if partial {
			raw = offload(t, raw, 0, 0)
		}
		for port := range 1 << 16 {
			p := decode(t, bytes.Clone(raw))
			p.SetSrc(wanIP, uint16(port))
			p.FinishChecksum()
			switch get16(p.Raw[p.L4+6:]) {
			case 0:
				t.Fatalf("port %d (partial: %v) lost its checksum", port, partial)
			case 0xffff:
				zeros++
			}
			if !p.ValidChecksum() {
				t.Fatalf("port %d (partial: %v) has a wrong checksum", port, partial)
			}
		}
	}
	if zeros != 2 {
		t.Errorf("%d sums of zero met, want one each way", zeros)
	}
}

func TestWrongChecksumStaysWrong(t *testing.T) {
	for _, raw := range [][]byte{
		tcpFrame(t, 10), udpFrame(t, 10), icmpFrame(t, EchoRequest, text(10)),
		tcp6Frame(t, 10), udp6Frame(t, 10), icmp6Frame(t, EchoRequest6, 10),
	} {
		raw[len(raw)-1] ^= 0x40
		p := decode(t, raw)
		p.SetSrc(wanIP, 1234)
		if p.ValidChecksum() {
			t.Errorf("protocol %d: repaired", p.Proto)
		}
	}
}

func TestLaterFragmentsHaveNoPorts(t *testing.T) {
	ip := ipv4(layers.IPProtocolUDP)
	ip.FragOffset = 100
	p := decode(t, serialize(t, ethernet(), ip, gopacket.Payload(text(64))))
	if p.HasPorts() || p.FragOffset != 800 || !p.IsFragment() || p.HeaderLen != 20 {
		t.Fatalf("%+v", p)
	}
	p.SetSrc(wanIP, 61000)
	p.SetDst(serverIP+1, 61000)
	if !bytes.Equal(p.Raw[p.L4:], text(64)) {
		t.Error("payload changed")
	}
	decode(t, p.Raw)
}

func TestFramesThatAreNotIPv4AreLeftAlone(t *testing.T) {
	eth := ethernet()
	eth.EthernetType = layers.EthernetTypeARP
	raw := append(serialize(t, eth), text(28)...)
	p := decode(t, raw)
	before := bytes.Clone(raw)
	p.SetSrc(1, 1)
	p.SetDst(1, 1)
	p.DecrementTTL()
	p.ClampMSS(1)
	p.FinishChecksum()
	p.SetEmbeddedSrc(1, 1)
	p.Cut(0)
	if p.Rest(0) != nil || !bytes.Equal(p.Raw, before) || !p.ValidChecksum() || p.Fragment(68, nil, nil) {
		t.Error("changed")
	}
}
