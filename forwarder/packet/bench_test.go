package packet

import "testing"

func TestThePacketPathAllocatesNothing(t *testing.T) {
	bulk, one := superTCP(t, 60000, 1448), offload(t, udpFrame(t, 2000), 0, 0)
	icmp := quote(t, TimeExceeded, udpFrame(t, 60), 60)
	frame := make([]byte, 1<<16)
	scratch := make([]byte, 2048)
	emitted := 0
	emit := func(raw []byte) { emitted += len(raw) }
	run6, buffer := dataTCP6(t, 2000, 1000), make([]byte, MaxMerged)
	lend := func() []byte { return buffer }
	var m Merger
	six, tagged := extended(superUDP6(t, 60000, 1428), options(hopByHop, 8)), vlan(superTCP6(t, 60000, 1428), EtherTypeVLAN, 7)
	ping := icmp6Frame(t, EchoRequest6, 56)
	var p Packet
	run := func() {
		for _, raw := range [][]byte{bulk, one, icmp, six, tagged, ping} {
			n := copy(frame, raw)
			if p.Decode(frame[:n]) != Kept {
				t.Fatal("not kept")
			}
			p.SetSrc(wanIP, 61000)
			p.SetDst(clientIP, 61000)
			p.SetMACs(1, 2)
			p.DecrementTTL()
			p.ClampMSS(1400)
			p.Hosts()
			if p.ECT() {
				p.MarkCE()
			}
			p.SetEmbeddedSrc(clientIP, 1)
			p.SetEmbeddedDst(clientIP, 1)
			p.Cut(2)
			p.Segment(scratch, emit)
			p.Rest(2)
			p.ValidChecksum()
			p.Fragment(1500, scratch, emit)
			p.FinishChecksum()
		}
		p.Decode(run6[0])
		m.Begin(&p)
		p.Decode(run6[1])
		if !m.Add(&p, lend) || len(m.Frame()) < 2000 {
			t.Fatal("not merged")
		}
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if emitted == 0 {
		t.Error("nothing was done")
	}
}

func BenchmarkDecode60(b *testing.B) {
	raw := append(tcpFrame(b, 0), make([]byte, 6)...)
	var p Packet
	for b.Loop() {
		p.Decode(raw)
	}
}

func BenchmarkDecodeIPv6(b *testing.B) {
	raw := tcp6Frame(b, 0)
	var p Packet
	for b.Loop() {
		p.Decode(raw)
	}
}

func BenchmarkDecodeSuperPacket(b *testing.B) {
	raw := superTCP(b, 64000, 1448)
	var p Packet
	for b.Loop() {
		p.Decode(raw)
	}
}

func BenchmarkSetSrc(b *testing.B) {
	p := decode(b, tcpFrame(b, 0))
	for b.Loop() {
		p.SetSrc(p.Src+1, p.SrcPort+1)
	}
}

func BenchmarkSetSrcPartial(b *testing.B) {
	p := decode(b, superTCP(b, 64000, 1448))
	for b.Loop() {
		p.SetSrc(p.Src+1, p.SrcPort+1)
	}
}

func BenchmarkDecodeAndCut(b *testing.B) {
	raw := superTCP(b, 64000, 1448)
	var p Packet
	for b.Loop() {
		p.Decode(raw)
		p.Cut(2)
	}
}
