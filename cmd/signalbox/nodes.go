package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func newNodes() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "Show nodes; drain, revoke and forget them",
		Example: `  signalbox nodes list
  signalbox nodes drain node-1 --drain-timeout 30s --stop --watch
  signalbox nodes undrain node-1
  signalbox nodes revoke node-1
  signalbox nodes forget node-9`,
	}
	cmd.AddCommand(newNodesList(), newNodesGet(), newNodesForget(), newNodesDrain(),
		newNodesUndrain(), newNodesRevoke())
	return cmd
}

func newNodesList() *cobra.Command {
	var (
		c       client
		request signalboxv1.ListNodesRequest
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show every node that is known, live or lost",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				request.PageSize = pageSize
				all, err := allNodes(ctx, signalboxv1.NewNodeServiceClient(conn), &request)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), all, func(w io.Writer) { nodeTable(w, all.GetNodes()) })
			})
		},
	}
	cmd.Flags().StringVar(&request.NamePrefix, "prefix", "", "only names that begin so")
	cmd.Flags().StringSliceVar(&request.Labels, "label", nil, "only with this label, KEY or KEY=VALUE; may be repeated")
	c.add(cmd.Flags())
	return cmd
}

// allNodes gathers all pages.
func allNodes(ctx context.Context, api signalboxv1.NodeServiceClient, request *signalboxv1.ListNodesRequest) (*signalboxv1.ListNodesResponse, error) {
	all := new(signalboxv1.ListNodesResponse)
	return all, pages(func(token string) (string, error) {
		request.PageToken = token
		page, err := api.ListNodes(ctx, request)
		all.Nodes, all.Version = append(all.Nodes, page.GetNodes()...), page.GetVersion()
		return page.GetNextPageToken(), err
	})
}

func newNodesGet() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show one node, and the records it rejects",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := signalboxv1.NewNodeServiceClient(conn).GetNode(ctx, &signalboxv1.GetNodeRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), answer, func(w io.Writer) {
					nodeTable(w, []*signalboxv1.Node{answer.GetNode()})
					for _, r := range answer.GetNode().GetObserved().GetRejections() {
						_, _ = fmt.Fprintf(w, "rejects %s %q at revision %d: %s\n", strings.ToLower(strings.TrimPrefix(r.GetKind().String(), "KIND_")), r.GetName(), r.GetRevision(), r.GetReason())
					}
				})
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

// nodeTable writes nodes for people; a dash is what nobody knows.
func nodeTable(w io.Writer, nodes []*signalboxv1.Node) {
	_, _ = fmt.Fprintln(w, "NAME\tSTATE\tREADY\tOPEN\tREV\tBEHIND\tFED BY\tSOFTWARE\tLAST CONTACT\tREJECTS")
	for _, n := range nodes {
		o := n.GetObserved()
		last := "-"
		if o.GetLastContact() != nil {
			last = time.Since(o.GetLastContact().AsTime()).Round(100*time.Millisecond).String() + " ago"
		}
		open, rev, behind := "-", "-", "-"
		if o != nil && o.OpenStreams != nil {
			open = strconv.FormatInt(o.GetOpenStreams(), 10)
		}
		if serving := o.GetServing().GetRevision(); serving > 0 {
			rev = strconv.FormatInt(serving, 10)
		}
		if o != nil && o.GetBehind() >= 0 {
			behind = strconv.FormatInt(o.GetBehind(), 10)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%t\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", n.GetName(), nodeState(o), o.GetReady(), open, rev, behind,
			cmp.Or(o.GetControlPlane(), "-"), cmp.Or(o.GetSoftwareVersion(), "-"), last, len(o.GetRejections()))
	}
}

// nodeState is a node's standing as people say it.
func nodeState(o *signalboxv1.NodeObserved) string {
	switch {
	case o == nil:
		return "unknown" // it was never here
	case o.GetState() == signalboxv1.NodeState_NODE_STATE_UNSPECIFIED:
		return "joining"
	default:
		return strings.ToLower(strings.TrimPrefix(o.GetState().String(), "NODE_STATE_"))
	}
}

