package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// What nobody knows of a node is a dash, and no number.
func TestNodeTable(t *testing.T) {
	for _, c := range []struct {
		name string
		node *signalboxv1.Node
		want string
	}{
		{"a live node", &signalboxv1.Node{Name: "n", Observed: &signalboxv1.NodeObserved{
			State: signalboxv1.NodeState_NODE_STATE_LIVE, Ready: true, Serving: &signalboxv1.Version{Epoch: "e", Revision: 7},
			ControlPlane: "cp", SoftwareVersion: "v1", OpenStreams: proto.Int64(3),
		}}, "n live true 3 7 0 cp v1 - 0"},
		{"a node that is joining", &signalboxv1.Node{Name: "n", Observed: &signalboxv1.NodeObserved{Behind: -1}}, "n joining false - - - - - - 0"},
		{"a node that was never here", &signalboxv1.Node{Name: "n"}, "n unknown false - - - - - - 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			nodeTable(&out, []*signalboxv1.Node{c.node})
			head, line, _ := strings.Cut(out.String(), "\n")
			if got := strings.Join(strings.Fields(line), " "); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if strings.Count(head, "\t") != strings.Count(line, "\t") {
				t.Errorf("the columns are not those of the header: %q", out.String())
			}
		})
	}
}

// Who watches a drain is told how far it is, and when it is done.
func TestDrainLine(t *testing.T) {
	draining := signalboxv1.NodeState_NODE_STATE_DRAINING
	for _, c := range []struct {
		o     *signalboxv1.NodeObserved
		epoch int64
		want  string
		done  bool
	}{
		{&signalboxv1.NodeObserved{State: draining, Ready: true}, 0, "is ready still", false},
		{&signalboxv1.NodeObserved{State: draining}, 0, "drains; how much runs on it is not known here", false},
		{&signalboxv1.NodeObserved{State: draining, OpenStreams: proto.Int64(2)}, 0, "drains; exchanges and connections that are open: 2", false},
		{&signalboxv1.NodeObserved{State: draining, OpenStreams: proto.Int64(0)}, 0, "is drained", true},
		{&signalboxv1.NodeObserved{State: draining, OpenStreams: proto.Int64(0), Epoch: 7}, 7, "is drained, and about to stop", false},
		{&signalboxv1.NodeObserved{State: draining, Epoch: 8}, 7, "has stopped, and was started again", true},
		{&signalboxv1.NodeObserved{State: signalboxv1.NodeState_NODE_STATE_LOST, Epoch: 7}, 7, "has stopped", true},
		{nil, 0, "is not there", true},
		{&signalboxv1.NodeObserved{Rejections: []*signalboxv1.Rejection{{Kind: signalboxv1.Kind_KIND_NODE}}}, 7, "rejects what is wanted of it", true},
	} {
		if got, done := drainLine(c.o, c.epoch); got != c.want || done != c.done {
			t.Errorf("%v with epoch %d: %q, %t; want %q", c.o, c.epoch, got, done, c.want)
		}
	}
}

// Who forgets a node is told whether it is gone.
func TestForgotten(t *testing.T) {
	observed := func(s signalboxv1.NodeState) *signalboxv1.Node {
		return &signalboxv1.Node{Observed: &signalboxv1.NodeObserved{State: s}}
	}
	for want, left := range map[string]*signalboxv1.Node{
		"node n forgotten": nil,
		"node n is forgotten, but a control plane lists it still, as lost: ask again": observed(signalboxv1.NodeState_NODE_STATE_LOST),
		"nothing is wanted of node n any more; it is live and stays listed":           observed(signalboxv1.NodeState_NODE_STATE_LIVE),
	} {
		if got := forgotten("n", left); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
