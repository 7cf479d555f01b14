package node

import (
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

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
	log    *slog.Logger
	// drain is told whether the node is wanted to drain.
	drain func(bool)
	// changed is called after every change, if records are kept.
	changed func()
	// served says that there was a first change.
	served atomic.Bool

	// The applying goroutine's alone.
	routes    *route.Table
	listeners map[string]*signalboxv1.Listener

	mu sync.Mutex // guards kept
	// kept is the state as it is written to the file; nil when none is.
	kept *state
}

// A state is the records of one version, encoded as in a Record.
type state struct {
	version *signalboxv1.Version
	// good are in force. refused are newer than those in force under the same
	// keys, and were refused.
	good, refused map[feed.Key][]byte
}

// clone returns a copy that shares the records.
func (s *state) clone() *state {
	return &state{version: s.version, good: maps.Clone(s.good), refused: maps.Clone(s.refused)}
}

// sorted is a change, by kind.
type sorted struct {
	routes    []*signalboxv1.Route
	removed   []string // routes
	listeners []*signalboxv1.Listener
	node      *signalboxv1.Node
}

// Apply makes the node serve what c leads to. See [feed.Applier].
func (t *table) Apply(c *feed.Change) []*signalboxv1.Rejection {
	s := t.sort(c)
	var rejected []*signalboxv1.Rejection
	if c.Whole {
		t.listeners = map[string]*signalboxv1.Listener{}
	}
	if c.Whole || len(s.listeners) > 0 || t.forget(c.Removals) {
		rejected = append(rejected, t.setListeners(s.listeners)...)
	}
	next, change := t.routes.With(s.routes, s.removed)
	if c.Whole {
		next, change = t.routes.Whole(s.routes)
	}
	t.routes = next
	t.server.SetTable(next, change)
	for _, r := range change.Rejections {
		rejected = append(rejected, &signalboxv1.Rejection{
			Kind: signalboxv1.Kind_KIND_ROUTE, Name: r.Name, Revision: r.Revision, Reason: r.Reason,
		})
	}
	rejected = append(rejected, t.want(c, s.node)...)
	t.keep(c, rejected)
	t.served.Store(true)
	t.say(c, rejected)
	return rejected
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

// forget drops the listeners among removals, and reports whether there were
// any.
func (t *table) forget(removals []*signalboxv1.RecordKey) (any bool) {
	for _, k := range removals {
		if k.GetKind() == signalboxv1.Kind_KIND_LISTENER {
			delete(t.listeners, k.GetName())
			any = true
		}
	}
	return any
}

// setListeners writes listeners, and returns those of them that are refused.
func (t *table) setListeners(upserts []*signalboxv1.Listener) (rejected []*signalboxv1.Rejection) {
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
			t.drain(false)
		}
		return nil
	}
	if err := rules.Node(n); err != nil {
		return []*signalboxv1.Rejection{{
			Kind: signalboxv1.Kind_KIND_NODE, Name: n.GetName(), Revision: n.GetMeta().GetRevision(), Reason: err.Error(),
		}}
	}
	t.drain(n.GetWanted().GetDrain())
	return nil
}

// keep takes the change over into what is kept.
func (t *table) keep(c *feed.Change, rejected []*signalboxv1.Rejection) {
	if t.kept == nil {
		return
	}
	refused := map[feed.Key]int64{}
	for _, r := range rejected {
		refused[feed.Key{Kind: r.GetKind(), Name: r.GetName()}] = r.GetRevision()
	}
	t.mu.Lock()
	before := t.kept.good
	if c.Whole {
		t.kept.good, t.kept.refused = map[feed.Key][]byte{}, map[feed.Key][]byte{}
	}
	t.kept.version = c.To
	for _, u := range c.Upserts {
		t.kept.put(u, refused, before)
	}
	for _, k := range c.Removals {
		key := feed.Key{Kind: k.GetKind(), Name: k.GetName()}
		delete(t.kept.good, key)
		delete(t.kept.refused, key)
	}
	t.mu.Unlock()
	t.changed()
}

// put takes one record over. The last good one of a refused record stays.
func (s *state) put(u *signalboxv1.Record, refused map[feed.Key]int64, before map[feed.Key][]byte) {
	key, ok := feed.KeyOf(u)
	if !ok {
		return
	}
	b, err := encode(u)
	if err != nil {
		return // it came off the wire, so it can be put there again
	}
	if _, bad := refused[key]; !bad {
		s.good[key] = b
		delete(s.refused, key)
		return
	}
	s.refused[key] = b
	if last, ok := before[key]; ok {
		s.good[key] = last
	}
}

// encode returns a record as it is kept: without what a node has no use for,
// which may be large, or secret.
func encode(u *signalboxv1.Record) ([]byte, error) {
	full, ok := u.GetRecord().(*signalboxv1.Record_Route)
	if !ok {
		return proto.Marshal(u)
	}
	slim := new(signalboxv1.Route)
	m := slim.ProtoReflect()
	full.Route.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Name() != "data" && f.Name() != "labels" && f.Name() != "upstreams" {
			m.Set(f, v)
		}
		return true
	})
	m.SetUnknown(full.Route.ProtoReflect().GetUnknown())
	for _, up := range full.Route.GetUpstreams() {
		slim.Upstreams = append(slim.Upstreams, withoutUser(up))
	}
	return proto.Marshal(&signalboxv1.Record{Record: &signalboxv1.Record_Route{Route: slim}})
}

// withoutUser returns an upstream without the user information in its URL,
// which nodes ignore.
func withoutUser(up *signalboxv1.Upstream) *signalboxv1.Upstream {
	scheme, rest, found := strings.Cut(up.GetUrl(), "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	at := strings.LastIndexByte(authority, '@')
	if !found || at < 0 {
		return up
	}
	bare := proto.CloneOf(up)
	bare.Url = scheme + "://" + rest[at+1:]
	return bare
}

// state returns a copy of what is kept.
func (t *table) state() *state {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept.clone()
}

// sayAtMost bounds how many refusals of one change are logged one by one.
const sayAtMost = 20

// say logs what was applied.
func (t *table) say(c *feed.Change, rejected []*signalboxv1.Rejection) {
	rev := c.To.GetRevision()
	t.log.Info("table applied", "rev", rev, "whole", c.Whole, "upserts", len(c.Upserts), "removals", len(c.Removals),
		"rejected", len(rejected), "routes", t.routes.Len())
	for i, r := range rejected {
		if i == sayAtMost {
			break
		}
		t.log.Warn("record refused", "rev", r.GetRevision(), "record", r.GetKind().String()+"/"+r.GetName(), "reason", r.GetReason())
	}
}

// listenerRecord is a record with nothing but a name.
func listenerRecord(name string) *signalboxv1.Listener { return &signalboxv1.Listener{Name: name} }
