package main

import (
	"fmt"
	"strconv"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
	"signalbox/bench/sample"
)

// A point is what was found of one way in one respect: medians over the rounds.
type point struct {
	Way   string `json:"way"`
	Group string `json:"group"`
	What  string `json:"what"`
	// Rate is how many GiB, connections or datagrams a second, Each the CPU
	// seconds for one, Busy the share of their core that the processes used.
	Rate float64 `json:"per_second"`
	Each float64 `json:"cpu_seconds,omitempty"`
	Busy float64 `json:"busy,omitempty"`
	// Lost is the share of the datagrams offered at a fixed rate.
	Lost float64 `json:"lost,omitempty"`
	// The medians over the rounds of rate and CPU time, measured in the peers'
	// of the same group; zero where they are not there.
	RateOfHAProxy float64 `json:"rate_of_haproxys,omitempty"`
	RateOfSocat   float64 `json:"rate_of_socats,omitempty"`
	EachOfHAProxy float64 `json:"cpu_of_haproxys,omitempty"`
	EachOfSocat   float64 `json:"cpu_of_socats,omitempty"`

	ours bool
}

// median is that of one number over the rounds.
func median[T any](all []T, of func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, m := range all {
		values[i] = of(m)
	}
	return sample.Median(values)
}

// point is what a way's rounds come to; of returns them of any way.
func (l *lab) point(w *way, what string, of func(*way) []measured) point {
	all := of(w)
	p := point{Way: w.name, Group: w.group, What: what, ours: w.ours, Rate: median(all, measured.rate)}
	if len(w.processes) > 0 {
		p.Each, p.Busy = median(all, measured.each), median(all, measured.busy)
	}
	p.RateOfHAProxy, p.EachOfHAProxy = l.ratios(w, haproxyName, of)
	p.RateOfSocat, p.EachOfSocat = l.ratios(w, socatName, of)
	return p
}

// ratios compares a way with a peer of its group, round by round, as far as
// both went.
func (l *lab) ratios(w *way, peer string, of func(*way) []measured) (rate, each float64) {
	for _, other := range l.ways {
		theirs := of(other)
		if other.name != peer || other.group != w.group || len(theirs) == 0 {
			continue
		}
		var rates, eachs []float64
		for i, m := range of(w)[:min(len(of(w)), len(theirs))] {
			rates = append(rates, m.rate()/theirs[i].rate())
			eachs = append(eachs, m.each()/theirs[i].each())
		}
		return sample.Median(rates), sample.Median(eachs)
	}
	return 0, 0
}

// short writes a number, or that there is none.
func short(v float64) string {
	if v == 0 {
		return "–"
	}
	return plot.Short(v)
}

// cells are a point's numbers in a table; scale is what CPU seconds are
// multiplied with.
func (p point) cells(scale float64) []string {
	busy := "–"
	if p.Busy > 0 {
		busy = strconv.Itoa(int(100*p.Busy+0.5)) + "%"
	}
	return []string{short(scale * p.Each), short(p.EachOfHAProxy), short(p.EachOfSocat), short(p.Rate), short(p.RateOfHAProxy), short(p.RateOfSocat), busy}
}

// header is of a table with cells.
func header(first []string, each, rate string) []string {
	return append(first, each, "in HAProxy's", "in socat's", rate, "in HAProxy's", "in socat's", "core busy")
}

// report writes the results.
func (l *lab) report(run outcome.Run) error {
	o := outcome.Outcome{
		Name: "tunnel", Title: "Tunnels", Run: run,
		Method: fmt.Sprintf("Nodes with tunnel instances beside HAProxy in TCP mode and socat on the same work: forwarding by one process, and by a chain of two, in the clear or encrypted between them. "+
			"The one or two processes share one core, and users and targets the other; all ways are there at once and are measured in turn, %d rounds of %v each. "+
			"What is shown are medians, and medians of the rounds' ratios; the latter are what to look at. "+
			"CPU time is that of all processes of the way, in user and kernel mode.", l.o.rounds, l.o.duration),
		Notes:  l.notes(),
		Figure: plot.Figure{Title: "Tunnels beside HAProxy and socat, one core for all processes of a way"},
	}
	var data []point
	for _, group := range groups {
		t := outcome.Table{Title: "TCP, " + group, Header: header([]string{"way", "connections, direction"}, "CPU a GiB, s", "GiB a second")}
		for _, f := range flows {
			for _, p := range l.points(group, "tcp "+f.name, func(w *way) []measured { return w.flows[f.name] }) {
				t.Rows = append(t.Rows, append([]string{p.Way, f.name}, p.cells(1)...))
				data = append(data, p)
			}
		}
		o.Tables = append(o.Tables, t)
	}
	t := outcome.Table{Title: "Short connections", Header: header([]string{"way", "forwarded by"}, "CPU each, µs", "a second")}
	for _, group := range groups {
		for _, p := range l.points(group, "connections", func(w *way) []measured { return w.visits }) {
			t.Rows = append(t.Rows, append([]string{p.Way, p.Group}, p.cells(1e6)...))
			data = append(data, p)
		}
	}
	o.Tables = append(o.Tables, t)
	t, points := l.udp()
	data = append(data, points...)
	o.Tables = append(o.Tables, t)
	t, idle := l.idleTable()
	o.Tables = append(o.Tables, t)
	o.Figure.Panels = l.panels(data)
	o.Data = map[string]any{"points": data, "idle": idle}
	return o.Write(l.o.out)
}

// points are those of all ways of a group that have rounds.
func (l *lab) points(group, what string, of func(*way) []measured) (all []point) {
	for _, w := range l.ways {
		if w.group == group && len(of(w)) > 0 {
			all = append(all, l.point(w, what, of))
		}
	}
	return all
}
