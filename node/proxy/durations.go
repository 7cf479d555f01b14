package proxy

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Durations are counted in cells, whose bounds are those of a native histogram
// and of a classic one together, so that either follows from one count. The
// library's own histogram allocates with each observation.
const (
	// schema makes a native bucket 2^(1/8) times as wide as the one before.
	schema = 3
	// The native buckets are from 2^minPower seconds (61 µs; what is less is
	// in the zero bucket) to 2^maxPower (more than an hour; the last bucket
	// takes what is more, too).
	minPower, maxPower = -14, 12
	natives            = (maxPower - minPower) << schema
	// cells are the natives, the two beyond their ends, and one more for each
	// classic bound.
	cells = natives + 2 + 8
)

// classic are the bounds of the buckets that everyone can read, in seconds.
var classic = [8]float64{.001, .005, .025, .1, .5, 2.5, 10, 60}

// cellBounds are the upper bounds of all cells but the last, in order.
var cellBounds = makeCellBounds()

func makeCellBounds() (bounds [cells - 1]int64) {
	for i := range natives + 1 {
		// Rounded down: that is the last whole nanosecond in the bucket.
		bounds[i] = int64(math.Exp2(minPower+float64(i)/(1<<schema)) * 1e9)
	}
	for i, seconds := range classic {
		bounds[natives+1+i] = nanos(seconds)
	}
	slices.Sort(bounds[:])
	return bounds
}

func nanos(seconds float64) int64 { return int64(math.Round(seconds * 1e9)) }

// cellOf is where a duration is counted.
func cellOf(d time.Duration) int {
	i, _ := slices.BinarySearch(cellBounds[:], int64(d))
	return i
}

// durations is a histogram at one moment.
type durations struct {
	desc     *prometheus.Desc
	listener string
	since    time.Time // when counting began
	took     [cells]uint64
	sum      time.Duration
}

// Desc implements prometheus.Metric.
func (d *durations) Desc() *prometheus.Desc { return d.desc }

// Write implements prometheus.Metric: it fills in both histograms.
func (d *durations) Write(out *dto.Metric) error {
	var count, zero uint64
	positive, below := map[int]int64{}, map[float64]uint64{}
	next := 0 // the classic bound that is not passed
	for i, n := range d.took {
		count += n
		switch key := nativeOf(i); {
		case n == 0:
		case key <= minPower<<schema:
			zero += n
		default:
			positive[key] += int64(n)
		}
		if next < len(classic) && i < len(cellBounds) && cellBounds[i] == nanos(classic[next]) {
			below[classic[next]] = count
			next++
		}
	}
	native, err := prometheus.NewConstNativeHistogram(d.desc, count, d.sum.Seconds(), positive, nil, zero,
		schema, math.Exp2(minPower), d.since, d.listener)
	if err != nil {
		return err
	}
	if err := native.Write(out); err != nil {
		return err
	}
	for _, bound := range slices.Sorted(maps.Keys(below)) {
		n := below[bound]
		out.Histogram.Bucket = append(out.Histogram.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: &n})
	}
	return nil
}

// nativeOf is the key of the native bucket that a cell is in: the bucket's
// upper bound is 2^(key/8).
func nativeOf(cell int) int {
	if cell >= len(cellBounds) {
		return maxPower<<schema + 1
	}
	// The bound's own bucket, or that which a classic bound divides.
	return int(math.Ceil(math.Log2(float64(cellBounds[cell])/1e9)*(1<<schema) - 1e-6))
}
