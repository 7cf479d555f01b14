// Package observe keeps what nodes say of themselves: who is there, what each
// serves, what it refuses. Nodes keep a stream to every control plane, so each
// replica knows this first-hand; the leases it is told of fill in the nodes
// that have no stream to it, with what they serve if a replica has none to them.
//
// A node is live while a replica vouches for it by a lease, or while it has a
// stream here and has acknowledged something.
package observe

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Nodes keeps the standing of all nodes. It is safe for concurrent use.
type Nodes struct {
	mu    sync.Mutex
	nodes map[string]*node
	// forgotten are the epochs of those that were forgotten and are not known
	// again, by name; at most maxForgotten.
	forgotten map[string]int64
	seq       uint64        // counts changes of standing
	moved     chan struct{} // closed and replaced when seq grows
	now       func() time.Time

	waiting waiting
}

// node is what is known of one node. Guarded by Nodes.mu.
type node struct {
	name       string
	epoch      int64
	version    string
	labels     map[string]string
	listeners  map[string]string
	ready      bool
	open       *int64 // exchanges that run, nil when it is not said
	acked      bool   // since it last joined
	serving    store.Version
	rejections map[store.Key]refusal
	link       *Link                  // its stream to this replica, or nil
	lease      *signalboxv1.NodeLease // nil when nobody vouches for it
	lagging    bool
	missed     store.Version // what it lags behind
	contact    time.Time
	waits      []*wait // in order of their revisions
	seq        uint64  // when its standing last changed
}

type refusal struct {
	revision store.Revision
	reason   string
}

// NewNodes returns a Nodes that knows none.
func NewNodes() *Nodes {
	return &Nodes{nodes: map[string]*node{}, forgotten: map[string]int64{}, moved: make(chan struct{}), now: time.Now, waiting: newWaiting()}
}

// maxTold bounds a lease with what its node says of itself, in bytes.
const maxTold = 64 << 10

// Forget drops a node that is neither live nor linked, and reports whether it
// was known.
func (ns *Nodes) Forget(name string) bool { return ns.ForgetUpTo(name, math.MaxInt64) }

// ForgetUpTo is Forget of a node whose process is none newer than epoch's.
func (ns *Nodes) ForgetUpTo(name string, epoch int64) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n, ok := ns.nodes[name]
	if !ok || n.link != nil || n.lease != nil || n.epoch > epoch {
		return false
	}
	delete(ns.nodes, name)
	if len(ns.forgotten) < maxForgotten {
		ns.forgotten[name] = n.epoch
	}
	return true
}

// maxForgotten is how many nodes others can be told to forget.
const maxForgotten = 1000

// Forgotten returns the epochs of the nodes that were forgotten and are not
// known again, by their names.
func (ns *Nodes) Forgotten() map[string]int64 {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return maps.Clone(ns.forgotten)
}

