package sample

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestPercentileIsOneOfTheValues(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for percent, want := range map[float64]float64{0: 1, 1: 1, 50: 50, 99: 99, 99.5: 100, 100: 100} {
		if got := Percentile(hundred, percent); got != want {
			t.Errorf("%v%% of 1 to 100: got %v, want %v", percent, got, want)
		}
	}
	if got := Percentile([]float64{7}, 99); got != 7 {
		t.Errorf("99%% of one value: got %v, want 7", got)
	}
}

func TestMedianIsInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		all  []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		before := slices.Clone(c.all)
		if got := Median(c.all); got != c.want || !slices.Equal(before, c.all) {
			t.Errorf("median of %v: got %v and %v left, want %v and nothing changed", before, got, c.all, c.want)
		}
	}
}

func TestNothingComesToNaN(t *testing.T) {
	if !math.IsNaN(Median(nil)) || !math.IsNaN(Percentile(nil, 50)) {
		t.Error("no values came to a number")
	}
}

func TestMillisecondsKeepTheFraction(t *testing.T) {
	if got := Milliseconds([]time.Duration{1500 * time.Microsecond}); !slices.Equal(got, []float64{1.5}) {
		t.Errorf("got %v", got)
	}
}
