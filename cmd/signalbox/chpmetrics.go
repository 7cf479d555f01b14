package main

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"signalbox/gateway/chp"
	"signalbox/node/proxy"
)

// chpMetrics counts by CHP's names, without a prefix and without "_total".
type chpMetrics struct {
	web, ws          prometheus.Counter
	get, add, remove prometheus.Counter
	proxied, api     *prometheus.CounterVec
	find, activity   prometheus.Summary
	sources          prometheus.Gatherers
}

// newCHPMetrics returns metrics that are shown beside our own.
func newCHPMetrics(shown *metrics) *chpMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	byStatus := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"status"})
	}
	summary := func(name, help string) prometheus.Summary {
		return prometheus.NewSummary(prometheus.SummaryOpts{Name: name, Help: help,
			Objectives: map[float64]float64{.01: .005, .05: .01, .5: .05, .9: .01, .95: .005, .99: .001, .999: .0001}})
	}
	m := &chpMetrics{
		web:      counter("requests_web", "HTTP requests on the public port; health checks left out."),
		ws:       counter("requests_ws", "Requests on the public port that asked for a WebSocket."),
		get:      counter("api_route_get", "Times that the whole table was read."),
		add:      counter("api_route_add", "Routes that were written."),
		remove:   counter("api_route_delete", "Routes that were removed, or were not there."),
		proxied:  byStatus("requests_proxy", "Answers on the public port, by status; WebSockets that were opened left out."),
		api:      byStatus("requests_api", "Answers of the REST API, by status."),
		find:     summary("find_target_for_req", "Seconds that finding the route of a request took."),
		activity: summary("last_activity_updating", "Requests that moved the last activity of a route; it takes no time, and 0 seconds are told."),
	}
	own := prometheus.NewRegistry()
	own.MustRegister(m.web, m.ws, m.get, m.add, m.remove, m.proxied, m.api, m.find, m.activity)
	m.sources = prometheus.Gatherers{own, shown.registry}
	return m
}

// exchange counts what is over on the public port.
func (m *chpMetrics) exchange(x proxy.Exchange) {
	if x.Upgrade {
		m.ws.Inc()
	} else {
		m.web.Inc()
	}
	if x.Match > 0 {
		m.find.Observe(x.Match.Seconds())
	}
	if x.Active {
		m.activity.Observe(0)
	}
	if x.Status != http.StatusSwitchingProtocols && x.Reason != proxy.ReasonClientGone {
		m.proxied.WithLabelValues(strconv.Itoa(x.Status)).Inc()
	}
}

// call counts what was answered on the API port.
func (m *chpMetrics) call(c chp.Call) {
	m.api.WithLabelValues(strconv.Itoa(c.Status)).Inc()
	switch {
	case c.Key == "" || c.Status == http.StatusForbidden:
	case c.Method == http.MethodGet && c.Table:
		m.get.Inc()
	case c.Method == http.MethodPost && c.Status == http.StatusCreated:
		m.add.Inc()
	case c.Method == http.MethodDelete:
		m.remove.Inc()
	}
}

// listen binds an address, unless it is empty, and returns what serves there.
func (m *chpMetrics) listen(addr string, log *slog.Logger) (func(context.Context) error, error) {
	if addr == "" {
		return func(context.Context) error { return nil }, nil
	}
	ln, err := listenAt("metrics-port", addr)
	if err != nil {
		return nil, err
	}
	show := promhttp.HandlerFor(m.sources, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapes})
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/metrics" {
				http.Error(w, "Not Found", http.StatusNotFound)
				return
			}
			show.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return func(ctx context.Context) error { return serveHTTP(ctx, server, ln, log) }, nil
}
