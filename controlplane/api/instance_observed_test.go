package api

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/observe"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	unknown  = signalboxv1.InstanceState_INSTANCE_STATE_UNSPECIFIED
	still    = signalboxv1.InstanceState_INSTANCE_STATE_STOPPED
	starting = signalboxv1.InstanceState_INSTANCE_STATE_STARTING
	works    = signalboxv1.InstanceState_INSTANCE_STATE_RUNNING
	faulty   = signalboxv1.InstanceState_INSTANCE_STATE_ERROR
)

func TestHowAnInstanceStandsOverAllNodes(t *testing.T) {
	// Nodes whose names begin with "lost" are.
	live := func(node string, epoch int64) bool { return epoch == 1 && node[:1] != "l" }
	on := func(node string, state signalboxv1.InstanceState, reason string, starts int64) observe.Run {
		return observe.Run{Epoch: 1, InstanceRun: &signalboxv1.InstanceRun{Node: node, State: state, Reason: reason, Starts: starts}}
	}
	wanted := &signalboxv1.Instance{Name: "a", Wanted: signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING, Starts: 2}
	unwanted := &signalboxv1.Instance{Name: "a", Wanted: signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED, Starts: 2}
	for name, c := range map[string]struct {
		standing
		state  signalboxv1.InstanceState
		reason string
		runs   []*signalboxv1.InstanceRun
	}{
		"no node can be given it": {
			standing{instance: wanted, nowhere: "no node is live"}, faulty, "no node is live", nil,
		},
		"it is about to be given to a node": {standing{instance: wanted}, starting, "", nil},
		"its node has not said anything": {
			standing{instance: wanted, nodes: []string{"n"}}, starting, "", []*signalboxv1.InstanceRun{{Node: "n"}},
		},
		"it runs": {
			standing{instance: wanted, nodes: []string{"n"}, runs: []observe.Run{on("n", works, "", 2)}}, works, "",
			[]*signalboxv1.InstanceRun{{Node: "n", State: works, Starts: 2}},
		},
		"its node has not heard that it is to begin anew": {
			standing{instance: wanted, nodes: []string{"n"}, runs: []observe.Run{on("n", faulty, "old", 1)}}, starting, "",
			[]*signalboxv1.InstanceRun{{Node: "n", State: faulty, Reason: "old", Starts: 1}},
		},
		"it does not run as it should": {
			standing{instance: wanted, nodes: []string{"n"}, runs: []observe.Run{on("n", faulty, "port 1 is taken", 2)}},
			faulty, "port 1 is taken", []*signalboxv1.InstanceRun{{Node: "n", State: faulty, Reason: "port 1 is taken", Starts: 2}},
		},
		"the worst of several nodes counts, and is named": {
			standing{
				instance: wanted, nodes: []string{"m", "n", "o"},
				runs: []observe.Run{on("m", works, "", 2), on("n", faulty, "port 1 is taken", 2), on("o", starting, "", 2)},
			},
			faulty, "n: port 1 is taken", []*signalboxv1.InstanceRun{
				{Node: "m", State: works, Starts: 2}, {Node: "n", State: faulty, Reason: "port 1 is taken", Starts: 2}, {Node: "o", State: starting, Starts: 2},
			},
		},
		"one of several has not said anything": {
			standing{instance: wanted, nodes: []string{"m", "n"}, runs: []observe.Run{on("m", works, "", 2)}},
			starting, "", []*signalboxv1.InstanceRun{{Node: "m", State: works, Starts: 2}, {Node: "n"}},
		},
		"its node is lost": {
			standing{instance: wanted, nodes: []string{"lost"}, runs: []observe.Run{on("lost", works, "", 2)}},
			faulty, "lost: lost; nobody can tell whether it runs there",
			[]*signalboxv1.InstanceRun{{Node: "lost", State: faulty, Reason: "the node is lost", Starts: 2}},
		},
		"one of several nodes is lost": {
			standing{instance: wanted, nodes: []string{"lost", "n"}, runs: []observe.Run{on("lost", faulty, "x", 2), on("n", works, "", 2)}},
			works, "", []*signalboxv1.InstanceRun{
				{Node: "lost", State: faulty, Reason: "the node is lost", Starts: 2}, {Node: "n", State: works, Starts: 2},
			},
		},
		"where it ran before it was moved does not count": {
			standing{instance: wanted, nodes: []string{"n"}, runs: []observe.Run{on("m", faulty, "x", 2), on("n", works, "", 2)}},
			works, "", []*signalboxv1.InstanceRun{{Node: "n", State: works, Starts: 2}},
		},
		"it should not run and does not": {standing{instance: unwanted, nodes: []string{"n"}}, still, "", []*signalboxv1.InstanceRun{{Node: "n", State: still}}},
		"it should not run anywhere":     {standing{instance: unwanted}, still, "", nil},
		"it should not run and still does": {
			standing{instance: unwanted, nodes: []string{"n"}, runs: []observe.Run{on("n", works, "", 2)}},
			works, "", []*signalboxv1.InstanceRun{{Node: "n", State: works, Starts: 2}},
		},
		"it should not run, and did on a node that is lost": {
			standing{instance: unwanted, nodes: []string{"lost"}, runs: []observe.Run{on("lost", works, "", 2)}},
			still, "", []*signalboxv1.InstanceRun{{Node: "lost", State: works, Starts: 2}},
		},
		"it should not run, and its node says that it stands": {
			standing{instance: unwanted, nodes: []string{"n"}, runs: []observe.Run{on("n", still, "", 2)}},
			still, "", []*signalboxv1.InstanceRun{{Node: "n", State: still, Starts: 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.live, c.lost = live, func(node string) bool { return node[:1] == "l" }
			c.counters, c.active = &signalboxv1.InstanceCounters{TcpSent: 7}, timestamppb.Now()
			want := &signalboxv1.InstanceObserved{State: c.state, Reason: c.reason, Runs: c.runs, Counters: c.counters, LastActivity: c.active}
			if got := c.observed(); !proto.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
	if got := (standing{instance: unwanted}).observed().GetCounters(); got == nil {
		t.Error("nothing counted is no counters")
	}
	if unknown != 0 {
		t.Error("a state that nobody told is none")
	}
}
