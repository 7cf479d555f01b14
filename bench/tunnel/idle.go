package main

import (
	"context"
	"errors"
	"time"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
)

// settling is how long after the last connection memory is read.
const settling = time.Second

// An idled is what idle connections take.
type idled struct {
	Count int
	// Before and After are the memory of all processes of the way, in bytes.
	Before, After int64
	Err           string // why there are not more
}

// each is the memory of one, in KiB.
func (i idled) each() float64 { return float64(i.After-i.Before) / 1024 / float64(max(i.Count, 1)) }

// idle measures the memory of idle connections in processes that have done
// nothing before. What has a process for every connection is left out.
func (l *lab) idle(ctx context.Context, p *outcome.Progress) error {
	for _, w := range l.ways {
		if len(w.processes) == 0 || w.forks {
			continue
		}
		if err := l.idleOf(ctx, w); err != nil {
			l.skip("the idle connections of "+w.full(), err)
			continue
		}
		p.Say("%-50s %6d connections, %6s KiB each %s", w.full(), w.idle.Count, plot.Short(w.idle.each()), w.idle.Err)
	}
	return ctx.Err()
}

// idleOf starts a way once more, and measures it.
func (l *lab) idleOf(ctx context.Context, of *way) (err error) {
	w, err := l.newWay(ctx, of.name, of.group)
	if err != nil {
		return err
	}
	end, err := l.again(ctx, w, of.ours)
	if err != nil {
		return err
	}
	defer end()
	if err := l.reaches(ctx, w); err != nil {
		return err
	}
	var i idled
	if i.Before, err = w.resident(); err != nil {
		return err
	}
	var h counted
	err = ask(l.load, order{Do: "hold", Addr: w.addr, Count: l.o.idle}, &h)
	if err == nil {
		<-time.After(settling)
		i.Count, i.Err = int(h.Count), h.Err
		i.After, err = w.resident()
	}
	of.idle = &i
	return errors.Join(err, ask(l.load, order{Do: "close"}, nil))
}

// again starts processes for a way of the name and group that w has, and
// returns what ends them.
func (l *lab) again(ctx context.Context, w *way, own bool) (end func(), err error) {
	if !own {
		for _, p := range peers() {
			if p.name == w.name {
				err = l.startHops(ctx, w, p)
			}
		}
		return func() {
			for _, p := range w.processes {
				p.Close()
			}
		}, err
	}
	nodes, err := l.cluster.startPair(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range ours {
		if x.name == w.name && x.group == w.group {
			err = l.cluster.write(ctx, nodes, w, x.wire, x.parameters)
		}
	}
	return func() {
		for _, p := range nodes.processes {
			p.Close()
		}
	}, err
}
