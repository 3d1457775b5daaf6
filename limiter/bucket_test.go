package limiter

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBurst(t *testing.T) {
	rows := []struct {
		name string
		rate Rate
		want int
	}{
		{"no limit has the least burst", 0, 3036},
		{"a slow rate has the least burst", 125_000, 3036},
		{"the least burst ends where 20 ms carry more", 3036 * 50, 3036},
		{"above it the burst is 20 ms", 3037 * 50, 3037},
		{"1 Gbit/s", 125_000_000, 2_500_000},
		{"100 Gbit/s", 12_500_000_000, 250_000_000},
		{"a rate beyond all links stays an int on 32 bits", math.MaxInt64, math.MaxInt32},
	}
	for _, row := range rows {
		if got := Burst(row.rate); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

func TestTake(t *testing.T) {
	const slow = 100_000 // bytes per second
	type step struct {
		at   time.Duration
		n    int
		want bool
	}
	rows := []struct {
		name  string
		rate  Rate
		steps []step
	}{
		{"a new bucket is full", slow, []step{{0, 3036, true}, {0, 1, false}}},
		{"never more than the burst at once", slow, []step{{time.Hour, 3037, false}, {time.Hour, 3036, true}}},
		{"a long wait saves up no more than the burst", slow, []step{{0, 3036, true}, {time.Hour, 3036, true}, {time.Hour, 1, false}}},
		{"a refused packet costs nothing", slow, []step{{0, 3037, false}, {0, 3036, true}}},
		{"time is worth the rate", slow, []step{
			{0, 3036, true}, {20 * time.Millisecond, 2_001, false}, {20 * time.Millisecond, 2_000, true}, {20 * time.Millisecond, 1, false},
		}},
		{"fractions of a byte are not lost", slow, []step{
			{0, 3036, true}, {5 * time.Microsecond, 1, false}, {10 * time.Microsecond, 1, true},
			{15 * time.Microsecond, 1, false}, {20 * time.Microsecond, 1, true},
		}},
		{"a clock that goes back grants nothing", slow, []step{
			{time.Second, 3035, true}, {0, 1, true}, {time.Second, 1, false}, {500 * time.Millisecond, 1, false},
			{time.Second + 10*time.Microsecond, 1, true}, {0, 1, false}, {time.Second + 10*time.Microsecond, 1, false},
		}},
		{"no limit takes more than any burst", 0, []step{{0, math.MaxInt32, true}, {0, math.MaxInt32, true}}},
		{"a negative length is refused", slow, []step{{0, 3036, true}, {0, -3036, false}, {0, 1, false}}},
		{"nothing always fits", slow, []step{{0, 3036, true}, {0, 0, true}}},
		{"100 Gbit/s", 12_500_000_000, []step{
			{0, 250_000_000, true}, {0, 1000, false}, {time.Millisecond, 12_500_000, true}, {time.Millisecond, 1000, false},
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			const origin = 40 * 24 * time.Hour // of uptime
			var b Bucket
			b.Set(row.rate, origin)
			for i, s := range row.steps {
				if got := b.Take(s.n, origin+s.at); got != s.want {
					t.Fatalf("step %d: Take(%d, %v) is %v", i, s.n, s.at, got)
				}
			}
		})
	}
}

func TestBeforeSetNothingPasses(t *testing.T) {
	var b Bucket
	if b.Take(1, time.Second) || b.Available(time.Second) != 0 {
		t.Error("granted")
	}
}

func TestSet(t *testing.T) {
	const now = time.Hour
	drained := func(r Rate) *Bucket {
		b := new(Bucket)
		b.Set(r, now)
		b.Take(Burst(r), now)
		return b
	}
	t.Run("a higher rate does not fill the bucket", func(t *testing.T) {
		b := drained(1000)
		b.Set(1_000_000_000, now)
		if got := b.Available(now); got != 0 {
			t.Error(got)
		}
	})
	t.Run("a lower rate keeps no more than its burst", func(t *testing.T) {
		b := new(Bucket)
		b.Set(125_000_000, now)
		b.Set(1000, now)
		if got := b.Available(now); got != 3036 {
			t.Error(got)
		}
	})
	t.Run("the old rate counts until the change", func(t *testing.T) {
		b := drained(1000)
		b.Set(10_000, now+2*time.Second)
		if got := b.Available(now + 2*time.Second); got != 2000 {
			t.Error(got)
		}
	})
	t.Run("lifting and returning the limit gains at most a burst", func(t *testing.T) {
		b := drained(1000)
		b.Set(0, now)
		if !b.Take(math.MaxInt32, now) || b.Available(now) != math.MaxInt {
			t.Error("no limit is a limit")
		}
		b.Set(1000, now)
		if got := b.Available(now); got != 0 {
			t.Errorf("at once: %d", got)
		}
		b.Set(0, now)
		b.Set(1000, now+time.Second)
		if got := b.Available(now + time.Second); got > 3036 {
			t.Errorf("after a second: %d", got)
		}
	})
}

// TestNeverMoreThanThePlan draws rates, packets and clock steps, backwards too, and holds every window between two
// moments against burst + rate × time. A grant may come up to 1 ns early (rate.Limiter counts waits in whole ns).
func TestNeverMoreThanThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.Int64Range(1, 12_500_000_000).Draw(t, "rate"))
		burst := float64(Burst(r))
		slack := 2 + float64(r)*2e-9
		var b Bucket
		now := time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "uptime"))
		b.Set(r, now)
		type grant struct {
			at time.Duration // the latest time seen so far
			n  int
		}
		var grants []grant
		latest := now
		for range rapid.IntRange(1, 60).Draw(t, "packets") {
			now += time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Second)).Draw(t, "step"))
			latest = max(latest, now)
			n := rapid.IntRange(0, int(min(int64(Burst(r))*11/10, math.MaxInt32))).Draw(t, "bytes")
			available := b.Available(now)
			if rapid.Bool().Draw(t, "cut") {
				n = min(n, available)
			}
			granted := b.Take(n, now)
			if n <= available && !granted {
				t.Fatalf("%d bytes refused, %d available", n, available)
			}
			if float64(n) > float64(available)+slack && granted {
				t.Fatalf("%d bytes granted, %d available", n, available)
			}
			if granted {
				grants = append(grants, grant{latest, n})
			}
		}
		for i := range grants {
			total := 0.0
			for _, g := range grants[i:] {
				total += float64(g.n)
				if most := burst + float64(r)*(g.at-grants[i].at).Seconds() + slack; total > most {
					t.Fatalf("%.0f bytes in %v at %d bytes/s, want at most %.0f", total, g.at-grants[i].at, r, most)
				}
			}
		}
	})
}

