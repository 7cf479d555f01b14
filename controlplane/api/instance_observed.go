package api

import (
	"context"
	"strings"
	"time"

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
	// nodes are those that are known, and may those as schedule sees them. Nil
	// before they were asked for.
	nodes []observe.Seen
	may   []schedule.Node
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
			assigned := a.Message.(*signalboxv1.Assignment)
			st.nodes = assigned.GetNodes()
			st.lost = func(node string) bool {
				return o.Nodes.Get(node, nil).GetState() == signalboxv1.NodeState_NODE_STATE_LOST
			}
			st.refused = o.refusals(i)
			st.idle = func(node string) bool { return o.idle(i, assigned, node) }
		}
	}
	if len(st.nodes) == 0 && i.GetWanted() != signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED {
		st.nowhere = nowhere(i, o.candidates())
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

// candidates are the nodes as schedule sees them.
func (o *outlook) candidates() []schedule.Node {
	if o.may == nil {
		sight := newSight(o.view, o.Nodes)
		o.may = []schedule.Node{}
		for _, seen := range o.seen() {
			o.may = append(o.may, observe.Candidate(seen, sight.wanted(seen.Name)))
		}
	}
	return o.may
}

// nowhere says why an instance can be given to none of the nodes, empty when it
// can.
func nowhere(i *signalboxv1.Instance, all []schedule.Node) string {
	if given := schedule.Decide([]schedule.Instance{{Instance: i}}, all); len(given) > 0 {
		return ""
	}
	return schedule.Reason(i.GetPlacement())
}

// seen are all nodes, with what they refuse.
func (o *outlook) seen() []observe.Seen {
	if o.nodes == nil {
		o.nodes = o.Nodes.All(newSight(o.view, o.Nodes).revision)
	}
	return o.nodes
}

// refusals are the reasons of the live nodes that refuse an instance as it is
// written now, by their names.
func (o *outlook) refusals(i *signalboxv1.Instance) map[string]string {
	var all map[string]string
	for _, seen := range o.seen() {
		for _, r := range seen.Observed.GetRejections() {
			if r.GetKind() == signalboxv1.Kind_KIND_INSTANCE && r.GetName() == i.GetName() &&
				r.GetRevision() == i.GetMeta().GetRevision() && observe.HoldsLease(seen.Observed.GetState()) {
				if all == nil {
					all = map[string]string{}
				}
				all[seen.Name] = r.GetReason()
			}
		}
	}
	return all
}

// begun is how long a node may take to say that it has begun an instance that
// it has been told of.
const begun = 10 * time.Second

// idle reports whether a node that an instance is assigned to has been told of
// it and has not begun it for so long that it will not, as one whose software
// knows no instances. Times of records are by other clocks: with one that is off
// this is said early or late, until the node says something.
func (o *outlook) idle(i *signalboxv1.Instance, assigned *signalboxv1.Assignment, node string) bool {
	if o.Instances.Quiet(i.GetName(), node) < begun {
		return false
	}
	for _, m := range []*signalboxv1.Meta{i.GetMeta(), assigned.GetMeta()} {
		if m.GetUpdateTime() == nil || time.Since(m.GetUpdateTime().AsTime()) < begun {
			return false
		}
	}
	serving := o.Nodes.Get(node, nil).GetServing()
	return serving.GetEpoch() == o.view.Version.Epoch &&
		serving.GetRevision() >= max(i.GetMeta().GetRevision(), assigned.GetMeta().GetRevision())
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
	// refused are the reasons of nodes that refuse it, by their names; idle tells
	// which of its nodes have not begun it, and should have.
	refused map[string]string
	idle    func(node string) bool
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
		if why := st.unable(run); why != "" {
			run = &signalboxv1.InstanceRun{
				Node: run.GetNode(), State: signalboxv1.InstanceState_INSTANCE_STATE_ERROR, Reason: why, Starts: st.instance.GetStarts(),
			}
			o.Runs[i] = run
		}
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

// unable says why a node that is not lost does not run the instance, empty when
// it does or may be about to.
func (st standing) unable(run *signalboxv1.InstanceRun) string {
	switch reason, refused := st.refused[run.GetNode()]; {
	case refused:
		return "the node refuses it: " + reason
	case severity(run.GetState()) == 0 && st.idle != nil && st.idle(run.GetNode()):
		return "the node has been told of it and has not begun it"
	}
	return ""
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
