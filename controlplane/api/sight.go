package api

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A sight puts what is wanted of nodes beside what is observed of them, at one
// view. It belongs to one call.
type sight struct {
	view    *replica.View // nil before the first
	nodes   *observe.Nodes
	changes map[store.Revision]*changes
}

func newSight(view *replica.View, nodes *observe.Nodes) *sight {
	return &sight{view: view, nodes: nodes, changes: map[store.Revision]*changes{}}
}

// names returns the names of the nodes that are stored or observed, in order.
func (s *sight) names(prefix, from string) []string {
	found := map[string]bool{}
	s.view.Ascend(store.KindNode, prefix, from, func(r *store.Record) bool {
		found[r.Name] = true
		return true
	})
	for _, seen := range s.nodes.All(s.revision) {
		if strings.HasPrefix(seen.Name, prefix) && seen.Name >= from {
			found[seen.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// node returns a node, or nil when nothing is known of it.
func (s *sight) node(name string) *signalboxv1.Node {
	n := &signalboxv1.Node{Name: name}
	if s.view != nil {
		if r := s.view.Get(nodeKey(name)); r != nil {
			stored := r.Message.(*signalboxv1.Node)
			n.Wanted, n.Meta = stored.GetWanted(), stored.GetMeta()
		}
		n.RevokeTime = s.revoked(name)
	}
	if n.Observed = s.of(name, n.GetWanted()); n.Observed == nil && n.Meta == nil {
		return nil
	}
	return n
}

// wanted is what is wanted of a node, nil for nothing.
func (s *sight) wanted(name string) *signalboxv1.NodeWanted {
	if s.view == nil {
		return nil
	}
	if r := s.view.Get(nodeKey(name)); r != nil {
		return r.Message.(*signalboxv1.Node).GetWanted()
	}
	return nil
}

// revoked is when a node's certificates were last revoked, nil for never.
func (s *sight) revoked(name string) *timestamppb.Timestamp {
	if s.view == nil {
		return nil
	}
	if r := s.view.Get(auth.RevocationKey(name)); r != nil {
		return metaOf(r.Message).GetUpdateTime()
	}
	return nil
}

// of returns what is observed of a node of which something may be wanted.
func (s *sight) of(name string, wanted *signalboxv1.NodeWanted) *signalboxv1.NodeObserved {
	o := s.nodes.Get(name, s.revision)
	if o == nil {
		return nil
	}
	if wanted.GetDrain() && o.GetState() == signalboxv1.NodeState_NODE_STATE_LIVE {
		o.State = signalboxv1.NodeState_NODE_STATE_DRAINING
	}
	o.Labels = observe.Labels(o.Labels, wanted)
	o.Behind = s.behind(name, o.GetServing())
	return o
}

// revision is what a record is at; zero for none.
func (s *sight) revision(key store.Key) store.Revision {
	if s.view == nil {
		return 0
	}
	if r := s.view.Get(key); r != nil {
		return r.Modified
	}
	return 0
}

// changes is what changed since a revision, of what nodes are sent.
type changes struct {
	all  int64           // records that every node is sent
	each map[string]bool // nodes whose own record is among the changes
}

// behind counts the changes that a node has not acknowledged, -1 when that
// cannot be counted here.
func (s *sight) behind(name string, serving *signalboxv1.Version) int64 {
	if s.view == nil || serving.GetEpoch() != s.view.Version.Epoch {
		return -1
	}
	rev := store.Revision(serving.GetRevision())
	since, ok := s.changes[rev]
	if !ok {
		since = s.since(rev)
		s.changes[rev] = since
	}
	switch {
	case since == nil:
		return -1
	case since.each[name]:
		return since.all + 1
	}
	return since.all
}

// since returns the changes after a revision, nil when the view does not reach
// back that far.
func (s *sight) since(rev store.Revision) *changes {
	ch := &changes{each: map[string]bool{}}
	count := func(key store.Key) {
		switch key.Kind {
		case store.KindRoute, store.KindListener, store.KindInstance, store.KindAssignment:
			ch.all++
		case store.KindNode:
			ch.each[key.Name] = true
		case store.KindAPIKey, store.KindRevocation:
		}
	}
	if !s.view.Since(rev, func(r *store.Record) { count(r.Key) }, count) {
		return nil
	}
	return ch
}
