package limiter

import (
	"maps"
	"testing"
	"time"
)

// busy has each of some flows of sides always have some bytes waiting, for so long, and returns what each side sent of
// them after the first tenth.
func (l *line) busy(flows map[uint32]int, length time.Duration, each func(ms int)) map[uint32]int {
	l.Helper()
	var before map[uint32]int
	for ms := range int(length / time.Millisecond) {
		if ms == int(length/time.Millisecond)/10 {
			before = map[uint32]int{}
			for side, n := range l.sent {
				before[side] = n
			}
		}
		l.now += time.Millisecond
		for side, n := range flows {
			for f := range n {
				flow := uint32(f + 1)
				for i := 0; i < 100 && len(l.waits[side][flow]) < 4; i++ {
					if i > 0 && l.s.Waiting(side)+1500 > l.s.Limit(side) {
						break // it would take the place of others
					}
					l.come(side, flow, 1500, 1, 0, true)
				}
			}
		}
		if each != nil {
			each(ms)
		}
		l.leave()
	}
	for side := range before {
		before[side] = l.sent[side] - before[side]
	}
	return before
}

func TestShares(t *testing.T) {
	a, b, c := SideOf(1, Down), SideOf(2, Down), SideOf(3, Down)
	rows := []struct {
		name    string
		weights [3]int
		rates   [3]Rate
		flows   [3]int
		want    [3]float64
	}{
		{"equal weights", [3]int{1, 1, 1}, [3]Rate{}, [3]int{1, 1, 1}, [3]float64{1. / 3, 1. / 3, 1. / 3}},
		{"1, 2 and 4", [3]int{1, 2, 4}, [3]Rate{}, [3]int{1, 1, 1}, [3]float64{1. / 7, 2. / 7, 4. / 7}},
		{"many flows get no more", [3]int{1, 1, 1}, [3]Rate{}, [3]int{50, 1, 1}, [3]float64{1. / 3, 1. / 3, 1. / 3}},
		{"what one leaves the others get", [3]int{1, 1, 1}, [3]Rate{500_000, 0, 0}, [3]int{1, 1, 1}, [3]float64{0.1, 0.45, 0.45}},
		{"alone", [3]int{1, 1, 1}, [3]Rate{}, [3]int{0, 1, 0}, [3]float64{0, 1, 0}},
		{"plans that fit together", [3]int{1, 4, 1}, [3]Rate{1_000_000, 1_000_000, 1_000_000}, [3]int{1, 1, 1}, [3]float64{0.2, 0.2, 0.2}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			const total = 5_000_000
			l := newLine(t, 64*MemoryUnit)
			l.s.SetTotal(Down, total, l.now)
			flows := map[uint32]int{}
			for i, side := range []uint32{a, b, c} {
				l.s.Set(side, row.rates[i], row.weights[i], l.now)
				flows[side] = row.flows[i]
			}
			got := l.busy(flows, 2*time.Second, nil)
			for i, side := range []uint32{a, b, c} {
				if share := float64(got[side]) / (total * 1.8); share < row.want[i]*0.98-0.001 || share > row.want[i]*1.02+0.001 {
					t.Errorf("client %d got %.4f of the total, want %.4f", i+1, share, row.want[i])
				}
			}
		})
	}
}

// A plan gives what was sold whatever the size of packets, jumbo frames above its burst among them.
func TestAPlanIsUsedUp(t *testing.T) {
	for _, rate := range []Rate{125_000, 625_000, 2_500_000, 12_500_000, 125_000_000} {
		for _, wire := range []int{84, 1500, 9000} {
			if wire == 84 && rate > 1e6 {
				continue // millions of packets
			}
			l := newLine(t, 64*MemoryUnit)
			side := SideOf(1, Up)
			l.s.Set(side, rate, 1, l.now)
			const length = 2 * time.Second
			for range int(length / time.Millisecond) {
				l.now += time.Millisecond
				for l.s.Waiting(side) < min(int(rate)/50, 400_000)+2*wire {
					l.come(side, 1, wire, 1, 0, true)
				}
				l.leave()
			}
			want := float64(rate) * length.Seconds()
			if got := float64(l.sent[side]); got < 0.985*want-9000 || got > want+float64(Burst(rate))+float64(wire) {
				t.Errorf("%d bytes/s in packets of %d: %.3f of the plan", rate, wire, got/want)
			}
		}
	}
}

