package proxy_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what the node's handler tells, one sample a line; histograms by
// their counts.
func (n *node) metrics() string {
	n.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(n.handler)
	families, err := reg.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range families {
		for _, m := range f.Metric {
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			fmt.Fprintf(&out, "%s", strings.TrimPrefix(f.GetName(), "signalbox_node_"))
			for _, name := range slices.Sorted(maps.Keys(labels)) {
				fmt.Fprintf(&out, " %s", labels[name])
			}
			fmt.Fprintf(&out, " %v\n", value)
		}
	}
	return out.String()
}

// Metrics say what clients saw.
func TestMetricsSayWhatWasCarried(t *testing.T) {
	n := plain(t)
	n.route("/", web(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	n.route("/gone", "http://127.0.0.1:1")
	for _, path := range []string{"/", "/", "/gone"} {
		n.get(path)
	}
	c := n.dial()
	c.send("POST / HTTP/1.1", "Host: x", "Content-Length: 3")
	c.raw("abc")
	c.answer()
	bad := n.dial()
	bad.send("GET / HTTP/1.1", "Host : x")
	bad.answer()
	up := scripted(t)
	n.route("/ws", up.url)
	client, upstream := n.join(up, "/ws")
	client.raw("ping")
	upstream.exactly(4)
	eventually(t, "it is all counted", func() bool { return strings.Contains(n.metrics(), "requests_open public 1\n") })
	got := n.metrics()
	for _, line := range []string{
		"requests_total public 1xx 1", "requests_total public 2xx 3", "requests_total public 4xx 1", "requests_total public 5xx 1",
		"requests_total public other 0", "request_duration_seconds public 5", "requests_open public 1", "streams_open 1",
		"failures_total dial_refused upstream 1", "failures_total space_before_colon client 1", "heads_refused_total public 1",
		"received_bytes_total public 7",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("%q is missing", line)
		}
	}
	_, _ = client.Close(), upstream.Close()
	_ = n.server.Shutdown(context.Background())
	eventually(t, "all is over", func() bool {
		got := n.metrics()
		return strings.Contains(got, "requests_open public 0\n") && strings.Contains(got, "connections_open public 0\n") && strings.Contains(got, "streams_open 0\n")
	})
	if t.Failed() {
		t.Log(got)
	}
}
