package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
)

func TestChosen(t *testing.T) {
	all := trials("cubic")
	usual := len(slices.DeleteFunc(slices.Clone(all), func(one trial) bool { return one.rare }))
	for pattern, want := range map[string]int{"": usual, "^tcp_": 4, "udp_64|rtt": 3} {
		if list, err := chosen(pattern, "cubic", false, false); err != nil || len(list) != want {
			t.Errorf("%q: %d trials, %v; want %d", pattern, len(list), err, want)
		}
	}
	if list, err := chosen("", "cubic", true, false); err != nil || len(list) == 0 || len(list) >= len(all) {
		t.Errorf("quick: %d of %d trials, %v", len(list), len(all), err)
	}
	for _, wrong := range []string{"none", "("} {
		if _, err := chosen(wrong, "cubic", false, false); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func TestEveryTrialIsOfASetting(t *testing.T) {
	list := trials("cubic")
	n := 0
	for _, s := range settings {
		n += len(of(list, s))
	}
	keys := map[string]bool{}
	for _, one := range list {
		keys[one.key] = true
	}
	if n != len(list) || len(keys) != n {
		t.Errorf("%d trials in settings, %d keys, %d trials", n, len(keys), len(list))
	}
	for _, p := range panels {
		for _, b := range p.bars {
			i := slices.IndexFunc(list, func(one trial) bool { return one.key == b.trial })
			if i < 0 || !slices.ContainsFunc(list[i].figures, func(f figure) bool { return f.key == b.figure }) {
				t.Errorf("the panel %q has %s of %s, which is not measured", p.title, b.figure, b.trial)
			}
		}
	}
}

// stand is a side that does as its row says.
type stand struct {
	side
	is    string
	log   *[]string
	value func() (float64, error)
}

func (s stand) name() string { return s.is }

// A series of stands measures by asking them.
func standing(sides []side, repeats int) *series {
	return &series{sides: sides, length: length{repeats: repeats}, say: io.Discard,
		once: func(_ context.Context, sd side, t trial, _ terms) (measurement, error) {
			s := sd.(stand)
			*s.log = append(*s.log, s.is)
			v, err := s.value()
			return measurement{Values: map[string]float64{"x": v}}, err
		}}
}

func TestSidesTakeTurns(t *testing.T) {
	var log []string
	always := func() (float64, error) { return 1, nil }
	s := standing([]side{stand{is: hotspot, log: &log, value: always}, stand{is: ourselves, log: &log, value: always}, stand{is: natOnly, log: &log, value: always}}, 2)
	if err := s.measure(t.Context(), []trial{{key: "a", figures: []figure{{key: "x"}}}}); err != nil {
		t.Fatal(err)
	}
	if want := []string{hotspot, ourselves, natOnly, natOnly, ourselves, hotspot}; !slices.Equal(log, want) {
		t.Errorf("%v, want %v", log, want)
	}
	if n := len(s.results[0].rounds); n != 2 {
		t.Errorf("%d rounds", n)
	}
}

func TestAVoidRunIsMadeAgain(t *testing.T) {
	wrong := errors.New("nobody was masqueraded")
	for _, row := range []struct {
		name   string
		fails  int     // runs without proof, before those with
		value  float64 // of the rest; 10 is usual
		runs   int
		voids  int
		rounds int
		short  bool
	}{
		{"proven at once", 0, 10, 2, 0, 2, false},
		{"proven in the end", 2, 10, 4, 2, 2, false},
		{"never proven", 99, 10, 3, 3, 0, false},
		{"enough of the usual", 0, 8, 2, 0, 2, false},
		{"never enough: kept, and void", 0, 7, 4, 3, 2, true},
	} {
		var log []string
		left := row.fails
		s := standing([]side{stand{is: hotspot, log: &log, value: func() (float64, error) {
			if left--; left >= 0 {
				return 0, wrong
			}
			return row.value, nil
		}}}, 2)
		err := s.measure(t.Context(), []trial{{key: "a", figures: []figure{{key: "x", usual: usually(10, 0)}}}})
		if errors.Is(err, errVoid) != (row.rounds == 0) || len(log) != row.runs || len(s.voids) != row.voids || len(s.results[0].rounds) != row.rounds {
			t.Errorf("%s: %v, %d runs, %d voids, %d rounds; want %d, %d, %d", row.name, err, len(log), len(s.voids), len(s.results[0].rounds), row.runs, row.voids, row.rounds)
		}
		if got := s.results[0].mostlyShort(hotspot); got != row.short {
			t.Errorf("%s: short %v, want %v", row.name, got, row.short)
		}
	}
}
