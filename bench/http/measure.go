package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"signalbox/bench/child"
	"signalbox/bench/meter"
	"signalbox/bench/outcome"
	"signalbox/bench/plot"
	"signalbox/bench/program"
)

// command is how a run is repeated.
const command = "go run ./bench/http"

// requestPath is what is asked for, everywhere.
const requestPath = "/user/name/api/contents"

// us is our name among the proxies, and direct that of the origin without any.
const (
	us     = "Signalbox"
	direct = "no proxy"
)

// A proxy is what is measured.
type proxy struct {
	name, version string
	addr          string
	pid           int                  // of its process, 0 when it is the origin
	cases         map[string][]sampled // by the case's name, one a round
}

// sampled is what one measurement found.
type sampled struct {
	// Requests, or messages that went there and back.
	Requests int64
	// CPU is of the proxy, Took the time by the clock.
	CPU, Took time.Duration
	P50, P99  float64 // milliseconds, zero where they are not known
}

// each is the CPU time for one, in microseconds; rate how many a second; busy
// how much of its core the proxy used.
func (s sampled) each() float64 {
	return float64(s.CPU) / float64(s.Requests) / float64(time.Microsecond)
}
func (s sampled) rate() float64 { return float64(s.Requests) / s.Took.Seconds() }
func (s sampled) busy() float64 { return s.CPU.Seconds() / s.Took.Seconds() }

// A lab is everything that runs.
type lab struct {
	o       options
	dir     string
	origin  *child.Child
	sockets *child.Child
	ours    *signalbox
	proxies []*proxy       // the origin, ourselves, peers
	closes  []func() error // of the peers
	missing []string       // proxies that are not compared with, and why
	wrk     string         // version
}

// measure runs everything and writes the results.
func measure(ctx context.Context, o options) (err error) {
	run := outcome.Begin(ctx, command, o.short)
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed, one for the proxy and one for the load")
	}
	dir, err := os.MkdirTemp("", "http")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := &lab{o: o, dir: dir}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.start(ctx); err != nil {
		return err
	}
	all := l.loads()
	p := outcome.NewProgress(os.Stdout, "http", (o.rounds+1)*len(all))
	for _, c := range all {
		p.Step("%s, to warm up", c.title)
		for _, x := range l.proxies {
			if _, err := l.sample(ctx, x, c); err != nil {
				return fmt.Errorf("%s, %s: %w", x.name, c.title, err)
			}
		}
	}
	for round := range o.rounds {
		for _, c := range all {
			p.Step("%s, round %d", c.title, round+1)
			for _, x := range l.proxies {
				s, err := l.sample(ctx, x, c)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", x.name, c.title, err)
				}
				x.cases[c.name] = append(x.cases[c.name], s)
				p.Say("%-24s %8s µs CPU, %8s a second, its core %3.0f%% busy", x.name, plot.Short(s.each()), plot.Short(s.rate()), 100*s.busy())
			}
		}
	}
	if o.profile != "" {
		if err := l.profile(ctx, all[0]); err != nil {
			return err
		}
	}
	return l.report(run, all)
}

// start starts everything, ourselves first.
func (l *lab) start(ctx context.Context) (err error) {
	pinned := program.Pin(l.o.loadCPU)
	one := []string{"GOMAXPROCS=1"}
	if l.origin, err = child.Start(ctx, child.Spec{Part: "origin", Under: pinned, Env: one}); err != nil {
		return err
	}
	if l.sockets, err = child.Start(ctx, child.Spec{Part: "sockets", Under: pinned, Env: one, Config: crowd{Connections: l.o.connections}}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.dir, "post.lua"), []byte(postScript()), 0o600); err != nil {
		return err
	}
	if l.wrk, err = version(`wrk (?:debian/)?(\S+)`, "wrk", "-v")(ctx, l.o); err != nil {
		return fmt.Errorf("wrk is needed to make load; scripts/bench-peers installs it: %w", err)
	}
	var to string
	if err := l.origin.Ask("address", &to); err != nil {
		return err
	}
	l.proxies = append(l.proxies, &proxy{name: direct, addr: to, cases: map[string][]sampled{}})
	if err := l.startOurs(ctx, to); err != nil {
		return err
	}
	if l.wanted(plain) {
		if err := l.startPlain(ctx, to); err != nil {
			return err
		}
	}
	for _, p := range peers() {
		if !l.wanted(p.name) {
			continue
		}
		if err := l.startPeer(ctx, p, to); err != nil {
			missing := fmt.Sprintf("SKIPPED %s: %v", p.name, err)
			l.missing = append(l.missing, missing)
			_, _ = fmt.Fprintln(os.Stderr, "http:", missing)
		}
	}
	return nil
}

// wanted reports whether to compare with a proxy.
func (l *lab) wanted(name string) bool {
	return l.o.only == "" || slices.Contains(strings.Split(l.o.only, ","), name)
}

