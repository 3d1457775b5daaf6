package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// A report is what is kept of a run.
type report struct {
	Started    time.Time     `json:"started"`
	Took       float64       `json:"took_secs"`
	Machine    machine       `json:"machine"`
	Binary     string        `json:"binary"`
	Congestion string        `json:"tcp_congestion_control"`
	Repeats    int           `json:"repeats"`
	Figures    []figureEntry `json:"figures"`
	Bills      bills         `json:"bills"`
	Voids      []void        `json:"void"`
}

type machine struct {
	Kernel string `json:"kernel"`
	Arch   string `json:"arch"`
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Load   string `json:"load_before"` // of 1, 5 and 15 minutes, before the run
}

// figureEntry is one figure's; the summaries are absent without a proven pair.
type figureEntry struct {
	Figure   string   `json:"figure"`
	Title    string   `json:"title"`
	Unit     string   `json:"unit"`
	Less     bool     `json:"less_is_better"`
	Target   float64  `json:"target_ratio,omitempty"`
	Met      *bool    `json:"met,omitempty"`
	Usual    float64  `json:"kernel_usually,omitempty"`
	Kernel   *summary `json:"kernel_hotspot,omitempty"`
	Gatewayd *summary `json:"gatewayd,omitempty"`
	Ratio    *summary `json:"ratio,omitempty"` // gatewayd / kernel hotspot, of pairs
	Pairs    []pair   `json:"pairs"`
}

type pair struct {
	Ratio    float64     `json:"ratio"`
	Kernel   measurement `json:"kernel_hotspot"`
	Gatewayd measurement `json:"gatewayd"`
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

// bills are what gatewayd's proven runs were billed. A difference is what its
// ports dropped after they had taken it.
type bills struct {
	Runs       int    `json:"runs"`
	Arrived    uint64 `json:"arrived_bytes"`    // layer 3, both directions
	Difference int64  `json:"difference_bytes"` // billed less arrived
}

func (b *bills) add(m measurement) {
	arrived := m.Arrived.Up.Bytes + m.Arrived.Down.Bytes
	b.Runs++
	b.Arrived += arrived
	b.Difference += int64(m.Proof[billedUp] + m.Proof[billedDown] - arrived)
}

// add adds a figure.
func (r *report) add(one *result) {
	r.Figures = append(r.Figures, one.entry())
	for _, m := range one.gatewayd {
		r.Bills.add(m)
	}
}

// entry sums a figure up.
func (r *result) entry() figureEntry {
	f := r.figure
	e := figureEntry{Figure: f.key, Title: f.title, Unit: f.unit, Less: f.less, Target: f.target, Usual: f.usual, Pairs: []pair{}}
	if len(r.kernel) == 0 {
		return e
	}
	var kernel, gatewayd []float64
	for i := range r.kernel {
		kernel, gatewayd = append(kernel, r.kernel[i].Value), append(gatewayd, r.gatewayd[i].Value)
	}
	each := ratios(gatewayd, kernel)
	for i := range each {
		e.Pairs = append(e.Pairs, pair{each[i], r.kernel[i], r.gatewayd[i]})
	}
	k, g, q := summarize(kernel), summarize(gatewayd), summarize(each)
	e.Kernel, e.Gatewayd, e.Ratio = &k, &g, &q
	if f.target != 0 {
		met := q.Median >= f.target
		e.Met = &met
	}
	return e
}

// table writes the figures for a person.
func (r *report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tunit\tkernel hotspot\tgatewayd\tgatewayd / kernel\ttarget\t")
	for _, e := range r.Figures {
		if e.Ratio == nil {
			fmt.Fprintf(t, "%s\t%s\tnot proven\t\t\t\t\n", e.Title, e.Unit)
			continue
		}
		target := ""
		if e.Met != nil {
			target = fmt.Sprintf("≥ %s %s", number(e.Target), map[bool]string{true: "met", false: "MISSED"}[*e.Met])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", e.Title, e.Unit, e.Kernel, e.Gatewayd, e.Ratio, target)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "median (min .. max) of %d repeats; the ratio is of runs that follow each other; TCP is %s\n", r.Repeats, r.Congestion)
	fmt.Fprintf(w, "bills: %d runs, %d layer-3 bytes at the far ends, billed %+d bytes beside them\n",
		r.Bills.Runs, r.Bills.Arrived, r.Bills.Difference)
	for _, e := range r.Figures {
		if e.Kernel != nil && e.Kernel.Median < 0.8*e.Usual {
			fmt.Fprintf(w, "%s: the kernel usually has %s %s: the machine is busy or slow, and only the ratio says something\n",
				e.Title, number(e.Usual), e.Unit)
		}
	}
	for _, v := range r.Voids {
		fmt.Fprintf(w, "void: repeat %d, %s, %s: %s\n", v.Repeat, v.Figure, v.Side, v.Why)
	}
	return nil
}

func (s *summary) String() string {
	return fmt.Sprintf("%s (%s .. %s)", number(s.Median), number(s.Min), number(s.Max))
}

// number prints three digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// save writes the report and its plots into a directory.
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
	return r.draw(filepath.Join(dir, "bench.png"), filepath.Join(dir, "bench.svg"))
}
