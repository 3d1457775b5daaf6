package limiter

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// matrixSeeds are how many histories there are, and the first one's seed.
func matrixSeeds(t *testing.T) (first, n uint64) {
	t.Helper()
	if text := os.Getenv("GATEWAYD_SEED"); text != "" {
		var err error
		if first, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case os.Getenv("GATEWAYD_SOAK") == "1":
		return first, 20_000
	case testing.Short():
		return first, 10
	}
	return first, 100
}

// Whatever comes, whatever rates, weights and totals become while packets wait, whoever goes and however little memory
// there is: every wire packet leaves, is dropped or waits, once; each flow keeps its order; nothing leaves before its plan
// and the total allow it, by a token bucket written anew here; and nothing waits that both allow.
func TestEveryPacketIsShaped(t *testing.T) {
	met := map[string]int{}
	first, n := matrixSeeds(t)
	for seed := first; seed < first+n; seed++ {
		m := newMatrix(t, seed)
		m.run()
		met["passed or left"] += m.left
		met["dropped"] += m.lost
		met["marked"] += m.mark
		for what, times := range m.met {
			met[what] += times
		}
	}
	t.Logf("met: %v", met)
	if testing.Short() {
		return // a few do not meet everything
	}
	for _, what := range []string{"passed or left", "dropped", "marked", "refused", "a new rate while packets wait", "a new total while packets wait",
		"gone while packets wait", "all flows in use", "waits for its plan", "waits for the total"} {
		if met[what] == 0 {
			t.Errorf("not met: %s", what)
		}
	}
}

// tokens is a token bucket: what it may hold, in bytes.
type tokens struct {
	rate Rate
	held float64
	at   time.Duration
}

// set gives it a rate, by which it is no fuller than before unless it is a new one. Any time at no limit fills it.
func (k *tokens) set(r Rate, now time.Duration, anew bool) {
	k.until(now)
	if k.rate = r; anew {
		k.held = math.Inf(1)
	}
	k.until(now)
}

func (k *tokens) until(now time.Duration) {
	if k.held += float64(k.rate) * (now - k.at).Seconds(); k.rate == 0 && now > k.at {
		k.held = math.Inf(1)
	}
	k.held = min(k.held, float64(Burst(k.rate)))
	k.at = now
}

// allows says whether so many bytes may leave: more than a burst once it is full. Less than a byte is rounding.
func (k *tokens) allows(bytes int) bool {
	return k.rate == 0 || k.held+1 >= min(float64(bytes), float64(Burst(k.rate)))
}

// matrix is one history.
type matrix struct {
	*line
	dice   *rand.Rand
	sides  []uint32
	plans  map[uint32]*tokens
	totals [2]tokens
	flows  uint32
	met    map[string]int
}

func newMatrix(t *testing.T, seed uint64) *matrix {
	dice := rand.New(rand.NewPCG(seed, 0))
	at := seedFataler{t, seed}
	m := &matrix{line: newLine(at, MemoryUnit<<(2*dice.IntN(4))), dice: dice, plans: map[uint32]*tokens{}, met: map[string]int{}}
	m.meter = m.leaves
	m.flows = []uint32{1, 5, 40, 400}[dice.IntN(4)]
	for client := range uint32(1 + dice.IntN(6)) {
		for direction := range uint8(2) {
			side := SideOf(1+client, direction)
			m.sides = append(m.sides, side)
			m.plans[side] = &tokens{}
			m.plan(side, true)
		}
	}
	for direction := range uint8(2) {
		m.total(direction)
	}
	return m
}

// seedFataler says with which seed it failed.
type seedFataler struct {
	*testing.T
	seed uint64
}

func (f seedFataler) Fatalf(format string, args ...any) {
	f.Helper()
	f.T.Fatalf("GATEWAYD_SEED=%d: "+format, append([]any{f.seed}, args...)...)
}

// rate is none, or of 1 kB/s to 1 GB/s.
func (m *matrix) rate() Rate {
	if m.dice.IntN(5) == 0 {
		return 0
	}
	return Rate(math.Pow(10, 3+6*m.dice.Float64()))
}

// plan gives a side a rate and a weight.
func (m *matrix) plan(side uint32, anew bool) {
	r := m.rate()
	if m.s.Waiting(side) > 0 {
		m.met["a new rate while packets wait"]++
	}
	m.plans[side].set(r, m.now, anew)
	m.s.Set(side, r, m.dice.IntN(MaxWeight+2), m.now)
}

func (m *matrix) total(direction uint8) {
	r := Rate(0)
	if m.dice.IntN(2) == 0 {
		r = m.rate()
	}
	if m.line.s.frames > 0 {
		m.met["a new total while packets wait"]++
	}
	if r != m.totals[direction].rate {
		m.totals[direction].set(r, m.now, false)
	}
	m.s.SetTotal(direction, r, m.now)
}

// leaves holds what leaves to its plan and the total.
func (m *matrix) leaves(side uint32, bytes int) {
	m.Helper()
	for _, k := range []*tokens{m.plans[side], &m.totals[side&1]} {
		k.until(m.now)
		if !k.allows(bytes) {
			m.Fatalf("%d bytes of side %d leave though %.0f are allowed at %d bytes/s", bytes, side, k.held, k.rate)
		}
		if k.rate != 0 {
			k.held -= float64(bytes)
		}
	}
}

