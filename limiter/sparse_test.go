package limiter

import (
	"testing"
	"time"
)

// A flow that needs less than two shares of its client's plan, or a client that needs less than its share of all, waits for
// no more than the piece that is leaving; and however many packets it sends, it gets no more than that before others.
func TestWhoNeedsLittleGoesFirst(t *testing.T) {
	ping, bulk := SideOf(1, Down), SideOf(2, Down)
	for _, row := range []struct {
		name  string
		side  uint32 // of the ping
		rate  Rate   // a millisecond of which is less than a packet
		flows int
		most  int // ms that it waits
	}{
		{"a flow of a client", bulk, 625_000, 32, 4},
		{"a flow that needs a little more than its share", bulk, 125_000, 32, 13},
		{"one beside one", bulk, 125_000, 1, 13},
		{"a client of all", ping, 625_000, 32, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLine(t, 64*MemoryUnit)
			if row.side == bulk {
				l.s.Set(bulk, row.rate, 1, l.now)
			} else {
				l.s.Set(ping, 0, 1, l.now)
				l.s.Set(bulk, 0, 1, l.now)
				l.s.SetTotal(Down, row.rate, l.now)
			}
			const flow = 999
			worst := 0
			l.busy(map[uint32]int{bulk: row.flows}, 4*time.Second, func(ms int) {
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
			if worst > row.most {
				t.Errorf("it waited for %d ms", worst)
			}
		})
	}
}

// Flows of small packets get two shares of their client's plan at most, one if they have more than their turn waiting; and
// their client no more of the total than others.
func TestSmallPacketsGetTwoShares(t *testing.T) {
	for _, row := range []struct {
		name  string
		small int // flows
		waits int // bytes of each that wait
		bulk  int // flows
		total Rate
		want  float64 // of the plan, or the total, that the bulk flows get
	}{
		{"as much as it may, beside one", 1, 1000, 1, 0, 1. / 3},
		{"beside eight", 1, 1000, 8, 0, 8. / 10},
		{"many", 30, 1000, 2, 0, 2. / 62},
		{"a flood", 1, 9000, 1, 0, 1. / 2},
		{"many, of another client", 30, 1000, 2, 1_250_000, 1. / 2},
		{"a flood of another client", 1, 9000, 1, 1_250_000, 1. / 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLine(t, 64*MemoryUnit)
			const plan = 1_250_000
			bulk, small := SideOf(1, Up), SideOf(1, Up)
			l.s.SetTotal(Up, row.total, l.now)
			l.s.Set(bulk, plan, 1, l.now)
			if row.total != 0 {
				small = SideOf(2, Up)
				l.s.Set(small, plan, 1, l.now)
			}
			const first = 1000 // of the small flows
			got := 0
			for ms := range 3000 {
				if ms == 1000 {
					got = 0
				}
				l.now += time.Millisecond
				for more := true; more; { // as much comes as has left
					for n := range row.small {
						for i := 0; i < 100 && len(l.waits[small][uint32(first+n)]) < row.waits/100; i++ {
							l.come(small, uint32(first+n), 100, 1, 0, true)
						}
					}
					for f := range row.bulk {
						for i := 0; i < 100 && len(l.waits[bulk][uint32(f+1)]) < 6; i++ {
							l.come(bulk, uint32(f+1), 1500, 1, 0, true)
						}
					}
					r, ok := l.s.Next(l.now)
					if more = ok; ok {
						big := l.lots[r.Frame].flow < first
						bytes := l.gone(&r)
						if l.s.Gone(r.Frame); big && !r.Drop {
							got += bytes
						}
						l.sent[r.Side] += bytes
					}
				}
			}
			if share := float64(got) / (2 * plan); share < row.want*0.9 || share > row.want*1.2 {
				t.Errorf("the bulk flows got %.3f, want %.3f", share, row.want)
			}
		})
	}
}
