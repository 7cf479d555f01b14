// Package assign keeps the assignments of tunnel instances to nodes: on the
// replica that is elected, it looks at who is there and writes what
// controlplane/schedule decides.
//
// Every write asks that the instance and its assignment are still what was
// looked at, so that nothing depends on who believes to be elected.
package assign

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	"signalbox/controlplane/schedule"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Election is the name of the election whose leader assigns.
const Election = "assign"

const (
	// tick is how often the clock alone is a reason to look.
	tick = time.Second
	// unheard is how long a node that nobody has heard of since this replica
	// began to lead is waited for: it may be connecting.
	unheard = 10 * time.Second
	// settle is how long after an instance was taken away a node may take to say
	// that it ended it: a few reports.
	settle = 3 * time.Second
	// batch is how many assignments one transaction writes at most.
	batch = 32
	// storeTimeout bounds one transaction.
	storeTimeout = 4 * time.Second
)

// A Lead waits until this replica leads the election of that name, and returns
// a channel that is closed when it may not lead any more (nil: it leads for
// ever). Errors are taken for faults that pass.
type Lead func(ctx context.Context, election string) (over <-chan struct{}, err error)

// Config is what an Assigner is made of.
type Config struct {
	// Store takes the writes; Replica, which must be running, follows it.
	Store interface {
		Commit(ctx context.Context, txn store.Txn) (store.Revision, error)
	}
	Replica *replica.Replica
	// Nodes is who is there, Runs what they say they run.
	Nodes *observe.Nodes
	Runs  *observe.Instances
	Log   *slog.Logger
}

// An Assigner assigns. New makes one.
type Assigner struct {
	Config
	now func() time.Time
}

// New returns an Assigner that does nothing until Run.
func New(c Config) *Assigner { return &Assigner{Config: c, now: time.Now} }

