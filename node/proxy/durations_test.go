package proxy

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// Of the same durations, ours says what the library's histogram does.
func TestDurationsAreCountedAsTheLibraryDoes(t *testing.T) {
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "x", Buckets: classic[:],
		NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: math.Exp2(minPower),
	})
	ours := &durations{desc: newDescs().duration, since: time.Now()}
	observe := func(d time.Duration) {
		theirs.Observe(d.Seconds())
		ours.took[cellOf(d)]++
		ours.sum += d
	}
	for _, d := range []time.Duration{0, 1, time.Microsecond, time.Millisecond, time.Millisecond + 1, 500 * time.Millisecond, time.Minute, time.Minute + 1, time.Hour} {
		observe(d)
	}
	for range 100_000 {
		// No power of two exactly, where seconds and nanoseconds may differ.
		observe(time.Duration(math.Exp2(rand.Float64()*41)) | 1)
	}
	var want, got dto.Metric
	if err := theirs.Write(&want); err != nil {
		t.Fatal(err)
	}
	if err := ours.Write(&got); err != nil {
		t.Fatal(err)
	}
	if d := want.Histogram.GetSampleSum() - got.Histogram.GetSampleSum(); math.Abs(d) > 1e-3 {
		t.Errorf("the sums differ by %v", d)
	}
	want.Histogram.SampleSum, want.Histogram.CreatedTimestamp = got.Histogram.SampleSum, got.Histogram.CreatedTimestamp
	if !proto.Equal(want.Histogram, got.Histogram) {
		t.Errorf("theirs %v\nours   %v", want.Histogram, got.Histogram)
	}
}

// What is beyond the last bucket is counted in it, and in no other.
func TestLongDurationsAreCounted(t *testing.T) {
	d := &durations{desc: newDescs().duration, since: time.Now()}
	d.took[cellOf(24*time.Hour)]++
	var got dto.Metric
	if err := d.Write(&got); err != nil {
		t.Fatal(err)
	}
	h := got.Histogram
	if h.GetSampleCount() != 1 || h.GetPositiveSpan()[0].GetOffset() != maxPower<<schema+1 || h.Bucket[len(h.Bucket)-1].GetCumulativeCount() != 0 {
		t.Errorf("counted as %v", h)
	}
}
