package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// metrics is what is told of requests: by the API they are for, of which there
// are nine, and the class of the status they were answered with.
type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	streams  prometheus.Gauge
	ready    *prometheus.Desc
}

func newMetrics() metrics {
	const prefix = "signalbox_gateway_"
	return metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total", Help: "Requests that were answered, by API (rest, sse, logs, chp, nodepass, nodepass_sse, docs, health, other) and class of status.",
		}, []string{"api", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "request_duration_seconds", Help: "How long requests took, waits for the nodes included; streams of events and logs left out.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"api"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "event_streams_open", Help: "Streams of server-sent events, and of logs, that are open."}),
		ready:   prometheus.NewDesc(prefix+"controlplane_ready", "1 while a connection to a control plane is ready, else 0; one that was never needed is not.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (g *Gateway) Describe(out chan<- *prometheus.Desc) {
	g.metrics.requests.Describe(out)
	g.metrics.took.Describe(out)
	g.metrics.streams.Describe(out)
	out <- g.metrics.ready
}

// Collect implements prometheus.Collector.
func (g *Gateway) Collect(out chan<- prometheus.Metric) {
	g.metrics.requests.Collect(out)
	g.metrics.took.Collect(out)
	g.metrics.streams.Collect(out)
	if conn, ok := g.conn.(interface{ GetState() connectivity.State }); ok {
		ready := 0.0
		if conn.GetState() == connectivity.Ready {
			ready = 1
		}
		out <- prometheus.MustNewConstMetric(g.metrics.ready, prometheus.GaugeValue, ready)
	}
}

// A *grpc.ClientConn is what the state is asked of.
var _ interface{ GetState() connectivity.State } = (*grpc.ClientConn)(nil)

// begin counts a request for an API. The writer is to be used for the answer,
// and end called when that is over.
func (m *metrics) begin(w http.ResponseWriter, api string) (counted *answer, end func()) {
	begun, streams := time.Now(), api == apiEvents || api == apiLogs || api == apiNodePassEvents
	if streams {
		m.streams.Inc()
	}
	counted = &answer{ResponseWriter: w, status: http.StatusOK}
	return counted, func() {
		m.requests.WithLabelValues(api, strconv.Itoa(counted.status/100)+"xx").Inc()
		if streams {
			m.streams.Dec()
			return
		}
		m.took.WithLabelValues(api).Observe(time.Since(begun).Seconds())
	}
}

// An answer remembers its status.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// FlushError is for http.ResponseController, which would take Flush otherwise
// and not hear of a client that is gone.
func (a *answer) FlushError() error { return http.NewResponseController(a.ResponseWriter).Flush() }

// Flush implements http.Flusher, for those who do not know the others.
func (a *answer) Flush() { _ = a.FlushError() }

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
