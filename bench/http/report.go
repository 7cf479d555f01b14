package main

import (
	"fmt"
	"strconv"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
	"signalbox/bench/sample"
)

// A point is what was found of one proxy under one load: medians of rounds.
type point struct {
	Proxy   string `json:"proxy"`
	Version string `json:"version,omitempty"`
	Load    string `json:"load"`
	// CPU is microseconds for one, Rate how many a second, Busy the share of
	// its core that the proxy used.
	CPU  float64 `json:"cpu_us"`
	Rate float64 `json:"per_second"`
	Busy float64 `json:"busy"`
	P50  float64 `json:"p50_ms,omitempty"`
	P99  float64 `json:"p99_ms,omitempty"`
	// InCaddys and InNginxs are the medians over rounds of CPU, measured in
	// that of these two; zero when they were not there.
	InCaddys float64 `json:"cpu_in_caddys,omitempty"`
	InNginxs float64 `json:"cpu_in_nginxs,omitempty"`
	// RateOfCaddy and RateOfNginx are the same of Rate.
	RateOfCaddy float64 `json:"rate_of_caddys,omitempty"`
	RateOfNginx float64 `json:"rate_of_nginxs,omitempty"`
	Rounds      int     `json:"rounds"`
}

func (l *lab) point(x *proxy, load string) point {
	all := x.cases[load]
	median := func(f func(sampled) float64) float64 {
		values := make([]float64, len(all))
		for i, s := range all {
			values[i] = f(s)
		}
		return sample.Median(values)
	}
	return point{
		Proxy: x.name, Version: x.version, Load: load, Rounds: len(all),
		CPU: median(sampled.each), Rate: median(sampled.rate), Busy: median(sampled.busy),
		P50: median(func(s sampled) float64 { return s.P50 }), P99: median(func(s sampled) float64 { return s.P99 }),
		InCaddys: l.ratio(x, "Caddy", load, sampled.each), InNginxs: l.ratio(x, "nginx", load, sampled.each),
		RateOfCaddy: l.ratio(x, "Caddy", load, sampled.rate), RateOfNginx: l.ratio(x, "nginx", load, sampled.rate),
	}
}

// ratio compares a proxy with another, round by round.
func (l *lab) ratio(x *proxy, other, load string, f func(sampled) float64) float64 {
	for _, y := range l.proxies {
		if y.name != other {
			continue
		}
		var ratios []float64
		for i, s := range x.cases[load] {
			ratios = append(ratios, f(s)/f(y.cases[load][i]))
		}
		return sample.Median(ratios)
	}
	return 0
}

// report writes the results.
func (l *lab) report(run outcome.Run, all []loading) error {
	o := outcome.Outcome{
		Name: "http", Title: "HTTP", Run: run,
		Method: fmt.Sprintf("A node beside other proxies, each bound to one core, with load and origin on the other: %d connections that are kept, to one origin. "+
			"All proxies are there at once and are measured in turn, %d rounds of %v each; what is shown are medians, and medians of the rounds' ratios. "+
			"CPU time is that of the proxy's processes, in user and kernel mode.", l.o.connections, l.o.rounds, l.o.duration),
		Notes:  l.notes(),
		Figure: plot.Figure{Title: "A node beside other proxies, one core each"},
	}
	var data []point
	for i, c := range all {
		t := outcome.Table{Title: c.title, Header: []string{"proxy", "CPU a " + c.one + ", µs", "in Caddy's", "in nginx's",
			c.one + "s a second", "in Caddy's", "in nginx's", "core busy", "median latency, ms", "99th percentile, ms"}}
		cpu, rate := plot.Bars{Title: c.title + ": CPU a " + c.one + ", µs"}, plot.Bars{Title: c.title + ": " + c.one + "s a second"}
		for _, x := range l.proxies {
			p := l.point(x, c.name)
			data = append(data, p)
			t.Rows = append(t.Rows, p.row(x.pid != 0))
			if x.pid == 0 {
				continue
			}
			ours := x.name == us
			cpu.Bars = append(cpu.Bars, plot.Bar{Name: x.name, Ours: ours, Value: p.CPU, Note: timesCaddy(p.InCaddys, ours)})
			rate.Bars = append(rate.Bars, plot.Bar{Name: x.name, Ours: ours, Value: p.Rate, Note: timesCaddy(p.RateOfCaddy, ours)})
			if i == 0 && ours && p.InCaddys > 0 {
				o.Aims = append(o.Aims,
					outcome.Aim{What: c.title + ": CPU of a node, in Caddy's", Most: 1, Got: p.InCaddys, Unit: "×"},
					outcome.Aim{What: c.title + ": Caddy's rate, in a node's", Most: 1, Got: 1 / p.RateOfCaddy, Unit: "×"})
			}
		}
		o.Tables = append(o.Tables, t)
		o.Figure.Panels = append(o.Figure.Panels, cpu, rate)
	}
	o.Data = data
	return o.Write(l.o.out)
}

// timesCaddy is the note on our bars.
func timesCaddy(ratio float64, ours bool) string {
	if !ours || ratio == 0 {
		return ""
	}
	return plot.Short(ratio) + "× Caddy"
}

// row is a line of a table.
func (p point) row(proxied bool) []string {
	short := func(v float64) string {
		if v == 0 {
			return "–"
		}
		return plot.Short(v)
	}
	busy := "–"
	if proxied {
		busy = strconv.Itoa(int(100*p.Busy+0.5)) + "%"
	}
	return []string{p.Proxy, short(p.CPU), short(p.InCaddys), short(p.InNginxs),
		short(p.Rate), short(p.RateOfCaddy), short(p.RateOfNginx), busy, short(p.P50), short(p.P99)}
}

// notes say what was compared, and what was not.
func (l *lab) notes() []string {
	versions := ""
	for _, x := range l.proxies {
		if x.version != "" {
			versions += ", " + x.name + " " + x.version
		}
	}
	notes := []string{
		"Versions: Signalbox of this commit" + versions + "; load by wrk " + l.wrk + ", for WebSockets by our own program.",
		"The proxies' settings: one thread or worker, connections to the origin kept and enough of them, no access log, forwarding headers set. They are in bench/http/peers.go.",
		"A proxy whose core is not busy was waiting for load and origin, or something else was using its core; then its rate is a lower bound, and its CPU time is what counts.",
		"httputil.ReverseProxy is that of Go's net/http, tuned, with nothing around it: what a node does on top of it costs the difference.",
		"The node is the real one, with its control plane on the other core: reports and streams included.",
	}
	return append(notes, l.missing...)
}
