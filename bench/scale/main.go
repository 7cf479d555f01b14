// Command scale measures what grows with the number of routes, and what must
// not: with 100, 10 000 and 100 000 of them, how long a new node takes until
// it serves its first table, how much memory it needs for a route, what one
// more route costs in bytes and CPU time, and how long finding a route takes.
//
// Each number of routes has an etcd, a control plane and a node of its own,
// the last two in processes of their own. All are there at the same time and
// are measured in turn, so that noise hits all alike.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"signalbox/bench/child"
)

// options are the flags.
type options struct {
	// sizes are the numbers of routes, from few to many.
	sizes []int
	// rounds over all sizes, writes in each, and new nodes in each.
	rounds, writes, nodes int
	short                 bool
	out                   string
}

// parts are what runs in processes of its own.
var parts = map[string]child.Part{"plane": bePlane, "node": beNode, "lookup": beLookup}

func main() {
	was, err := child.Main(parts)
	if !was {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{sizes: []int{100, 10_000, 100_000}}
	flag.Func("routes", "numbers of routes, from few to many, separated by commas (default 100,10000,100000)", func(list string) (err error) {
		o.sizes, err = numbers(list)
		return err
	})
	flag.IntVar(&o.rounds, "rounds", 5, "rounds over all numbers of routes")
	flag.IntVar(&o.writes, "writes", 200, "routes written in a round")
	flag.IntVar(&o.nodes, "nodes", 1, "new nodes in a round")
	flag.BoolVar(&o.short, "short", false, "measure little, to see that it works")
	flag.StringVar(&o.out, "out", "bench/results", "directory for results")
	flag.Parse()
	if o.short {
		o.rounds, o.writes = 1, min(o.writes, 50)
	}
	return measure(ctx, o)
}

// numbers reads positive numbers separated by commas.
func numbers(list string) (all []int, err error) {
	for one := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of routes", one)
		}
		all = append(all, n)
	}
	return all, nil
}
