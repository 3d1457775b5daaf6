package forwarder

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// mill is a link that gives the same frames at every other Receive, and takes
// all it is sent without looking: what it costs is next to nothing.
type mill struct {
	frames   [][]byte // given, copied from kept before each time
	kept     [][]byte
	received bool
	sent     int
}

func newMill(raws ...[]byte) *mill {
	m := &mill{kept: raws}
	for _, raw := range raws {
		m.frames = append(m.frames, append([]byte(nil), raw...))
	}
	return m
}

func (m *mill) Receive() ([][]byte, error) {
	if m.received = !m.received; !m.received || len(m.kept) == 0 {
		return nil, nil
	}
	for i, raw := range m.kept {
		m.frames[i] = m.frames[i][:len(raw)]
		copy(m.frames[i][:min(len(raw), 128)], raw)
	}
	return m.frames, nil
}

func (m *mill) Send(frames [][]byte, taken []bool) error {
	for i := range frames {
		taken[i] = true
	}
	m.sent += len(frames)
	return nil
}

func (m *mill) FD() int      { return -1 }
func (m *mill) Close() error { return nil }

// batchOf is a full batch of one frame.
func batchOf(raw []byte) (raws [][]byte) {
	for range link.Batch {
		raws = append(raws, raw)
	}
	return raws
}

// grind puts mills in the place of the links, after alice has spoken to the
// server; make builds what each gives from alice's and the server's side.
func grind(t testing.TB, b *bench, lan, wan func(flow) []byte) (round func(), lanMill, wanMill *mill) {
	t.Helper()
	b.in(clients.LAN, aliceUp.udp(0))
	return grindWith(b, lan, wan, aliceUp, back(b.one(clients.WAN)))
}

// grindWith is grind of these flows.
func grindWith(b *bench, lan, wan func(flow) []byte, up, down flow) (round func(), lanMill, wanMill *mill) {
	lanMill, wanMill = newMill(), newMill()
	if lan != nil {
		lanMill = newMill(batchOf(lan(up))...)
	}
	if wan != nil {
		wanMill = newMill(batchOf(wan(down))...)
	}
	b.f.links = Links{lanMill, wanMill, newMill()}
	return func() {
		b.now += 10 * time.Microsecond
		b.f.ready = [clients.NumPorts]bool{true, true, true}
		b.f.Round()
		b.f.Round()
	}, lanMill, wanMill
}

func TestThePacketPathAllocatesNothing(t *testing.T) {
	slow := free()
	slow.Up = 1000
	rows := []struct {
		name     string
		terms    clients.Terms
		lan, wan func(flow) []byte
		change   func(*Config)
	}{
		{"small packets up", free(), func(w flow) []byte { return w.udp(18) }, nil, nil},
		{"small packets down", free(), nil, func(w flow) []byte { return w.udp(18) }, nil},
		{"super-packets up", free(), func(w flow) []byte { return w.udpSuper(60000, 1200) }, nil, nil},
		{"super-packets down", free(), nil, func(w flow) []byte { return w.udpSuper(60000, 1200) }, nil},
		{"over the rate", slow, func(w flow) []byte { return w.udpSuper(60000, 1200) }, nil, nil},
		{"from nobody known", free(), func(w flow) []byte { w.srcMAC++; return w.udp(18) }, nil, nil},
		{"with a borrowed address", free(), func(w flow) []byte { w.src++; return w.udp(18) }, nil, nil},
		{"to the box", free(), func(w flow) []byte { w.dst = lanIP; return w.udp(18) }, nil, nil},
		{"that nobody asked for", free(), nil, func(w flow) []byte { w.dstPort ^= 1; return w.udp(18) }, nil},
		{"over the MTU", free(), func(w flow) []byte { return w.udp(3000) }, nil, nil},
		{"super-packets over the MTU", free(), func(w flow) []byte { return w.udpSuper(6000, 1480) }, nil, nil},
		{"in the last bytes of a grant", bytesOf(128), func(w flow) []byte { return w.udp(100) }, nil, nil},
	}
	for _, row := range rows {
		for _, captured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, captured %t", row.name, captured), func(t *testing.T) {
				b := online(t, row.terms)
				if captured {
					b.capture(0, alice, 1<<16)
				}
				run, _, _ := grind(t, b, row.lan, row.wan)
				allocatesNothing(t, b, run)
			})
		}
	}
}

// allocatesNothing fails if a round allocates.
func allocatesNothing(t *testing.T, b *bench, round func()) {
	t.Helper()
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations in a batch", n)
	}
	b.conserve()
}

func benchmark(b *testing.B, lan, wan func(flow) []byte, packets int) {
	bn := online(b, free())
	run, lanMill, wanMill := grind(b, bn, lan, wan)
	run()
	lanMill.sent, wanMill.sent = 0, 0
	for b.Loop() {
		run()
	}
	sent := lanMill.sent + wanMill.sent
	if sent != b.N*packets {
		b.Fatalf("%d frames sent in %d runs: %v", sent, b.N, bn.allDrops())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/packet")
}

func small(w flow) []byte { return w.udp(18) } // 60 bytes of Ethernet
func super(w flow) []byte { return w.udpSuper(60000, 1200) }

func BenchmarkUp(b *testing.B)      { benchmark(b, small, nil, link.Batch) }
func BenchmarkDown(b *testing.B)    { benchmark(b, nil, small, link.Batch) }
func BenchmarkBoth(b *testing.B)    { benchmark(b, small, small, 2*link.Batch) }
func BenchmarkUpSuper(b *testing.B) { benchmark(b, super, nil, link.Batch) }
func BenchmarkUpTCP(b *testing.B) {
	benchmark(b, func(w flow) []byte { return w.tcp(6) }, nil, link.Batch)
}

// BenchmarkMill is what the fake links themselves cost.
func BenchmarkMill(b *testing.B) {
	m := newMill(batchOf(aliceUp.udp(18))...)
	var taken [link.Batch]bool
	for b.Loop() {
		frames, _ := m.Receive()
		_ = m.Send(frames, taken[:])
		m.received = false
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*link.Batch), "ns/packet")
}
