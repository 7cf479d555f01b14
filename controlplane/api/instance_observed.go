package api

import (
	"context"
	"maps"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	"signalbox/controlplane/schedule"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// An outlook puts what is wanted of instances beside what is observed of them,
// at one view. It belongs to one call.
type outlook struct {
	*core
	view *replica.View // nil before the first
	// nodes are those that could be given an instance, nil before they were
	// asked for.
	nodes []schedule.Node
}

func (c *core) outlook(view *replica.View) *outlook { return &outlook{core: c, view: view} }

// answered is an instance as it is answered to who has just written it.
func (c *core) answered(ctx context.Context, i *signalboxv1.Instance) *signalboxv1.Instance {
	view, _ := c.Replica.Now()
	return c.outlook(view).shown(auth.Caller(ctx), i)
}

// shown is an instance as a caller may see it, with what is observed of it.
func (o *outlook) shown(caller *signalboxv1.ApiKey, i *signalboxv1.Instance) *signalboxv1.Instance {
	i = proto.CloneOf(i)
	i.Observed = o.of(i).observed()
	return visible(caller, i)
}

// visible hides the key in an instance's URL from who may not write it. The
// instance must be the caller's own copy.
func visible(caller *signalboxv1.ApiKey, i *signalboxv1.Instance) *signalboxv1.Instance {
	if !auth.Allows(caller, "instances:write") {
		i.Url = tunnelurl.Redact(i.GetUrl())
	}
	return i
}

// of gathers what is known of an instance.
func (o *outlook) of(i *signalboxv1.Instance) standing {
	st := standing{instance: i, runs: o.Instances.Runs(i.GetName(), i.GetMeta().GetCreatedRevision()), live: o.Nodes.Live}
	if o.view != nil {
		if a := o.view.Get(assignmentKey(i.GetName())); a != nil {
			st.nodes = a.Message.(*signalboxv1.Assignment).GetNodes()
			st.lost = func(node string) bool {
				return o.Nodes.Get(node, nil).GetState() == signalboxv1.NodeState_NODE_STATE_LOST
			}
		}
	}
	if len(st.nodes) == 0 && i.GetWanted() != signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED {
		st.nowhere = o.nowhere(i)
	}
	if o.Totals != nil {
		totals := o.Totals.InstanceTotals(i.GetName(), i.GetMeta().GetCreatedRevision()+i.GetResets())
		st.counters = totals.Counters()
		if last := totals.LastActivity(); !last.IsZero() {
			st.active = timestamppb.New(last)
		}
	}
	return st
}

// nowhere says why an instance can be given to no node, empty when it can.
func (o *outlook) nowhere(i *signalboxv1.Instance) string {
	if o.nodes == nil {
		o.nodes = o.candidates()
	}
	if given := schedule.Decide([]schedule.Instance{{Instance: i}}, o.nodes); len(given) > 0 {
		return ""
	}
	return schedule.Reason(i.GetPlacement())
}

// candidates are the nodes as schedule sees them.
func (o *outlook) candidates() []schedule.Node {
	sight := newSight(o.view, o.Nodes)
	all := []schedule.Node{}
	for _, seen := range o.Nodes.All(nil) {
		n := schedule.Node{Name: seen.Name, Labels: seen.Observed.GetLabels(), Live: isLive(seen.Observed.GetState())}
		if wanted := sight.wanted(seen.Name); len(wanted.GetLabels()) > 0 {
			if n.Labels == nil {
				n.Labels = map[string]string{}
			}
			maps.Copy(n.Labels, wanted.GetLabels())
		}
		all = append(all, n)
	}
	return all
}

// isLive reports whether a node holds its lease, by its state.
func isLive(s signalboxv1.NodeState) bool {
	return s != signalboxv1.NodeState_NODE_STATE_LOST && s != signalboxv1.NodeState_NODE_STATE_UNSPECIFIED
}

// A standing is what is known of an instance, before it is put into words.
type standing struct {
	instance *signalboxv1.Instance
	// nodes it is assigned to, and, if there is none for a running one, why
	// there can be none.
	nodes   []string
	nowhere string
	// lost tells which of those nodes are. Nil where there are none.
	lost func(node string) bool
	// runs are what nodes say of it, assigned or not, in order of their names;
	// live tells which node processes are.
	runs     []observe.Run
	live     func(node string, epoch int64) bool
	counters *signalboxv1.InstanceCounters
	active   *timestamppb.Timestamp
}

// observed puts it into words.
func (st standing) observed() *signalboxv1.InstanceObserved {
	o := &signalboxv1.InstanceObserved{Counters: st.counters, LastActivity: st.active}
	if o.Counters == nil {
		o.Counters = &signalboxv1.InstanceCounters{}
	}
	said := map[string]*signalboxv1.InstanceRun{}
	for _, r := range st.runs {
		said[r.Node] = r.InstanceRun
	}
	for _, node := range st.nodes {
		run := said[node]
		if run == nil {
			run = &signalboxv1.InstanceRun{Node: node}
		}
		o.Runs = append(o.Runs, run)
	}
	if st.instance.GetWanted() == signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED {
		st.stopped(o)
	} else {
		st.running(o)
	}
	return o
}

// stopped says how an instance stands that should not run: it ends where it
// still does.
func (st standing) stopped(o *signalboxv1.InstanceObserved) {
	o.State = signalboxv1.InstanceState_INSTANCE_STATE_STOPPED
	for i, run := range o.Runs {
		if run.GetState() == signalboxv1.InstanceState_INSTANCE_STATE_UNSPECIFIED {
			o.Runs[i].State = signalboxv1.InstanceState_INSTANCE_STATE_STOPPED
		}
	}
	for _, r := range st.runs {
		if st.live(r.Node, r.Epoch) && severity(r.GetState()) > severity(o.State) {
			o.State, o.Reason = r.GetState(), r.GetReason()
		}
	}
}

// running says how an instance stands that should run. A node that has not
// heard yet that it is to begin, or to begin anew, is about to.
func (st standing) running(o *signalboxv1.InstanceObserved) {
	if len(st.nodes) == 0 && st.nowhere != "" {
		o.State, o.Reason = signalboxv1.InstanceState_INSTANCE_STATE_ERROR, st.nowhere
		return
	}
	o.State = signalboxv1.InstanceState_INSTANCE_STATE_STARTING
	there := 0 // nodes that are not lost
	for i, run := range o.Runs {
		if st.lost(run.GetNode()) {
			o.Runs[i] = &signalboxv1.InstanceRun{
				Node: run.GetNode(), State: signalboxv1.InstanceState_INSTANCE_STATE_ERROR, Reason: "the node is lost", Starts: run.GetStarts(),
			}
			continue
		}
		there++
		state, reason := run.GetState(), run.GetReason()
		if severity(state) == 0 || run.GetStarts() != st.instance.GetStarts() {
			state, reason = signalboxv1.InstanceState_INSTANCE_STATE_STARTING, ""
		}
		if there == 1 || severity(state) > severity(o.State) {
			o.State, o.Reason = state, reason
			if reason != "" && len(o.Runs) > 1 {
				o.Reason = run.GetNode() + ": " + reason
			}
		}
	}
	if len(o.Runs) > 0 && there == 0 {
		o.State = signalboxv1.InstanceState_INSTANCE_STATE_ERROR
		o.Reason = "lost: " + strings.Join(st.nodes, ", ") + "; nobody can tell whether it runs there"
	}
}

// severity orders the states of an instance that runs; the others have none.
func severity(s signalboxv1.InstanceState) int {
	switch s {
	case signalboxv1.InstanceState_INSTANCE_STATE_ERROR:
		return 3
	case signalboxv1.InstanceState_INSTANCE_STATE_STARTING:
		return 2
	case signalboxv1.InstanceState_INSTANCE_STATE_RUNNING:
		return 1
	case signalboxv1.InstanceState_INSTANCE_STATE_STOPPED, signalboxv1.InstanceState_INSTANCE_STATE_UNSPECIFIED:
	}
	return 0
}
