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
	c.each(gone, "knows that the node is lost", in(signalboxv1.NodeState_NODE_STATE_LOST))
	c.forget(gone)
	c.each(gone, "forgets it", unknown)
	gone.start()
	c.each(gone, "knows it again", in(signalboxv1.NodeState_NODE_STATE_LIVE))
}

// The record by which others hear of it came and went while one of them was
// away, and etcd does not know of it any more.
func TestALostNodeIsForgottenByWhoWasAwayDuringACompaction(t *testing.T) {
	c, wires := newCut(t)
	gone := c.addNode(false)
	gone.start()
	c.each(gone, "knows the node", in(signalboxv1.NodeState_NODE_STATE_LIVE))
	gone.kill()
	c.each(gone, "knows that the node is lost", in(signalboxv1.NodeState_NODE_STATE_LOST))
	all(wires[1], (*wire).sever)
	c.forget(gone)
	c.services(0).put(t, route("later", "/later", "http://127.0.0.1:1"))
	c.compact()
	all(wires[1], (*wire).mend)
	c.each(gone, "forgets it", unknown)
	gone.start()
	c.each(gone, "knows it again", in(signalboxv1.NodeState_NODE_STATE_LIVE))
	gone.kill()
	c.each(gone, "knows that it is lost again", in(signalboxv1.NodeState_NODE_STATE_LOST))
}

// forget has the first control plane forget a node.
func (c *cluster) forget(gone *nodeProcess) {
	c.t.Helper()
	if _, err := c.services(0).nodes.DeleteNode(c.t.Context(), &signalboxv1.DeleteNodeRequest{Name: gone.id}); err != nil {
		c.t.Fatal(err)
	}
}

// each waits until all control planes say of a node what is right.
func (c *cluster) each(n *nodeProcess, what string, right func(*signalboxv1.Node, error) bool) {
	c.t.Helper()
	for i, p := range c.planes {
		api := c.services(i).nodes
		eventually(c.t, p.id+" "+what, func(ctx context.Context) error {
			res, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: n.id})
			if !right(res.GetNode(), err) {
				return fmt.Errorf("it says %v, %w", res, err)
			}
			return nil
		})
	}
}

func unknown(_ *signalboxv1.Node, err error) bool { return status.Code(err) == codes.NotFound }

func in(want signalboxv1.NodeState) func(*signalboxv1.Node, error) bool {
	return func(n *signalboxv1.Node, err error) bool { return err == nil && n.GetObserved().GetState() == want }
}
