package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"signalbox/bench/child"
	"signalbox/bench/program"
)

// direct is the name of the way that has nothing between users and target.
const direct = "nothing between"

// A lab is everything that runs.
type lab struct {
	o        options
	dir      string
	cert     string // file
	load     *child.Child
	cluster  *cluster
	ways     []*way
	programs int      // started so far
	missing  []string // peers that are not compared with, and why
	versions string
	closes   []func() error // in order of starting
}

// start starts everything and waits until all ways lead to their targets.
func (l *lab) start(ctx context.Context) (err error) {
	l.cert = filepath.Join(l.dir, "cert.pem")
	if err := writeCertificate(l.cert); err != nil {
		return err
	}
	l.load, err = child.Start(ctx, child.Spec{Part: "load", Under: program.Pin(l.o.loadCPU), Env: []string{"GOMAXPROCS=1"}})
	if err != nil {
		return err
	}
	l.closes = append(l.closes, l.load.Close)
	w, err := l.newWay(ctx, direct, one)
	if err != nil {
		return err
	}
	w.addr, w.udp = w.target, true
	l.ways = append(l.ways, w)
	if l.cluster, err = l.startCluster(ctx); err != nil {
		return err
	}
	if err := l.startOurs(ctx); err != nil {
		return err
	}
	for _, p := range peers() {
		if err := l.startPeer(ctx, p); err != nil {
			l.skip(p.name, err)
		}
	}
	for _, group := range groups { // at once for all but those that are slow to start
		for _, w := range l.ways {
			if w.group != group {
				continue
			}
			if err := l.reaches(ctx, w); err != nil {
				return fmt.Errorf("%s: %w%s", w.full(), err, l.cluster.standing(ctx))
			}
		}
	}
	slices.SortStableFunc(l.ways, func(a, b *way) int {
		return slices.Index(groups, a.group) - slices.Index(groups, b.group)
	})
	return nil
}

// startOurs starts two nodes with all our ways.
func (l *lab) startOurs(ctx context.Context) error {
	p, err := l.cluster.startPair(ctx)
	if err != nil {
		return err
	}
	for _, x := range ours {
		w, err := l.newWay(ctx, x.name, x.group)
		if err != nil {
			return err
		}
		if !l.wanted(w) {
			continue
		}
		if err := l.cluster.write(ctx, p, w, x.wire, x.parameters); err != nil {
			return err
		}
		l.ways = append(l.ways, w)
	}
	return nil
}

// skip notes that something is left out.
func (l *lab) skip(name string, err error) {
	text := fmt.Sprintf("SKIPPED %s: %v", name, err)
	l.missing = append(l.missing, text)
	_, _ = fmt.Fprintln(os.Stderr, "tunnel:", text)
}

// wanted reports whether to measure a way.
func (l *lab) wanted(w *way) bool { return strings.Contains(w.full(), l.o.only) }

// newWay is one with a target of its own, and an address for users at which
// something must be made to listen.
func (l *lab) newWay(ctx context.Context, name, group string) (*way, error) {
	w := &way{name: name, group: group, flows: map[string][]measured{}, echoes: map[int][]measured{}, offers: map[int][]counted{}}
	if err := ask(l.load, order{Do: "target"}, &w.target); err != nil {
		return nil, err
	}
	var err error
	w.addr, err = program.FreeAddr(ctx)
	return w, err
}

// run starts a program on the proxies' core.
func (l *lab) run(ctx context.Context, name string, env []string, args ...string) (*program.Program, error) {
	p, err := program.Start(ctx, fmt.Sprintf("%s-%d", name, l.programs), l.dir, env, append(program.Pin(l.o.proxyCPU), args...)...)
	if err == nil {
		l.closes = append(l.closes, func() error { p.Close(); return nil })
	}
	return p, err
}

// reaches waits until a connection comes through.
func (l *lab) reaches(ctx context.Context, w *way) error {
	try := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c, err := knock(ctx, w.addr, answers)
		if err != nil {
			return err
		}
		return c.Close()
	}
	if len(w.processes) == 0 {
		return try(ctx)
	}
	return w.processes[0].Serves(ctx, try)
}

// close ends everything, in the order opposite to that of starting.
func (l *lab) close() error {
	var errs []error
	for i := len(l.closes) - 1; i >= 0; i-- {
		errs = append(errs, l.closes[i]())
	}
	return errors.Join(errs...)
}
