package main

import (
	"slices"
	"testing"
)

func TestSummarize(t *testing.T) {
	for _, row := range []struct {
		name   string
		values []float64
		want   summary
	}{
		{"one value is all three", []float64{3}, summary{3, 3, 3}},
		{"an odd number has a middle", []float64{9, 1, 5}, summary{5, 1, 9}},
		{"an even number has the mean of two", []float64{4, 1, 2, 10}, summary{3, 1, 10}},
	} {
		values := slices.Clone(row.values)
		if got := summarize(values); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
		if !slices.Equal(values, row.values) {
			t.Errorf("%s: the values were put in another order: pairs are lost", row.name)
		}
	}
}

func TestRatiosAreOfPairs(t *testing.T) {
	if got, want := ratios([]float64{2, 9}, []float64{4, 3}), []float64{0.5, 3}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
