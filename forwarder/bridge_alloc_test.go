package forwarder

import (
	"fmt"
	"testing"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// onlineAcross has alice online behind a bridge.
func onlineAcross(t testing.TB, terms clients.Terms) *bench {
	b := newBridge(t)
	b.bind(alice, aliceMAC, aliceIP)
	b.grant(alice, terms)
	return b
}

func TestABridgeAllocatesNothing(t *testing.T) {
	slow := free()
	slow.Up = 1000
	rows := []struct {
		name     string
		terms    clients.Terms
		lan, wan func(flow) []byte
	}{
		{"small packets up", free(), small, nil},
		{"small packets down", free(), nil, small},
		{"small IPv6 packets up", free(), small6, nil},
		{"small IPv6 packets down", free(), nil, small6},
		{"super-packets both ways", free(), super, super},
		{"IPv6 super-packets both ways", free(), super6, super6},
		{"tagged packets both ways", free(), smallTagged, smallTagged},
		{"over the rate", slow, super, nil},
		{"over the rate, IPv6", slow, super6, nil},
		{"from nobody known", free(), func(w flow) []byte { w.srcMAC += 0x90; return w.udp(18) }, nil},
		{"IPv6 from nobody known", free(), func(w flow) []byte { w.srcMAC += 0x90; return w.six(17, 18) }, nil},
		{"with a borrowed address", free(), func(w flow) []byte { w.src++; return w.udp(18) }, nil},
		{"to the box", free(), func(w flow) []byte { w.dstMAC, w.dst = lanMAC, lanIP; return w.udp(18) }, nil},
		{"to nobody known", free(), nil, func(w flow) []byte { w.dstMAC += 0x90; return w.udp(18) }},
		{"for many", free(), nil, func(w flow) []byte { w.dstMAC, w.dst = broadcast, 0xffffffff; return w.udp(18) }},
		{"what no bridge passes", free(), func(w flow) []byte { w.dstMAC = linkLocalGroups; return w.udp(18) }, nil},
		{"over the MTU", free(), func(w flow) []byte { return w.udp(3000) }, nil},
		{"in the last bytes of a grant", bytesOf(128), func(w flow) []byte { return w.udp(100) }, nil},
	}
	for _, row := range rows {
		for _, captured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, captured %t", row.name, captured), func(t *testing.T) {
				b := onlineAcross(t, row.terms)
				if captured {
					b.capture(0, alice, 1<<16)
				}
				run, _, _ := grindWith(b, row.lan, row.wan, across, home)
				allocatesNothing(t, b, run)
			})
		}
	}
}

func small6(w flow) []byte      { return w.six(17, 18) }
func super6(w flow) []byte      { return w.superSix(17, 60000, 1200) }
func smallTagged(w flow) []byte { return tagged(w.udp(18), 7) }

// benchmarkAcross counts packets, of which those over IPv6 leave joined.
func benchmarkAcross(b *testing.B, lan, wan func(flow) []byte) {
	bn := onlineAcross(b, free())
	run, _, _ := grindWith(bn, lan, wan, across, home)
	run()
	passed := func() uint64 { u := bn.use(alice, 1); return u.UpPackets + u.DownPackets }
	each, before := passed()/link.Batch, passed() // a super-packet is several
	for b.Loop() {
		run()
	}
	frames := (passed() - before) / each
	if frames != uint64(b.N)*link.Batch {
		b.Fatalf("%d frames passed in %d runs: %v", frames, b.N, bn.allDrops())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/packet")
}

func BenchmarkBridgeUp(b *testing.B)       { benchmarkAcross(b, small, nil) }
func BenchmarkBridgeDown(b *testing.B)     { benchmarkAcross(b, nil, small) }
func BenchmarkBridgeUp6(b *testing.B)      { benchmarkAcross(b, small6, nil) }
func BenchmarkBridgeDown6(b *testing.B)    { benchmarkAcross(b, nil, small6) }
func BenchmarkBridgeUpSuper(b *testing.B)  { benchmarkAcross(b, super, nil) }
func BenchmarkBridgeUpTagged(b *testing.B) { benchmarkAcross(b, smallTagged, nil) }
