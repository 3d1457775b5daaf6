package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// unshaped are the figures that are of use beside a kernel's.
func (r *report) unshaped() (list []entry) {
	for _, e := range r.Figures {
		if !e.Shaped && !e.Bridge {
			list = append(list, e)
		}
	}
	return list
}

// Shaping are the figures of what is held to plans, which have values of their own
// to reach.
func (r *report) shaping() (list []entry) {
	for _, e := range r.Figures {
		if e.Shaped {
			list = append(list, e)
		}
	}
	return list
}

// shapedTable writes them for a person.
func (r *report) shapedTable(w io.Writer) error {
	list := r.shaping()
	if len(list) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nplans\tunit\twanted\tgatewayd\t\tkernel HTB\tnft policer\t")
	for _, e := range list {
		if len(e.Sides) == 0 {
			fmt.Fprintf(t, "%s\t%s\t%s\tnot proven\t\t\t\t\n", e.Title, e.Unit, e.want())
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", e.Title, e.Unit, e.want(), e.of(ourselves), e.reached(), e.of(hotspot), e.of(policer))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "median (min .. max) of %d repeats of %.0f s; what a ping takes longer is beside the idle median of the same side\n", r.ShapedRepeats, r.ShapedLasts)
	return err
}

// want is what is wanted of a figure, or nothing.
func (e entry) want() string {
	if e.Wanted == nil {
		return ""
	}
	return e.Wanted.String()
}

// reached says whether gatewayd's median is as wanted.
func (e entry) reached() string {
	if e.Met == nil {
		return ""
	}
	return map[bool]string{true: "met", false: "MISSED"}[*e.Met]
}

// reachedClass is the same in the page's style.
func (e entry) reachedClass() string {
	if e.Met == nil {
		return ""
	}
	return map[bool]string{true: "met", false: "missed"}[*e.Met]
}
