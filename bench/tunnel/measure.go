package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
)

// command is how a run is repeated.
const command = "go run ./bench/tunnel"

const (
	// gib is what TCP is counted in.
	gib = 1 << 30
	// visitors is how many make short connections at a time.
	visitors = 8
	// senders is how many sockets send datagrams.
	senders = 64
	// offered is how many datagrams a second are sent to see what is lost.
	offered = 20_000
)

// A flow is one kind of TCP load.
type flow struct {
	name        string
	connections int
	down        bool
}

// flows are all; sizes are those of datagrams.
var (
	flows = []flow{{"1, up", 1, false}, {"1, down", 1, true}, {"16, up", 16, false}, {"16, down", 16, true}}
	sizes = []int{100, 1400}
)

// measure runs everything and writes the results.
func measure(ctx context.Context, o options) (err error) {
	run := outcome.Begin(ctx, command, o.short)
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed, one for the proxies and one for the load")
	}
	dir, err := os.MkdirTemp("", "tunnel")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := &lab{o: o, dir: dir}
	defer func() { err = errors.Join(err, l.close()) }()
	p := outcome.NewProgress(os.Stderr, "tunnel", 2+o.rounds*(len(flows)+1+len(sizes)))
	p.Step("starting everything")
	if err := l.start(ctx); err != nil {
		return err
	}
	for round := range o.rounds {
		if err := l.round(p, round+1); err != nil {
			return err
		}
	}
	p.Step("%d idle connections", o.idle)
	if err := l.idle(ctx, p); err != nil {
		return err
	}
	return l.report(run)
}

// round measures all ways once. A peer that breaks down is left alone from then
// on.
func (l *lab) round(p *outcome.Progress, number int) error {
	each := func(title string, sample func(*way) (string, error)) error {
		p.Step("round %d, %s", number, title)
		for _, w := range l.ways {
			if w.broken {
				continue
			}
			text, err := sample(w)
			if err != nil {
				err = fmt.Errorf("%s: %w", title, errors.Join(err, ask(l.load, order{Do: "close"}, nil)))
				if w.ours {
					return fmt.Errorf("%s: %w", w.full(), err)
				}
				w.broken = true
				l.skip("the rest of "+w.full(), err)
			}
			if text != "" {
				p.Say("%-50s %s", w.full(), text)
			}
		}
		return nil
	}
	for _, f := range flows {
		err := each("connections and direction: "+f.name, func(w *way) (string, error) { return l.flow(w, f) })
		if err != nil {
			return err
		}
	}
	if err := each("short connections", l.visit); err != nil {
		return err
	}
	for _, size := range sizes {
		err := each(fmt.Sprintf("datagrams of %d bytes", size), func(w *way) (string, error) { return l.datagrams(w, size) })
		if err != nil {
			return err
		}
	}
	return nil
}

// flow measures TCP that flows as fast as it can.
func (l *lab) flow(w *way, f flow) (_ string, err error) {
	if err := ask(l.load, order{Do: "open", Addr: w.addr, Count: f.connections, Down: f.down, Pids: w.pids(), Forks: w.forks}, nil); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, ask(l.load, order{Do: "close"}, nil)) }()
	m, _, err := l.count(w, order{Do: "flow"})
	m.Count /= gib
	w.flows[f.name] = append(w.flows[f.name], m)
	return fmt.Sprintf("%6s GiB/s, %6s s of CPU a GiB, core %3.0f%% busy", plot.Short(m.rate()), plot.Short(m.each()), 100*m.busy()), err
}

// count has something counted, and what it costs a way.
func (l *lab) count(w *way, o order) (m measured, c counted, err error) {
	o.Addr, o.For, o.Pids, o.Forks = w.addr, l.o.duration, w.pids(), w.forks
	err = ask(l.load, o, &c)
	if err == nil && c.Count == 0 {
		err = fmt.Errorf("nothing came through %s; %s", w.addr, c.Err)
	}
	return measured{Count: float64(c.Count), CPU: c.CPU, Took: c.Took}, c, err
}

// visit measures short connections.
func (l *lab) visit(w *way) (string, error) {
	m, c, err := l.count(w, order{Do: "visit", Count: visitors})
	if err != nil {
		return "", err
	}
	if c.Failed > 0 {
		w.failing, w.failed = w.failing+c.Failed, c.Err
	}
	w.visits = append(w.visits, m)
	return fmt.Sprintf("%6s a second, %6s µs of CPU each", plot.Short(m.rate()), plot.Short(1e6*m.each())), ask(l.load, order{Do: "close"}, nil)
}

// datagrams measures how many come there and back, and what is lost at a rate
// that all are offered.
func (l *lab) datagrams(w *way, size int) (string, error) {
	if !w.udp {
		return "", nil
	}
	m, c, err := l.count(w, order{Do: "echo", Count: senders, Size: size, Rate: offered})
	if err != nil {
		return "", err
	}
	w.echoes[size], w.offers[size] = append(w.echoes[size], m), append(w.offers[size], c)
	return fmt.Sprintf("%6s a second, %6s µs of CPU each; at %d a second %s%% lost",
		plot.Short(m.rate()), plot.Short(1e6*m.each()), offered, plot.Short(100*c.lost())), nil
}

// lost is the share of what was sent at a rate that did not come back.
func (c counted) lost() float64 { return 1 - float64(c.Returned)/float64(max(c.Offered, 1)) }
