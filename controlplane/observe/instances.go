package observe

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Instances keeps how tunnel instances stand on nodes, as those say on their
// streams. It is safe for concurrent use.
type Instances struct {
	mu sync.Mutex
	// runs by instance and node; nodes has the instances of each node.
	runs  map[string]map[string]Run
	nodes map[string]*runner
	last  map[string]change // of each instance's standing
	seq   uint64            // counts changes of standing
	moved chan struct{}     // closed and replaced when seq grows
}

// A change is when something was.
type change struct {
	seq uint64
	at  time.Time
}

// A Run is how an instance stands on a node.
type Run struct {
	// Epoch of the node's process that says it.
	Epoch int64
	// Incarnation it is of.
	Incarnation int64
	// InstanceRun is what it says; Node is filled in.
	*signalboxv1.InstanceRun
}

// runner is one node process as far as it runs instances.
type runner struct {
	epoch     int64
	since     time.Time // when this replica first heard of it
	streams   int       // that it has to this replica
	instances map[string]struct{}
}

// NewInstances returns an Instances that knows of none.
func NewInstances() *Instances {
	return &Instances{runs: map[string]map[string]Run{}, nodes: map[string]*runner{}, last: map[string]change{}, moved: make(chan struct{})}
}

// Joined says that a node process has a stream to this replica: what an older
// process of the node ran, it runs no more.
func (is *Instances) Joined(node string, epoch int64) {
	is.mu.Lock()
	defer is.mu.Unlock()
	if n := is.process(node, epoch); n != nil {
		n.streams++
	}
}

// Left is what ends Joined. What it said last is remembered.
func (is *Instances) Left(node string, epoch int64) {
	is.mu.Lock()
	defer is.mu.Unlock()
	if n := is.nodes[node]; n != nil && n.epoch == epoch {
		n.streams--
	}
}

// Ended says that a node process is gone.
func (is *Instances) Ended(node string, epoch int64) {
	is.mu.Lock()
	defer is.mu.Unlock()
	if n := is.nodes[node]; n != nil && n.epoch <= epoch {
		is.drop(node)
	}
}

// Report takes note of what a node process that has joined says, and reports
// whether something stands otherwise than before.
func (is *Instances) Report(node string, epoch int64, reports []*signalboxv1.InstanceReport) (changed bool) {
	is.mu.Lock()
	defer is.mu.Unlock()
	n := is.nodes[node]
	if n == nil || n.epoch != epoch {
		return false
	}
	before := is.seq
	for _, r := range reports {
		is.hear(node, n, r)
	}
	return is.seq != before
}

// hear takes note of one instance on a node. is.mu is held.
func (is *Instances) hear(node string, n *runner, r *signalboxv1.InstanceReport) {
	before, had := is.runs[r.GetInstance()][node]
	switch {
	case had && r.GetIncarnation() < before.Incarnation:
	case r.GetRun() != nil:
		run := proto.CloneOf(r.GetRun())
		run.Node = node
		if is.runs[r.GetInstance()] == nil {
			is.runs[r.GetInstance()] = map[string]Run{}
		}
		is.runs[r.GetInstance()][node] = Run{Epoch: n.epoch, Incarnation: r.GetIncarnation(), InstanceRun: run}
		n.instances[r.GetInstance()] = struct{}{}
		if !had || differs(before.InstanceRun, run) {
			is.touch(r.GetInstance())
		}
	case had:
		is.end(r.GetInstance(), node)
		delete(n.instances, r.GetInstance())
	}
}

// Told adds how instances stand on a node with a stream to this replica to its
// lease.
func (is *Instances) Told(lease *signalboxv1.NodeLease, node string) {
	is.mu.Lock()
	defer is.mu.Unlock()
	n := is.nodes[node]
	if n == nil || n.epoch != lease.GetEpoch() || n.streams == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(n.instances)) {
		r := is.runs[name][node]
		lease.Instances = append(lease.Instances, &signalboxv1.InstanceReport{Instance: name, Incarnation: r.Incarnation, Run: r.InstanceRun})
	}
	for len(lease.Instances) > 0 && proto.Size(lease) > 2*maxTold {
		lease.Instances = lease.Instances[:len(lease.Instances)/2]
	}
}

