package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"signalbox/node/feed"
	"signalbox/node/report"
	"signalbox/node/tunnel"
	"signalbox/node/tunnel/account"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/proto/tunnelurl"
)

// isolated is how long a node that no control plane feeds runs instances that
// must never run twice. By the time another node is given them, this one has
// noticed and ended them: see controlplane/schedule.
const isolated = 5 * time.Second

// A tunnels is the node's part in tunnel instances: of those it is fed it has
// the ones run that are assigned to it and wanted to run.
type tunnels struct {
	node  string
	lines lines
	*tunnel.Supervisor

	// The applying goroutine's alone.
	instances map[string]*signalboxv1.Instance
	assigned  map[string]bool // whether to this node; of those that any node has

	mu    sync.Mutex // guards what follows
	mine  []*signalboxv1.Instance
	alone bool // nobody feeds the node
	begun bool // see begin
}

func newTunnels(c Config) *tunnels {
	t := &tunnels{node: c.ID, instances: map[string]*signalboxv1.Instance{}, assigned: map[string]bool{}, alone: true}
	conf := c.Tunnels
	conf.Node, conf.Lines = c.ID, t.lines.add
	t.Supervisor = tunnel.New(conf)
	return t
}

// apply takes over what a change says of instances, and returns those that this
// node refuses: they go on as they were last.
func (t *tunnels) apply(c *feed.Change) (refused []*signalboxv1.Rejection) {
	if c.Whole {
		t.forget(c)
	}
	changed := c.Whole
	for _, u := range c.Upserts {
		switch m := u.GetRecord().(type) {
		case *signalboxv1.Record_Instance:
			changed = true
			if err := rules.Instance(m.Instance); err != nil {
				refused = append(refused, &signalboxv1.Rejection{
					Kind: signalboxv1.Kind_KIND_INSTANCE, Name: m.Instance.GetName(),
					Revision: m.Instance.GetMeta().GetRevision(), Reason: err.Error(),
				})
				continue
			}
			t.instances[m.Instance.GetName()] = m.Instance
		case *signalboxv1.Record_Assignment:
			changed = true
			name, nodes := m.Assignment.GetInstance(), m.Assignment.GetNodes()
			if t.assigned[name] = slices.Contains(nodes, t.node); len(nodes) == 0 {
				delete(t.assigned, name)
			}
		}
	}
	for _, k := range c.Removals {
		switch k.GetKind() { //nolint:exhaustive // others are none of its business
		case signalboxv1.Kind_KIND_INSTANCE:
			delete(t.instances, k.GetName())
			changed = true
		case signalboxv1.Kind_KIND_ASSIGNMENT:
			delete(t.assigned, k.GetName())
			changed = true
		}
	}
	if changed {
		t.choose()
	}
	return refused
}

// forget drops all that a whole state has not.
func (t *tunnels) forget(c *feed.Change) {
	kept := map[string]bool{} // a refused one stays as it is
	for _, u := range c.Upserts {
		kept[u.GetInstance().GetName()] = true
	}
	for name := range t.instances {
		if !kept[name] {
			delete(t.instances, name)
		}
	}
	clear(t.assigned)
}

// choose has the supervisor run what is this node's.
func (t *tunnels) choose() {
	var mine []*signalboxv1.Instance
	for name, i := range t.instances {
		if t.assigned[name] && i.GetWanted() != signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED {
			mine = append(mine, i)
		}
	}
	t.mu.Lock()
	t.mine = mine
	t.mu.Unlock()
	t.Expect(t.coming())
	t.run()
}

// coming are the tunnel ports of servers that no node has yet, and this one may
// be given next: a client of one must not take its port.
func (t *tunnels) coming() map[string]bool {
	ports := map[string]bool{}
	for name, i := range t.instances {
		if _, placed := t.assigned[name]; placed || i.GetWanted() == signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED {
			continue
		}
		if u, err := tunnelurl.Parse(i.GetUrl()); err == nil && u.Role == tunnelurl.Server {
			ports[u.Port()] = true
		}
	}
	return ports
}

// begin has instances run from now on. Until the node is current nothing runs:
// what a last-known-good file assigns to it may be another node's by now.
func (t *tunnels) begin() {
	t.mu.Lock()
	t.begun = true
	t.mu.Unlock()
	t.run()
}

// isolate says whether nobody feeds the node, and has been for a while.
func (t *tunnels) isolate(alone bool) {
	t.mu.Lock()
	same := t.alone == alone
	t.alone = alone
	t.mu.Unlock()
	if !same {
		t.run()
	}
}

// run tells the supervisor.
func (t *tunnels) run() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Apply(t.would())
}

// would are the instances that the node runs as things stand. t.mu is held.
func (t *tunnels) would() []tunnel.Wanted {
	wanted := make([]tunnel.Wanted, 0, len(t.mine))
	if !t.begun {
		return wanted
	}
	for _, i := range t.mine {
		if t.alone && i.GetIsolation() == signalboxv1.Isolation_ISOLATION_STOP {
			continue
		}
		wanted = append(wanted, tunnel.Wanted{
			Name: i.GetName(), URL: i.GetUrl(), Starts: i.GetStarts(),
			Incarnation: i.GetMeta().GetCreatedRevision() + i.GetResets(),
		})
	}
	return wanted
}

// watchFeed looks whether somebody feeds the node, until ctx ends. What counts
// is when the feeder was asked that has answered, so that a process that was
// frozen for a while does not take what it finds in its sockets for news.
func (n *Node) watchFeed(ctx context.Context) {
	clock := time.NewTicker(isolated / 50)
	defer clock.Stop()
	for begun := false; ; {
		if !begun && n.status().Current {
			begun = true
			n.tunnels.begin()
		}
		var fed time.Time
		if c := n.client.Load(); c != nil {
			fed = c.Fed()
		}
		n.tunnels.isolate(time.Since(fed) > isolated)
		select {
		case <-clock.C:
		case <-ctx.Done():
			return
		}
	}
}

// reports are what the node carried, for one stream.
type reports struct {
	*report.Reader
	instances *account.Reader
	lines     *lineReader
}

func (n *Node) reports() feed.Reports {
	return reports{n.book.Reader(), n.tunnels.Reader(), n.tunnels.lines.reader()}
}

// Instances implements [feed.Reports].
func (r reports) Instances() []*signalboxv1.InstanceReport { return r.instances.Changed() }

// Lines implements [feed.Reports].
func (r reports) Lines() []*signalboxv1.LogLine { return r.lines.next() }

// Close implements [feed.Reports].
func (r reports) Close() {
	r.Reader.Close()
	r.instances.Close()
}
