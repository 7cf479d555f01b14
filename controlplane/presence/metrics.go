package presence

import "github.com/prometheus/client_golang/prometheus"

// descs are what a Presence tells.
type descs struct{ held, lost, members *prometheus.Desc }

func newDescs() descs {
	d := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("signalbox_controlplane_"+name, help, nil, nil)
	}
	return descs{
		held:    d("lease_held", "1 while this replica holds its lease in the store, and so may feed nodes, else 0."),
		lost:    d("leases_lost_total", "Leases in the store that this replica lost."),
		members: d("members", "Replicas that hold a lease in the store, as this one last heard."),
	}
}

// Describe implements prometheus.Collector.
func (p *Presence) Describe(out chan<- *prometheus.Desc) {
	out <- p.descs.held
	out <- p.descs.lost
	out <- p.descs.members
}

// Collect implements prometheus.Collector.
func (p *Presence) Collect(out chan<- prometheus.Metric) {
	canFeed, members, _ := p.Standing()
	held := 0.0
	if canFeed {
		held = 1
	}
	out <- prometheus.MustNewConstMetric(p.descs.held, prometheus.GaugeValue, held)
	out <- prometheus.MustNewConstMetric(p.descs.lost, prometheus.CounterValue, float64(p.lost.Load()))
	out <- prometheus.MustNewConstMetric(p.descs.members, prometheus.GaugeValue, float64(len(members.GetMembers())))
}
