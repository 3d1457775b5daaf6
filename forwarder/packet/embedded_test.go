package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// quote is an ICMP error of that type from a router to the WAN address about a packet, of which it quotes n bytes.
func quote(t testing.TB, icmpType uint8, about []byte, n int) []byte {
	t.Helper()
	ip := ipv4(layers.IPProtocolICMPv4)
	ip.SrcIP, ip.DstIP = netIP(0x0b000001), netIP(wanIP)
	return serialize(t, ethernet(), ip,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(icmpType, 1)}, gopacket.Payload(about[ipAt:][:n]))
}

// translated is what a packet of the client looks like behind the NAT, made by gopacket.
func translated(t testing.TB, raw []byte, port uint16) []byte {
	t.Helper()
	raw = bytes.Clone(raw)
	copy(raw[ipAt+12:], netIP(wanIP))
	at := ipAt + 20
	if raw[ipAt+9] == ICMP {
		at += 4
	}
	put16(raw[at:], port)
	return reserialize(t, raw)
}

func TestEmbeddedIsTranslatedBack(t *testing.T) {
	rows := []struct {
		name string
		own  []byte
		port uint16
	}{
		{"TCP", tcpFrame(t, 100), 40000},
		{"UDP", udpFrame(t, 100), 5000},
		{"an echo request", icmpFrame(t, EchoRequest, text(100)), 77},
	}
	for _, row := range rows {
		for _, n := range []int{28, 36, 38, 40, 41, 100, len(row.own) - ipAt} {
			if n > len(row.own)-ipAt {
				continue
			}
			p := decode(t, quote(t, TimeExceeded, translated(t, row.own, 61000), n))
			var in Inner
			if !p.Embedded(&in) {
				t.Fatalf("%s, %d bytes: not read", row.name, n)
			}
			if in.Src != wanIP || in.SrcPort != 61000 || in.Dst != serverIP || in.Proto != row.own[ipAt+9] {
				t.Fatalf("%s, %d bytes: %+v", row.name, n, in)
			}
			p.SetEmbeddedSrc(clientIP, row.port)
			if !bytes.Equal(p.Raw[p.Payload:], row.own[ipAt:][:n]) {
				t.Errorf("%s, %d bytes:\n got %x\nwant %x", row.name, n, p.Raw[p.Payload:], row.own[ipAt:][:n])
			}
			finished(t, p.Raw)
		}
	}
}

// What a client answers about a packet that came to it goes out with the external destination.
func TestEmbeddedDestination(t *testing.T) {
	for _, about := range [][]byte{tcpFrame(t, 60), udpFrame(t, 60), icmpFrame(t, EchoReply, text(60))} {
		p := decode(t, quote(t, Unreachable, about, 60))
		p.SetEmbeddedDst(wanIP, 61001)
		var in Inner
		if !p.Embedded(&in) || in.Dst != wanIP || in.DstPort != 61001 || in.Src != clientIP {
			t.Fatalf("%+v", in)
		}
		finished(t, p.Raw)
		inner := append(make([]byte, ipAt), about[ipAt:]...)
		put16(inner[VirtioLen+12:], EtherTypeIPv4)
		copy(inner[ipAt:], p.Raw[p.Payload:])
		if q := decode(t, inner); !q.ValidChecksum() {
			t.Errorf("protocol %d: inner checksum", q.Proto)
		}
	}
}

func TestEmbeddedUDPWithoutChecksum(t *testing.T) {
	about := udpFrame(t, 20)
	put16(about[ipAt+26:], 0)
	p := decode(t, quote(t, Unreachable, about, 48))
	p.SetEmbeddedSrc(wanIP, 9)
	if get16(p.Raw[p.Payload+26:]) != 0 {
		t.Error("has one now")
	}
	finished(t, p.Raw)
}

