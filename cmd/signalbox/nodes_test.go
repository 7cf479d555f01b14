package main

import (
	"strings"
	"testing"

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
			ControlPlane: "cp", SoftwareVersion: "v1",
		}}, "n live true 7 0 cp v1 - 0"},
		{"a node that is joining", &signalboxv1.Node{Name: "n", Observed: &signalboxv1.NodeObserved{Behind: -1}}, "n joining false - - - - - 0"},
		{"a node that was never here", &signalboxv1.Node{Name: "n"}, "n unknown false - - - - - 0"},
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

// Who forgets a node is told whether it is gone.
func TestForgotten(t *testing.T) {
	observed := func(s signalboxv1.NodeState) *signalboxv1.Node {
		return &signalboxv1.Node{Observed: &signalboxv1.NodeObserved{State: s}}
	}
	for want, left := range map[string]*signalboxv1.Node{
		"node n forgotten": nil,
		"node n forgotten, but another control plane lists it still, as lost": observed(signalboxv1.NodeState_NODE_STATE_LOST),
		"nothing is wanted of node n any more; it is live and stays listed":   observed(signalboxv1.NodeState_NODE_STATE_LIVE),
	} {
		if got := forgotten("n", left); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
