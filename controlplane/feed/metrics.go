package feed

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what all servers of one replica say and hear.
type Metrics struct {
	whole, changes, acks, reports prometheus.Counter
}

// NewMetrics returns counts of nothing yet.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels prometheus.Labels) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "signalbox_controlplane_" + name, Help: help, ConstLabels: labels})
	}
	const updates = "Updates that were sent to nodes: changes, or whole states."
	return &Metrics{
		whole:   counter("updates_sent_total", updates, prometheus.Labels{"update": "whole"}),
		changes: counter("updates_sent_total", updates, prometheus.Labels{"update": "change"}),
		acks:    counter("acks_received_total", "Acknowledgements of updates that nodes sent, to this replica's feeding or another's.", nil),
		reports: counter("reports_received_total", "Reports of what they carried that nodes sent.", nil),
	}
}

// sent counts an update.
func (m *Metrics) sent(whole bool) {
	if whole {
		m.whole.Inc()
	} else {
		m.changes.Inc()
	}
}

func (m *Metrics) all() []prometheus.Counter {
	return []prometheus.Counter{m.whole, m.changes, m.acks, m.reports}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(out)
	}
}
