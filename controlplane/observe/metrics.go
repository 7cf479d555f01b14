package observe

import "github.com/prometheus/client_golang/prometheus"

// waiting is what is told of the waits for nodes.
type waiting struct {
	took   prometheus.Histogram
	missed prometheus.Counter
}

func newWaiting() waiting {
	return waiting{
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "signalbox_controlplane_node_wait_duration_seconds",
			Help:    "How long writes that asked for it waited for the nodes to serve them.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "signalbox_controlplane_node_waits_missed_total",
			Help: "Waits for the nodes that ended before every live one served the write.",
		}),
	}
}

// Describe implements prometheus.Collector.
func (ns *Nodes) Describe(out chan<- *prometheus.Desc) {
	ns.waiting.took.Describe(out)
	ns.waiting.missed.Describe(out)
}

// Collect implements prometheus.Collector. Who is there, and how they stand, is
// for those to tell who know what is current.
func (ns *Nodes) Collect(out chan<- prometheus.Metric) {
	ns.waiting.took.Collect(out)
	ns.waiting.missed.Collect(out)
}
