//go:build e2e

// A lost node that is forgotten is forgotten by every control plane, and one
// that comes back is known again.

package e2e

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestALostNodeIsForgottenEverywhere(t *testing.T) {
	c := newCluster(t, 2, 2)
	gone := c.nodes[1]
	gone.kill()
	each := func(what string, ok func(*signalboxv1.Node, error) bool) {
		t.Helper()
		for i, p := range c.planes {
			api := c.services(i).nodes
			eventually(t, p.id+" "+what, func(ctx context.Context) error {
				res, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: gone.id})
				if !ok(res.GetNode(), err) {
					return fmt.Errorf("it says %v, %w", res, err)
				}
				return nil
			})
		}
	}
	in := func(want signalboxv1.NodeState) func(*signalboxv1.Node, error) bool {
		return func(n *signalboxv1.Node, err error) bool { return err == nil && n.GetObserved().GetState() == want }
	}
	each("knows that the node is lost", in(signalboxv1.NodeState_NODE_STATE_LOST))
	if _, err := c.services(0).nodes.DeleteNode(t.Context(), &signalboxv1.DeleteNodeRequest{Name: gone.id}); err != nil {
		t.Fatal(err)
	}
	each("forgets it", func(_ *signalboxv1.Node, err error) bool { return status.Code(err) == codes.NotFound })
	gone.start()
	each("knows it again", in(signalboxv1.NodeState_NODE_STATE_LIVE))
}
