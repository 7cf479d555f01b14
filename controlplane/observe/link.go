package observe

import (
	"errors"
	"fmt"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

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
