// Package sample says what many measurements of one thing come to.
package sample

import (
	"math"
	"slices"
	"time"
)

// Percentile returns the smallest value that at least percent of all values
// do not exceed (the nearest rank), and NaN when there are none.
func Percentile(all []float64, percent float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(all))
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Median returns the middle value, between the two in the middle where there
// are two, and NaN when there are none.
func Median(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Milliseconds returns durations as numbers of milliseconds.
func Milliseconds(all []time.Duration) []float64 {
	ms := make([]float64, len(all))
	for i, d := range all {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	return ms
}
