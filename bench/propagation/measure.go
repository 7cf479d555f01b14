package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"google.golang.org/grpc/metadata"

	"signalbox/bench/child"
	"signalbox/bench/meter"
	"signalbox/bench/outcome"
)

// command is how a run is repeated.
const command = "go run ./bench/propagation"

// samples are what was measured at one number of nodes, over all rounds.
type samples struct {
	calls, beside, quiet, floor []time.Duration
	// planeCPU and nodesCPU are of the calls and the puts beside them: that of
	// etcd, control plane and caller, and that of all nodes.
	planeCPU, nodesCPU time.Duration
	// floorCPU is that of the floor's server, once for each of floor.
	floorCPU time.Duration
}

// measure runs everything and writes the results.
func measure(ctx context.Context, o options) (err error) {
	run := outcome.Begin(ctx, command, o.short)
	dir, err := os.MkdirTemp("", "propagation")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := begin(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.end()) }()
	f, err := newFloor(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.end()) }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	progress := outcome.NewProgress(os.Stdout, "propagation", o.rounds*len(o.counts))
	all := make([]samples, len(o.counts))
	for r := range o.rounds {
		for i, nodes := range o.counts {
			progress.Step("%s, round %d", number(nodes), r+1)
			s := &all[i]
			err := errors.Join(b.quiet(ctx, s, o.writes), b.round(ctx, s, nodes, o), f.measure(ctx, s, nodes, o.writes))
			if err != nil {
				return err
			}
			progress.Say("%s", newPoint(nodes, s))
		}
	}
	return report(o, run, all)
}

// timed calls f as often as wanted and adds how long each took.
func timed(all *[]time.Duration, times int, f func(i int) error) error {
	for i := range times {
		start := time.Now()
		if err := f(i); err != nil {
			return err
		}
		*all = append(*all, time.Since(start))
	}
	return nil
}

// quiet measures bare puts while there are no nodes.
func (b *bed) quiet(ctx context.Context, s *samples, puts int) error {
	for i := range 20 {
		if err := b.barePut(ctx, i); err != nil {
			return err
		}
	}
	return timed(&s.quiet, puts, func(i int) error { return b.barePut(ctx, i) })
}

// round measures writes with a number of nodes, each followed by a bare put.
func (b *bed) round(ctx context.Context, s *samples, nodes int, o options) (err error) {
	crowd, err := child.Start(ctx, child.Spec{Part: "nodes", Config: crowd{Address: b.address, Key: key, Count: nodes}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crowd.Close()) }()
	if err := b.awaitNodes(ctx, nodes); err != nil {
		return err
	}
	if o.profile != "" && nodes == o.counts[len(o.counts)-1] {
		stop, err := profile(o.profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	plane, others := use(os.Getpid()), use(crowd.Pid())
	for i := range o.writes {
		if err := timed(&s.calls, 1, func(int) error { return b.write(ctx, i, nodes) }); err != nil {
			return err
		}
		if err := timed(&s.beside, 1, func(int) error { return b.barePut(ctx, i) }); err != nil {
			return err
		}
	}
	s.planeCPU += use(os.Getpid()) - plane
	s.nodesCPU += use(crowd.Pid()) - others
	return nil
}

// use is the CPU time a process has used, zero where that cannot be read.
func use(pid int) time.Duration {
	d, _ := meter.CPU(pid) // then it is not shown
	return d
}

// profile takes a CPU profile until stop is called. The last of a run stands.
func profile(name string) (stop func() error, err error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// measure measures the floor with a number of nodes.
func (f *floor) measure(ctx context.Context, s *samples, nodes, times int) (err error) {
	crowd, err := child.Start(ctx, child.Spec{Part: "nodes", Config: crowd{Address: f.address, Key: key, Count: nodes}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crowd.Close()) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for int(f.joined.Load()) != nodes {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for i := range 20 {
		if err := f.send(ctx, i, nodes); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
	}
	before := use(os.Getpid())
	defer func() { s.floorCPU += use(os.Getpid()) - before }()
	return timed(&s.floor, times, func(i int) error { return f.send(ctx, i, nodes) })
}
