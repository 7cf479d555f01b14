package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"signalbox/bench/child"
	"signalbox/bench/outcome"
	"signalbox/bench/plot"
)

// command is how a run is repeated.
const command = "go run ./bench/scale"

// samples are what was measured with one number of routes, over all rounds.
type samples struct {
	// load is how long it took to write all routes.
	load time.Duration
	// nodes are new nodes, kept the same with a last-known-good file.
	nodes, kept []served
	changes     []change
	lookups     []lookup
	planeHeap   uint64
}

// results are the samples of all sizes, and what is so without routes.
type results struct {
	sizes            []int
	all              []samples
	empty, emptyKept []served
	emptyPlane       uint64
}

// measure runs everything and writes the results.
func measure(ctx context.Context, o options) (err error) {
	run := outcome.Begin(ctx, command, o.short)
	ctx = withKey(ctx)
	p := outcome.NewProgress(os.Stdout, "scale", 2*len(o.sizes)*(o.rounds)+2*len(o.sizes)+1)
	r := results{sizes: o.sizes, all: make([]samples, len(o.sizes))}
	if err := r.lookUp(ctx, o, p); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "scale")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	origin, end, err := startOrigin(ctx)
	if err != nil {
		return err
	}
	defer end()
	var beds []*bed
	defer func() {
		for _, b := range beds {
			err = errors.Join(err, b.close())
		}
	}()
	for _, n := range o.sizes {
		b, err := newBed(ctx, dir, n)
		if b != nil {
			beds = append(beds, b)
		}
		if err != nil {
			return err
		}
	}
	if err := r.begin(ctx, beds, origin, o, p); err != nil {
		return err
	}
	for range o.rounds {
		for i, b := range beds {
			if err := r.round(ctx, b, &r.all[i], o, p); err != nil {
				return err
			}
		}
	}
	for i, b := range beds {
		if err := b.plane.Ask("heap", &r.all[i].planeHeap); err != nil {
			return err
		}
	}
	return r.report(o.out, run)
}

// lookUp measures the table by itself, before anything else is there.
func (r *results) lookUp(ctx context.Context, o options, p *outcome.Progress) (err error) {
	c, err := child.Start(ctx, child.Spec{Part: "lookup"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for range o.rounds {
		for i, n := range o.sizes {
			p.Step("finding one of %s routes", plot.Short(float64(n)))
			var l lookup
			if err := c.Ask(strconv.Itoa(n), &l); err != nil {
				return err
			}
			r.all[i].lookups = append(r.all[i].lookups, l)
			p.Say("%s ns in caches, %s ns all over, %d allocations", plot.Short(l.Hot), plot.Short(l.All), l.Allocations)
		}
	}
	return nil
}

// begin measures what is so without routes, then loads them.
func (r *results) begin(ctx context.Context, beds []*bed, origin string, o options, p *outcome.Progress) error {
	p.Step("nodes without routes")
	for range o.rounds {
		for _, keep := range []bool{false, true} {
			n, s, err := beds[0].newNode(ctx, nodeConfig{Keep: keep})
			if err != nil {
				return err
			}
			if err := n.Close(); err != nil {
				return err
			}
			if keep {
				r.emptyKept = append(r.emptyKept, s)
			} else {
				r.empty = append(r.empty, s)
			}
		}
	}
	if err := beds[0].plane.Ask("heap", &r.emptyPlane); err != nil {
		return err
	}
	for i, b := range beds {
		p.Step("writing %s routes", plot.Short(float64(b.routes)))
		begun := time.Now()
		err := b.load(ctx, origin, func(done int) { p.Say("%d after %s", done, time.Since(begun).Round(time.Millisecond)) })
		if err != nil {
			return err
		}
		r.all[i].load = time.Since(begun)
	}
	for _, b := range beds {
		p.Step("a node that stays, with %s routes", plot.Short(float64(b.routes)))
		if err := b.attend(ctx); err != nil {
			return err
		}
		if _, err := b.change(ctx, warmUp); err != nil {
			return err
		}
	}
	return nil
}

// warmUp is how many routes are written before any is measured.
const warmUp = 20

// round measures changes, then new nodes.
func (r *results) round(ctx context.Context, b *bed, s *samples, o options, p *outcome.Progress) error {
	p.Step("with %s routes", plot.Short(float64(b.routes)))
	c, err := b.change(ctx, o.writes)
	if err != nil {
		return err
	}
	s.changes = append(s.changes, c)
	p.Say("one more: CPU %s µs control plane, %s µs node; %s bytes to the node, %s back",
		plot.Short(c.PlaneCPU), plot.Short(c.NodeCPU), plot.Short(c.ToNode), plot.Short(c.FromNode))
	for i := range 2 * o.nodes {
		keep := i%2 == 1
		n, found, err := b.newNode(ctx, nodeConfig{Path: path(0), Keep: keep})
		if err != nil {
			return err
		}
		if err := n.Close(); err != nil {
			return err
		}
		if keep {
			s.kept = append(s.kept, found)
		} else {
			s.nodes = append(s.nodes, found)
		}
		p.Say("new node%s: serves after %s", map[bool]string{true: " with a last-known-good file"}[keep], found.Took.Round(100*time.Microsecond))
	}
	return nil
}