func TestWait(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.SampledFrom([]int64{1000, 125_000, 12_500_000, 12_500_000_000}).Draw(t, "rate"))
		var b Bucket
		b.Set(r, time.Hour)
		b.Take(Burst(r), time.Hour)
		now := time.Hour + time.Duration(rapid.IntRange(0, 10_000_000).Draw(t, "ns"))
		n := rapid.IntRange(1, 65_000).Draw(t, "bytes")
		wait := b.Wait(n, now)
		if early := wait - time.Microsecond - wait/1000; early > 0 && b.Next(n, now+early) > min(n, Burst(r)) {
			t.Fatalf("%d bytes at %v after %v: granted long before", n, r, wait)
		}
		if got := b.Next(n, now+wait+time.Microsecond); got < min(n, Burst(r)-1) || n > Burst(r) && b.Next(n, now+wait+time.Millisecond) < n {
			t.Fatalf("%d bytes at %v after %v: %d are there", n, r, wait, got)
		}
	})
	var b Bucket
	b.Set(0, time.Hour)
	if w := b.Wait(1<<30, time.Hour); w != 0 {
		t.Errorf("%v without a limit", w)
	}
	b.Set(1, time.Hour)
	b.Take(Burst(1), time.Hour)
	if w := b.Wait(1<<30, time.Hour); w < 3036*time.Second || w > 3037*time.Second {
		t.Errorf("%v for more than the burst", w)
	}
}

// What is charged without being asked has to come in before anything is granted.
func TestCharge(t *testing.T) {
	const r = 1_000_000 // the burst is 20,000
	var b Bucket
	b.Set(r, time.Hour)
	if b.Charge(30_000, time.Hour); b.InDebt(time.Hour) {
		t.Error("in debt by half a burst")
	}
	if b.Charge(20_000, time.Hour); !b.InDebt(time.Hour) {
		t.Error("not in debt by one and a half")
	}
	for _, row := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {10 * time.Millisecond, 0}, {30 * time.Millisecond, 0}, {31 * time.Millisecond, 1000}, {time.Second, 20_000}} {
		if got := b.Available(time.Hour + row.after); got != row.want {
			t.Errorf("after %v: %d, want %d", row.after, got, row.want)
		}
	}
	b.Set(0, 2*time.Hour)
	b.Charge(1<<30, 2*time.Hour)
	if b.Available(2*time.Hour) != math.MaxInt || b.InDebt(2*time.Hour) {
		t.Error("no limit is a limit")
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	var b Bucket
	var now time.Duration
	run := func() {
		now += time.Microsecond
		b.Set(125_000_000, now)
		b.Available(now)
		b.Take(1500, now)
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	var bucket Bucket
	bucket.Set(125_000_000, 0)
	var now time.Duration
	for b.Loop() {
		now += 12 * time.Microsecond
		bucket.Take(1500, now)
	}
}

func BenchmarkTakeRefused(b *testing.B) {
	var bucket Bucket
	bucket.Set(1, 0)
	bucket.Take(Burst(1), 0)
	for b.Loop() {
		bucket.Take(1500, time.Microsecond)
	}
}

func BenchmarkAvailable(b *testing.B) {
	var bucket Bucket
	bucket.Set(125_000_000, 0)
	for b.Loop() {
		bucket.Available(time.Second)
	}
}
