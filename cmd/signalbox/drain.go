package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A draining is how a node is to be drained.
type draining struct {
	timeout     time.Duration
	timed, stop bool // timeout was given; the process is to exit
}

// on says so in what is wanted of a node.
func (d draining) on(n *signalboxv1.Node) error {
	w := n.Wanted
	w.Drain, w.DrainTimeout, w.StopEpoch = true, nil, 0
	if d.timed {
		w.DrainTimeout = durationpb.New(d.timeout)
	}
	if !d.stop {
		return nil
	}
	if w.StopEpoch = n.GetObserved().GetEpoch(); w.StopEpoch == 0 {
		return fmt.Errorf("node %s was not heard of, so there is no process of it to stop", n.GetName())
	}
	return nil
}

// undrain takes it back.
func undrain(n *signalboxv1.Node) error {
	n.Wanted.Drain, n.Wanted.DrainTimeout, n.Wanted.StopEpoch = false, nil, 0
	return nil
}

func newNodesUndrain() *cobra.Command {
	var (
		c client
		w writeFlags
	)
	cmd := &cobra.Command{
		Use:   "undrain NAME",
		Short: "Make a drained node ready again",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := putWanted(ctx, signalboxv1.NewNodeServiceClient(conn), args[0], &w, undrain)
				if err != nil {
					return err
				}
				return w.told(cmd.OutOrStdout(), &c, "node "+args[0]+" undrain", answer)
			})
		},
	}
	w.addWait(cmd.Flags())
	c.add(cmd.Flags())
	return cmd
}

func newNodesDrain() *cobra.Command {
	var (
		c     client
		w     writeFlags
		d     draining
		watch bool
	)
	cmd := &cobra.Command{
		Use:   "drain NAME",
		Short: "Make a node not ready; it serves on what still comes",
		Long: `Makes a node call itself not ready, so that load balancers send clients to others.
It serves what still comes. With --drain-timeout, what runs that long is ended:
WebSockets are closed with the status 1001, exchanges answered 503 or cut off.
With --stop, the node's process of now exits with code 0 when nothing has run on
it for 5 s, or the timeout is over; one that is started after it is drained too,
until "undrain". Given again, the command replaces what was wanted before.`,
		Example: `  signalbox nodes drain node-1 --drain-timeout 30s --stop --watch
  signalbox nodes undrain node-1`,
		Args: oneName,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d.timed = cmd.Flags().Changed("drain-timeout")
		call := c.call
		if watch {
			call = c.stream // for as long as it takes
		}
		return call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
			api := signalboxv1.NewNodeServiceClient(conn)
			answer, err := putWanted(ctx, api, args[0], &w, d.on)
			if err != nil {
				return err
			}
			err = w.told(cmd.OutOrStdout(), &c, "node "+args[0]+" drain", answer)
			if err != nil || !watch {
				return err
			}
			return watchDrain(ctx, cmd.ErrOrStderr(), api, answer.GetNode())
		})
	}
	f := cmd.Flags()
	f.DurationVar(&d.timeout, "drain-timeout", 0, "how long what runs may take; without it nothing is ended")
	f.BoolVar(&d.stop, "stop", false, "have the process exit once it is drained")
	f.BoolVar(&watch, "watch", false, "stay until nothing runs on the node, or with --stop until it has gone, and say what is left; --timeout does not count")
	w.addWait(f)
	c.add(f)
	return cmd
}

// watchEvery is how often a draining node is looked at.
const watchEvery = time.Second

// watchDrain says how a drain goes until it is done.
func watchDrain(ctx context.Context, out io.Writer, api signalboxv1.NodeServiceClient, n *signalboxv1.Node) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	epoch, said := n.GetWanted().GetStopEpoch(), ""
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		answer, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: n.GetName()})
		if err != nil && status.Code(err) != codes.NotFound && status.Code(err) != codes.Unavailable {
			return err
		}
		if err != nil && status.Code(err) == codes.Unavailable {
			continue // the next control plane will know
		}
		line, done := drainLine(answer.GetNode().GetObserved(), epoch)
		if line != said {
			_, _ = fmt.Fprintf(out, "node %s: %s\n", n.GetName(), line)
		}
		if said = line; done {
			return nil
		}
	}
}

// drainLine says how far a node's drain is, and whether it is done; epoch is of
// the process that is to stop, 0 for none.
func drainLine(o *signalboxv1.NodeObserved, epoch int64) (line string, done bool) {
	gone := o == nil || o.GetState() == signalboxv1.NodeState_NODE_STATE_LOST
	switch {
	case gone && epoch != 0:
		return "has stopped", true
	case gone:
		return "is not there", true
	case epoch != 0 && o.GetEpoch() > epoch:
		return "has stopped, and was started again", true
	case len(o.GetRejections()) > 0 && rejectsItself(o):
		return "rejects what is wanted of it", true
	case o.GetReady():
		return "is ready still", false
	case o.OpenStreams == nil:
		return "drains; how much runs on it is not known here", false
	case o.GetOpenStreams() > 0:
		return fmt.Sprintf("drains; exchanges and connections that are open: %d", o.GetOpenStreams()), false
	case epoch != 0:
		return "is drained, and about to stop", false
	}
	return "is drained", true
}

// rejectsItself reports whether a node rejects its own record.
func rejectsItself(o *signalboxv1.NodeObserved) bool {
	for _, r := range o.GetRejections() {
		if r.GetKind() == signalboxv1.Kind_KIND_NODE {
			return true
		}
	}
	return false
}