// Changed returns the names of the nodes whose standing changed after a point
// (zero: the beginning), the point reached, and a channel that is closed at
// the next change.
func (ns *Nodes) Changed(after uint64) (names []string, now uint64, next <-chan struct{}) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if after < ns.seq {
		for name, n := range ns.nodes {
			if n.seq > after {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	return names, ns.seq, ns.moved
}

// get returns the node of a name, new if need be. ns.mu is held, here and in
// all that follows.
func (ns *Nodes) get(name string) *node {
	n, ok := ns.nodes[name]
	if !ok {
		n = &node{name: name, rejections: map[store.Key]refusal{}}
		ns.nodes[name] = n
		delete(ns.forgotten, name)
	}
	return n
}

func (ns *Nodes) heard(n *node) { n.contact = ns.now() }

// touch says that a node's standing changed.
func (ns *Nodes) touch(n *node) {
	ns.seq++
	n.seq = ns.seq
	close(ns.moved)
	ns.moved = make(chan struct{})
}

func (n *node) live() bool { return n.lease != nil || n.link != nil && n.acked }

func (n *node) serves(v store.Version) bool {
	return n.serving.Epoch == v.Epoch && n.serving.Revision >= v.Revision
}

// maxRefusals is how many rejections are remembered of a node.
const maxRefusals = 10_000

func (n *node) refuse(all []*signalboxv1.Rejection) {
	for _, r := range all {
		if len(n.rejections) >= maxRefusals {
			return
		}
		if r.GetRevision() <= 0 {
			continue // of no record there ever was
		}
		n.rejections[store.Key{Kind: kindOf(r.GetKind()), Name: r.GetName()}] = refusal{revision: store.Revision(r.GetRevision()), reason: r.GetReason()}
	}
}

// state is a node's standing in one word, but for draining, which is wanted
// and not observed.
func (n *node) state() signalboxv1.NodeState {
	switch {
	case n.live() && n.lagging:
		return signalboxv1.NodeState_NODE_STATE_LAGGING
	case n.live():
		return signalboxv1.NodeState_NODE_STATE_LIVE
	case n.link == nil:
		return signalboxv1.NodeState_NODE_STATE_LOST
	}
	return signalboxv1.NodeState_NODE_STATE_UNSPECIFIED // joining
}

// Live reports whether the process of this epoch is known to run as the node.
func (ns *Nodes) Live(name string, epoch int64) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n, ok := ns.nodes[name]
	return ok && n.epoch == epoch && n.live()
}

// Feeder returns the id of the control plane that vouches for the process of
// this epoch by a lease, empty if none does.
func (ns *Nodes) Feeder(name string, epoch int64) string {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n, ok := ns.nodes[name]; ok && n.lease.GetEpoch() == epoch {
		return n.lease.GetControlPlane()
	}
	return ""
}

// A Seen is a node's name with what is observed of it.
type Seen struct {
	Name     string
	Observed *signalboxv1.NodeObserved
}

// All returns every node known, in order of their names. current tells the
// revision a record is at, to leave out rejections that are void; nil leaves
// none out. Behind is not filled in, nor whether the node drains.
func (ns *Nodes) All(current func(store.Key) store.Revision) []Seen {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	all := make([]Seen, 0, len(ns.nodes))
	for _, n := range ns.nodes {
		all = append(all, Seen{Name: n.name, Observed: n.observed(current)})
	}
	slices.SortFunc(all, func(a, b Seen) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Get returns what is observed of a node, nil when it is not known.
func (ns *Nodes) Get(name string, current func(store.Key) store.Revision) *signalboxv1.NodeObserved {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n, ok := ns.nodes[name]; ok {
		return n.observed(current)
	}
	return nil
}

func (n *node) observed(current func(store.Key) store.Revision) *signalboxv1.NodeObserved {
	o := &signalboxv1.NodeObserved{
		State:           n.state(),
		SoftwareVersion: n.version,
		Epoch:           n.epoch,
		ControlPlane:    n.lease.GetControlPlane(),
		Labels:          maps.Clone(n.labels),
		Listeners:       maps.Clone(n.listeners),
		Ready:           n.ready && n.live(),
	}
	if n.open != nil {
		o.OpenStreams = proto.Int64(*n.open)
	}
	if n.serving.Epoch != "" {
		o.Serving = &signalboxv1.Version{Epoch: n.serving.Epoch, Revision: int64(n.serving.Revision)}
	}
	if !n.contact.IsZero() {
		o.LastContact = timestamppb.New(n.contact)
	}
	for key, r := range n.rejections {
		if current != nil && current(key) != r.revision {
			continue
		}
		o.Rejections = append(o.Rejections, n.rejection(key, r))
	}
	slices.SortFunc(o.Rejections, func(a, b *signalboxv1.Rejection) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return o
}

func (n *node) rejection(key store.Key, r refusal) *signalboxv1.Rejection {
	return &signalboxv1.Rejection{Node: n.name, Kind: KindOf(key.Kind), Name: key.Name, Revision: int64(r.revision), Reason: r.reason}
}

// Rejections returns the nodes' refusals of a record at a revision, in order
// of the nodes' names.
func (ns *Nodes) Rejections(key store.Key, rev store.Revision) []*signalboxv1.Rejection {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var all []*signalboxv1.Rejection
	for _, n := range ns.nodes {
		if r, ok := n.rejections[key]; ok && r.revision == rev && n.live() {
			all = append(all, n.rejection(key, r))
		}
	}
	slices.SortFunc(all, func(a, b *signalboxv1.Rejection) int { return cmp.Compare(a.Node, b.Node) })
	return all
}
