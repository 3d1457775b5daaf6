// Medians reads what tests print and makes a table of the figures in it: a line
//
//	figure: WHAT: NUMBER UNIT
//
// anywhere, as `go test -v` prints it. Each figure's repeats become their median,
// least and most. It ends with 1 when there is none, or when a test failed.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := medians(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "medians:", err)
		os.Exit(1)
	}
}

var line = regexp.MustCompile(`figure: (.+): (\S+) ?(\S*)$`)

// figure is one number, measured again and again.
type figure struct {
	what, unit string
	values     []float64
}

// medians reads tests' output and writes the table, in the order of the first
// of each figure.
func medians(in io.Reader, out io.Writer) error {
	var figures []*figure
	failed := ""
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		text := strings.TrimRight(lines.Text(), " ")
		if strings.HasPrefix(text, "FAIL") || strings.HasPrefix(strings.TrimSpace(text), "--- FAIL") {
			failed = text
		}
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		i := slices.IndexFunc(figures, func(f *figure) bool { return f.what == m[1] && f.unit == m[3] })
		if i < 0 {
			i = len(figures)
			figures = append(figures, &figure{what: m[1], unit: m[3]})
		}
		figures[i].values = append(figures[i].values, value)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		slices.Sort(f.values)
		n := len(f.values)
		median := (f.values[(n-1)/2] + f.values[n/2]) / 2
		fmt.Fprintf(table, "%s\t%.6g %s\t(%.6g .. %.6g)\tof %d\n", f.what, median, f.unit, f.values[0], f.values[n-1], n)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case failed != "":
		return fmt.Errorf("a test failed: %s", failed)
	case len(figures) == 0:
		return fmt.Errorf("no figure was printed")
	}
	return nil
}