// Run assigns whenever this replica leads, until ctx ends, and returns its
// cause.
func (a *Assigner) Run(ctx context.Context, lead Lead) error {
	for ctx.Err() == nil {
		over, err := lead(ctx, Election)
		if err != nil {
			pause(ctx, tick)
			continue
		}
		a.Log.Info("leads the assignment of instances")
		a.work(ctx, over)
	}
	return context.Cause(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// work assigns until it leads no more.
func (a *Assigner) work(ctx context.Context, over <-chan struct{}) {
	t := term{Assigner: a, began: a.now(), lost: map[string]time.Time{}, taken: map[string]taken{}}
	clock := time.NewTicker(tick)
	defer clock.Stop()
	var seen, run uint64
	var before *replica.View // of the last turn, nil when there is another reason for one
	for {
		view, next := a.Replica.Now()
		var moved <-chan struct{}
		_, seen, moved = a.Nodes.Changed(seen)
		_, ran, ended := a.Runs.Changed(run)
		run = ran
		if view != nil && concerns(before, view) {
			t.turn(ctx, view)
		}
		before = view
		select {
		case <-next:
		case <-moved:
			before = nil
		case <-ended:
			before = nil
		case <-clock.C:
			before = nil
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// concerns reports whether a view has other instances, assignments or wanted
// nodes than the one before. Most changes are of routes.
func concerns(before, view *replica.View) bool {
	if before == nil || before.Version.Epoch != view.Version.Epoch {
		return true
	}
	found := false
	look := func(k store.Key) {
		switch k.Kind { //nolint:exhaustive // what decisions are made of
		case store.KindInstance, store.KindAssignment, store.KindNode:
			found = true
		}
	}
	told := view.Since(before.Version.Revision, func(r *store.Record) { look(r.Key) }, look)
	return found || !told
}

// A term is the time of one lead.
type term struct {
	*Assigner
	began time.Time
	// lost is since when nodes have been seen to be.
	lost map[string]time.Time
	// taken is when instances were seen to be taken away from all nodes.
	taken map[string]taken
}

// taken is a write that took an instance away, and when it was seen.
type taken struct {
	rev  store.Revision
	seen time.Time
}

// turn writes what is to change in a view.
func (t *term) turn(ctx context.Context, view *replica.View) {
	assigned, orphans := assignments(view)
	instances := t.instances(view, assigned)
	anew := schedule.Decide(instances, t.nodes(view, instances))
	names := slices.Sorted(maps.Keys(anew))
	for some := range slices.Chunk(names, batch) {
		var txn store.Txn
		for _, name := range some {
			txn.If = append(txn.If, unchanged(view, store.KindInstance, name), unchanged(view, store.KindAssignment, name))
			txn.Put = append(txn.Put, store.Record{
				Key:     store.Key{Kind: store.KindAssignment, Name: name},
				Message: &signalboxv1.Assignment{Instance: name, Nodes: anew[name], Meta: &signalboxv1.Meta{UpdateTime: timestamppb.New(t.now())}},
			})
		}
		if rev, ok := t.commit(ctx, txn); ok {
			for _, name := range some {
				t.Log.Info("instance assigned", "instance", name, "node", strings.Join(anew[name], ","), "rev", rev)
			}
		}
	}
	for some := range slices.Chunk(orphans, batch) {
		var txn store.Txn
		for _, name := range some {
			txn.If = append(txn.If, unchanged(view, store.KindInstance, name), unchanged(view, store.KindAssignment, name))
			txn.Delete = append(txn.Delete, store.Key{Kind: store.KindAssignment, Name: name})
		}
		t.commit(ctx, txn)
	}
}

// settling reports whether a node may not have heard yet that it lost an
// instance, or may have ended it and not have said so.
func (t *term) settling(view *replica.View, name string) bool {
	r := view.Get(store.Key{Kind: store.KindAssignment, Name: name})
	if r == nil {
		delete(t.taken, name)
		return false // nobody ever had it
	}
	if t.taken[name].rev != r.Modified {
		t.taken[name] = taken{r.Modified, t.now()}
	}
	at := store.Version{Epoch: view.Version.Epoch, Revision: r.Modified}
	return t.now().Sub(t.taken[name].seen) < settle || len(t.Nodes.Standing(at).Lagging) > 0
}

// commit makes the changes of txn. What was changed by others meanwhile is
// looked at again when this replica has read of it; so is what failed.
func (t *term) commit(ctx context.Context, txn store.Txn) (store.Revision, bool) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rev, err := t.Store.Commit(ctx, txn)
	var conflict *store.ConflictError
	if err != nil && !errors.As(err, &conflict) && ctx.Err() == nil {
		t.Log.Warn("instances not assigned; trying again", "err", err)
	}
	return rev, err == nil
}

// unchanged asks that a record is as in a view.
func unchanged(view *replica.View, kind store.Kind, name string) store.Condition {
	c := store.Condition{Key: store.Key{Kind: kind, Name: name}}
	if r := view.Get(c.Key); r != nil {
		c.Modified = r.Modified
	}
	return c
}

// assignments returns the nodes of every instance, and the names of
// assignments without one.
func assignments(view *replica.View) (nodes map[string][]string, orphans []string) {
	nodes = map[string][]string{}
	view.Ascend(store.KindAssignment, "", "", func(r *store.Record) bool {
		if view.Get(store.Key{Kind: store.KindInstance, Name: r.Name}) == nil {
			orphans = append(orphans, r.Name)
		} else {
			nodes[r.Name] = r.Message.(*signalboxv1.Assignment).GetNodes()
		}
		return true
	})
	return nodes, orphans
}

func (t *term) instances(view *replica.View, nodes map[string][]string) []schedule.Instance {
	var all []schedule.Instance
	view.Ascend(store.KindInstance, "", "", func(r *store.Record) bool {
		i := schedule.Instance{Instance: r.Message.(*signalboxv1.Instance), Nodes: nodes[r.Name]}
		for _, run := range t.Runs.Runs(r.Name, int64(r.Created)) {
			i.Running = append(i.Running, run.Node)
		}
		i.Settling = len(i.Nodes) == 0 && t.settling(view, r.Name)
		all = append(all, i)
		return true
	})
	return all
}

// nodes returns those that are known, and those that instances are assigned to
// and may be about to connect.
func (t *term) nodes(view *replica.View, instances []schedule.Instance) []schedule.Node {
	now := t.now()
	known := map[string]bool{}
	var all []schedule.Node
	for _, seen := range t.Nodes.All(nil) {
		var wanted *signalboxv1.NodeWanted
		if r := view.Get(store.Key{Kind: store.KindNode, Name: seen.Name}); r != nil {
			wanted = r.Message.(*signalboxv1.Node).GetWanted()
		}
		n := observe.Candidate(seen, wanted)
		switch {
		case n.Live:
			delete(t.lost, n.Name)
		case seen.Observed.GetState() == signalboxv1.NodeState_NODE_STATE_LOST:
			if _, ok := t.lost[n.Name]; !ok {
				t.lost[n.Name] = now
			}
			n.Lost = max(1, now.Sub(t.lost[n.Name]))
		}
		known[n.Name] = true
		all = append(all, n)
	}
	// Those that nobody has heard of may be connecting, for a while; then they
	// count as lost since they last were seen to be, or this began.
	for _, i := range instances {
		for _, name := range slices.Concat(i.Nodes, i.Running) {
			if known[name] {
				continue
			}
			known[name] = true
			since, ok := t.lost[name]
			if !ok {
				since = t.began
			}
			n := schedule.Node{Name: name}
			if away := now.Sub(since); away >= unheard {
				n.Lost = away
			}
			all = append(all, n)
		}
	}
	return all
}
