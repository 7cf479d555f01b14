package observe

import (
	"slices"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

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
