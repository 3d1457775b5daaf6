package main

import (
	"math"
	"slices"
)

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

// percentile is the value that so large a part of at least one is not above
// (nearest rank).
func percentile(values []float64, part float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(int(math.Ceil(part*float64(len(sorted)))), 1)-1]
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// jain is Jain's index of fairness: 1 if all have the same, 1/n if one has all.
func jain(values []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range values {
		sum += v
		squares += v * v
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(values)) * squares)
}

// offByWeight is by how many percent the weight that is furthest from what all have
// for each unit of weight is off. Weights come in turn, so many.
func offByWeight(parts []float64, weights int) (most float64) {
	weights = max(weights, 1)
	if all := mean(parts); all > 0 {
		for w := range min(weights, len(parts)) {
			var own []float64
			for i := w; i < len(parts); i += weights {
				own = append(own, parts[i])
			}
			most = max(most, 100*math.Abs(mean(own)/all-1))
		}
	}
	return most
}

// furthest is by how many percent the counter that is furthest from the wanted is
// off.
func furthest(counters []uint64, wanted float64) (most float64) {
	for _, n := range counters {
		most = max(most, 100*math.Abs(float64(n)/wanted-1))
	}
	return most
}
