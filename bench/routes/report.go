package main

import (
	"fmt"
	"time"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
	"signalbox/bench/sample"
)

// A result is what was found at a peer with so many calls at once: medians over
// the rounds, in milliseconds.
type result struct {
	Peer    string  `json:"peer"`
	AtOnce  int     `json:"at_once"`
	Routes  int     `json:"routes"`
	Write   float64 `json:"write_ms"`
	Slowest float64 `json:"slowest_post_ms"`
	Serve   float64 `json:"serve_ms"`
}

// report writes the results.
func report(of options, run outcome.Run, all []peer, rounds [][][]found) error {
	o := outcome.Outcome{
		Name: "routes", Title: fmt.Sprintf("%d routes, written by one client", of.routes), Run: run,
		Method: "How long one client needs to write the routes through CHP's API, one call after the other or ten at a time, and then to be answered once through each of them, one after the other. " +
			"Every peer is started anew for each round, in turn, on ports of this machine; a POST is answered when the route is served. " +
			"CHP and the drop-in keep nothing; `signalbox up` has a control plane and a node whose etcd syncs every write to disk.",
		Notes: []string{"Medians over the rounds, also of the slowest POST of a round."},
	}
	t := outcome.Table{Title: "Milliseconds", Header: []string{"peer", "calls at once", "to write all", "a route", "slowest POST", "to be served by all", "both"}}
	bars := plot.Bars{Title: "To write all, one call at a time, and to be served by all, ms"}
	var results []result
	for i, p := range all {
		for j, n := range calls {
			r := result{Peer: p.name, AtOnce: n, Routes: of.routes}
			r.Write = middle(rounds[i][j], func(f found) time.Duration { return f.Write })
			r.Slowest = middle(rounds[i][j], func(f found) time.Duration { return f.Slowest })
			r.Serve = middle(rounds[i][j], func(f found) time.Duration { return f.Serve })
			results = append(results, r)
			t.Rows = append(t.Rows, []string{p.name, fmt.Sprint(n), plot.Short(r.Write), plot.Short(r.Write / float64(of.routes)), plot.Short(r.Slowest), plot.Short(r.Serve), plot.Short(r.Write + r.Serve)})
			if n == 1 {
				bars.Bars = append(bars.Bars, plot.Bar{Name: p.name, Value: r.Write + r.Serve, Ours: p.name != "configurable-http-proxy"})
			}
		}
	}
	o.Tables, o.Data = []outcome.Table{t}, results
	o.Figure = plot.Figure{Title: o.Title, Panels: []plot.Panel{bars}}
	return o.Write(of.out)
}

// middle is the median of one number over the rounds, in milliseconds.
func middle(rounds []found, of func(found) time.Duration) float64 {
	var all []time.Duration
	for _, f := range rounds {
		all = append(all, of(f))
	}
	return sample.Median(sample.Milliseconds(all))
}
