package main

import (
	"time"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
	"signalbox/bench/sample"
)

// A point is what was found with one number of routes.
type point struct {
	Routes int `json:"routes"`
	// LoadSeconds is how long writing all of them took.
	LoadSeconds float64 `json:"load_s"`
	// Feed is from a new node's first attempt to connect to its first table
	// served: the median, and the longest.
	Feed    float64 `json:"feed_median_ms"`
	FeedMax float64 `json:"feed_max_ms"`
	// Memory is the node's heap for one route, Kept the same for a node with a
	// last-known-good file, Resident the process as a whole; bytes.
	Memory   float64 `json:"node_heap_bytes_per_route"`
	Kept     float64 `json:"node_heap_bytes_per_route_with_file"`
	Resident float64 `json:"node_resident_bytes"`
	// PlaneMemory is the control plane's heap for one route.
	PlaneMemory float64 `json:"plane_heap_bytes_per_route"`
	// One more route: CPU in microseconds, bytes on the wire, and the median
	// from call to answer in milliseconds. The means hold what garbage
	// collection adds now and then.
	PlaneCPU     float64 `json:"one_more_plane_cpu_us"`
	NodeCPU      float64 `json:"one_more_node_cpu_us"`
	PlaneCPUMean float64 `json:"one_more_plane_cpu_mean_us"`
	NodeCPUMean  float64 `json:"one_more_node_cpu_mean_us"`
	ToNode       float64 `json:"one_more_bytes_to_node"`
	FromNode     float64 `json:"one_more_bytes_from_node"`
	Call         float64 `json:"one_more_call_ms"`
	// Finding a route: nanoseconds, in a few paths and in all.
	LookupHot   float64 `json:"lookup_hot_ns"`
	LookupAll   float64 `json:"lookup_all_ns"`
	Allocations int64   `json:"lookup_allocations"`
}

// of takes one number from each of many.
func of[T any](all []T, f func(T) float64) []float64 {
	values := make([]float64, len(all))
	for i, one := range all {
		values[i] = f(one)
	}
	return values
}

func took(s served) float64         { return float64(s.Took) / float64(time.Millisecond) }
func heapOf(s served) float64       { return float64(s.Heap) }
func mean(values []float64) float64 { return sum(values) / float64(len(values)) }

func sum(values []float64) (s float64) {
	for _, v := range values {
		s += v
	}
	return s
}

func (r *results) point(i int) point {
	s, n := &r.all[i], float64(r.sizes[i])
	median := func(f func(change) float64) float64 { return sample.Median(of(s.changes, f)) }
	plane, node := func(c change) float64 { return c.PlaneCPU }, func(c change) float64 { return c.NodeCPU }
	p := point{
		Routes: r.sizes[i], LoadSeconds: s.load.Seconds(),
		Feed: sample.Median(of(s.nodes, took)), FeedMax: sample.Percentile(of(s.nodes, took), 100),
		Memory:       (sample.Median(of(s.nodes, heapOf)) - sample.Median(of(r.empty, heapOf))) / n,
		Kept:         (sample.Median(of(s.kept, heapOf)) - sample.Median(of(r.emptyKept, heapOf))) / n,
		Resident:     sample.Median(of(s.nodes, func(s served) float64 { return float64(s.Resident) })),
		PlaneMemory:  (float64(s.planeHeap) - float64(r.emptyPlane)) / n,
		PlaneCPU:     median(plane),
		NodeCPU:      median(node),
		PlaneCPUMean: mean(of(s.changes, plane)),
		NodeCPUMean:  mean(of(s.changes, node)),
		ToNode:       median(func(c change) float64 { return c.ToNode }),
		FromNode:     median(func(c change) float64 { return c.FromNode }),
		Call:         median(func(c change) float64 { return sample.Median(sample.Milliseconds(c.Calls)) }),
		LookupHot:    sample.Median(of(s.lookups, func(l lookup) float64 { return l.Hot })),
		LookupAll:    sample.Median(of(s.lookups, func(l lookup) float64 { return l.All })),
	}
	for _, l := range s.lookups {
		p.Allocations = max(p.Allocations, l.Allocations)
	}
	return p
}

// report writes the results.
func (r *results) report(dir string, run outcome.Run) error {
	points := make([]point, len(r.sizes))
	for i := range points {
		points[i] = r.point(i)
	}
	o := outcome.Outcome{
		Name: "scale", Title: "Scale", Run: run, Data: points, Aims: aims(points), Tables: tables(points),
		Method: "What grows with the number of routes, and what must not. " +
			"Each number of routes has an etcd that syncs to disk, a control plane and a node; control planes and nodes are processes of their own. " +
			"All are there at once and are measured in turn, several rounds; what is shown is the median of the rounds. " +
			"The routes are those of a hub: a path, an upstream, and 80 bytes of data each.",
		Notes: []string{
			"A new node is timed from its first attempt to connect until it calls itself ready, which it does when it serves what was current; then a request through it must succeed. A route is written before each, so that the control plane has to encode the whole state anew.",
			"Memory is the heap in use after garbage collection, without what a node without routes has, by the number of routes. With 100 routes it is mostly noise.",
			"One more route is written and waited for until the node serves it. CPU of the control plane includes answering the call, not etcd. Bytes are those of the node's connection, TCP payload, whatever else was said on it included. Time that garbage collection takes now and then is in the means.",
			"Finding a route includes parsing its path and host. In caches: 64 routes in turn. All over: every route, each far from the one before, so that memory has to be waited for.",
		},
		Figure: figure(points),
	}
	return o.Write(dir)
}

