package limiter

import (
	"reflect"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// line is a shaper and what a test knows of it.
type line struct {
	fataler
	s     *Shaper
	now   time.Duration
	waits map[uint32]map[uint32][]*lot // by side and flow, in order
	sent  map[uint32]int               // bytes by side
	lost  int                          // wire packets
	mark  int
	lots  map[uint32]*lot
}

// lot is what is left of a frame.
type lot struct {
	frame       uint32
	flow        uint32
	bytes, wire int
	count       int
	at          time.Duration
}

func newLine(t fataler, memory int) *line {
	s, err := New(nil, 64, memory)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return &line{t, s, time.Hour, map[uint32]map[uint32][]*lot{}, map[uint32]int{}, 0, 0, map[uint32]*lot{}}
}

// come has a frame come to a side, of so many wire packets, the last of which may be
// shorter; it says whether it passed or waits.
func (l *line) come(side, flow uint32, wire, count, last int, ect bool) (taken bool) {
	l.Helper()
	bytes := wire*(count-1) + last
	if count == 1 {
		bytes = wire
	}
	if l.s.Pass(side, bytes, l.now) {
		if l.s.Waiting(side) != 0 {
			l.Fatalf("side %d: a frame overtakes what waits", side)
		}
		l.sent[side] += bytes
		return true
	}
	fr := Frame{Flow: flow, Bytes: bytes, Wire: wire, Count: count, ECT: ect}
	for range 100 {
		w, full := l.s.Add(side, fr, min(bytes, 60000), l.now)
		if w != 0 {
			if len(l.s.Raw(w)) < min(bytes, 60000) {
				l.Fatalf("%d bytes of memory for %d", len(l.s.Raw(w)), bytes)
			}
			x := &lot{w, flow, bytes, wire, count, l.now}
			if l.lots[w] != nil {
				l.Fatalf("frame %d waits already", w)
			}
			l.lots[w] = x
			if l.waits[side] == nil {
				l.waits[side] = map[uint32][]*lot{}
			}
			l.waits[side][flow] = append(l.waits[side][flow], x)
			return true
		}
		if !full {
			return false
		}
		r, ok := l.s.Victim(side, bytes, l.now)
		if !ok {
			return false
		}
		l.gone(&r)
		l.lost += r.Count
		if r.Last {
			l.s.Gone(r.Frame)
		}
	}
	return false
}

// gone checks what the shaper let go of, and returns its bytes.
func (l *line) gone(r *Release) (bytes int) {
	l.Helper()
	x := l.lots[r.Frame]
	if x == nil {
		l.Fatalf("frame %d does not wait", r.Frame)
	}
	flow := l.waits[r.Side][x.flow]
	switch {
	case len(flow) == 0 || flow[0] != x:
		l.Fatalf("frame %d is not the first of its flow", r.Frame)
	case r.Count < 1 || r.Count > x.count || r.Last != (r.Count == x.count):
		l.Fatalf("%d of %d wire packets go, the last ones: %v", r.Count, x.count, r.Last)
	case r.Waited != l.now-x.at:
		l.Fatalf("waited %v, want %v", r.Waited, l.now-x.at)
	}
	bytes = r.Count * x.wire
	if r.Last {
		bytes = x.bytes
		l.waits[r.Side][x.flow] = flow[1:]
		delete(l.lots, r.Frame)
	}
	x.bytes -= bytes
	x.count -= r.Count
	return bytes
}

// leave has all leave that conforms now.
func (l *line) leave() {
	l.Helper()
	for n := 0; ; n++ {
		due := l.s.Due()
		r, ok := l.s.Next(l.now)
		if !ok {
			break
		}
		if due > l.now {
			l.Fatalf("something leaves %v before it is due", due-l.now)
		}
		if n > 1e6 {
			l.Fatalf("there is no end")
		}
		bytes := l.gone(&r)
		switch {
		case r.Drop && r.Mark:
			l.Fatalf("dropped and marked")
		case r.Drop:
			l.lost += r.Count
		default:
			l.sent[r.Side] += bytes
			if r.Mark {
				l.mark++
			}
		}
		if r.Last {
			l.s.Left(r.Frame)
		}
	}
	l.s.Sent()
	if d := l.s.Due(); !l.s.Idle() && d <= l.now {
		l.Fatalf("nothing leaves though it is due since %v", l.now-d)
	}
}

// check holds the shaper's sums to the model's.
func (l *line) check() {
	l.Helper()
	all := 0
	for side, flows := range l.waits {
		bytes := 0
		for _, lots := range flows {
			for _, x := range lots {
				bytes += x.bytes
				all++
			}
		}
		if got := l.s.Waiting(side); got != bytes {
			l.Fatalf("%d bytes are said to wait at side %d, want %d", got, side, bytes)
		}
	}
	if all != l.s.frames || all != len(l.lots) {
		l.Fatalf("%d frames are said to wait, want %d", l.s.frames, all)
	}
}

// Whatever comes: each flow keeps its order, every byte leaves, is dropped or waits, no side and no total gives more than its
// rate, and what is due leaves.
func TestShaperAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(t, rapid.SampledFrom([]int{MemoryUnit, 4 * MemoryUnit, 64 * MemoryUnit}).Draw(t, "memory"))
		rates := rapid.SampledFrom([]Rate{0, 1000, 125_000, 625_000, 12_500_000, 125_000_000})
		rate := map[uint32]Rate{}
		sides := []uint32{SideOf(1, Up), SideOf(1, Down), SideOf(2, Down), SideOf(3, Down)}
		for _, side := range sides {
			rate[side] = rates.Draw(t, "rate")
			l.s.Set(side, rate[side], rapid.IntRange(0, 5).Draw(t, "weight"), l.now)
		}
		total := rates.Draw(t, "total")
		l.s.SetTotal(Down, total, l.now)
		began := l.now
		changed := false
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			side := rapid.SampledFrom(sides).Draw(t, "side")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3, 4:
				wire := rapid.SampledFrom([]int{40, 84, 1028, 1500, 9000}).Draw(t, "wire")
				count := rapid.SampledFrom([]int{1, 1, 2, 5}).Draw(t, "count")
				for range rapid.IntRange(1, 20).Draw(t, "times") {
					l.come(side, rapid.Uint32Range(1, 5).Draw(t, "flow"), wire, count, rapid.IntRange(1, wire).Draw(t, "last"), rapid.Bool().Draw(t, "ect"))
				}
			case 5:
				l.now += time.Duration(rapid.Int64Range(0, int64(50*time.Millisecond)).Draw(t, "later"))
			case 6:
				if due := l.s.Due(); !l.s.Idle() && due > l.now && due < l.now+time.Hour {
					l.now = due
				}
			case 7:
				l.s.Set(side, rates.Draw(t, "new rate"), 1, l.now)
				changed = true
			case 8:
				if rapid.IntRange(0, 3).Draw(t, "drain") != 0 {
					continue
				}
				for r, ok := l.s.Drain(side, l.now); ok; r, ok = l.s.Drain(side, l.now) {
					l.gone(&r)
					l.lost += r.Count
					l.s.Gone(r.Frame)
				}
				if l.s.Waiting(side) != 0 {
					t.Fatalf("%d bytes wait after all are drained", l.s.Waiting(side))
				}
			case 9:
				l.leave()
			}
			l.check()
		}
		took := (l.now - began).Seconds()
		over := func(bytes int, r Rate, most int) bool {
			return r != 0 && float64(bytes) > float64(Burst(r)+most)+float64(r)*took+1
		}
		sum := 0
		for _, side := range sides {
			if over(l.sent[side], rate[side], 9000) && !changed {
				t.Fatalf("side %d sent %d bytes in %v at %d", side, l.sent[side], l.now-began, rate[side])
			}
			if side&1 == Down {
				sum += l.sent[side]
			}
		}
		if over(sum, total, 9000) {
			t.Fatalf("%d bytes down in %v, all may have %d", sum, l.now-began, total)
		}
		for _, side := range sides {
			l.s.Set(side, 0, 1, l.now)
		}
		l.s.SetTotal(Down, 0, l.now)
		for range 10 {
			l.now += 100 * time.Millisecond
			l.leave()
		}
		l.check()
		if !l.s.Idle() || l.s.memory.used != 0 {
			t.Fatalf("%d frames wait, %d bytes are used, though nothing holds them", l.s.frames, l.s.memory.used)
		}
	})
}

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

