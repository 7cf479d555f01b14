package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"signalbox/node"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// chpVersion is the version of configurable-http-proxy that `signalbox chp` is
// compatible with. --version prints it alone, as those expect who ask.
const chpVersion = "5.3.0"

// chpName is what the binary may be called as, to be `signalbox chp`.
const chpName = "configurable-http-proxy"

// chpStopped is CHP's exit code after SIGTERM and SIGINT.
const chpStopped = 2

const aboutCHP = `Usage: configurable-http-proxy [options]
       signalbox chp [options]

Signalbox in the place of configurable-http-proxy %s: the same flags, the same
REST API, the same token in CONFIGPROXY_AUTH_TOKEN. Routes are in memory, as
CHP's, unless --data-dir is given.

Options:
%s`

// newCHP takes its flags as CHP does, and so not from the environment or a file.
func newCHP() *cobra.Command {
	return &cobra.Command{
		Use:                "chp [options]",
		Short:              "Take the place of configurable-http-proxy: same flags, same API",
		DisableFlagParsing: true,
		PersistentPreRunE:  func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCHP(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// byName puts the command before the arguments of a binary that is called by
// another's name.
func byName(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	switch filepath.Base(args[0]) {
	case chpName:
		return append([]string{"chp"}, args[1:]...)
	case nodepassName:
		return append([]string{nodepassName}, args[1:]...)
	}
	return args[1:]
}

// An exitStatus ends the process without another word.
type exitStatus int

func (s exitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// runCHP carries out a command line of CHP's.
func runCHP(ctx context.Context, args []string, out, errs io.Writer) error {
	var c chpFlags
	if err := c.parse(args); err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return exitStatus(1)
	}
	switch {
	case c.version:
		_, err := fmt.Fprintln(out, chpVersion)
		return err
	case c.help:
		_, err := fmt.Fprintf(out, aboutCHP, chpVersion, c.flags().FlagUsages())
		return err
	}
	log := newCHPLog(out, c.level)
	run := c.run
	if c.show {
		run = func(context.Context, *chpLog) error { return c.printListener(out, errs) }
	}
	err := run(ctx, log)
	switch {
	case ctx.Err() != nil:
		return exitStatus(chpStopped)
	case err != nil:
		_, _ = fmt.Fprintln(errs, "error:", byFlags(describe(err)))
		return exitStatus(1)
	}
	return nil
}

// run serves until ctx ends.
func (c *chpFlags) run(ctx context.Context, log *chpLog) error {
	// 1. what the flags say, before anything is there
	pages := dirStamp(c.errorPath) // before they are read, so that no change is missed
	records, err := c.listeners()
	if err != nil {
		return err
	}
	if _, err := rules.ParseUpstream(c.target); c.target != "" && err != nil {
		return fmt.Errorf("--default-target: %w", err)
	}
	w, err := c.whole(log)
	if err != nil {
		return err
	}

	// 2. what others see of the process
	if err := c.writePID(); err != nil {
		return err
	}
	defer c.leave()
	defer endAtSecondSignal(c.leave)()
	c.sayFlags(log)

	// 3. what happens once its parts are there
	opened := make(chan struct{})
	w.plane.opened = opened
	writer := &chpWriter{key: w.plane.flags.admin}
	w.prepare = func(ctx context.Context, pl *plane) error {
		writer.conn = pl.conn
		return c.prepare(ctx, writer, records, log)
	}
	w.ready = func(ctx context.Context, _ *plane, _ *node.Node) {
		close(opened)
		c.sayReady(log)
		if c.errorPath != "" {
			c.watchPages(ctx, pages, writer, log)
		}
	}
	w.beside = append(w.beside, func(running context.Context) error {
		<-running.Done()
		if ctx.Err() != nil {
			sayWhy(ctx, log)
		}
		return nil
	})
	easeCollection()
	return w.run(ctx)
}

// prepare writes what the flags say into the store.
func (c *chpFlags) prepare(ctx context.Context, to *chpWriter, records []*signalboxv1.Listener, log *chpLog) error {
	if err := to.listeners(ctx, records); err != nil || c.target == "" {
		return err
	}
	kept, err := to.target(ctx, c.target)
	switch {
	case err != nil:
		return err
	case kept != c.target:
		log.warn("--default-target %s is not taken: the route / was kept, to %s", bare(c.target), bare(kept))
		c.target, c.targetKept = kept, true
	default:
		log.info("Adding route / -> %s", bare(c.target))
	}
	return nil
}

// writePID writes --pid-file.
func (c *chpFlags) writePID() error {
	if c.pidFile == "" {
		return nil
	}
	if err := os.WriteFile(c.pidFile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil { //nolint:gosec // others may read it, as CHP's
		return fmt.Errorf("--pid-file: %w", err)
	}
	return nil
}

// leave removes the file that would say that the process is there still.
func (c *chpFlags) leave() {
	if c.pidFile != "" {
		_ = os.Remove(c.pidFile)
	}
}
