package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// writeFlags are those of every command that writes.
type writeFlags struct {
	expect   int64
	validate bool
	wait     bool
	timeout  time.Duration
	flags    *pflag.FlagSet
}

func (w *writeFlags) add(f *pflag.FlagSet) {
	w.flags = f
	f.Int64Var(&w.expect, "expect", 0, "write only if the record is at this revision; 0: only if there is none")
	f.BoolVar(&w.validate, "validate-only", false, "check everything, write nothing")
	w.addWait(f)
}

func (w *writeFlags) addWait(f *pflag.FlagSet) {
	f.BoolVar(&w.wait, "wait", false, "wait until every live node serves it; exit with 7 if some do not in time or reject it")
	f.DurationVar(&w.timeout, "wait-timeout", 5*time.Second, "how long to wait, at most 60s")
}

// expected is the revision to expect, nil when the flag was not given.
func (w *writeFlags) expected() *int64 {
	if w.flags == nil || !w.flags.Changed("expect") {
		return nil
	}
	return &w.expect
}

func (w *writeFlags) kind() (signalboxv1.Wait, *durationpb.Duration) {
	if !w.wait {
		return signalboxv1.Wait_WAIT_NONE, nil
	}
	return signalboxv1.Wait_WAIT_NODES, durationpb.New(w.timeout)
}

// A written answer is that of a call that writes.
type written interface {
	proto.Message
	GetResult() *signalboxv1.WriteResult
}

// told says what became of a write, and fails when it waited in vain.
func (w *writeFlags) told(out io.Writer, c *client, what string, answer written) error {
	r := answer.GetResult()
	err := c.print(out, answer, func(out io.Writer) {
		_, _ = fmt.Fprintln(out, w.sentence(what, r))
		for _, no := range r.GetRejections() {
			_, _ = fmt.Fprintf(out, "rejected by %s: %s\n", no.GetNode(), no.GetReason())
		}
	})
	if err == nil && w.wait && len(r.GetLagging())+len(r.GetRejections()) > 0 {
		return errNotServed
	}
	return err
}

// sentence is what became of a write, for people.
func (w *writeFlags) sentence(what string, r *signalboxv1.WriteResult) string {
	if w.validate {
		return what + ": valid, nothing written"
	}
	line := fmt.Sprintf("%s: revision %d", what, r.GetVersion().GetRevision())
	if n := len(r.GetPieces()); n > 1 {
		line += fmt.Sprintf(", the last of %d pieces", n)
	}
	if w.wait {
		// A node that rejects a record serves the revision without it.
		without := map[string]bool{}
		for _, no := range r.GetRejections() {
			without[no.GetNode()] = true
		}
		line += fmt.Sprintf(", served by %d of %d nodes", max(int(r.GetNodesServing())-len(without), 0), r.GetNodesLive())
	}
	if len(r.GetLagging()) > 0 && w.wait {
		line += "; lagging: " + strings.Join(r.GetLagging(), ", ")
	}
	return line
}