// A flow, or a client, that needs less than its share waits for no more than the piece that is leaving; and however many packets
// it sends, it gets no more than a share before others.
func TestWhoNeedsLittleGoesFirst(t *testing.T) {
	const rate = 625_000 // a millisecond is less than a packet, which takes 2.4 ms
	ping, bulk := SideOf(1, Down), SideOf(2, Down)
	for _, row := range []struct {
		name string
		side uint32 // of the ping
		set  func(s *Shaper, now time.Duration)
	}{
		{"a flow of a client", bulk, func(s *Shaper, now time.Duration) { s.Set(bulk, rate, 1, now) }},
		{"a client of all", ping, func(s *Shaper, now time.Duration) {
			s.Set(ping, 0, 1, now)
			s.Set(bulk, 0, 1, now)
			s.SetTotal(Down, rate, now)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLine(t, 64*MemoryUnit)
			row.set(l.s, l.now)
			const flow = 999
			worst := 0
			l.busy(map[uint32]int{bulk: 32}, 4*time.Second, func(ms int) {
				if ms%20 == 10 {
					l.come(row.side, flow, 84, 1, 0, false)
				}
				if ms < 1000 {
					return // all were new
				}
				if waits := l.waits[row.side][flow]; len(waits) > 0 {
					worst = max(worst, int((l.now-waits[0].at)/time.Millisecond))
				}
			})
			if worst > 4 {
				t.Errorf("it waited for %d ms", worst)
			}
		})
	}
}

