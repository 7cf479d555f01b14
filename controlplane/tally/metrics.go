package tally

import (
	"github.com/prometheus/client_golang/prometheus"

	"signalbox/store"
)

// metrics is what is told of checkpoints.
type metrics struct {
	took            prometheus.Histogram
	written, failed prometheus.Counter
	leads           prometheus.Gauge
}

func newMetrics() metrics {
	const prefix = "signalbox_controlplane_checkpoint_"
	return metrics{
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "duration_seconds", Help: "How long checkpoints of what routes carried took.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "written_bytes_total", Help: "Bytes of checkpoints that were written to the store."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "failures_total", Help: "Checkpoints that could not be written, and are tried again."}),
		leads:   prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "leader", Help: "1 while this replica writes checkpoints for nodes that nobody feeds, else 0."}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.took, m.written, m.failed, m.leads}
}

// Describe implements prometheus.Collector.
func (b *Book) Describe(out chan<- *prometheus.Desc) {
	for _, c := range b.metrics.all() {
		c.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (b *Book) Collect(out chan<- prometheus.Metric) {
	for _, c := range b.metrics.all() {
		c.Collect(out)
	}
}

// sizeOf is how many bytes notes are.
func sizeOf(notes []store.Note) (n int) {
	for _, note := range notes {
		n += len(note.Name) + len(note.Value)
	}
	return n
}
