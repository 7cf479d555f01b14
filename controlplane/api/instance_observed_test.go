package api

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	"signalbox/controlplane/schedule"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
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
		"its node refuses it": {
			standing{instance: wanted, nodes: []string{"m", "n"}, refused: map[string]string{"n": "its URL is odd"}, runs: []observe.Run{on("m", works, "", 2)}},
			faulty, "n: the node refuses it: its URL is odd", []*signalboxv1.InstanceRun{
				{Node: "m", State: works, Starts: 2}, {Node: "n", State: faulty, Reason: "the node refuses it: its URL is odd", Starts: 2},
			},
		},
		"its node refuses it and runs what it was before": {
			standing{instance: wanted, nodes: []string{"n"}, refused: map[string]string{"n": "odd"}, runs: []observe.Run{on("n", works, "", 1)}},
			faulty, "the node refuses it: odd", []*signalboxv1.InstanceRun{{Node: "n", State: faulty, Reason: "the node refuses it: odd", Starts: 2}},
		},
		"its node has not begun it for long": {
			standing{instance: wanted, nodes: []string{"m", "n"}, idle: func(string) bool { return true }, runs: []observe.Run{on("m", works, "", 2)}},
			faulty, "n: the node has been told of it and has not begun it", []*signalboxv1.InstanceRun{
				{Node: "m", State: works, Starts: 2}, {Node: "n", State: faulty, Reason: "the node has been told of it and has not begun it", Starts: 2},
			},
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

// A node whose software knows no instances takes them in and says nothing.
func TestANodeThatDoesNotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := &core{Config{Nodes: observe.NewNodes(), Instances: observe.NewInstances()}}
		o := core.outlook(&replica.View{Version: store.Version{Epoch: "e", Revision: 9}})
		link, err := core.Nodes.Join(&signalboxv1.Hello{Node: "n", Epoch: 1})
		if err != nil {
			t.Fatal(err)
		}
		core.Instances.Joined("n", 1)
		serves := func(epoch string, revision int64) {
			link.Ack(&signalboxv1.Ack{Version: &signalboxv1.Version{Epoch: epoch, Revision: revision}})
		}
		pass := func() { time.Sleep(begun) } //nolint:forbidigo // simulated
		pass()
		i := &signalboxv1.Instance{Name: "i", Meta: &signalboxv1.Meta{Revision: 7, UpdateTime: timestamppb.Now()}}
		a := &signalboxv1.Assignment{Instance: "i", Meta: &signalboxv1.Meta{Revision: 8, UpdateTime: timestamppb.Now()}}
		is := func(want bool, when string) {
			t.Helper()
			if got := o.idle(i, a, "n"); got != want {
				t.Errorf("%s: idle is %v", when, got)
			}
		}
		serves("e", 8)
		is(false, "it was told just now")
		pass()
		is(true, "it was told long ago")
		serves("e", 7)
		is(false, "it has not been told of the assignment")
		serves("old", 99)
		is(false, "it serves another store")
		serves("e", 99)
		is(true, "it was told of more")
		i.Meta.UpdateTime = timestamppb.New(time.Now().Add(time.Hour))
		is(false, "it was written by a clock ahead")
		i.Meta.UpdateTime, a.Meta.UpdateTime = a.Meta.UpdateTime, nil
		is(false, "it is not known when it was assigned")
		a.Meta.UpdateTime = i.Meta.UpdateTime
		say := func(run *signalboxv1.InstanceRun) {
			core.Instances.Report("n", 1, []*signalboxv1.InstanceReport{{Instance: "i", Incarnation: 7, Run: run}})
		}
		say(&signalboxv1.InstanceRun{})
		is(false, "it runs")
		say(nil)
		is(false, "it has just ended, maybe to begin anew")
		pass()
		is(true, "it ended long ago")
		core.Instances.Joined("n", 2)
		is(false, "it is a new process")
		if o.idle(i, a, "another") {
			t.Error("nothing is known of another")
		}
	})
}

func TestWhyAnInstanceCanBeGivenToNobody(t *testing.T) {
	core := &core{Config{Nodes: observe.NewNodes(), Instances: observe.NewInstances()}}
	every := &signalboxv1.Instance{Name: "i", Placement: &signalboxv1.Placement{Every: true}}
	is := func(want string, drain bool) {
		t.Helper()
		candidates := []schedule.Node{}
		for _, seen := range core.Nodes.All(nil) {
			candidates = append(candidates, observe.Candidate(seen, &signalboxv1.NodeWanted{Drain: drain}))
		}
		if got := nowhere(every, candidates); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	is("no node is live", false)
	if _, err := core.Nodes.Join(&signalboxv1.Hello{Node: "n", Epoch: 1, Serving: &signalboxv1.Version{Epoch: "e", Revision: 1}}); err != nil {
		t.Fatal(err)
	}
	is("", false)
	is("", true) // for want of others
	every.Placement.Labels = []string{"x"}
	is("no live node has the labels x", true)
}
