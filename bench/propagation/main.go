// Command propagation measures how long a write takes until every node serves
// it: from the call of PutRoute with WAIT_NODES to its answer, over real gRPC
// with 1, 20 and 200 nodes, on an etcd that syncs to disk. The nodes are
// streams of a second process that acknowledge at once.
//
// Beside it stand, in the same run, a bare put into the same etcd, once while
// the nodes are there and once before they are, and the floor: one message of
// that size to every node and one back, by a bare gRPC server that knows
// nothing of routes.
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
	// counts are the numbers of nodes, from few to many.
	counts         []int
	writes, rounds int
	short          bool
	out, profile   string
}

func main() {
	was, err := child.Main(map[string]child.Part{"nodes": beNodes})
	if !was {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "propagation:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{counts: []int{1, 20, 200}}
	flag.Func("nodes", "numbers of nodes, from few to many, separated by commas (default 1,20,200)", func(list string) (err error) {
		o.counts, err = numbers(list)
		return err
	})
	flag.IntVar(&o.writes, "writes", 200, "writes to measure in a round, at each number of nodes")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds over all numbers of nodes")
	flag.BoolVar(&o.short, "short", false, "measure little, to see that it works")
	flag.StringVar(&o.out, "out", "bench/results", "directory for results")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of etcd, control plane and caller, taken with the most nodes")
	flag.Parse()
	if o.short {
		o.writes, o.rounds = min(o.writes, 20), 1
	}
	return measure(ctx, o)
}

// numbers reads positive numbers separated by commas.
func numbers(list string) (all []int, err error) {
	for one := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of nodes", one)
		}
		all = append(all, n)
	}
	return all, nil
}
