// Command propagation measures how long a write takes until every node serves
// it: from the call of PutRoute with WAIT_NODES to its answer, over real gRPC
// with 1, 20 and 200 nodes, beside a bare put into the same etcd in the same
// run. The nodes are streams of a second process that acknowledge at once.
//
// It prints a table and writes bench/results/propagation.json and .svg.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var (
		nodesOf = flag.String("nodes-of", "", "internal: be the nodes of the control plane at this address")
		count   = flag.Int("count", 0, "internal: how many nodes")
		key     = flag.String("key", "", "internal: their API key")
		writes  = flag.Int("writes", 500, "writes to measure at each number of nodes")
		out     = flag.String("out", "bench/results", "directory for results")
	)
	flag.Parse()
	var err error
	if *nodesOf != "" {
		err = beNodes(ctx, *nodesOf, *key, *count)
	} else {
		err = measure(ctx, *writes, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "propagation:", err)
		os.Exit(1)
	}
}
