package node

import (
	"crypto/x509"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"signalbox/node/certfile"
)

// What a node tells beside what its proxy does. Labels are the names of its
// listeners, and words of which there are few.
type descs struct {
	handshakes                                                *prometheus.Desc
	upstreamOpen, upstreamOpened, upstreamFailed, upstreamUse *prometheus.Desc
	routes, revision, updates, rejections                     *prometheus.Desc
	known, connected, fed, ready, draining                    *prometheus.Desc
	kept, keepFailed, keptAt                                  *prometheus.Desc
}

func newDescs() descs {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("signalbox_node_"+name, help, labels, nil)
	}
	return descs{
		handshakes:     d("tls_handshake_failures_total", "TLS handshakes of clients that failed.", "listener"),
		upstreamOpen:   d("upstream_connections_open", "Connections to upstreams that are open, used and unused."),
		upstreamOpened: d("upstream_connections_opened_total", "Connections to upstreams that were made."),
		upstreamFailed: d("upstream_connections_failed_total", "Attempts to connect to an upstream that failed; those given up with their request left out."),
		upstreamUse:    d("upstream_connections_reused_total", "Requests sent on a connection that had carried one before."),
		routes:         d("routes", "Routes that are served."),
		revision:       d("revision", "Revision of the store that is served, 0 before there is one."),
		updates:        d("updates_applied_total", "Updates that were applied: changes, or whole states.", "update"),
		rejections:     d("rejections", "Records that this node refuses at the moment."),
		known:          d("controlplanes_known", "Addresses of control planes that are known."),
		connected:      d("controlplanes_connected", "Control planes to which a stream is open."),
		fed:            d("fed", "1 if a control plane feeds this node, else 0."),
		ready:          d("ready", "1 if the node should be sent traffic, else 0."),
		draining:       d("draining", "1 if the node is draining, wanted to or stopping, else 0."),
		kept:           d("state_writes_total", "Times that the last-known-good file was written."),
		keepFailed:     d("state_write_failures_total", "Times that the last-known-good file could not be written."),
		keptAt:         d("state_written_timestamp_seconds", "When the last-known-good file was last written, in seconds since 1970; 0 for not by this process."),
	}
}

func (d *descs) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		d.handshakes, d.upstreamOpen, d.upstreamOpened, d.upstreamFailed, d.upstreamUse, d.routes, d.revision, d.updates, d.rejections,
		d.known, d.connected, d.fed, d.ready, d.draining, d.kept, d.keepFailed, d.keptAt,
	}
}

// keeping counts what became of the last-known-good file.
type keeping struct {
	written, failed atomic.Uint64
	at              atomic.Int64 // when it was last written, in nanoseconds since 1970
}

// Describe implements prometheus.Collector.
func (n *Node) Describe(out chan<- *prometheus.Desc) {
	n.proxy.Describe(out)
	for _, d := range n.descs.all() {
		out <- d
	}
}

// Collect implements prometheus.Collector. It must not be called before Listen.
func (n *Node) Collect(out chan<- prometheus.Metric) {
	n.proxy.Collect(out)
	d := &n.descs
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	for _, f := range n.fronts {
		counter(d.handshakes, f.accept.FailedHandshakes(), f.name)
	}
	up := n.pools.Totals()
	gauge(d.upstreamOpen, float64(up.Open))
	counter(d.upstreamOpened, up.Opened)
	counter(d.upstreamFailed, up.Failed)
	counter(d.upstreamUse, up.Reused)
	gauge(d.routes, float64(n.proxy.Table().Len()))
	counter(d.updates, n.table.changes.Load(), "change")
	counter(d.updates, n.table.wholes.Load(), "whole")
	n.collectStatus(gauge)
	if n.keep == nil {
		return
	}
	counter(d.kept, n.keep.counts.written.Load())
	counter(d.keepFailed, n.keep.counts.failed.Load())
	gauge(d.keptAt, float64(n.keep.counts.at.Load())/1e9)
}

// collectStatus tells how the node stands with its control planes.
func (n *Node) collectStatus(gauge func(*prometheus.Desc, float64)) {
	d, s := &n.descs, n.status()
	connected, fed := 0, false
	for _, cp := range s.ControlPlanes {
		if cp.Connected {
			connected++
		}
		fed = fed || cp.Feeds
	}
	gauge(d.revision, float64(s.Serving.GetRevision()))
	gauge(d.rejections, float64(len(s.Rejections)))
	gauge(d.known, float64(len(s.ControlPlanes)))
	gauge(d.connected, float64(connected))
	gauge(d.fed, truth(fed))
	gauge(d.ready, truth(s.Ready))
	gauge(d.draining, truth(n.draining.Load()))
}

// truth is a bool as a gauge.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Certificates returns the node's certificates, by what they are for:
// "identity", which it connects to control planes with when it has one of its
// own, or "controlplane" when it was given one; and "listener/NAME".
func (n *Node) Certificates() map[string]*x509.Certificate {
	shown := map[string]*x509.Certificate{}
	for _, f := range n.fronts {
		if c := certfile.Shown(f.secure); c != nil {
			shown["listener/"+f.name] = c
		}
	}
	if n.identity != nil {
		if c := n.identity.Certificate(); c != nil {
			shown["identity"] = c
		}
	} else if n.conf.TLS.Cert != "" {
		conf, _ := n.conf.TLS.Config() // what is wrong with it was said by New
		if c := certfile.Shown(conf); c != nil {
			shown["controlplane"] = c
		}
	}
	return shown
}
