package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
)

// A run that a series asked for, on a side that does nothing.
type asked struct {
	side, trial string
	offer       offer
	tried       bool // rather than measured
}

func TestASideIsOfferedWhatItCarriesBest(t *testing.T) {
	gives := func(byMessage, byRings float64) func(offer) (float64, error) {
		return func(o offer) (float64, error) {
			return map[offer]float64{byMessages: byMessage, byRing: byRings}[o], nil
		}
	}
	for _, row := range []struct {
		name  string
		give  func(offer) (float64, error)
		there []offer
		want  offer
		tries int
	}{
		{"more by sendmmsg", gives(2, 1), []offer{byMessages, byRing}, byMessages, 2},
		{"more by AF_XDP", gives(1, 2), []offer{byMessages, byRing}, byRing, 2},
		{"as much by either: the first", gives(2, 2), []offer{byMessages, byRing}, byMessages, 2},
		{"nothing by either: the first", gives(0, 0), []offer{byMessages, byRing}, byMessages, 2},
		{"a kernel without AF_XDP: nothing is tried", gives(1, 2), []offer{byMessages}, byMessages, 0},
	} {
		var runs []asked
		s := offered(row.there, &runs, func(_ string, o offer) (float64, error) { return row.give(o) }, hotspot)
		s.repeats = 3
		if err := s.measure(t.Context(), []trial{flooding("a")}); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		want := slices.Repeat([]asked{{hotspot, "a", row.want, false}}, s.repeats)
		if got := runs[min(row.tries, len(runs)):]; !slices.Equal(got, want) {
			t.Errorf("%s: after %d tries %v; want %v", row.name, row.tries, got, want)
		}
		for i, try := range runs[:min(row.tries, len(runs))] {
			if want := (asked{hotspot, "a", row.there[i], true}); try != want {
				t.Errorf("%s: tried %v, want %v", row.name, try, want)
			}
		}
		for _, each := range s.results[0].rounds {
			if each[hotspot].Sender != row.want {
				t.Errorf("%s: the report says %s", row.name, each[hotspot].Sender)
			}
		}
	}
}

// Each side has its own choice for each flood; in haste, for each stream.
func TestOffersAreTriedOnceASide(t *testing.T) {
	other := flooding("b")
	other.traffic = func() stream { return stream{clients: 2, first: newPort()} }
	list := []trial{flooding("a"), {key: "calm", figures: []figure{{key: delivered}}}, flooding("again"), other}
	for _, row := range []struct {
		name  string
		hasty bool
		tries int // of both offers
		again offer
	}{
		{"each flood has its own", false, 6, byMessages},
		{"in haste each stream has", true, 4, byRing},
	} {
		var runs []asked
		s := offered([]offer{byMessages, byRing}, &runs, func(trial string, o offer) (float64, error) {
			if (trial == "a") == (o == byRing) {
				return 2, nil
			}
			return 1, nil
		}, hotspot, natOnly)
		s.repeats, s.choices.hasty = 2, row.hasty
		if err := s.measure(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		tries := 0
		for _, r := range runs {
			if r.tried {
				tries++
			}
		}
		if tries != 2*row.tries || len(s.choices.made) != row.tries || len(runs) != tries+16 {
			t.Errorf("%s: %d tries, %d choices, %d runs; want %d, %d, 16 beside the tries", row.name, tries, len(s.choices.made), len(runs), 2*row.tries, row.tries)
		}
		for key, want := range map[string]offer{"a": byRing, "calm": "", "again": row.again, "b": byMessages} {
			for _, r := range runs {
				if !r.tried && r.trial == key && r.offer != want {
					t.Errorf("%s: %s in %s is offered %q, want %q", row.name, r.side, key, r.offer, want)
				}
			}
		}
	}
}

// What was measured before is not lost.
func TestATryThatFailsMakesItsTrialVoid(t *testing.T) {
	wrong := errors.New("no such socket")
	var runs []asked
	s := offered([]offer{byMessages, byRing}, &runs, func(_ string, o offer) (float64, error) {
		if o == byRing {
			return 0, wrong
		}
		return 1, nil
	}, hotspot)
	err := s.measure(t.Context(), []trial{flooding("a"), {key: "calm", figures: []figure{{key: delivered}}}})
	if !errors.Is(err, wrong) || !errors.Is(err, errVoid) || !s.results[0].unproven || len(s.results[1].rounds) != 1 {
		t.Errorf("%v after %v", err, runs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.measure(ctx, []trial{flooding("a")}); !errors.Is(err, context.Canceled) || errors.Is(err, errVoid) {
		t.Errorf("stopped: %v", err)
	}
}

// flooding is a trial whose offer is chosen.
func flooding(key string) trial {
	return trial{key: key, figures: []figure{{key: delivered}}, traffic: func() stream { return single(smallFrame) }}
}

// offered is a series on sides that deliver what they are said to.
func offered(there []offer, runs *[]asked, give func(trial string, o offer) (float64, error), sides ...string) *series {
	ask := func(sd side, t trial, how terms, tried bool) (float64, error) {
		*runs = append(*runs, asked{sd.name(), t.key, how.offer, tried})
		return give(t.key, how.offer)
	}
	s := &series{length: length{repeats: 1}, say: io.Discard, once: func(_ context.Context, sd side, t trial, how terms) (measurement, error) {
		v, err := ask(sd, t, how, false)
		return measurement{Values: map[string]float64{delivered: v}, Sender: how.offer}, err
	}}
	s.choices = &choices{offers: there, try: func(_ context.Context, sd side, t trial, how terms) (float64, error) {
		return ask(sd, t, how, true)
	}}
	for _, name := range sides {
		s.sides = append(s.sides, stand{is: name})
	}
	return s
}
