package auth

import "github.com/prometheus/client_golang/prometheus"

// newRefusals returns a counter of calls that were not let in.
func newRefusals() *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "signalbox_controlplane_refusals_total",
		Help: "Calls that were not let in, by why: no_key, unknown_key (or expired), certificate (a node's, ended or revoked), scope, starting, no_certificate (of a client, where one is asked for).",
	}, []string{"reason"})
	for _, reason := range []string{"no_key", "unknown_key", "certificate", "scope", "starting", "no_certificate"} {
		v.WithLabelValues(reason)
	}
	return v
}

// Describe implements prometheus.Collector.
func (k *Keys) Describe(out chan<- *prometheus.Desc) { k.refusals.Describe(out) }

// Collect implements prometheus.Collector.
func (k *Keys) Collect(out chan<- prometheus.Metric) { k.refusals.Collect(out) }