// CoDel's marks come to those who understand them, drops to the others, and to nobody whose
// queue is short.
func TestCongestion(t *testing.T) {
	for _, ect := range []bool{true, false} {
		l := newLine(t, 64*MemoryUnit)
		side := SideOf(1, Up)
		l.s.Set(side, 1_250_000, 1, l.now)
		for ms := range 1000 {
			l.now += time.Millisecond
			if ms < 100 {
				l.come(side, 1, 1500, 2, 1500, ect) // 3 MB/s
			} else {
				l.come(side, 1, 1250, 1, 0, ect) // as much as leaves: the queue stands
			}
			l.leave()
		}
		if ect && (l.mark < 5 || l.lost != 0) || !ect && (l.mark != 0 || l.lost < 5) {
			t.Errorf("marks understood: %v; %d marked, %d dropped", ect, l.mark, l.lost)
		}
		l = newLine(t, 64*MemoryUnit)
		l.s.Set(side, 1_250_000, 1, l.now)
		for range 1000 {
			l.now += time.Millisecond
			l.come(side, 1, 1249, 1, 0, ect)
			l.leave()
		}
		if l.mark+l.lost != 0 {
			t.Errorf("%d marked and %d dropped of a short queue", l.mark, l.lost)
		}
	}
}

func TestTheLongestPays(t *testing.T) {
	l := newLine(t, 2*MemoryUnit)
	long, short := SideOf(1, Up), SideOf(2, Up)
	l.s.Set(long, 1000, 1, l.now)
	l.s.Set(short, 1000, 1, l.now)
	for i := range 1000 {
		l.come(long, uint32(i%2), 1000, 1, 0, false)
	}
	for range 20 {
		if !l.come(short, 1, 1000, 1, 0, false) {
			t.Fatal("no room for who has little waiting")
		}
	}
	if n := l.s.Waiting(short); n < 17_000 { // the burst passed
		t.Errorf("%d bytes of it wait", n)
	}
	l.check()
}

// What passed before there was a total is not paid for in turns of it.
func TestATotalAfterNone(t *testing.T) {
	l := newLine(t, 64*MemoryUnit)
	a, b := SideOf(1, Down), SideOf(2, Down)
	l.s.Set(a, 3_000_000, 1, l.now)
	l.s.Set(b, 0, 1, l.now)
	l.busy(map[uint32]int{a: 1}, time.Second, nil)
	l.s.SetTotal(Down, 1_000_000, l.now)
	got := l.busy(map[uint32]int{a: 1, b: 1}, time.Second, nil)
	if share := float64(got[a]) / float64(got[a]+got[b]); share < 0.45 || share > 0.55 {
		t.Errorf("%d and %d bytes of what is shared evenly", got[a], got[b])
	}
}

// Where nothing waits no flow keeps its place: others find one, however many there were.
func TestFlowsComeAndGo(t *testing.T) {
	l := newLine(t, MemoryUnit)
	for i := range 1000 {
		side := SideOf(uint32(1+i%50), Up)
		l.s.Set(side, 1000, 1, l.now)
		for l.s.Pass(side, 1000, l.now) {
		}
		if !l.come(side, uint32(i), 1000, 1, 0, false) {
			t.Fatalf("no room for a frame of flow %d", i)
		}
		l.now += 10 * time.Second
		l.leave()
		if n := l.s.flows.listed(); n != 0 {
			t.Fatalf("%d flows are kept of frames that left", n)
		}
	}
}

// listed is how many flows are in a ring.
func (f *flows) listed() (n int) {
	for i := range f.all {
		if f.all[i].listed {
			n++
		}
	}
	return n
}

// What waits leaves by the rate of now.
func TestANewRateHoldsForWhatWaits(t *testing.T) {
	l := newLine(t, 64*MemoryUnit)
	side := SideOf(1, Up)
	l.s.Set(side, 1, 1, l.now)
	for range 40 {
		l.come(side, 1, 1500, 1, 0, true)
	}
	l.now += time.Second
	l.leave()
	if n := l.sent[side]; n > 3036 {
		t.Fatalf("%d bytes left at a byte a second", n)
	}
	l.s.Set(side, 0, 1, l.now)
	if l.s.Due() > l.now {
		t.Error("it is not due at once")
	}
	l.leave()
	if n := l.sent[side]; n != 60_000 || !l.s.Idle() {
		t.Errorf("%d bytes left without a rate", n)
	}
}

func TestPiecesFollowTheRate(t *testing.T) {
	for _, row := range []struct {
		rate Rate
		want int // wire packets of 1500 of 40
	}{{125_000, 1}, {1_000_000, 1}, {3_000_000, 2}, {12_500_000, 8}, {62_500_000, 40}, {125_000_000, 40}} {
		l := newLine(t, 64*MemoryUnit)
		side := SideOf(1, Up)
		l.s.Set(side, row.rate, 1, l.now)
		for l.s.Pass(side, 100, l.now) {
		}
		l.come(side, 1, 1500, 40, 1500, false)
		for range 100 {
			l.now = max(l.now, l.s.Due())
			if r, ok := l.s.Next(l.now); ok {
				if r.Count != row.want {
					t.Errorf("%d bytes/s: a piece of %d, want %d", row.rate, r.Count, row.want)
				}
				row.want = 0
				break
			}
		}
		if row.want != 0 {
			t.Errorf("%d bytes/s: nothing leaves when it is due", row.rate)
		}
	}
}

