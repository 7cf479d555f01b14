// Command tunnel compares tunnels with HAProxy in TCP mode and with socat on
// the same work: CPU time and throughput of TCP, datagrams, connections made,
// and the memory of idle ones, by one process and by a chain of two, in the
// clear and encrypted. The proxies have one core, users and targets another. All
// are there at the same time and are measured in turn, several rounds, so that
// noise hits all alike. A peer that is not installed is left out, and that is
// said; scripts/bench-peers installs them.
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
	rounds            int
	duration          time.Duration // of one measurement
	idle              int           // connections
	proxyCPU, loadCPU string        // numbers of cores
	short             bool
	out, signalbox    string
	only              string // part of the names of what is measured; empty: all
}

// parts are what runs in processes of its own.
var parts = map[string]child.Part{"load": beLoad}

func main() {
	was, err := child.Main(parts)
	if !was {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tunnel:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds over all")
	flag.DurationVar(&o.duration, "duration", 250*time.Millisecond, "length of one measurement")
	flag.IntVar(&o.idle, "idle", 5000, "idle connections whose memory is measured")
	flag.StringVar(&o.proxyCPU, "proxy-cpu", "0", "number of the core for the proxies")
	flag.StringVar(&o.loadCPU, "load-cpu", "1", "number of the core for users and targets")
	flag.BoolVar(&o.short, "short", false, "measure little, to see that it works")
	flag.StringVar(&o.out, "out", "bench/results", "directory for results")
	flag.StringVar(&o.signalbox, "signalbox", "bin/signalbox", "the program to measure")
	flag.StringVar(&o.only, "only", "", "measure only what has this in its name")
	flag.Parse()
	if o.short {
		o.rounds, o.duration, o.idle = 1, 100*time.Millisecond, min(o.idle, 200)
	}
	return measure(ctx, o)
}
