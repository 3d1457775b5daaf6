package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// segments is what a network card would make of a super-packet, by gopacket: the oracle for Segment, Cut and Rest.
func segments(t testing.TB, raw []byte, size int) [][]byte {
	t.Helper()
	eth, ip, proto := dissect(t, raw)
	var id uint16
	v4, counts := ip.(*layers.IPv4)
	if counts {
		id = v4.Id
	}
	var out [][]byte
	add := func(l4 gopacket.SerializableLayer, piece []byte) {
		if counts {
			v4.Id = id + uint16(len(out))
		}
		out = append(out, serialize(t, eth, ip, l4, gopacket.Payload(piece)))
	}
	if proto == layers.IPProtocolUDP {
		var u layers.UDP
		take(t, &u, ip.LayerPayload())
		payload := u.Payload
		for ; len(payload) > size; payload = payload[size:] {
			add(&u, payload[:size])
		}
		add(&u, payload)
		return out
	}
	var l4 layers.TCP
	take(t, &l4, ip.LayerPayload())
	payload, fin, psh := l4.Payload, l4.FIN, l4.PSH
	for len(payload) > size {
		l4.FIN, l4.PSH = false, false
		add(&l4, payload[:size])
		l4.CWR = false
		l4.Seq += uint32(size)
		payload = payload[size:]
	}
	l4.FIN, l4.PSH = fin, psh
	add(&l4, payload)
	return out
}

// segmented is what Segment makes of a copy of p.
func segmented(t testing.TB, p *Packet) [][]byte {
	t.Helper()
	q := *p
	q.Raw = bytes.Clone(p.Raw)
	var out [][]byte
	scratch := make([]byte, q.Payload+q.SegmentSize)
	if !q.Segment(scratch, func(raw []byte) { out = append(out, bytes.Clone(raw)) }) {
		t.Fatal("Segment is false")
	}
	return out
}

func sameFrames(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d segments, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("segment %d of %d\n got %x\nwant %x", i, len(want), got[i], want[i])
		}
	}
}

func superTCP(t testing.TB, payload, size int) []byte {
	l4 := tcp()
	l4.FIN, l4.PSH, l4.CWR, l4.ECE = true, true, true, true
	l4.Options = timestamps()
	raw := serialize(t, ethernet(), ipv4(layers.IPProtocolTCP), l4, gopacket.Payload(text(payload)))
	return offload(t, raw, gsoTCPv4|gsoECN, size)
}

func superUDP(t testing.TB, payload, size int) []byte {
	return offload(t, udpFrame(t, payload), gsoUDP, size)
}

var superRows = []struct {
	name  string
	frame func(testing.TB, int, int) []byte
	bytes int
	size  int
}{
	{"TCP with a short end", superTCP, 5001, 1000},
	{"TCP with a full end", superTCP, 5000, 1000},
	{"TCP of the largest size", superTCP, 65535 - 52, 1448},
	{"TCP with segments smaller than the headers", superTCP, 50, 7},
	{"UDP with a short end", superUDP, 5001, 1000},
	{"UDP with a full end", superUDP, 5000, 1000},
	{"UDP of single bytes", superUDP, 9, 1},
	{"TCP over IPv6 with a short end", superTCP6, 5001, 1000},
	{"TCP over IPv6 with a full end", superTCP6, 5000, 1000},
	{"TCP over IPv6 of the largest size", superTCP6, 65535 - 32 - 128, 1428},
	{"TCP over IPv6 with segments smaller than the headers", superTCP6, 50, 7},
	{"UDP over IPv6 with a short end", superUDP6, 5001, 1000},
	{"UDP over IPv6 with a full end", superUDP6, 5000, 1000},
	{"UDP over IPv6 of single bytes", superUDP6, 9, 1},
}

// superFrames calls back with each kind of super-packet in each dress, and what a network card would make of it.
func superFrames(t *testing.T, try func(t *testing.T, raw []byte, want [][]byte)) {
	for _, row := range superRows {
		plain := row.frame(t, row.bytes, row.size)
		for _, dress := range dresses {
			if dress.six && get16(plain[VirtioLen+12:]) != EtherTypeIPv6 {
				continue
			}
			t.Run(row.name+" "+dress.name, func(t *testing.T) {
				try(t, dress.on(plain), dressed(segments(t, plain, row.size), dress.on))
			})
		}
	}
}

