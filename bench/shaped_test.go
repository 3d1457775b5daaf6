package main

import (
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestJain(t *testing.T) {
	for _, row := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"all have the same", []float64{7, 7, 7, 7}, 1},
		{"one has all", []float64{0, 5, 0, 0}, 0.25},
		{"one has twice as much", []float64{1, 2}, 0.9},
		{"nobody has anything", []float64{0, 0}, 0},
	} {
		if got := jain(row.values); math.Abs(got-row.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	var hundred []float64
	for i := 100; i > 0; i-- {
		hundred = append(hundred, float64(i))
	}
	for _, row := range []struct {
		values     []float64
		part, want float64
	}{
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
		{[]float64{3, 1, 2}, 0.5, 2}, {[]float64{3, 1, 2}, 0.99, 3}, {[]float64{9}, 0.01, 9},
	} {
		if got := percentile(row.values, row.part); got != row.want {
			t.Errorf("%v of %d values is %v, want %v", row.part, len(row.values), got, row.want)
		}
	}
}

func TestPercentOfAPlan(t *testing.T) {
	for _, row := range []struct {
		bytes  uint64
		rate   bits
		lasted time.Duration
		want   float64
	}{
		{125_000, mbit, time.Second, 100},
		{2_500_000, mbit, 20 * time.Second, 100},
		{1_940_000, 8 * mbit, 2 * time.Second, 97},
		{250_000, mbit, time.Second, 200},
	} {
		if got := percent(row.bytes, row.rate, row.lasted); math.Abs(got-row.want) > 1e-9 {
			t.Errorf("%d bytes in %v at %s are %v %%, want %v", row.bytes, row.lasted, row.rate.text(), got, row.want)
		}
	}
}

func TestOffByWeight(t *testing.T) {
	for _, row := range []struct {
		name    string
		parts   []float64 // for each unit of weight
		weights int
		want    float64
	}{
		{"all alike", []float64{5, 5, 5, 5}, 3, 0},
		{"the second weight has half of the others", []float64{2, 1, 2, 2, 1, 2}, 3, 40},
		{"two of one weight that differ have their mean", []float64{1, 2, 3, 2}, 2, 0},
		{"no weights", []float64{1, 3}, 0, 0},
		{"nothing at all", []float64{0, 0}, 2, 0},
	} {
		if got := offByWeight(row.parts, row.weights); math.Abs(got-row.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestFurthest(t *testing.T) {
	for want, counters := range map[float64][]uint64{0: {100, 100}, 20: {90, 120, 100}, 100: {100, 0}} {
		if got := furthest(counters, 100); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", counters, got, want)
		}
	}
}

func TestWanted(t *testing.T) {
	for _, row := range []struct {
		bounds wanted
		text   string
		met    []float64
		missed []float64
	}{
		{*wholePlan, "97 to 100.5", []float64{97, 100, 100.5}, []float64{96.9, 100.6}},
		{*fewLate, "≤ 15", []float64{-0.01, 15}, []float64{15.1}},
		{wanted{0.99, 0}, "≥ 0.99", []float64{0.99, 1}, []float64{0.98}},
	} {
		if got := row.bounds.String(); got != row.text {
			t.Errorf("%+v is written %q, want %q", row.bounds, got, row.text)
		}
		for _, v := range row.met {
			if !row.bounds.met(v) {
				t.Errorf("%v misses %s", v, row.text)
			}
		}
		for _, v := range row.missed {
			if row.bounds.met(v) {
				t.Errorf("%v meets %s", v, row.text)
			}
		}
	}
}

func TestReadExt(t *testing.T) {
	const text = "TcpExt: A InCEPkts\nTcpExt: 1 2\nIpExt: InNoRoutes InCEPkts ReasmOverlaps\nIpExt: 5 6 7\n"
	if n, err := readExt(text, "InCEPkts"); err != nil || n != 6 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := readExt(text, "InFuture"); err == nil {
		t.Error("a counter that is not there is read")
	}
}

func TestReadUsed(t *testing.T) {
	const text = "12 (a (b) c) S 1 12 12 0 -1 4194560 9 9 9 9 150 25 7 7 20 0"
	if used, err := readUsed(text); err != nil || used != 1750*time.Millisecond {
		t.Errorf("%v, %v", used, err)
	}
	if _, err := readUsed("12 (x) S 1"); err == nil {
		t.Error("too short a line is read")
	}
}

// Of plans, each class has the plan; of a total, its share by weight below it.
func TestClassesOfPlans(t *testing.T) {
	tuned := htb{rate: "100gbit", burst: "burst 1m cburst 1m"}
	for _, row := range []struct {
		name  string
		total bits
		plan  plan
		want  string // of the third client
	}{
		{"no limit", 0, plan{}, "parent 1: classid 1:12 htb rate 100gbit ceil 100gbit burst 1m cburst 1m\n"},
		{"a plan that nobody reaches", 0, plan{rate: wide}, "parent 1: classid 1:12 htb rate 100gbit ceil 100gbit burst 1m cburst 1m\n"},
		{"a plan", 0, plan{rate: 20 * mbit}, "parent 1: classid 1:12 htb rate 20000000bit ceil 20000000bit \n"},
		{"a part of the total", 200 * mbit, plan{}, "parent 1:1 classid 1:12 htb rate 50000000bit ceil 200000000bit \n"},
		{"a part by weight", 160 * mbit, plan{weights: []int{1, 2, 4}}, "parent 1:1 classid 1:12 htb rate 80000000bit ceil 160000000bit \n"},
		{"a part that is at most the plan", 200 * mbit, plan{rate: 100 * mbit}, "parent 1:1 classid 1:12 htb rate 50000000bit ceil 100000000bit \n"},
	} {
		h := tuned
		h.total, h.plan = row.total, row.plan
		text := h.queues("eth0", 4)
		if !strings.Contains(text, row.want) || strings.Contains(text, "classid 1:1 ") != (row.total != 0) {
			t.Errorf("%s: %q is not in\n%s", row.name, row.want, text)
		}
	}
}

// However many clients there are, the policer has a rule for each direction.
func TestPolicing(t *testing.T) {
	text := policing(20*mbit, 3)
	for _, want := range []string{"flush chain ip bench police\n", "delete set ip bench police_up_2\n", "add set ip bench police_down_3 {",
		`iif "eth1" update @police_up_3 { ip saddr limit rate over 2500000 bytes/second burst 125000 bytes } drop`,
		`iif "eth0" update @police_down_3 { ip daddr limit rate over 2500000 bytes/second burst 125000 bytes } drop`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if text := policing(0, 0); strings.Contains(text, "limit") || strings.Contains(text, "delete") {
		t.Errorf("no limit:\n%s", text)
	}
	if got := policerBurst(mbit); got != 96<<10 {
		t.Errorf("a burst of %d bytes at 1 Mbit/s", got)
	}
}

// The runs of all that is shaped, of a usual run and of a quick one.
func TestShapedTrialsAreChosen(t *testing.T) {
	for _, row := range []struct {
		name           string
		quick, shaping bool
		pattern        string
		want           int
	}{
		{"each rate, flows, direction and offloads", false, true, `^plan_(up|down)_\d+_(1|32)(_plain)?$`, 6 * 2 * 2 * 2},
		{"three rates down in a usual run", false, false, `^plan_`, 3 * 2},
		{"one in a quick run", true, false, `^plan_`, 1},
		{"sharing", false, false, `^shared_`, 4},
		{"sharing in a quick run", true, false, `^shared_`, 1},
		{"few and many plans", false, true, `^plans_`, 2},
	} {
		list, err := chosen(row.pattern, "cubic", row.quick, row.shaping)
		if err != nil || len(list) != row.want {
			t.Errorf("%s: %d trials, %v; want %d", row.name, len(list), err, row.want)
		}
	}
	list, err := chosen("", "cubic", false, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if !one.shapes || !regexp.MustCompile("^(plans?_|planned_|unlimited_|shared_)").MatchString(one.key) {
			t.Errorf("%s is not shaped", one.key)
		}
	}
}

func TestTheShapedTableSaysWhatIsWanted(t *testing.T) {
	r := &report{ShapedRepeats: 1, ShapedLasts: 20}
	one := planTrial(shaped, 20*mbit, 32, true, "cubic")
	value := func(part, p50, p99 float64) measurement {
		return measurement{Values: map[string]float64{ofPlan: part, pingP50: p50, pingP99: p99, pingLost: 0}}
	}
	r.add(&result{trial: one, rounds: []round{{hotspot: value(99, 400, 0), ourselves: value(98, 3, 16), policer: value(101, 0, 0)}}})
	r.add(&result{trial: trial{key: "late", shapes: true, figures: []figure{{key: "late", title: "late", unit: "ms", wanted: fewLate}}}, unproven: true})
	var text strings.Builder
	if err := r.table(&text); err != nil {
		t.Fatal(err)
	}
	plain := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{
		"20 Mbit/s down, 32 flows: delivered % of plan 97 to 100.5 98.0 (98.0 .. 98.0) met 99.0 (99.0 .. 99.0) 101 (101 .. 101)",
		"p50 ms ≤ 5 3.00 (3.00 .. 3.00) met 400 (400 .. 400)",
		"p99 ms ≤ 15 16.0 (16.0 .. 16.0) MISSED 0.000 (0.000 .. 0.000)",
		"late ms ≤ 15 not proven",
		"1 repeats of 20 s",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("the table does not say %q:\n%s", want, text.String())
		}
	}
	if strings.Contains(plain, "stock HTB") {
		t.Errorf("there is a table of nothing:\n%s", text.String())
	}
	page, err := r.page()
	if err != nil {
		t.Fatal(err)
	}
	for want, times := range map[string]int{"<td>97 to 100.5<td class=\"ours\">98.0": 1, "<td class=\"missed\">MISSED": 1, "2 targets met": 1, "1 missed": 1, "stock HTB<th>": 0, "colspan=\"4\">not proven": 1} {
		if got := strings.Count(string(page), want); got != times {
			t.Errorf("the page has %q %d times, want %d", want, got, times)
		}
	}
}

// Each client's own bill is proven, where each is counted at the far end.
func TestEveryClientsPlanIsBilled(t *testing.T) {
	sums, arrived := counts{billedUp: 300, billedDown: 70}, arrival{Up: traffic{3, 300}, Down: traffic{2, 70}}
	for _, row := range []struct {
		name     string
		up, down []uint64
		want     string
	}{
		{"each is billed what arrived", []uint64{200, 100}, []uint64{30, 40}, ""},
		{"up one is billed another's", []uint64{100, 200}, nil, "client 1 of 2 was billed 200 bytes up, but 100 of its arrived"},
		{"down one is billed another's", nil, []uint64{30, 41}, "client 2 of 2 was billed 40 bytes down, but 41 of its arrived"},
		{"nobody counts", nil, nil, ""},
	} {
		rose := reading{sums: sums, each: []uint64{200, 100}, down: []uint64{30, 40}}
		err := (&daemon{clients: 2}).prove(rose, arrived, trial{answers: true}, outcome{gotUp: row.up, gotDown: row.down})
		expect(t, row.name, err, row.want)
	}
}

// A flow that ends before it is stopped is said; one that is stopped is not.
func TestALoadSaysThatAFlowEnded(t *testing.T) {
	x := &load{broken: make(chan error, 1)}
	x.end(io.EOF)
	x.end(errors.New("and another"))
	if err := x.stop(); err == nil || !strings.Contains(err.Error(), "the other end closed") {
		t.Errorf("%v", err)
	}
	x.end(io.EOF)
	if err := x.stop(); err != nil {
		t.Errorf("after it was stopped: %v", err)
	}
}

// A flood is as long as any; plans are filled for longer, and as often as is said.
func TestFilledPlansHaveALengthOfTheirOwn(t *testing.T) {
	s := &series{length: length{5, time.Second}, shapes: length{1, 10 * time.Second}}
	traffic := func() stream { return single(smallFrame) }
	for _, row := range []struct {
		trial trial
		want  length
	}{{trial{}, s.length}, {trial{shapes: true}, s.shapes}, {trial{shapes: true, traffic: traffic}, s.length}} {
		if got := s.of(row.trial); got != row.want {
			t.Errorf("%+v, want %+v", got, row.want)
		}
	}
}
