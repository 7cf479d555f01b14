package plot

import (
	"math"
	"strconv"
	"strings"
)

// An axis maps values to pixels.
type axis struct {
	log      bool
	from, to float64 // values
	low, end float64 // pixels of from and to
	ticks    []float64
}

// newAxis returns an axis that shows all values, and zero unless it is
// logarithmic.
func newAxis(values []float64, log bool, low, end float64) axis {
	a := axis{log: log, low: low, end: end}
	least, most := math.Inf(1), 0.0
	for _, v := range values {
		if usable(v, log) {
			least, most = min(least, v), max(most, v)
		}
	}
	switch {
	case most == 0:
		a.from, a.to, a.ticks = 0, 1, []float64{0, 1}
		if log {
			a.from, a.to, a.ticks = 1, 10, []float64{1, 10}
		}
	case log:
		a.decades(least, most)
	default:
		a.steps(most)
	}
	return a
}

// usable reports whether a value has a place on an axis.
func usable(v float64, log bool) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (v > 0 || v == 0 && !log)
}

// decades puts a tick at every power of ten, and between them where there are
// few.
func (a *axis) decades(least, most float64) {
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	if low == high {
		low, high = low-1, high+1
	}
	between := []float64{1}
	if high-low < 3 {
		between = []float64{1, 2, 5}
	}
	for e := low; e <= high; e++ {
		for _, m := range between {
			a.ticks = append(a.ticks, m*math.Pow(10, e))
		}
	}
	for len(a.ticks) > 2 && a.ticks[1] <= least {
		a.ticks = a.ticks[1:]
	}
	for len(a.ticks) > 2 && a.ticks[len(a.ticks)-2] >= most {
		a.ticks = a.ticks[:len(a.ticks)-1]
	}
	a.from, a.to = a.ticks[0], a.ticks[len(a.ticks)-1]
}

// steps puts a tick at every multiple of a round number, from zero.
func (a *axis) steps(most float64) {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, m := range []float64{0.1, 0.2, 0.5, 1, 2} {
		if most/(step*m) <= 5 {
			step *= m
			break
		}
	}
	n := math.Ceil(most / step)
	for i := 0.0; i <= n; i++ {
		a.ticks = append(a.ticks, i*step)
	}
	a.from, a.to = 0, n*step
}

// at is the pixel of a value.
func (a *axis) at(v float64) float64 {
	from, to := a.from, a.to
	if a.log {
		v, from, to = math.Log10(v), math.Log10(from), math.Log10(to)
	}
	return a.low + (v-from)/(to-from)*(a.end-a.low)
}

// Short writes a number with three significant digits, thousands as k.
func Short(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case math.Abs(v) >= 999_500:
		return trim(v/1e6) + "M"
	case math.Abs(v) >= 9_995:
		return trim(v/1e3) + "k"
	}
	return trim(v)
}

func trim(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
