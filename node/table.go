package node

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/feed"
	"signalbox/node/route"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// A server is what carries traffic by a table.
type server interface {
	// SetTable makes a table the one that is served; change is all that
	// distinguishes it from the one before.
	SetTable(t *route.Table, change route.Change)
	// SetListeners makes these the listeners' records. It returns those that
	// are invalid; the last good one of each stays.
	SetListeners(records map[string]*signalboxv1.Listener) map[string]error
}

// A table is what a node was fed: it applies changes to the server, and knows
// all records so that they can be kept.
type table struct {
	node   string
	server server
	// tunnels is told of instances. Nil where there are none.
	tunnels *tunnels
	log     *slog.Logger
	// wanted is told what is wanted of the node, nil for nothing. It says why
	// that cannot be.
	wanted func(*signalboxv1.NodeWanted) error
	// keep is told of every change. Nil when nothing is kept.
	keep func(applied)
	// served says that there was a first change.
	served atomic.Bool
	first  chan struct{} // closed at that change
	once   sync.Once
	// wholes and changes count what was applied.
	wholes, changes atomic.Uint64

	// The applying goroutine's alone.
	routes    *route.Table
	listeners map[string]*signalboxv1.Listener
}

// await waits until there was a first change, at most for limit.
func (t *table) await(ctx context.Context, limit time.Duration) {
	if limit <= 0 || t.served.Load() {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-t.first:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// sorted is a change, by kind.
type sorted struct {
	routes    []*signalboxv1.Route
	removed   []string // routes
	listeners []*signalboxv1.Listener
	node      *signalboxv1.Node
}

// Apply makes the node serve what c leads to. See [feed.Applier].
func (t *table) Apply(c *feed.Change) feed.Outcome {
	s := t.sort(c)
	o := t.setRoutes(c, s)
	o.Refused = append(o.Refused, t.setListeners(c, s.listeners)...)
	if t.tunnels != nil {
		o.Refused = append(o.Refused, t.tunnels.apply(c)...)
	}
	o.Refused = append(o.Refused, t.want(c, s.node)...)
	if t.keep != nil {
		t.keep(toKeep(c, o))
	}
	t.served.Store(true)
	t.once.Do(func() {
		if t.first != nil {
			close(t.first)
		}
	})
	if c.Whole {
		t.wholes.Add(1)
	} else {
		t.changes.Add(1)
	}
	t.say(c, o)
	return o
}

// sort tells the records of a change apart. Those of kinds this node does not
// know are for newer ones.
func (t *table) sort(c *feed.Change) sorted {
	var s sorted
	for _, u := range c.Upserts {
		switch m := u.GetRecord().(type) {
		case *signalboxv1.Record_Route:
			s.routes = append(s.routes, m.Route)
		case *signalboxv1.Record_Listener:
			s.listeners = append(s.listeners, m.Listener)
		case *signalboxv1.Record_Node:
			if m.Node.GetName() == t.node {
				s.node = m.Node
			}
		}
	}
	for _, k := range c.Removals {
		if k.GetKind() == signalboxv1.Kind_KIND_ROUTE {
			s.removed = append(s.removed, k.GetName())
		}
	}
	return s
}

// setRoutes serves the routes of a change.
func (t *table) setRoutes(c *feed.Change, s sorted) (o feed.Outcome) {
	var change route.Change
	if c.Whole {
		t.routes, change = t.routes.Whole(s.routes)
	} else {
		t.routes, change = t.routes.With(s.routes, s.removed)
	}
	t.server.SetTable(t.routes, change)
	for _, r := range change.Rejections {
		o.Refused = append(o.Refused, &signalboxv1.Rejection{
			Kind: signalboxv1.Kind_KIND_ROUTE, Name: r.Name, Revision: r.Revision, Reason: r.Reason,
		})
	}
	for _, name := range change.Accepted {
		o.Accepted = append(o.Accepted, &signalboxv1.RecordKey{Kind: signalboxv1.Kind_KIND_ROUTE, Name: name})
	}
	return o
}

// setListeners serves by the listeners of a change, and returns those it
// refuses.
func (t *table) setListeners(c *feed.Change, upserts []*signalboxv1.Listener) (rejected []*signalboxv1.Rejection) {
	changed := c.Whole || len(upserts) > 0
	if c.Whole {
		t.listeners = map[string]*signalboxv1.Listener{}
	}
	for _, k := range c.Removals {
		if k.GetKind() == signalboxv1.Kind_KIND_LISTENER {
			delete(t.listeners, k.GetName())
			changed = true
		}
	}
	if !changed {
		return nil
	}
	for _, l := range upserts {
		t.listeners[l.GetName()] = l
	}
	bad := t.server.SetListeners(maps.Clone(t.listeners))
	for _, l := range upserts {
		if err := bad[l.GetName()]; err != nil {
			rejected = append(rejected, &signalboxv1.Rejection{
				Kind: signalboxv1.Kind_KIND_LISTENER, Name: l.GetName(), Revision: l.GetMeta().GetRevision(), Reason: err.Error(),
			})
		}
	}
	return rejected
}

// want does what is wanted of this node, if the change says so.
func (t *table) want(c *feed.Change, n *signalboxv1.Node) []*signalboxv1.Rejection {
	if n == nil {
		gone := c.Whole
		for _, k := range c.Removals {
			gone = gone || k.GetKind() == signalboxv1.Kind_KIND_NODE && k.GetName() == t.node
		}
		if gone {
			_ = t.wanted(nil) // which always can be
		}
		return nil
	}
	err := rules.Node(n)
	if err == nil {
		err = t.wanted(n.GetWanted())
	}
	if err != nil {
		return []*signalboxv1.Rejection{{
			Kind: signalboxv1.Kind_KIND_NODE, Name: n.GetName(), Revision: n.GetMeta().GetRevision(), Reason: err.Error(),
		}}
	}
	return nil
}

// toKeep names the records that were refused, and those that are no more.
func toKeep(c *feed.Change, o feed.Outcome) applied {
	a := applied{change: c, refused: map[feed.Key]bool{}}
	for _, r := range o.Refused {
		a.refused[feed.Key{Kind: r.GetKind(), Name: r.GetName()}] = true
	}
	for _, k := range o.Accepted {
		a.accepted = append(a.accepted, feed.Key{Kind: k.GetKind(), Name: k.GetName()})
	}
	return a
}

// sayAtMost bounds how many refusals of one change are logged one by one, and
// how many acceptances.
const sayAtMost = 20

// say logs what was applied.
func (t *table) say(c *feed.Change, o feed.Outcome) {
	rev := c.To.GetRevision()
	t.log.Info("table applied", "rev", rev, "whole", c.Whole, "upserts", len(c.Upserts), "removals", len(c.Removals),
		"rejected", len(o.Refused), "routes", t.routes.Len())
	for _, r := range o.Refused[:min(len(o.Refused), sayAtMost)] {
		t.log.Warn("record refused", "rev", r.GetRevision(), "record", r.GetKind().String()+"/"+r.GetName(), "reason", r.GetReason())
	}
	for _, k := range o.Accepted[:min(len(o.Accepted), sayAtMost)] {
		t.log.Info("record accepted after all", "rev", rev, "record", k.GetKind().String()+"/"+k.GetName())
	}
}

// listenerRecord is a record with nothing but a name.
func listenerRecord(name string) *signalboxv1.Listener { return &signalboxv1.Listener{Name: name} }
