package main

import "slices"

// summary is what the repeats of one number come to.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarize sums up at least one number.
func summarize(values []float64) summary {
	return summary{median(values), slices.Min(values), slices.Max(values)}
}

// median is the middle of at least one number, or the mean of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratios divides pair by pair.
func ratios(over, under []float64) []float64 {
	r := make([]float64, len(over))
	for i := range r {
		r[i] = over[i] / under[i]
	}
	return r
}

// differences subtracts pair by pair.
func differences(from, less []float64) []float64 {
	d := make([]float64, len(from))
	for i := range d {
		d[i] = from[i] - less[i]
	}
	return d
}