// putWanted changes something that is wanted of a node, if nobody else does.
func putWanted(ctx context.Context, api signalboxv1.NodeServiceClient, name string, w *writeFlags, change func(*signalboxv1.Node) error) (*signalboxv1.PutNodeResponse, error) {
	known, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: name})
	if err != nil {
		return nil, err
	}
	node := known.GetNode()
	expect := node.GetMeta().GetRevision()
	if node.Wanted == nil {
		node.Wanted = new(signalboxv1.NodeWanted)
	}
	if err := change(node); err != nil {
		return nil, err
	}
	wait, timeout := w.kind()
	return api.PutNode(ctx, &signalboxv1.PutNodeRequest{Node: node, ExpectedRevision: &expect, Wait: wait, WaitTimeout: timeout})
}

func newNodesRevoke() *cobra.Command {
	var (
		c       client
		w       writeFlags
		unknown bool
	)
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Refuse a node's certificates that were made until now",
		Long: `Refuses all certificates of a node that were made until now, for good, and ends
the streams opened with them. The node gets another with its API key, if it has
one that is good.`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				_, err := signalboxv1.NewNodeServiceClient(conn).GetNode(ctx, &signalboxv1.GetNodeRequest{Name: args[0]})
				switch {
				case status.Code(err) == codes.NotFound && unknown:
				case status.Code(err) == codes.NotFound:
					return status.Errorf(codes.NotFound, "no node %q is known, and nothing was revoked; with --unknown it is all the same", args[0])
				case err != nil:
					return err
				}
				answer, err := signalboxv1.NewCertificateServiceClient(conn).RevokeNodeCertificates(ctx, &signalboxv1.RevokeNodeCertificatesRequest{Node: args[0]})
				if err != nil {
					return err
				}
				return w.told(cmd.OutOrStdout(), &c, "node "+args[0]+" revoke", answer)
			})
		},
	}
	cmd.Flags().BoolVar(&unknown, "unknown", false, "revoke also for a node that no control plane knows now")
	c.add(cmd.Flags())
	return cmd
}

func newNodesForget() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "forget NAME",
		Short: "Drop what is wanted of a node, and from the list one that is lost",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				api := signalboxv1.NewNodeServiceClient(conn)
				answer, err := api.DeleteNode(ctx, &signalboxv1.DeleteNodeRequest{Name: args[0]})
				if err != nil {
					return err
				}
				left, err := leftOf(ctx, api, args[0])
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), answer, func(w io.Writer) { _, _ = fmt.Fprintln(w, forgotten(args[0], left.GetNode())) })
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

// leftOf is what is known of a node that was to be forgotten, nil for nothing.
// The other control planes forget one that is lost a moment later.
func leftOf(ctx context.Context, api signalboxv1.NodeServiceClient, name string) (*signalboxv1.GetNodeResponse, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		left, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: name})
		switch {
		case status.Code(err) == codes.NotFound:
			return nil, nil
		case err != nil, tries == 20, left.GetNode().GetObserved().GetState() != signalboxv1.NodeState_NODE_STATE_LOST:
			return left, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// forgotten is what became of a node that was to be forgotten; left is what is
// known of it still, nil for nothing.
func forgotten(name string, left *signalboxv1.Node) string {
	switch {
	case left == nil:
		return fmt.Sprintf("node %s forgotten", name)
	case left.GetObserved().GetState() == signalboxv1.NodeState_NODE_STATE_LOST:
		return fmt.Sprintf("node %s is forgotten, but a control plane lists it still, as lost: ask again", name)
	}
	return fmt.Sprintf("nothing is wanted of node %s any more; it is %s and stays listed", name, nodeState(left.GetObserved()))
}