// Leased takes note of what a node's lease tells of instances. That is news
// only of one that has no stream here.
func (is *Instances) Leased(node string, lease *signalboxv1.NodeLease) {
	is.mu.Lock()
	defer is.mu.Unlock()
	n := is.process(node, lease.GetEpoch())
	if n == nil || n.streams > 0 || lease.GetServing() == nil {
		return
	}
	gone := maps.Clone(n.instances)
	for _, r := range lease.GetInstances() {
		is.hear(node, n, r)
		delete(gone, r.GetInstance())
	}
	for name := range gone {
		is.end(name, node)
		delete(n.instances, name)
	}
}

// process returns what is known of a node's process, nil of one before the
// present. Of a new one that is nothing, and what was before it has ended. is.mu
// is held.
func (is *Instances) process(node string, epoch int64) *runner {
	n := is.nodes[node]
	switch {
	case n == nil || n.epoch < epoch:
		is.drop(node)
		n = &runner{epoch: epoch, since: time.Now(), instances: map[string]struct{}{}}
		is.nodes[node] = n
	case n.epoch > epoch:
		return nil
	}
	return n
}

// differs reports whether an instance stands otherwise than before. What is
// only measured does not count.
func differs(a, b *signalboxv1.InstanceRun) bool {
	return a.GetState() != b.GetState() || a.GetReason() != b.GetReason() || a.GetStarts() != b.GetStarts() ||
		a.GetMode() != b.GetMode() || a.GetWire() != b.GetWire()
}

// Forget drops what is known of an instance that is gone.
func (is *Instances) Forget(instance string) {
	is.mu.Lock()
	defer is.mu.Unlock()
	for node := range is.runs[instance] {
		delete(is.nodes[node].instances, instance)
	}
	delete(is.runs, instance)
	delete(is.last, instance)
}

// Runs returns how an instance stands where it runs, in order of the nodes'
// names. What was said of an earlier one of its name, before the revision at
// which it was created, is left out.
func (is *Instances) Runs(instance string, created int64) []Run {
	is.mu.Lock()
	defer is.mu.Unlock()
	var all []Run
	for _, r := range is.runs[instance] {
		if r.Incarnation >= created {
			r.InstanceRun = proto.CloneOf(r.InstanceRun)
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Run) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// Quiet returns for how long at least a node has said nothing of an instance
// that it does not run: since this replica has heard of the node's process, and
// the instance has stood as it does. It is zero where nothing is known.
func (is *Instances) Quiet(instance, node string) time.Duration {
	is.mu.Lock()
	defer is.mu.Unlock()
	n := is.nodes[node]
	if _, runs := is.runs[instance][node]; n == nil || runs {
		return 0
	}
	since := n.since
	if c := is.last[instance]; c.at.After(since) {
		since = c.at
	}
	return time.Since(since)
}

// Changed returns the names of the instances whose standing changed after a
// point (zero: the beginning), the point reached, and a channel that is closed
// at the next change.
func (is *Instances) Changed(after uint64) (names []string, now uint64, next <-chan struct{}) {
	is.mu.Lock()
	defer is.mu.Unlock()
	if after < is.seq {
		for name, c := range is.last {
			if c.seq > after {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	return names, is.seq, is.moved
}

// drop ends all that ran on a node. is.mu is held, here and in what follows.
func (is *Instances) drop(node string) {
	n := is.nodes[node]
	if n == nil {
		return
	}
	for instance := range n.instances {
		is.end(instance, node)
	}
	delete(is.nodes, node)
}

// end takes a node out of those that run an instance.
func (is *Instances) end(instance, node string) {
	delete(is.runs[instance], node)
	if len(is.runs[instance]) == 0 {
		delete(is.runs, instance)
	}
	is.touch(instance)
}

// touch says that an instance's standing changed.
func (is *Instances) touch(instance string) {
	is.seq++
	is.last[instance] = change{is.seq, time.Now()}
	close(is.moved)
	is.moved = make(chan struct{})
}
