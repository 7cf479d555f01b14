package controlplane

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"signalbox/controlplane/feed"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// prefix of the names of a control plane's metrics.
const prefix = "signalbox_controlplane_"

// metrics is what a replica tells beside what its parts do. There is nothing
// in it that grows with the number of routes or nodes.
type metrics struct {
	store *meters
	calls *calls
	feed  *feed.Metrics

	revision, head, records, nodes, fed, behind, rejections *prometheus.Desc
}

func newMetrics() metrics {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	return metrics{
		store: newMeters(), calls: newCalls(), feed: feed.NewMetrics(),
		revision:   d("revision", "Revision of the store that this replica has followed to, 0 before it has read it."),
		head:       d("head_revision", "Newest revision that the store is known to have; what is between it and the one followed is still to be read."),
		records:    d("records", "Records in the store, by kind.", "kind"),
		nodes:      d("nodes", "Nodes by how they stand: live, lagging, lost, joining; draining are live and wanted to drain.", "state"),
		fed:        d("nodes_fed", "Nodes that this replica feeds and vouches for."),
		behind:     d("nodes_behind", "Live nodes that do not serve yet what this replica has followed to."),
		rejections: d("rejections", "Records that nodes refuse at the moment, each counted for every node that does."),
	}
}

// collectors are the parts that tell for themselves.
func (cp *ControlPlane) collectors() []prometheus.Collector {
	m := &cp.metrics
	return []prometheus.Collector{
		m.store.took, m.store.failed, m.store.writes, m.calls.done, m.calls.took, m.calls.open, m.feed,
		cp.nodes, cp.keys, cp.stand, cp.tally,
	}
}

// Describe implements prometheus.Collector.
func (cp *ControlPlane) Describe(out chan<- *prometheus.Desc) {
	for _, c := range cp.collectors() {
		c.Describe(out)
	}
	m := &cp.metrics
	for _, d := range []*prometheus.Desc{m.revision, m.head, m.records, m.nodes, m.fed, m.behind, m.rejections} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (cp *ControlPlane) Collect(out chan<- prometheus.Metric) {
	for _, c := range cp.collectors() {
		c.Collect(out)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	view, _ := cp.replica.Now()
	if view == nil {
		gauge(cp.metrics.revision, 0)
		return
	}
	m := &cp.metrics
	gauge(m.revision, float64(view.Version.Revision))
	head := float64(view.Version.Revision)
	if known := m.store.newest(); known.Epoch == view.Version.Epoch || known.Epoch == "" {
		head = max(head, float64(known.Revision))
	}
	gauge(m.head, head)
	counts := view.Count()
	for _, kind := range kinds {
		gauge(m.records, float64(counts[kind]), string(kind))
	}
	standing := cp.standing(view)
	for state, n := range standing.states {
		gauge(m.nodes, float64(n), state)
	}
	gauge(m.fed, float64(standing.fed))
	gauge(m.behind, float64(standing.behind))
	gauge(m.rejections, float64(standing.rejections))
}

// standing is how many nodes stand in which way.
type standing struct {
	states                  map[string]int
	fed, behind, rejections int
}

func (cp *ControlPlane) standing(view *replica.View) standing {
	s := standing{states: map[string]int{"live": 0, "lagging": 0, "lost": 0, "joining": 0, "draining": 0}}
	all := cp.nodes.All(func(key store.Key) store.Revision {
		if r := view.Get(key); r != nil {
			return r.Modified
		}
		return 0
	})
	for _, n := range all {
		o := n.Observed
		state := "joining"
		if o.GetState() != signalboxv1.NodeState_NODE_STATE_UNSPECIFIED {
			state = strings.ToLower(strings.TrimPrefix(o.GetState().String(), "NODE_STATE_"))
		}
		live := state == "live" || state == "lagging"
		if live && (o.GetServing().GetEpoch() != view.Version.Epoch || o.GetServing().GetRevision() < int64(view.Version.Revision)) {
			s.behind++
		}
		if state == "live" && wantsDrain(view, n.Name) {
			state = "draining"
		}
		s.states[state]++
		if o.GetControlPlane() == cp.config.ID {
			s.fed++
		}
		if live {
			s.rejections += len(o.GetRejections())
		}
	}
	return s
}

// wantsDrain reports whether a node is wanted to drain.
func wantsDrain(view *replica.View, node string) bool {
	r := view.Get(store.Key{Kind: store.KindNode, Name: node})
	if r == nil {
		return false
	}
	n, _ := r.Message.(*signalboxv1.Node)
	return n.GetWanted().GetDrain()
}
