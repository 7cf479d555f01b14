// Package schedule decides which nodes run which tunnel instance. It is pure:
// who is there, and for how long somebody has not been, is told to it.
//
// An instance stays where it is for as long as it may; it never moves for the
// sake of balance, since moving cuts what it carries. One that runs on one node
// is given to one node only, and to the next when the first is lost.
package schedule

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// IsolationWait is how long a node must have been lost before an instance that
// never runs twice is given to another: by then the node, which hears nothing
// any more, has ended it. A node that is there must have said that it ended it.
const IsolationWait = 15 * time.Second

// A Node is one that is known, live or lost.
type Node struct {
	Name   string
	Labels map[string]string
	// Live says that it holds its lease. Lost is for how long it has not; it is
	// zero too where that is not known yet.
	Live bool
	Lost time.Duration
	// Draining says that it is asked to let its traffic end.
	Draining bool
}

// An Instance is one with the nodes it is assigned to.
type Instance struct {
	*signalboxv1.Instance
	Nodes []string
	// Running are the nodes that said they run it and not that they ended it.
	Running []string
	// Settling says that it was taken away from all nodes just now, and that one
	// may not have heard of it, or not have said that it ended it.
	Settling bool
}

// Decide returns the nodes of every instance that is to be assigned anew, in
// order of their names. Instances that are not wanted to run stay where they
// are.
func Decide(instances []Instance, nodes []Node) map[string][]string {
	d := decision{nodes: map[string]*Node{}, load: map[string]int{}, ports: map[string]map[string]int{}}
	for i := range nodes {
		d.nodes[nodes[i].Name] = &nodes[i]
	}
	running := slices.DeleteFunc(slices.Clone(instances), func(i Instance) bool {
		return i.GetWanted() == signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	})
	slices.SortFunc(running, func(a, b Instance) int { return strings.Compare(a.GetName(), b.GetName()) })
	for _, i := range running {
		for _, name := range i.Nodes {
			d.place(name, ports(i.GetUrl()), 1)
		}
	}
	anew := map[string][]string{}
	for _, i := range running {
		if to := d.decide(i); !slices.Equal(to, i.Nodes) {
			anew[i.GetName()] = to
		}
	}
	return anew
}

// Reason says why a running instance can be on no node, for people.
func Reason(p *signalboxv1.Placement) string {
	switch {
	case len(p.GetNodes()) > 0 && len(p.GetLabels()) > 0:
		return "none of the nodes " + strings.Join(p.GetNodes(), ", ") + " is live and has the labels " + strings.Join(p.GetLabels(), ", ")
	case len(p.GetNodes()) > 0:
		return "none of the nodes " + strings.Join(p.GetNodes(), ", ") + " is live"
	case len(p.GetLabels()) > 0:
		return "no live node has the labels " + strings.Join(p.GetLabels(), ", ")
	}
	return "no node is live"
}

// A decision is one Decide.
type decision struct {
	nodes map[string]*Node
	// load is how many instances a node has, ports which of them use a port.
	load  map[string]int
	ports map[string]map[string]int
}

// place notes that a node has an instance with some ports, by 1, or no more, by
// -1.
func (d *decision) place(name string, ports []string, by int) {
	d.load[name] += by
	for _, p := range ports {
		if d.ports[name] == nil {
			d.ports[name] = map[string]int{}
		}
		d.ports[name][p] += by
	}
}

func (d *decision) decide(i Instance) []string {
	if i.GetPlacement().GetEvery() {
		return d.every(i)
	}
	var may []*Node
	for _, n := range d.nodes {
		if n.Live && matches(i.GetPlacement(), n) {
			may = append(may, n)
		}
	}
	if to, stays := d.stays(i, may); stays {
		return to
	}
	used := ports(i.GetUrl())
	for _, name := range i.Nodes {
		d.place(name, used, -1)
	}
	if len(may) == 0 || i.GetIsolation() == signalboxv1.Isolation_ISOLATION_STOP && (i.Settling || d.mayRun(i)) {
		return nil
	}
	best := slices.MinFunc(may, func(a, b *Node) int {
		return cmp.Or(
			cmp.Compare(truth(a.Draining), truth(b.Draining)),
			cmp.Compare(d.conflicts(a.Name, used), d.conflicts(b.Name, used)),
			cmp.Compare(d.load[a.Name], d.load[b.Name]),
			cmp.Compare(weight(i.GetName(), a.Name), weight(i.GetName(), b.Name)),
			strings.Compare(a.Name, b.Name),
		)
	})
	d.place(best.Name, used, 1)
	return []string{best.Name}
}

// stays reports whether an instance stays on its node, and where that is.
func (d *decision) stays(i Instance, may []*Node) ([]string, bool) {
	if len(i.Nodes) == 0 {
		return nil, false
	}
	name := i.Nodes[0]
	other := slices.ContainsFunc(may, func(n *Node) bool { return n.Name != name && !n.Draining })
	n := d.nodes[name]
	switch {
	case slices.ContainsFunc(may, func(m *Node) bool { return m.Name == name }):
		return []string{name}, !n.Draining || !other
	case n == nil:
		return nil, false // nobody knows it any more
	case n.Live:
		return nil, false // it may not run it any more
	case n.Lost == 0:
		return i.Nodes, true // it may be about to come back
	case i.GetIsolation() == signalboxv1.Isolation_ISOLATION_STOP:
		return i.Nodes, n.Lost < IsolationWait
	}
	// With nobody to take it, it is found where it was when that comes back.
	return i.Nodes, len(may) == 0
}

// mayRun reports whether a node may run an instance still: it was taken away
// from one that has not said that it ended it, or nobody can say.
func (d *decision) mayRun(i Instance) bool {
	held := func(name string) bool {
		n := d.nodes[name]
		return n != nil && (n.Live || n.Lost < IsolationWait)
	}
	return slices.ContainsFunc(i.Running, held) || slices.ContainsFunc(i.Nodes, held)
}

// every returns all nodes that an instance may run on. One that is lost keeps
// it: it may be serving.
func (d *decision) every(i Instance) []string {
	var to []string
	for _, n := range d.nodes {
		has := slices.Contains(i.Nodes, n.Name)
		if matches(i.GetPlacement(), n) && (n.Live && !n.Draining || has && !n.Live) {
			to = append(to, n.Name)
		}
	}
	if len(to) == 0 { // there are only those that drain
		for _, n := range d.nodes {
			if n.Live && matches(i.GetPlacement(), n) {
				to = append(to, n.Name)
			}
		}
	}
	slices.Sort(to)
	return to
}

// matches reports whether an instance may run on a node.
func matches(p *signalboxv1.Placement, n *Node) bool {
	if len(p.GetNodes()) > 0 && !slices.Contains(p.GetNodes(), n.Name) {
		return false
	}
	for _, l := range p.GetLabels() {
		key, value, valued := strings.Cut(l, "=")
		have, ok := n.Labels[key]
		if !ok || valued && have != value {
			return false
		}
	}
	return true
}

// ports are those that an instance may listen at, whichever mode it finds. Two
// with the same port are better on two nodes.
func ports(url string) []string {
	u, err := tunnelurl.Parse(url)
	if err != nil {
		return nil
	}
	first := u.Targets[0]
	return []string{u.Port(), first[strings.LastIndexByte(first, ':')+1:]}
}

func (d *decision) conflicts(node string, ports []string) int {
	n := 0
	for _, p := range ports {
		n += d.ports[node][p]
	}
	return n
}

// weight spreads instances over nodes that are equal otherwise, alike at every
// replica.
func weight(instance, node string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(instance + "\x00" + node)) // never fails
	return h.Sum64()
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
