// Command routes measures how long one client needs to write 2 000 routes
// through the API of configurable-http-proxy, and then to be served by all of
// them: at CHP itself, at `signalbox chp`, and at an installation of one control
// plane and one node that keeps what it acknowledges on disk.
//
// Each is started anew for every round, in turn. Routes are written one after
// the other, and by ten calls at a time, as JupyterHub does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

// options are the flags.
type options struct {
	routes, rounds int
	short          bool
	out, chp, ours string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "routes:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.IntVar(&o.routes, "routes", 2000, "routes to write")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds over all")
	flag.BoolVar(&o.short, "short", false, "measure little, to see that it works")
	flag.StringVar(&o.out, "out", "bench/results", "directory for results")
	flag.StringVar(&o.chp, "chp", os.Getenv("SIGNALBOX_CHP"), "configurable-http-proxy, as scripts/chp installs it; left out if not given")
	flag.StringVar(&o.ours, "signalbox", "bin/signalbox", "the binary")
	flag.Parse()
	if o.short {
		o.routes, o.rounds = min(o.routes, 100), 1
	}
	if _, err := os.Stat(o.ours); err != nil {
		return errors.New("there is no " + o.ours + "; run make build")
	}
	return measure(ctx, o)
}
