package proxy

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// descs are what a Handler tells. Labels are the names of listeners, which are
// the node's flags, classes of statuses, reasons and sides: all few.
type descs struct {
	requests, duration, open, received, sent, accepted, conns, refused *prometheus.Desc
	failures, retries, streams                                         *prometheus.Desc
}

func newDescs() descs {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("signalbox_node_"+name, help, labels, nil)
	}
	return descs{
		requests: d("requests_total", "Requests by the class of their final status, answered or given up on.", "listener", "status"),
		duration: d("request_duration_seconds", "How long requests took, from the head to the end of the answer; upgraded ones left out.", "listener"),
		open:     d("requests_open", "Requests that are running, upgraded ones among them.", "listener"),
		received: d("received_bytes_total", "Bytes of request bodies and upgraded streams from clients.", "listener"),
		sent:     d("sent_bytes_total", "Bytes of response bodies and upgraded streams to clients.", "listener"),
		accepted: d("connections_accepted_total", "Connections of clients that were accepted, their TLS handshake done.", "listener"),
		conns:    d("connections_open", "Connections of clients that are open, those of upgraded streams left out.", "listener"),
		refused:  d("heads_refused_total", "Request heads that were refused for what the client sent.", "listener"),
		failures: d("failures_total", "Exchanges that failed, by the reason and by the side it is laid at.", "reason", "side"),
		retries:  d("retries_total", "Attempts at upstreams beyond the first of a request."),
		streams:  d("streams_open", "Upgraded streams, such as WebSockets, that are open."),
	}
}

// classes are the labels of meter.classes.
var classes = [6]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Describe implements prometheus.Collector.
func (h *Handler) Describe(out chan<- *prometheus.Desc) {
	d := &h.descs
	for _, one := range []*prometheus.Desc{
		d.requests, d.duration, d.open, d.received, d.sent, d.accepted, d.conns, d.refused, d.failures, d.retries, d.streams,
	} {
		out <- one
	}
}

// Collect implements prometheus.Collector.
func (h *Handler) Collect(out chan<- prometheus.Metric) {
	h.mu.Lock()
	fronts := slices.Collect(maps.Values(h.fronts))
	h.mu.Unlock()
	var retries uint64
	for _, f := range fronts {
		retries += f.collect(out)
	}
	h.streams.mu.Lock()
	streams := len(h.streams.all)
	h.streams.mu.Unlock()
	out <- prometheus.MustNewConstMetric(h.descs.retries, prometheus.CounterValue, float64(retries))
	out <- prometheus.MustNewConstMetric(h.descs.streams, prometheus.GaugeValue, float64(streams))
	for blame, n := range h.failures.all() {
		out <- prometheus.MustNewConstMetric(h.descs.failures, prometheus.CounterValue, float64(n), string(blame.reason), string(blame.side))
	}
}

// collect tells of one listener, and returns its retries.
func (f *front) collect(out chan<- prometheus.Metric) (retries uint64) {
	d := &f.handler.descs
	var open int64
	var received, sent, refused uint64
	var statuses [len(classes)]uint64
	took := &durations{desc: d.duration, listener: f.name, since: f.handler.begun}
	for i := range f.meters {
		m := &f.meters[i]
		open += m.open.Load()
		received, sent = received+m.received.Load(), sent+m.sent.Load()
		refused, retries = refused+m.refused.Load(), retries+m.retries.Load()
		for class := range statuses {
			statuses[class] += m.classes[class].Load()
		}
		for cell := range took.took {
			took.took[cell] += m.took[cell].Load()
		}
		took.sum += time.Duration(m.sum.Load())
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for class, n := range statuses {
		counter(d.requests, n, f.name, classes[class])
	}
	counter(d.received, received, f.name)
	counter(d.sent, sent, f.name)
	counter(d.refused, refused, f.name)
	counter(d.accepted, f.accepted.Load(), f.name)
	out <- prometheus.MustNewConstMetric(d.open, prometheus.GaugeValue, float64(open), f.name)
	out <- prometheus.MustNewConstMetric(d.conns, prometheus.GaugeValue, float64(f.conns.Load()), f.name)
	out <- took
	return retries
}
