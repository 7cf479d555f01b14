// Command signalbox is the whole product in one binary: control plane,
// gateway, node, etcd member, and the operator's client.
package main

import (
	"context"
	"errors"
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
	os.Exit(run(ctx, byName(os.Args)))
}

// run carries out a command line and returns the process's exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot() //nolint:contextcheck // commands get theirs when they are run
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if said := exitStatus(0); err != nil && exitCode(err) != exitOK && !errors.As(err, &said) {
		fmt.Fprintln(os.Stderr, "signalbox:", describe(err))
	}
	return exitCode(err)
}
