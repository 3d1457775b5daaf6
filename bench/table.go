package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table writes the figures for a person.
func (r *report) table(w io.Writer) error {
	if err := r.besideTable(w); err != nil {
		return err
	}
	if err := r.bridgeTable(w); err != nil {
		return err
	}
	if err := r.shapedTable(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "TCP is %s\n", r.Congestion)
	for _, line := range r.costs() {
		fmt.Fprintln(w, line)
	}
	for _, line := range r.offered() {
		fmt.Fprintln(w, line)
	}
	for _, b := range r.Bills {
		fmt.Fprintf(w, "bills of %s: %d runs, %d layer-3 bytes at the far ends, billed %+d bytes beside them; the ports dropped %d packets that they had taken\n",
			b.Of, b.Runs, b.Arrived, b.Difference, b.Dropped)
	}
	for _, m := range r.Memory {
		fmt.Fprintf(w, "memory, %s, %s: %s MB (%s)\n", m.Setting, m.Side, number(m.MB), m.Holds)
	}
	for _, v := range r.Voids {
		fmt.Fprintf(w, "void: repeat %d, %s, %s: %s\n", v.Repeat, v.Trial, v.Side, v.Why)
	}
	return nil
}

// besideTable writes what is of use beside a kernel's.
func (r *report) besideTable(w io.Writer) error {
	list := r.unshaped()
	if len(list) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tunit\tstock HTB\tkernel hotspot\tgatewayd\tkernel NAT\tbeside hotspot\ttarget\tbeside NAT\ttarget\t")
	for _, e := range list {
		if len(e.Sides) == 0 {
			fmt.Fprintf(t, "%s\t%s\t\tnot proven\t\t\t\t\t\t\t\n", e.Title, e.Unit)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", e.Title, e.Unit,
			e.of(stock), e.of(hotspot), e.of(ourselves), e.of(natOnly),
			e.beside(hotspot), e.Beside[hotspot].verdict(), e.beside(natOnly), e.Beside[natOnly].verdict())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "median (min .. max) of %d repeats; what is beside a kernel is of runs that follow each other\n", r.Repeats)
	return err
}

// of is a side's summary, or nothing.
func (e entry) of(side string) string {
	if s, measured := e.Sides[side]; measured {
		return s.String()
	}
	return ""
}

// beside is gatewayd's ratio to a kernel or, where the target is about it, the
// difference.
func (e entry) beside(kernel string) string {
	b, measured := e.Beside[kernel]
	switch {
	case !measured:
		return ""
	case b.Target != nil && b.Target.Kind == plus:
		s := b.Difference
		return fmt.Sprintf("%+.0f (%+.0f .. %+.0f)", s.Median, s.Min, s.Max)
	}
	return b.Ratio.String()
}

// verdict says what the target is and whether it was met; of a void kernel it says
// that.
func (b besides) verdict() string {
	sign := map[string]string{atLeast: "≥ ", atMost: "≤ ", plus: "≤ +"}
	switch {
	case b.Target == nil && b.Void != "":
		return "void"
	case b.Target == nil:
		return ""
	case b.Void != "":
		return sign[b.Target.Kind] + short(b.Target.Bound) + " void"
	}
	return sign[b.Target.Kind] + short(b.Target.Bound) + map[bool]string{true: " met", false: " MISSED"}[*b.Met]
}

func short(v float64) string { return fmt.Sprintf("%.4g", v) }

func (s summary) String() string {
	return fmt.Sprintf("%s (%s .. %s)", number(s.Median), number(s.Min), number(s.Max))
}

// A cost is how much more a packet costs where a factor is large, on one side.
type cost struct {
	what, than string
	few, many  string // trials
	figure     string // of which there is more or, of CPU, less the cheaper a packet is
	most       float64
}

// costs are the factors that must not matter.
var costs = []cost{
	{"10,000 clients", "one", "clients_1", "clients_10000", delivered, 0.10},
	{"10,000 clients", "one with as many flows", "clients_1_wide", "clients_10000", delivered, 0.10},
	{"100,000 flows", "one", "flows_1", "flows_100000", delivered, 0.25},
	{"a plan that is never reached", "none", "unlimited_64", "planned_64", delivered, 0.25},
	{"a plan that is never reached, gatewayd's own CPU", "none", "unlimited_64", "planned_64", ownPacket, 0.25},
	{"10,000 plans that are filled", "10", "plans_10", "plans_10000", perCPU, 0.25},
	{"10,000 plans that are filled, gatewayd's own CPU", "10", "plans_10", "plans_10000", ownPacket, 0.25},
}

// costs says what each factor adds to a packet: how much longer it takes at
// saturation, of rounds of one repeat.
func (r *report) costs() (lines []string) {
	for _, c := range costs {
		for _, side := range []string{ourselves, hotspot, natOnly, policer} {
			more, measured := r.more(c, side)
			if !measured {
				continue
			}
			line := fmt.Sprintf("%s, %s: %+.0f %% (%+.0f .. %+.0f) per packet beside %s", c.what, side, 100*more.Median, 100*more.Min, 100*more.Max, c.than)
			if side == ourselves {
				line += fmt.Sprintf("; target < %.0f %% %s", 100*c.most, map[bool]string{true: "met", false: "MISSED"}[more.Median < c.most])
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// more is the part by which a packet takes longer.
func (r *report) more(c cost, side string) (summary, bool) {
	few, many := r.figure(c.few, side, c.figure), r.figure(c.many, side, c.figure)
	if c.figure == ownPacket {
		few, many = many, few
	}
	n := min(len(few), len(many))
	if n == 0 {
		return summary{}, false
	}
	parts := ratios(few[:n], many[:n])
	for i := range parts {
		parts[i]--
	}
	return summarize(parts), true
}

// figure are a trial's on a side, by repeat.
func (r *report) figure(trial, side, key string) (list []float64) {
	for _, t := range r.Runs {
		if t.Trial != trial {
			continue
		}
		for _, each := range t.Rounds {
			if v, measured := each[side].Values[key]; measured {
				list = append(list, v)
			}
		}
	}
	return list
}
