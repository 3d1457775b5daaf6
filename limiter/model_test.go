package limiter

import (
	"testing"
	"time"

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
	came  int // wire packets that were taken, and of those the ones that left
	left  int
	meter func(side uint32, bytes int)  // told what leaves, if it is set
	acked func(flow uint32, r *Release) // told what goes, of which flow, if it is set
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
	return &line{t, s, time.Hour, map[uint32]map[uint32][]*lot{}, map[uint32]int{}, 0, 0, map[uint32]*lot{}, 0, 0, nil, nil}
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
		l.came += count
		l.send(side, bytes, count)
		return true
	}
	fr := Frame{Flow: flow, Bytes: bytes, Wire: wire, Count: count, ECT: ect}
	for range 100 {
		w := l.s.Add(side, fr, min(bytes, 60000), l.now)
		if w != 0 {
			if len(l.s.Raw(w)) < min(bytes, 60000) {
				l.Fatalf("%d bytes of memory for %d", len(l.s.Raw(w)), bytes)
			}
			x := &lot{w, flow, bytes, wire, count, l.now}
			if l.lots[w] != nil {
				l.Fatalf("frame %d waits already", w)
			}
			l.lots[w] = x
			l.came += count
			if l.waits[side] == nil {
				l.waits[side] = map[uint32][]*lot{}
			}
			l.waits[side][flow] = append(l.waits[side][flow], x)
			return true
		}
		r, ok := l.s.Victim(side, bytes, l.now)
		if !ok {
			return false
		}
		r.Drop = true
		l.gone(&r)
		l.lost += r.Count
		if r.Last {
			l.s.Gone(r.Frame)
		}
	}
	return false
}

// send counts what leaves.
func (l *line) send(side uint32, bytes, count int) {
	l.Helper()
	if l.meter != nil {
		l.meter(side, bytes)
	}
	l.sent[side] += bytes
	l.left += count
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
	if l.acked != nil {
		l.acked(x.flow, r)
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
			l.send(r.Side, bytes, r.Count)
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
	all, wire := 0, 0
	for side, flows := range l.waits {
		bytes := 0
		for _, lots := range flows {
			for _, x := range lots {
				bytes += x.bytes
				wire += x.count
				all++
			}
		}
		if got := l.s.Waiting(side); got != bytes {
			l.Fatalf("%d bytes are said to wait at side %d, want %d", got, side, bytes)
		}
	}
	if l.came != l.left+l.lost+wire {
		l.Fatalf("%d wire packets came, %d left, %d were dropped, %d wait", l.came, l.left, l.lost, wire)
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