// aims compares the largest number of routes with the smallest.
func aims(points []point) []outcome.Aim {
	few, many := points[0], points[len(points)-1]
	at := plot.Short(float64(many.Routes)) + " routes: "
	flat := func(what string, f func(point) float64) outcome.Aim {
		return outcome.Aim{What: at + what + ", in those of " + plot.Short(float64(few.Routes)), Most: 1.5, Got: f(many) / f(few), Unit: "×"}
	}
	return []outcome.Aim{
		{What: at + "a new node serves its first table", Most: 3, Got: many.Feed / 1000, Unit: " s"},
		{What: at + "heap of a node for one", Most: 1024, Got: many.Memory, Unit: " B"},
		{What: at + "the same, with a last-known-good file", Most: 1024, Got: many.Kept, Unit: " B"},
		flat("bytes for one more", func(p point) float64 { return p.ToNode + p.FromNode }),
		flat("CPU of the control plane for one more", func(p point) float64 { return p.PlaneCPU }),
		flat("CPU of the node for one more", func(p point) float64 { return p.NodeCPU }),
		flat("time to find one, in caches", func(p point) float64 { return p.LookupHot }),
		{What: at + "allocations to find one", Most: 0, Got: float64(many.Allocations)},
	}
}

// A column is a line of a table, turned: one number of each point.
type column struct {
	name string
	of   func(point) float64
}

// tables has a table for each thing measured, with a line for each number and
// a column for each number of routes.
func tables(points []point) []outcome.Table {
	table := func(title string, columns ...column) outcome.Table {
		t := outcome.Table{Title: title, Header: []string{"routes"}}
		for _, p := range points {
			t.Header = append(t.Header, plot.Short(float64(p.Routes)))
		}
		for _, c := range columns {
			row := []string{c.name}
			for _, p := range points {
				row = append(row, plot.Short(c.of(p)))
			}
			t.Rows = append(t.Rows, row)
		}
		return t
	}
	return []outcome.Table{
		table("A new node",
			column{"connect to first table served, median, ms", func(p point) float64 { return p.Feed }},
			column{"the longest, ms", func(p point) float64 { return p.FeedMax }},
			column{"heap for one route, bytes", func(p point) float64 { return p.Memory }},
			column{"heap for one route with a last-known-good file, bytes", func(p point) float64 { return p.Kept }},
			column{"memory of the process, MiB", func(p point) float64 { return p.Resident / (1 << 20) }},
		),
		table("One more route",
			column{"bytes to the node", func(p point) float64 { return p.ToNode }},
			column{"bytes from the node", func(p point) float64 { return p.FromNode }},
			column{"CPU of the control plane, median, µs", func(p point) float64 { return p.PlaneCPU }},
			column{"mean, µs", func(p point) float64 { return p.PlaneCPUMean }},
			column{"CPU of the node, median, µs", func(p point) float64 { return p.NodeCPU }},
			column{"mean, µs", func(p point) float64 { return p.NodeCPUMean }},
			column{"call to answer, median, ms", func(p point) float64 { return p.Call }},
		),
		table("Finding a route",
			column{"in caches, ns", func(p point) float64 { return p.LookupHot }},
			column{"all over, ns", func(p point) float64 { return p.LookupAll }},
			column{"allocations", func(p point) float64 { return float64(p.Allocations) }},
		),
		table("The control plane",
			column{"writing all routes, s", func(p point) float64 { return p.LoadSeconds }},
			column{"heap for one route, bytes", func(p point) float64 { return p.PlaneMemory }},
		),
	}
}

func figure(points []point) plot.Figure {
	line := func(name string, f func(point) float64) plot.Line {
		l := plot.Line{Name: name}
		for _, p := range points {
			l.Points = append(l.Points, plot.Point{X: float64(p.Routes), Y: f(p)})
		}
		return l
	}
	level := func(name string, at float64) plot.Line {
		l := line(name, func(point) float64 { return at })
		l.Aim = true
		return l
	}
	chart := func(title, y string, log bool, lines ...plot.Line) plot.Lines {
		return plot.Lines{Title: title, X: "routes", Y: y, LogX: true, LogY: log, Lines: lines}
	}
	return plot.Figure{Title: "What grows with the number of routes", Panels: []plot.Panel{
		chart("A new node until it serves", "ms", true,
			line("median", func(p point) float64 { return p.Feed }), level("aim for the most", 3000)),
		chart("Heap of a node for one route", "bytes", false,
			line("without a file", func(p point) float64 { return p.Memory }),
			line("with a last-known-good file", func(p point) float64 { return p.Kept }), level("aim", 1024)),
		chart("One more route: CPU", "µs", false,
			line("control plane", func(p point) float64 { return p.PlaneCPU }), line("node", func(p point) float64 { return p.NodeCPU })),
		chart("One more route: bytes", "bytes", false,
			line("to the node", func(p point) float64 { return p.ToNode }), line("from the node", func(p point) float64 { return p.FromNode })),
		chart("Finding a route", "ns", false,
			line("in caches", func(p point) float64 { return p.LookupHot }), line("all over", func(p point) float64 { return p.LookupAll })),
	}}
}
