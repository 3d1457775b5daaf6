package packet

import "testing"

func TestThePacketPathAllocatesNothing(t *testing.T) {
	bulk, one := superTCP(t, 60000, 1448), offload(t, udpFrame(t, 2000), 0, 0)
	icmp := quote(t, TimeExceeded, udpFrame(t, 60), 60)
	frame := make([]byte, len(bulk))
	scratch := make([]byte, 2048)
	emitted := 0
	emit := func(raw []byte) { emitted += len(raw) }
	var p Packet
	run := func() {
		for _, raw := range [][]byte{bulk, one, icmp} {
			n := copy(frame, raw)
			if p.Decode(frame[:n]) != Kept {
				t.Fatal("not kept")
			}
			p.SetSrc(wanIP, 61000)
			p.SetDst(clientIP, 61000)
			p.SetMACs(1, 2)
			p.DecrementTTL()
			p.ClampMSS(1400)
			p.SetEmbeddedSrc(clientIP, 1)
			p.SetEmbeddedDst(clientIP, 1)
			p.Cut(2)
			p.Segment(scratch, emit)
			p.Rest(2)
			p.ValidChecksum()
			p.Fragment(1500, scratch, emit)
			p.FinishChecksum()
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