func TestEmbeddedRefuses(t *testing.T) {
	udpRaw := udpFrame(t, 60)
	inner := func(change func(ip []byte)) []byte {
		return quote(t, TimeExceeded, with(udpRaw, func(_, ip []byte) { change(ip) }), 60)
	}
	rows := []struct {
		name string
		raw  []byte
		want bool
	}{
		{"an error", inner(func([]byte) {}), true},
		{"a source quench", quote(t, SourceQuench, udpRaw, 28), true},
		{"a parameter problem", quote(t, ParameterProblem, udpRaw, 28), true},
		{"a redirect", quote(t, Redirect, udpRaw, 60), false},
		{"an echo", quote(t, EchoRequest, udpRaw, 60), false},
		{"TCP", tcpFrame(t, 60), false},
		{"7 quoted bytes", quote(t, TimeExceeded, udpRaw, 27), false},
		{"no quoted byte", quote(t, TimeExceeded, udpRaw, 0), false},
		{"an inner version 6", inner(func(ip []byte) { ip[0] = 0x65 }), false},
		{"an inner header length of 4 words", inner(func(ip []byte) { ip[0] = 0x44 }), false},
		{"an inner header that leaves 8 bytes", inner(func(ip []byte) { ip[0] = 0x4d }), true},
		{"an inner header that leaves 4 bytes", inner(func(ip []byte) { ip[0] = 0x4e }), false},
		{"an inner later fragment", inner(func(ip []byte) { ip[7] = 1 }), false},
		{"an inner first fragment", inner(func(ip []byte) { ip[6] = 0x20 }), true},
		{"an inner total length without ports", inner(func(ip []byte) { put16(ip[2:], 27) }), false},
		{"an inner protocol without ports", inner(func(ip []byte) { ip[9] = 47 }), false},
		{"an inner ICMP error", quote(t, TimeExceeded, quote(t, TimeExceeded, udpRaw, 28), 56), false},
		{"an error that is a fragment", with(inner(func([]byte) {}), func(_, ip []byte) { ip[6] = 0x20 }), false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := decode(t, row.raw)
			before := bytes.Clone(p.Raw)
			var in Inner
			if got := p.Embedded(&in); got != row.want {
				t.Errorf("%v: %+v", got, in)
			}
			p.SetEmbeddedSrc(1, 2)
			if row.want == bytes.Equal(p.Raw, before) {
				t.Errorf("changed: %v", !row.want)
			}
		})
	}
}

// A checksum behind the inner packet's own end is not one.
func TestEmbeddedTouchesNothingBehindTheInnerPacket(t *testing.T) {
	about := with(tcpFrame(t, 60), func(_, ip []byte) { put16(ip[2:], 36) })
	p := decode(t, quote(t, TimeExceeded, about, 60))
	p.SetEmbeddedSrc(wanIP, 9)
	if !bytes.Equal(p.Raw[p.Payload+22:], about[ipAt+22:][:38]) {
		t.Error("touched")
	}
	finished(t, p.Raw)
}

func FuzzEmbedded(f *testing.F) {
	for _, about := range [][]byte{tcpFrame(f, 60), udpFrame(f, 60), icmpFrame(f, EchoRequest, text(60))} {
		for _, n := range []int{28, 60} {
			f.Add(uint8(TimeExceeded), about[ipAt:][:n], uint32(clientIP), uint16(1))
		}
	}
	f.Fuzz(func(t *testing.T, icmpType uint8, quoted []byte, ip uint32, port uint16) {
		if len(quoted) > 1400 {
			return
		}
		raw := quote(t, icmpType, append(make([]byte, ipAt), quoted...), len(quoted))
		p := decode(t, raw)
		var in Inner
		if !p.Embedded(&in) {
			return
		}
		p.SetEmbeddedSrc(ip, port)
		p.SetEmbeddedDst(ip+1, port+1)
		if !p.Embedded(&in) || in.Src != ip || in.Dst != ip+1 || in.DstPort != port+1 {
			t.Fatalf("%+v", in)
		}
		if in.Proto != ICMP && in.SrcPort != port {
			t.Fatalf("%+v", in)
		}
		if !p.ValidChecksum() {
			t.Fatalf("outer checksum: %x", p.Raw)
		}
		was, is := naiveSum(quoted[:in.L4-in.L3]), naiveSum(p.Raw[in.L3:in.L4])
		if was%0xffff != is%0xffff {
			t.Fatalf("inner header sum was %#x, is %#x", was, is)
		}
	})
}