func (l *lab) startOurs(ctx context.Context, to string) error {
	x, dir, err := l.newProxy(ctx, us)
	if err != nil {
		return err
	}
	if l.ours, err = startSignalbox(ctx, l.o, dir, x.addr, to); err != nil {
		return err
	}
	x.pid = l.ours.node.Pid()
	l.proxies = append(l.proxies, x)
	return answers(ctx, l.ours.node, "http://"+x.addr+requestPath)
}

// newProxy is a proxy that is to listen on an address of its own.
func (l *lab) newProxy(ctx context.Context, name string) (*proxy, string, error) {
	addr, err := program.FreeAddr(ctx)
	if err != nil {
		return nil, "", err
	}
	dir := filepath.Join(l.dir, name)
	return &proxy{name: name, addr: addr, cases: map[string][]sampled{}}, dir, os.Mkdir(dir, 0o700)
}

// startPeer starts a peer, or says why there is none.
func (l *lab) startPeer(ctx context.Context, p peer, to string) error {
	v, err := p.find(ctx, l.o)
	if err != nil {
		return err
	}
	x, dir, err := l.newProxy(ctx, p.name)
	if err != nil {
		return err
	}
	args, env, err := p.args(l.o, dir, x.addr, to)
	if err != nil {
		return err
	}
	x.version = v
	process, err := program.Start(ctx, p.name, dir, env, append(program.Pin(l.o.proxyCPU), args...)...)
	if err != nil {
		return err
	}
	l.closes = append(l.closes, func() error { process.Close(); return nil })
	if err := answers(ctx, process, "http://"+x.addr+requestPath); err != nil {
		return err
	}
	x.pid = process.Pid()
	l.proxies = append(l.proxies, x)
	return nil
}

// startPlain starts net/http's own reverse proxy.
func (l *lab) startPlain(ctx context.Context, to string) error {
	c, err := child.Start(ctx, child.Spec{Part: "reverse", Config: to, Under: program.Pin(l.o.proxyCPU), Env: []string{"GOMAXPROCS=1"}})
	if err != nil {
		return err
	}
	l.closes = append(l.closes, c.Close)
	x := &proxy{name: plain, pid: c.Pid(), cases: map[string][]sampled{}}
	l.proxies = append(l.proxies, x)
	return c.Ask("address", &x.addr)
}

// close ends everything.
func (l *lab) close() error {
	var errs []error
	for _, end := range l.closes {
		errs = append(errs, end())
	}
	if l.ours != nil {
		l.ours.close()
	}
	for _, c := range []*child.Child{l.sockets, l.origin} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// A loading is one kind of load.
type loading struct {
	name, title string
	one         string // what one of them is called
	run         func(ctx context.Context, l *lab, addr string, d time.Duration) (load, error)
	// before and after enclose run and are not measured. May be nil.
	before, after func(l *lab, addr string) error
}

// loads are all kinds of load; the first is what aims are about.
func (l *lab) loads() []loading {
	over := func(script string) func(context.Context, *lab, string, time.Duration) (load, error) {
		return func(ctx context.Context, l *lab, addr string, d time.Duration) (load, error) {
			return wrk(ctx, program.Pin(l.o.loadCPU), l.o.connections, d, "http://"+addr+requestPath, script)
		}
	}
	return []loading{
		{name: "get", title: "GET of 1 KiB", one: "request", run: over("")},
		{name: "post", title: "POST of 16 KiB", one: "request", run: over(filepath.Join(l.dir, "post.lua"))},
		{
			name: "websocket", title: "WebSocket echo of 64 bytes", one: "message",
			before: func(l *lab, addr string) error { return l.sockets.Ask("connect "+addr, nil) },
			run: func(_ context.Context, l *lab, _ string, d time.Duration) (load, error) {
				var c counted
				err := l.sockets.Ask("run "+d.String(), &c)
				return load{Requests: c.Messages, Took: c.Took}, err
			},
			after: func(l *lab, _ string) error { return l.sockets.Ask("close", nil) },
		},
	}
}

// sample measures one proxy once.
func (l *lab) sample(ctx context.Context, x *proxy, c loading) (s sampled, err error) {
	if c.before != nil {
		if err := c.before(l, x.addr); err != nil {
			return s, err
		}
	}
	before, err := x.used()
	if err != nil {
		return s, err
	}
	done, err := c.run(ctx, l, x.addr, l.o.duration)
	if err != nil {
		return s, err
	}
	after, err := x.used()
	if err == nil && c.after != nil {
		err = c.after(l, x.addr)
	}
	return sampled{Requests: done.Requests, CPU: after - before, Took: done.Took, P50: done.P50, P99: done.P99}, err
}

// used is the CPU time that a proxy has used, in all its processes.
func (x *proxy) used() (time.Duration, error) {
	if x.pid == 0 {
		return 0, nil
	}
	return meter.FamilyCPU(x.pid)
}

// profiled is how long a profile is taken.
const profiled = 30 * time.Second

// profile takes a profile of the node under a load.
func (l *lab) profile(ctx context.Context, c loading) error {
	taken := make(chan error, 1)
	go func() { taken <- l.ours.profile(ctx, l.o.profile, profiled) }()
	_, err := c.run(ctx, l, l.proxies[1].addr, profiled+time.Second)
	return errors.Join(err, <-taken)
}