// A plan gives what was sold whatever the size of packets, jumbo frames above its burst among them.
func TestAPlanIsUsedUp(t *testing.T) {
	for _, rate := range []Rate{125_000, 625_000, 2_500_000, 12_500_000, 125_000_000} {
		for _, wire := range []int{84, 1500, 9000} {
			if testing.Short() && wire == 84 && rate > 1e6 {
				continue // many packets
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
	l.lost = 0
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
		for w, full := l.s.Add(side, Frame{Flow: flow % 40000, Bytes: 3000, Wire: 1500, Count: 2}, 3000, l.now); w == 0 && full; {
			r, ok := l.s.Victim(side, 3000, l.now)
			if !ok {
				break
			}
			if r.Last {
				l.s.Gone(r.Frame)
			}
			w, full = l.s.Add(side, Frame{Flow: flow % 40000, Bytes: 3000, Wire: 1500, Count: 2}, 3000, l.now)
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

// What Pass asks of a side lies in two cache lines, and nothing of it points anywhere.
func TestASidesLines(t *testing.T) {
	var sd side
	if unsafe.Sizeof(uintptr(0)) == 8 {
		if at := unsafe.Offsetof(sd.frames) + unsafe.Sizeof(sd.frames); at > 128 || unsafe.Sizeof(sd)%64 != 0 {
			t.Errorf("what a frame that passes needs ends at %d, a side at %d", at, unsafe.Sizeof(sd))
		}
	}
	for _, of := range []any{queued{}, flow{}, timer{}, unit{}} {
		noPointers(t, reflect.TypeOf(of), reflect.TypeOf(of).String())
	}
	// rate.Limiter has time.Time's pointer to its place, which is nil for the times that Bucket works with.
	l := newLine(t, MemoryUnit)
	l.s.Set(2, 1000, 1, l.now)
	l.s.Pass(2, 100, l.now)
	l.s.Set(2, 0, 1, l.now)
	l.s.SetTotal(0, 1000, l.now)
	l.s.Spend(0, 100, l.now)
	times := 0
	noPlaces(t, reflect.ValueOf(&l.s.sides[2]).Elem(), &times)
	if times == 0 {
		t.Error("no time.Time was looked at")
	}
}

func noPointers(t *testing.T, typ reflect.Type, path string) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			noPointers(t, typ.Field(i).Type, path+"."+typ.Field(i).Name)
		}
	case reflect.Array:
		noPointers(t, typ.Elem(), path)
	case reflect.Pointer, reflect.UnsafePointer, reflect.Slice, reflect.String, reflect.Map, reflect.Chan, reflect.Func, reflect.Interface:
		t.Errorf("%s is a %v", path, typ)
	}
}

// noPlaces fails if a time.Time in v has a location, or anything else is a pointer that is set.
func noPlaces(t *testing.T, v reflect.Value, times *int) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		if *times++; !v.FieldByName("loc").IsNil() {
			t.Error("a time has a location")
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			noPlaces(t, v.Field(i), times)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		t.Errorf("a %v points somewhere", v.Type())
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
	for _, clients := range []uint32{1, 60} {
		b.Run(map[uint32]string{1: "one", 60: "sixty"}[clients], func(b *testing.B) {
			l := newLine(b, 64*MemoryUnit)
			for i := range clients {
				l.s.Set(SideOf(1+i, Up), 1_250_000, 1, l.now)
				for range 50 {
					l.s.Add(SideOf(1+i, Up), Frame{Flow: 1, Bytes: 1250, Wire: 1250, Count: 1}, 1250, l.now)
				}
			}
			for b.Loop() {
				l.now += time.Millisecond / time.Duration(clients)
				for r, ok := l.s.Next(l.now); ok; r, ok = l.s.Next(l.now) {
					l.s.Gone(r.Frame)
					l.s.Add(r.Side, Frame{Flow: 1, Bytes: 1250, Wire: 1250, Count: 1}, 1250, l.now)
				}
			}
		})
	}
}
