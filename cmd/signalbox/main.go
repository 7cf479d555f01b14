// Command signalbox is the whole product in one binary: control plane,
// gateway, node, etcd member, and the operator's client.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is stamped in by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	defer context.AfterFunc(ctx, stop)()
	os.Exit(run(ctx, os.Args[1:]))
}

// run carries out a command line and returns the process's exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot() //nolint:contextcheck // commands get theirs when they are run
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && exitCode(err) != exitOK {
		fmt.Fprintln(os.Stderr, "signalbox:", describe(err))
	}
	return exitCode(err)
}
