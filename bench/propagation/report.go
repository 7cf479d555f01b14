package main

import (
	"fmt"
	"strconv"
	"time"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
	"signalbox/bench/sample"
)

// A spread is the middle and the tail of many times, in milliseconds.
type spread struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

func spreadOf(all []time.Duration) spread {
	ms := sample.Milliseconds(all)
	return spread{P50: sample.Median(ms), P99: sample.Percentile(ms, 99)}
}

func (s spread) String() string { return plot.Short(s.P50) + " / " + plot.Short(s.P99) }

// A point is what was found at one number of nodes.
type point struct {
	Nodes  int `json:"nodes"`
	Writes int `json:"writes"`
	// Call is from the call to the answer.
	Call spread `json:"call"`
	// Beside is the bare put after each call, Quiet without any node.
	Beside spread `json:"bare_put_beside"`
	Quiet  spread `json:"bare_put_quiet"`
	// Floor is one message to every node and one back.
	Floor spread `json:"floor"`
	// RatioBeside and RatioQuiet are of medians: call to bare put.
	RatioBeside float64 `json:"ratio_beside"`
	RatioQuiet  float64 `json:"ratio_quiet"`
	// PlaneCPU is of etcd, control plane and caller, NodesCPU of all nodes,
	// for one call and one bare put; FloorCPU of the floor's server; all in
	// milliseconds.
	PlaneCPU float64 `json:"plane_cpu_ms"`
	NodesCPU float64 `json:"nodes_cpu_ms"`
	FloorCPU float64 `json:"floor_cpu_ms"`
}

func newPoint(nodes int, s *samples) point {
	p := point{
		Nodes: nodes, Writes: len(s.calls),
		Call: spreadOf(s.calls), Beside: spreadOf(s.beside), Quiet: spreadOf(s.quiet), Floor: spreadOf(s.floor),
	}
	p.RatioBeside, p.RatioQuiet = p.Call.P50/p.Beside.P50, p.Call.P50/p.Quiet.P50
	each := float64(len(s.calls)) * float64(time.Millisecond)
	p.PlaneCPU, p.NodesCPU = float64(s.planeCPU)/each, float64(s.nodesCPU)/each
	p.FloorCPU = float64(s.floorCPU) / float64(len(s.floor)) / float64(time.Millisecond)
	return p
}

func (p point) String() string {
	return fmt.Sprintf("call %s ms, bare put %s ms beside, %s ms quiet, floor %s ms: %sx beside, %sx quiet",
		p.Call, p.Beside, p.Quiet, p.Floor, plot.Short(p.RatioBeside), plot.Short(p.RatioQuiet))
}

// aims are how many bare puts a call may take, by the number of nodes.
var aims = map[int]float64{20: 4, 200: 10}

// report writes the results.
func report(of options, run outcome.Run, all []samples) error {
	o := outcome.Outcome{
		Name: "propagation", Title: "Propagation", Run: run,
		Method: "How long a route write takes from the call of PutRoute to its answer, which is given when every node serves it. " +
			"Real gRPC, one connection a node, all nodes in a second process; an embedded etcd of one member that syncs to disk. " +
			"Rounds over all numbers of nodes, one write at a time. " +
			"The bare put writes as many bytes to the same etcd over the same kind of connection: beside, after each write; quiet, before the nodes are there. " +
			"The floor is one message to every node and one back, by a gRPC server that does nothing else.",
		Notes: []string{
			"CPU is for one call and one bare put together: that of etcd, control plane and caller, which are one process, and that of all nodes. That of the floor is its server's alone.",
			"All processes share the cores named above; a control plane on a machine of its own has more.",
		},
	}
	t := outcome.Table{
		Title: "Median / 99th percentile, milliseconds",
		Header: []string{"nodes", "call to answer", "bare put beside", "bare put quiet", "floor",
			"times bare put, beside", "quiet", "CPU control plane and etcd, ms", "CPU nodes, ms", "CPU floor, ms", "writes"},
	}
	var call, tail, quiet, floor, aim []plot.Point
	var points []point
	for i, s := range all {
		p := newPoint(of.counts[i], &s)
		points = append(points, p)
		t.Rows = append(t.Rows, []string{
			strconv.Itoa(p.Nodes), p.Call.String(), p.Beside.String(), p.Quiet.String(), p.Floor.String(),
			plot.Short(p.RatioBeside), plot.Short(p.RatioQuiet), plot.Short(p.PlaneCPU), plot.Short(p.NodesCPU), plot.Short(p.FloorCPU), strconv.Itoa(p.Writes),
		})
		x := float64(p.Nodes)
		call, tail = append(call, plot.Point{X: x, Y: p.Call.P50}), append(tail, plot.Point{X: x, Y: p.Call.P99})
		quiet, floor = append(quiet, plot.Point{X: x, Y: p.Quiet.P50}), append(floor, plot.Point{X: x, Y: p.Floor.P50})
		if most, ok := aims[p.Nodes]; ok {
			aim = append(aim, plot.Point{X: x, Y: most * p.Quiet.P50})
			o.Aims = append(o.Aims,
				outcome.Aim{What: fmt.Sprintf("median at %d nodes, in medians of the bare put beside", p.Nodes), Most: most, Got: p.RatioBeside, Unit: "×"},
				outcome.Aim{What: fmt.Sprintf("median at %d nodes, in medians of the quiet bare put", p.Nodes), Most: most, Got: p.RatioQuiet, Unit: "×"})
		}
	}
	o.Tables, o.Data = []outcome.Table{t}, points
	o.Figure = plot.Figure{Title: "A write until every node serves it", Panels: []plot.Panel{
		plot.Lines{Title: "Call to answer", X: "nodes", Y: "ms", LogX: true, LogY: true, Lines: []plot.Line{
			{Name: "median", Points: call}, {Name: "99th percentile", Points: tail},
			{Name: "floor", Points: floor}, {Name: "bare put", Points: quiet}, {Name: "aim (quiet)", Points: aim, Aim: true},
		}},
		bars(points),
	}}
	return o.Write(of.out)
}

// bars shows the ratios.
func bars(points []point) plot.Bars {
	b := plot.Bars{Title: "Median, in medians of the quiet bare put"}
	for _, p := range points {
		note := ""
		if most, ok := aims[p.Nodes]; ok {
			note = "aim " + plot.Short(most)
		}
		b.Bars = append(b.Bars,
			plot.Bar{Name: number(p.Nodes), Value: p.RatioQuiet, Note: note, Ours: true},
			plot.Bar{Name: "floor", Value: p.Floor.P50 / p.Quiet.P50})
	}
	return b
}

// number says how many nodes.
func number(nodes int) string {
	if nodes == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", nodes)
}
