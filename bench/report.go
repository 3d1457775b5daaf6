package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A report is what is kept of a run.
type report struct {
	Started       time.Time `json:"started"`
	Took          float64   `json:"took_secs"`
	Machine       machine   `json:"machine"`
	Binary        string    `json:"binary"`
	Congestion    string    `json:"tcp_congestion_control"`
	Repeats       int       `json:"repeats"`
	Lasts         float64   `json:"run_secs"`
	ShapedRepeats int       `json:"shaped_repeats"`
	ShapedLasts   float64   `json:"shaped_run_secs"`
	Senders       []offer   `json:"senders"` // that this kernel has
	Choices       []choice  `json:"sender_choices"`
	Figures       []entry   `json:"figures"`
	Runs          []runs    `json:"trials"`
	Bills         []bills   `json:"bills"`
	Memory        []memory  `json:"memory"`
	Voids         []void    `json:"void"`
}

type machine struct {
	Kernel string `json:"kernel"`
	Arch   string `json:"arch"`
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Load   string `json:"load_before"` // of 1, 5 and 15 minutes, before the run
}

// runs are a trial's, as measured.
type runs struct {
	Trial  string  `json:"trial"`
	Rounds []round `json:"rounds"`
}

// entry is one figure's.
type entry struct {
	Trial  string             `json:"trial"`
	Figure string             `json:"figure"`
	Title  string             `json:"title"`
	Unit   string             `json:"unit"`
	Less   bool               `json:"less_is_better"`
	Sides  map[string]summary `json:"sides"`  // empty: not proven
	Beside map[string]besides `json:"beside"` // by kernel
	Shaped bool               `json:"shaped,omitempty"`
	Bridge bool               `json:"bridge,omitempty"` // gatewayd as a bridge, beside itself as a route
	Wanted *wanted            `json:"wanted,omitempty"` // of gatewayd's median
	Met    *bool              `json:"met,omitempty"`
}

// besides is gatewayd beside a kernel.
type besides struct {
	Ratio      summary   `json:"ratio"`      // gatewayd / kernel, of runs that follow each other
	Difference summary   `json:"difference"` // gatewayd − kernel, likewise
	Each       []float64 `json:"ratios"`
	Target     *target   `json:"target,omitempty"`
	Met        *bool     `json:"met,omitempty"`
	Usual      float64   `json:"kernel_usually,omitempty"`
	Void       string    `json:"void,omitempty"` // why the kernel's runs prove nothing
}

// counted is what a target is about.
func (b besides) counted() summary {
	if b.Target != nil && b.Target.Kind == plus {
		return b.Difference
	}
	return b.Ratio
}

// thisMachine describes the machine, as it is before the run.
func thisMachine() machine {
	m := machine{Arch: runtime.GOARCH, Cores: runtime.NumCPU()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}

// bills are what gatewayd's proven runs of one kind were billed. A difference is
// what its ports dropped after they had taken it.
type bills struct {
	Of         string `json:"of"`
	Runs       int    `json:"runs"`
	Arrived    uint64 `json:"arrived_bytes"`      // layer 3, both directions
	Difference int64  `json:"difference_bytes"`   // billed less arrived
	Dropped    uint64 `json:"port_drops_packets"` // after the port had taken them
}

// Kinds of bills.
const (
	billsTCP   = "TCP and pings"
	billsBelow = "UDP below saturation, every client's own bill too"
	billsFlows = "new flows"
	billsFlood = "UDP floods"
	billsPlans = "plans that were filled, with drops, marks and changes"
)

func (t trial) bills() string {
	switch {
	case t.shapes:
		return billsPlans
	case t.below:
		return billsBelow
	case t.fresh:
		return billsFlows
	case t.answers:
		return billsTCP
	}
	return billsFlood
}

func (b *bills) add(m measurement) {
	arrived := m.Arrived.Up.Bytes + m.Arrived.Down.Bytes
	b.Runs++
	b.Arrived += arrived
	b.Difference += int64(m.Proof[billedUp] + m.Proof[billedDown] - arrived)
	b.Dropped += m.Proof[vanishedUp] - min(m.Proof[vanishedUp], m.Proof[refusedUp])
	b.Dropped += m.Proof[vanishedDown] - min(m.Proof[vanishedDown], m.Proof[refusedDown])
}

// bill adds a run of gatewayd's, route or bridge.
func (r *report) bill(of string, m measurement) {
	for i := range r.Bills {
		if r.Bills[i].Of == of {
			r.Bills[i].add(m)
			return
		}
	}
	r.Bills = append(r.Bills, bills{Of: of})
	r.Bills[len(r.Bills)-1].add(m)
}

// add adds a trial.
func (r *report) add(one *result) {
	r.Runs = append(r.Runs, runs{one.trial.key, one.rounds})
	for _, f := range one.trial.figures {
		r.Figures = append(r.Figures, one.entry(f))
	}
	for _, each := range one.rounds {
		for _, side := range []string{ourselves, routed} {
			if m, measured := each[side]; measured {
				r.bill(one.trial.bills(), m)
			}
		}
	}
}

// values are a figure's on a side and gatewayd's beside it, of all rounds but those
// void because of the side; where most are, of all, and why.
func (r *result) values(key, side string) (theirs, ours []float64, why string) {
	mostly := r.mostlyShort(side)
	for _, each := range r.rounds {
		m := each[side]
		if _, measured := m.Values[key]; !measured || m.Short != "" && !mostly {
			continue
		}
		if m.Short != "" {
			why = m.Short
		}
		theirs, ours = append(theirs, m.Values[key]), append(ours, each[ourselves].Values[key])
	}
	return theirs, ours, why
}

// mostlyShort says whether half of a kernel's rounds are void, or more.
func (r *result) mostlyShort(side string) bool {
	void := 0
	for _, each := range r.rounds {
		if each[side].Short != "" {
			void++
		}
	}
	return void > 0 && 2*void >= len(r.rounds)
}

// entry sums a figure up.
func (r *result) entry(f figure) entry {
	e := entry{Trial: r.trial.key, Figure: f.key, Title: f.title, Unit: f.unit, Less: f.less, Sides: map[string]summary{}, Beside: map[string]besides{}}
	e.Shaped, e.Bridge, e.Wanted = r.trial.shapes, r.trial.setting.bridge, f.wanted
	for _, side := range []string{stock, hotspot, natOnly, policer, routed, ourselves} {
		theirs, ours, why := r.values(f.key, side)
		if len(theirs) == 0 {
			continue
		}
		e.Sides[side] = summarize(theirs)
		if side != ourselves && !e.Shaped {
			e.Beside[side] = f.beside(ours, theirs, side, why)
		}
		if side == ourselves && f.wanted != nil {
			met := f.wanted.met(e.Sides[side].Median)
			e.Met = &met
		}
	}
	return e
}

// beside compares round by round.
func (f figure) beside(ours, theirs []float64, side, short string) besides {
	b := besides{Usual: f.usual[side], Void: short, Difference: summarize(differences(ours, theirs))}
	b.Each = ratios(ours, theirs)
	b.Ratio = summarize(b.Each)
	t, wanted := f.targets[side]
	if !wanted {
		return b
	}
	b.Target = &t
	if short != "" {
		return b
	}
	met := b.counted().Median <= t.Bound
	if t.Kind == atLeast {
		met = b.Ratio.Median >= t.Bound
	}
	b.Met = &met
	return b
}

// number prints three digits.
func number(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10 || v <= -10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1 || v <= -1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// save writes the report and its page into a directory.
func (r *report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bench.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	page, err := r.page()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "bench.html"), page, 0o644)
}
