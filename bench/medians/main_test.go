package main

import (
	"strings"
	"testing"
)

func TestMedians(t *testing.T) {
	for _, row := range []struct {
		name, in, want, err string
	}{
		{"an odd number", "    a_test.go:1: figure: gap: 3 ms\n x figure: gap: 1 ms\n x figure: gap: 20.5 ms\nok\n", "gap  3 ms  (1 .. 20.5)  of 3\n", ""},
		{"an even number", "figure: a: b: 1 MB\nfigure: a: b: 2 MB\n", "a: b  1.5 MB  (1 .. 2)  of 2\n", ""},
		{"no unit", "figure: lost: 0 \n", "lost  0   (0 .. 0)  of 1\n", ""},
		{"nothing", "ok\n", "", "no figure"},
		{"a failure", "figure: lost: 0\n--- FAIL: TestX (0.1s)\n", "lost  0   (0 .. 0)  of 1\n", "--- FAIL: TestX"},
		{"no number", "figure: lost: all\n", "", "invalid syntax"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out strings.Builder
			err := medians(strings.NewReader(row.in), &out)
			if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Errorf("%v, want %q", err, row.err)
			}
			if out.String() != row.want {
				t.Errorf("%q, want %q", out.String(), row.want)
			}
		})
	}
}
