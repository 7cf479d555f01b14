package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"signalbox/gateway/gatewaytest"
)

// Requests are counted by the API they are for, and no path becomes a label.
func TestMetricsTellOfRequests(t *testing.T) {
	_, g := start(t, Config{})
	for _, path := range []string{"/v1/routes", "/v1/routes/none", "/api/routes", "/healthz", "/docs/", "/nothing/here", "/v1/events?kinds=none"} {
		ask(g, "GET", path, "", "X-API-Key", gatewaytest.Admin)
	}
	ask(g, "GET", "/v1/routes", "")
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(g)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		for _, m := range f.Metric {
			fmt.Fprint(&got, strings.TrimPrefix(f.GetName(), "signalbox_gateway_"))
			for _, l := range m.Label {
				fmt.Fprint(&got, " ", l.GetValue())
			}
			fmt.Fprintln(&got, "", m.GetCounter().GetValue()+m.GetGauge().GetValue()+float64(m.GetHistogram().GetSampleCount()))
		}
	}
	for _, line := range []string{
		"requests_total rest 2xx 1", "requests_total rest 4xx 2", "requests_total chp 2xx 1", "requests_total health 2xx 1",
		"requests_total docs 2xx 1", "requests_total other 4xx 1", "requests_total sse 4xx 1",
		"request_duration_seconds rest 3", "event_streams_open 0", "controlplane_ready 1",
	} {
		if !strings.Contains("\n"+got.String(), "\n"+line+"\n") {
			t.Errorf("%q is missing", line)
		}
	}
	if t.Failed() {
		t.Log(got.String())
	}
}
