// Command http compares a node with other proxies: CPU time per request and
// requests per second, with one core for the proxy and another for load and
// origin. All proxies are there at the same time and are measured in turn,
// several rounds, so that noise hits all alike. A proxy that is not installed
// is left out, and that is said; scripts/bench-peers installs them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"signalbox/bench/child"
)

// options are the flags.
type options struct {
	rounds, connections int
	duration            time.Duration // of one measurement
	proxyCPU, loadCPU   string        // numbers of cores
	short               bool
	out, profile        string
	only                string // names of peers, separated by commas; empty: all
	signalbox, chp      string // programs
}

// parts are what runs in processes of its own.
var parts = map[string]child.Part{"origin": beOrigin, "sockets": beSockets, "reverse": beReverse}

func main() {
	was, err := child.Main(parts)
	if !was {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds over all proxies")
	flag.IntVar(&o.connections, "connections", 64, "connections that are loaded at once")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "length of one measurement, in whole seconds")
	flag.StringVar(&o.proxyCPU, "proxy-cpu", "0", "number of the core for the proxy")
	flag.StringVar(&o.loadCPU, "load-cpu", "1", "number of the core for load and origin")
	flag.BoolVar(&o.short, "short", false, "measure little, to see that it works")
	flag.StringVar(&o.out, "out", "bench/results", "directory for results")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of the node, taken under the first load after the rounds")
	flag.StringVar(&o.only, "only", "", "compare with these alone, by their names, separated by commas; \"none\" is nobody")
	flag.StringVar(&o.signalbox, "signalbox", "bin/signalbox", "the program to measure")
	flag.StringVar(&o.chp, "chp", ".cache/chp/node_modules/configurable-http-proxy", "directory of configurable-http-proxy")
	flag.Parse()
	if o.short {
		o.rounds, o.duration = 1, time.Second
	}
	return measure(ctx, o)
}