func TestSegment(t *testing.T) {
	superFrames(t, func(t *testing.T, raw []byte, want [][]byte) {
		p := decode(t, raw)
		got := segmented(t, p)
		sameFrames(t, got, want)
		total := 0
		for _, s := range got {
			wirePacket(t, s)
			total += len(s) - p.L3
		}
		if total != p.WireLen {
			t.Errorf("%d bytes on the wire, WireLen %d", total, p.WireLen)
		}
		if p.Segment(make([]byte, p.Payload+p.SegmentSize-1), func([]byte) { t.Error("emitted") }) {
			t.Error("took a scratch too short")
		}
	})
	t.Run("a single packet is finished in place", func(t *testing.T) {
		p := decode(t, offload(t, tcpFrame(t, 11), 0, 0))
		sameFrames(t, segmented(t, p), [][]byte{tcpFrame(t, 11)})
	})
	t.Run("what is not IP and not finished is refused", func(t *testing.T) {
		raw := vlan(superTCP6(t, 500, 100), EtherTypeQinQ, 5)
		raw = vlan(raw, EtherTypeQinQ, 6)
		if decode(t, raw).Segment(make([]byte, 2000), func([]byte) { t.Error("emitted") }) {
			t.Error("true")
		}
	})
}

// The head that Cut leaves and what Rest makes of the buffer are, segment by segment, what the whole would have been.
func TestCutAndRest(t *testing.T) {
	superFrames(t, func(t *testing.T, raw []byte, want [][]byte) {
		for n := range len(want) + 2 {
			p := decode(t, bytes.Clone(raw))
			wire := p.WireLen
			p.Cut(n)
			kept := min(max(n, 1), len(want))
			if p.Segments != kept {
				t.Fatalf("Cut(%d) keeps %d of %d", n, p.Segments, len(want))
			}
			consistent(t, p)
			sameFrames(t, segmented(t, p), want[:kept])
			wire -= p.WireLen
			if kept == 1 {
				p.FinishChecksum() // as a port without offloads would
				sameFrames(t, [][]byte{p.Raw}, want[:1])
			}
			rest := p.Rest(n)
			if (rest == nil) != (kept == len(want)) {
				t.Fatalf("Rest(%d) is %d bytes", n, len(rest))
			}
			if rest == nil {
				continue
			}
			if &rest[0] != &p.Raw[0] || p.WireLen != wire {
				t.Fatalf("Rest(%d): %d bytes on the wire, want %d", n, p.WireLen, wire)
			}
			consistent(t, p)
			sameFrames(t, segmented(t, p), want[kept:])
		}
	})
}

// consistent fails unless decoding p's bytes gives p's fields.
func consistent(t testing.TB, p *Packet) {
	t.Helper()
	q := decode(t, bytes.Clone(p.Raw))
	if !same(p, q) {
		t.Fatalf("fields differ from bytes:\n%+v\n%+v", *p, *q)
	}
	if !bytes.Equal(p.Raw, q.Raw) {
		t.Fatal("Decode still found something to change")
	}
}

func TestCutInSteps(t *testing.T) {
	raw := superTCP(t, 9500, 1000)
	want := segments(t, raw, 1000)
	p := decode(t, raw)
	p.Cut(6)
	p.Cut(2) // less fits after all
	sameFrames(t, segmented(t, p), want[:2])
	p.SetSrc(wanIP, 61000) // the head is translated, so the rest is
	p.SetSrc(clientIP, 40000)
	p.Rest(2)
	p.Cut(1)
	sameFrames(t, segmented(t, p), want[2:3])
	p.Rest(1)
	p.Rest(3) // without Cut
	sameFrames(t, segmented(t, p), want[6:])
	p.Rest(3)
	sameFrames(t, segmented(t, p), want[9:])
	if p.Rest(1) != nil {
		t.Error("still more")
	}
}

func FuzzCut(f *testing.F) {
	f.Add(true, uint16(5000), uint16(1000), uint8(2), uint8(1))
	f.Add(false, uint16(50), uint16(7), uint8(3), uint8(0))
	f.Add(true, uint16(65000), uint16(1448), uint8(44), uint8(255))
	f.Fuzz(func(t *testing.T, isTCP bool, length, size uint16, first, second uint8) {
		if size == 0 || length > 65000 || int(length)/int(size) > 200 {
			return
		}
		kinds := []func(testing.TB, int, int) []byte{superUDP, superUDP6}
		if isTCP {
			kinds = []func(testing.TB, int, int) []byte{superTCP, superTCP6}
		}
		for version, frame := range kinds {
			plain := frame(t, int(length), int(size))
			want := segments(t, plain, int(size))
			for _, dress := range dresses {
				if !dress.six || version == 1 {
					cutTwice(t, dress.on(plain), dressed(want, dress.on), int(first), int(second))
				}
			}
		}
	})
}

func cutTwice(t *testing.T, raw []byte, want [][]byte, first, second int) {
	p := decode(t, raw)
	var got [][]byte
	for _, n := range []int{first, second} {
		p.Cut(n)
		consistent(t, p)
		got = append(got, segmented(t, p)...)
		if p.Rest(n) == nil {
			sameFrames(t, got, want)
			return
		}
		consistent(t, p)
	}
	sameFrames(t, append(got, segmented(t, p)...), want)
}