func (m *matrix) run() {
	for range 300 {
		side := m.sides[m.dice.IntN(len(m.sides))]
		switch n := m.dice.IntN(100); {
		case n < 45:
			m.arrive(side)
		case n < 70:
			m.now += time.Duration(math.Pow(10, 3+6*m.dice.Float64())) // 1 us to 1 s
			m.leave()
			m.idle()
		case n < 80:
			if due := m.s.Due(); due > m.now && due < m.now+time.Hour {
				m.now = due
			}
			m.leave()
			m.idle()
		case n < 90:
			m.plan(side, false)
		case n < 93:
			m.total(uint8(side & 1))
		case n < 96:
			bytes := 40 + m.dice.IntN(9000) // the box's own
			if t := &m.totals[side&1]; t.rate != 0 && !m.s.totals[side&1].bucket.InDebt(m.now) {
				t.until(m.now)
				t.held -= float64(bytes)
			}
			m.s.Spend(uint8(side&1), bytes, m.now)
		default:
			m.remove(side)
		}
		m.check()
	}
	m.end()
}

// arrive has frames come, of one flow or of many.
func (m *matrix) arrive(side uint32) {
	wire := []int{40, 84, 300, 576, 1280, 1500, 9000}[m.dice.IntN(7)]
	flow, spread := m.dice.Uint32N(m.flows), m.dice.Uint32N(3)
	for i := range uint32(1 + m.dice.IntN(80)) {
		count := 1
		if m.dice.IntN(3) == 0 {
			count += m.dice.IntN(min(64000/wire, 45))
		}
		if !m.come(side, (flow+i*spread)%m.flows, wire, count, 1+m.dice.IntN(wire), m.dice.IntN(2) == 0) {
			m.met["refused"]++
		}
	}
	for _, side := range m.sides {
		if m.s.flows.all[m.s.flows.shared+side].first != 0 {
			m.met["all flows in use"]++
		}
	}
}

// remove has all of a side go, and another client come in its place.
func (m *matrix) remove(side uint32) {
	if m.s.Waiting(side) > 0 {
		m.met["gone while packets wait"]++
	}
	for r, ok := m.s.Drain(side, m.now); ok; r, ok = m.s.Drain(side, m.now) {
		m.gone(&r)
		m.lost += r.Count
		m.s.Gone(r.Frame)
	}
	if m.s.Waiting(side) != 0 {
		m.Fatalf("%d bytes wait after all are drained", m.s.Waiting(side))
	}
	m.s.Renew(side)
	m.plan(side, true)
}

// idle fails if something waits though its plan and the total allow the largest piece that anybody's next may be.
func (m *matrix) idle() {
	m.Helper()
	for direction := range uint32(2) {
		total := &m.totals[direction]
		total.until(m.now)
		most, ready := 0, uint32(0)
		for _, side := range m.sides {
			if side&1 != direction || m.s.Waiting(side) == 0 {
				continue
			}
			plan := m.plans[side]
			plan.until(m.now)
			piece := m.largest(side, plan.rate)
			most = max(most, min(piece, m.largest(side, total.rate)))
			if plan.rate == 0 || plan.held >= float64(min(piece, Burst(plan.rate)))+1 {
				ready = side
			} else {
				m.met["waits for its plan"]++
			}
		}
		if ready == 0 {
			continue
		}
		if total.rate == 0 || total.held >= float64(min(most, Burst(total.rate)))+1 {
			m.Fatalf("%d bytes of side %d wait though %.0f are allowed at %d bytes/s, and %.0f of the total at %d", m.s.Waiting(ready), ready,
				m.plans[ready].held, m.plans[ready].rate, total.held, total.rate)
		}
		m.met["waits for the total"]++
	}
}

// largest is the most bytes that the first of a side's flows may be in one piece at a rate.
func (m *matrix) largest(side uint32, r Rate) (most int) {
	for _, lots := range m.waits[side] {
		if len(lots) == 0 {
			continue
		}
		q := &m.s.queued[lots[0].frame]
		n := int(q.count)
		if r != 0 && r <= wholeRate {
			n = max(q.fit(int(r/Rate(time.Second/serveTime))), 1)
		}
		most = max(most, q.cost(n))
	}
	return most
}

// end has all leave.
func (m *matrix) end() {
	m.Helper()
	for direction := range uint8(2) {
		m.totals[direction].set(0, m.now, false)
		m.s.SetTotal(direction, 0, m.now)
	}
	for _, side := range m.sides {
		m.plans[side].set(0, m.now, false)
		m.s.Set(side, 0, 1, m.now)
	}
	for range 10 {
		m.leave()
		m.now += 100 * time.Millisecond
	}
	m.check()
	if !m.s.Idle() || len(m.lots) != 0 || m.s.memory.used != 0 || m.s.flows.listed() != 0 {
		m.Fatalf("%d frames wait, %d bytes are used, %d flows are kept, though nothing holds them", m.s.frames, m.s.memory.used, m.s.flows.listed())
	}
}