func TestShaperAllocatesNothing(t *testing.T) {
	l := newLine(t, 64*MemoryUnit)
	side := SideOf(1, Up)
	l.s.Set(side, 1_000_000, 1, l.now)
	l.s.SetTotal(Up, 2_000_000, l.now)
	flow := uint32(0)
	run := func() {
		l.now += time.Millisecond
		l.s.Pass(side, 100, l.now)
		flow++
		fr := Frame{Flow: flow % 40000, Bytes: 3000, Wire: 1500, Count: 2}
		for l.s.Add(side, fr, 3000, l.now) == 0 {
			r, ok := l.s.Victim(side, 3000, l.now)
			if !ok {
				break
			}
			if r.Last {
				l.s.Gone(r.Frame)
			}
		}
		for r, ok := l.s.Next(l.now); ok; r, ok = l.s.Next(l.now) {
			if r.Last {
				l.s.Left(r.Frame)
			}
		}
		l.s.Sent()
	}
	if n := testing.AllocsPerRun(50_000, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkPass is what a frame costs that conforms, BenchmarkWait what one costs that waits and leaves.
func BenchmarkPass(b *testing.B) {
	l := newLine(b, MemoryUnit)
	side := SideOf(1, Up)
	l.s.Set(side, 125_000_000, 1, l.now)
	for b.Loop() {
		l.now += 12 * time.Microsecond
		l.s.Pass(side, 1500, l.now)
	}
}

func BenchmarkWait(b *testing.B) {
	for _, row := range []struct {
		name           string
		clients, flows uint32
	}{{"one", 1, 1}, {"sixty", 60, 1}, {"sixty flows of one", 1, 60}} {
		b.Run(row.name, func(b *testing.B) {
			l := newLine(b, 64*MemoryUnit)
			flow := uint32(0)
			add := func(side uint32) {
				flow = (flow + 1) % row.flows
				l.s.Add(side, Frame{Flow: flow, Bytes: 1250, Wire: 1250, Count: 1}, 1250, l.now)
			}
			for i := range row.clients {
				l.s.Set(SideOf(1+i, Up), 1_250_000, 1, l.now)
				for range 50 * row.flows {
					add(SideOf(1+i, Up))
				}
			}
			for b.Loop() {
				l.now += time.Millisecond / time.Duration(row.clients)
				for r, ok := l.s.Next(l.now); ok; r, ok = l.s.Next(l.now) {
					l.s.Gone(r.Frame)
					add(r.Side)
				}
			}
		})
	}
}

// Senders that halve what is on its way at a mark, as Reno does, share a total evenly, those of one flow with one of many, also if
// nothing can be sent for a while now and then, and then much at once: nobody has so little waiting that it runs empty meanwhile.
func TestShortQueuesKeepTheirShare(t *testing.T) {
	const total, clients, many, length = 25_000_000, 32, 30, 10 * time.Second
	for _, stall := range []int{0, 5, 20, 30} { // ms, each 250
		l := newLine(t, 64*MemoryUnit)
		l.s.SetTotal(Down, total, l.now)
		windows := map[[2]uint32]float64{} // wire packets, by side and flow
		for slot := range uint32(clients) {
			side := SideOf(slot+1, Down)
			l.s.Set(side, 0, 1, l.now)
			windows[[2]uint32{side, 1}] = 10
		}
		heavy := SideOf(1, Down)
		for flow := range uint32(many) {
			windows[[2]uint32{heavy, flow + 1}] = 10
		}
		l.acked = func(flow uint32, r *Release) {
			w := windows[[2]uint32{r.Side, flow}]
			if r.Mark || r.Drop {
				w = max(w/2, 2)
			} else {
				w += float64(r.Count) / w
			}
			windows[[2]uint32{r.Side, flow}] = w
		}
		before := map[uint32]int{}
		for ms := range int(length / time.Millisecond) {
			if ms == int(length/time.Millisecond)/4 {
				before = maps.Clone(l.sent)
			}
			l.now += time.Millisecond
			if ms%250 < stall {
				continue
			}
			for at, w := range windows {
				for range int(w) - len(l.waits[at[0]][at[1]]) {
					l.come(at[0], at[1], 1500, 1, 0, true)
				}
			}
			l.leave()
		}
		sum := 0
		for side := range l.sent {
			sum += l.sent[side] - before[side]
		}
		has := l.sent[heavy] - before[heavy]
		over := float64(has) * (clients - 1) / float64(sum-has)
		if over > 1.02 {
			t.Errorf("held up for %d ms each 250: a client with %d flows has %.3f times what others have", stall, many, over)
		}
	}
}
