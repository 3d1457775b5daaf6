package main

import (
	"maps"
	"strings"
	"testing"
)

func TestKernelIsProven(t *testing.T) {
	full := counts{setUp: 10, setDown: 5, masqueraded: 1, classUp: 1140, classDown: 570}
	arrived := arrival{Up: traffic{10, 1000}, Down: traffic{5, 500}}
	both, up := trial{answers: true}, trial{}
	for _, row := range []struct {
		name   string
		change func(counts, *arrival)
		trial  trial
		want   string // part of why it is void; empty: proven
	}{
		{"all rules were hit", func(counts, *arrival) {}, both, ""},
		{"nobody was masqueraded", func(c counts, _ *arrival) { delete(c, masqueraded) }, both, "masqueraded"},
		{"the client set was passed by upwards", func(c counts, _ *arrival) { delete(c, setUp) }, both, "set up, or"},
		{"the client set was passed by downwards", func(c counts, _ *arrival) { delete(c, setDown) }, both, "set down, or"},
		{"part of the bytes did not go through the class", func(c counts, _ *arrival) { c[classUp] = 999 }, both, "classes on eth0"},
		{"the class downwards was passed by", func(c counts, _ *arrival) { delete(c, classDown) }, both, "classes on eth1"},
		{"no answers, and none are expected", func(c counts, a *arrival) { delete(c, setDown); a.Down = traffic{} }, up, ""},
		{"no answers, but they are expected", func(_ counts, a *arrival) { a.Down = traffic{} }, both, "arrived down"},
		{"nothing arrived", func(_ counts, a *arrival) { *a = arrival{} }, up, "arrived up"},
	} {
		c, a := maps.Clone(full), arrived
		row.change(c, &a)
		expect(t, row.name, (&kernel{htb: &htb{}}).prove(reading{sums: c}, a, row.trial, outcome{}), row.want)
	}
}

func TestDaemonIsProven(t *testing.T) {
	full := counts{billedUp: 1000, billedDown: 500}
	arrived := arrival{Up: traffic{10, 1000}, Down: traffic{5, 500}}
	both := trial{answers: true}
	for _, row := range []struct {
		name   string
		change func(counts, *arrival)
		want   string
	}{
		{"billed is what arrived", func(counts, *arrival) {}, ""},
		{"a byte too much is billed upwards", func(c counts, _ *arrival) { c[billedUp]++ }, "difference 1"},
		{"a byte too little is billed downwards", func(c counts, _ *arrival) { c[billedDown]-- }, "difference -1"},
		{"the port dropped what it had taken", func(c counts, _ *arrival) { c[billedUp] += 46; c[vanishedUp] = 1 }, ""},
		{"a drop explains no more than a packet", func(c counts, _ *arrival) { c[billedUp] += 47; c[vanishedUp] = 1 }, "difference 47"},
		{"a drop of the other port explains nothing", func(c counts, _ *arrival) { c[billedUp] += 46; c[vanishedDown] = 1 }, "difference 46"},
		{"what the port refused is not billed", func(c counts, _ *arrival) {
			c[billedUp] += 46
			c[vanishedUp], c[refusedUp] = 1, 1
		}, "difference 46"},
		{"a drop never makes the bill too low", func(c counts, _ *arrival) { c[billedUp] -= 46; c[vanishedUp] = 1 }, "difference -46"},
		{"nothing arrived and nothing is billed", func(c counts, a *arrival) { clear(c); *a = arrival{} }, "nothing arrived"},
	} {
		c, a := maps.Clone(full), arrived
		row.change(c, &a)
		expect(t, row.name, (&daemon{}).prove(reading{sums: c}, a, both, outcome{wire: 46}), row.want)
	}
}

func expect(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: void: %v", name, err)
	case want != "" && err == nil:
		t.Errorf("%s: counts as proven", name)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("%s: %q does not say %q", name, err, want)
	}
}

func TestEveryClientsBillIsProven(t *testing.T) {
	sums, arrived := counts{billedUp: 300}, arrival{Up: traffic{3, 300}}
	for _, row := range []struct {
		name string
		each []uint64
		want string
	}{
		{"each is billed what it sent", []uint64{200, 100}, ""},
		{"one is billed what another sent", []uint64{100, 200}, "client 1 of 2 was billed 100 bytes, but sent 200"},
	} {
		err := (&daemon{clients: 2}).prove(reading{sums: sums, each: row.each}, arrived, trial{}, outcome{sentBy: []uint64{200, 100}})
		expect(t, row.name, err, row.want)
	}
}

func TestKernelNATIsProvenWithoutClasses(t *testing.T) {
	c, a := counts{setUp: 10, masqueraded: 1}, arrival{Up: traffic{10, 1000}}
	expect(t, "no class", (&kernel{}).prove(reading{sums: c}, a, trial{}, outcome{}), "")
	delete(c, masqueraded)
	expect(t, "no masquerade", (&kernel{}).prove(reading{sums: c}, a, trial{}, outcome{}), "masqueraded")
}
