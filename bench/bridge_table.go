package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// bridging are the figures of gatewayd as a bridge, beside itself as a route.
func (r *report) bridging() (list []entry) {
	for _, e := range r.Figures {
		if e.Bridge {
			list = append(list, e)
		}
	}
	return list
}

// bridgeTable writes them for a person.
func (r *report) bridgeTable(w io.Writer) error {
	list := r.bridging()
	if len(list) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nbridge\tunit\tas a route\tas a bridge\tbeside the route\ttarget\t")
	for _, e := range list {
		if len(e.Sides) == 0 {
			fmt.Fprintf(t, "%s\t%s\tnot proven\t\t\t\t\n", e.Title, e.Unit)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", e.Title, e.Unit, e.of(routed), e.of(ourselves), e.beside(routed), e.Beside[routed].verdict())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "median (min .. max) of %d repeats; what is beside the route is of runs that follow each other\n", r.Repeats)
	return err
}
