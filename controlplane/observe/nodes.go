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
	"errors"
	"fmt"
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

// ErrReplaced says that a newer process goes by the node's name.
var ErrReplaced = errors.New("a newer process goes by this node name")

// A Link is a node's stream to this replica.
type Link struct {
	nodes *Nodes
	node  *node
	gone  chan struct{} // closed when a newer process has taken the name
}

// Join takes a node in by its Hello. It returns ErrReplaced, wrapped, when a
// process with the same name and a higher epoch is live; an older process's
// link is told that it is replaced. A second stream of the same process takes
// the place of the first.
func (ns *Nodes) Join(h *signalboxv1.Hello) (*Link, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.get(h.GetNode())
	if n.epoch > h.GetEpoch() && n.live() {
		return nil, fmt.Errorf("node %q: %w", n.name, ErrReplaced)
	}
	if n.link != nil {
		close(n.link.gone)
	}
	if n.epoch != h.GetEpoch() {
		n.lagging = false
	}
	// A node that comes with a table serves it, whoever fed it.
	n.acked = h.GetServing().GetEpoch() != ""
	n.epoch, n.version, n.labels, n.listeners = h.GetEpoch(), h.GetSoftwareVersion(), h.GetLabels(), h.GetListeners()
	n.ready, n.serving = h.GetReady(), versionOf(h.GetServing())
	n.rejections, n.open = map[store.Key]refusal{}, nil
	n.refuse(h.GetRejections())
	n.link = &Link{nodes: ns, node: n, gone: make(chan struct{})}
	ns.heard(n)
	ns.served(n)
	ns.touch(n)
	return n.link, nil
}

// Replaced is closed when another stream has taken this one's place.
func (l *Link) Replaced() <-chan struct{} { return l.gone }

// ByNewer reports whether the node is by now a process newer than epoch's.
func (l *Link) ByNewer(epoch int64) bool {
	l.nodes.mu.Lock()
	defer l.nodes.mu.Unlock()
	return l.node.epoch > epoch
}

// Ack takes note of what the node serves now, and of what it refuses.
func (l *Link) Ack(a *signalboxv1.Ack) {
	ns, n := l.nodes, l.node
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n.link != l {
		return
	}
	changed := !n.acked || n.ready != a.GetReady() || len(a.GetAccepted())+len(a.GetRejections()) > 0
	n.acked, n.ready, n.serving = true, a.GetReady(), versionOf(a.GetVersion())
	for _, k := range a.GetAccepted() {
		delete(n.rejections, store.Key{Kind: kindOf(k.GetKind()), Name: k.GetName()})
	}
	n.refuse(a.GetRejections())
	ns.heard(n)
	if ns.served(n) || changed {
		ns.touch(n)
	}
}

// Heard takes note that the node is there, whether it is ready, and how many
// exchanges run on it, if it says so.
func (l *Link) Heard(ready bool, open *int64) {
	ns, n := l.nodes, l.node
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n.link != l {
		return
	}
	ns.heard(n)
	n.open = open // comes and goes all the time: no change of standing
	if n.ready != ready {
		n.ready = ready
		ns.touch(n)
	}
}

// Leave ends the link. A node that said goodbye is gone at once; of another
// nothing more is known here until its lease ends or it comes back.
func (l *Link) Leave(goodbye bool) {
	ns, n := l.nodes, l.node
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n.link != l {
		return
	}
	n.link, n.acked, n.open = nil, false, nil
	if goodbye {
		n.lease, n.ready = nil, false
	}
	ns.settle(n)
	ns.touch(n)
}

// Leased takes note of a node's lease, or, with nil, of its end. What the lease
// tells of a node is news only of one that has no stream here.
func (ns *Nodes) Leased(name string, lease *signalboxv1.NodeLease) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if lease == nil && ns.nodes[name] == nil {
		return // it said goodbye and was forgotten
	}
	n := ns.get(name)
	again := n.lease != nil && lease.GetServing() != nil &&
		n.lease.GetControlPlane() == lease.GetControlPlane() && n.lease.GetEpoch() == lease.GetEpoch()
	n.lease = lease
	newer := lease.GetEpoch() > n.epoch
	if newer && n.link != nil { // the newer process is fed elsewhere
		close(n.link.gone)
		n.link, n.acked, n.open = nil, false, nil
	}
	if lease != nil && n.link == nil && lease.GetEpoch() >= n.epoch {
		if newer {
			n.serving, n.rejections = store.Version{}, map[store.Key]refusal{}
		}
		n.epoch, n.version = lease.GetEpoch(), lease.GetSoftwareVersion()
		n.labels, n.listeners = lease.GetLabels(), lease.GetListeners()
		again = !ns.told(n, lease) && again
	}
	ns.settle(n)
	if !again {
		ns.touch(n)
	}
}

// told takes note of what a lease says its node acknowledged, if anything, and
// reports whether that changed the node's standing. It may be older than what
// the node said here before its stream ended.
func (ns *Nodes) told(n *node, lease *signalboxv1.NodeLease) bool {
	v := versionOf(lease.GetServing())
	if lease.GetServing() == nil || n.serves(v) && n.serving != v {
		return false
	}
	changed := n.ready != lease.GetReady() || len(lease.GetRejections()) > 0 || len(n.rejections) > 0
	n.serving, n.ready = v, lease.GetReady()
	n.rejections = map[store.Key]refusal{}
	n.refuse(lease.GetRejections())
	return ns.served(n) || changed
}

// maxTold bounds a lease with what its node says of itself, in bytes.
const maxTold = 64 << 10

// Told adds what a node acknowledged on its stream to this replica to a lease.
func (ns *Nodes) Told(lease *signalboxv1.NodeLease, name string) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n, ok := ns.nodes[name]
	if !ok || n.link == nil || !n.acked || n.epoch != lease.GetEpoch() {
		return
	}
	o := n.observed(nil)
	lease.Serving, lease.Rejections, lease.Ready = o.GetServing(), o.GetRejections(), o.GetReady()
	for len(lease.Rejections) > 0 && proto.Size(lease) > maxTold {
		lease.Rejections = lease.Rejections[:len(lease.Rejections)/2]
	}
}

// Unheard returns the nodes that are leased and have no stream here, in order
// of their names.
func (ns *Nodes) Unheard() []string {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var names []string
	for name, n := range ns.nodes {
		if n.lease != nil && n.link == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

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
