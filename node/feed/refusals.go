package feed

import (
	"cmp"
	"maps"
	"slices"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Key names a record.
type Key struct {
	Kind signalboxv1.Kind
	Name string
}

// KeyOf is the key of a record, and false for a kind this node does not know
// of: one that a newer control plane sends.
func KeyOf(r *signalboxv1.Record) (Key, bool) {
	switch m := r.GetRecord().(type) {
	case *signalboxv1.Record_Route:
		return Key{signalboxv1.Kind_KIND_ROUTE, m.Route.GetName()}, true
	case *signalboxv1.Record_Listener:
		return Key{signalboxv1.Kind_KIND_LISTENER, m.Listener.GetName()}, true
	case *signalboxv1.Record_Node:
		return Key{signalboxv1.Kind_KIND_NODE, m.Node.GetName()}, true
	case *signalboxv1.Record_Instance:
		return Key{signalboxv1.Kind_KIND_INSTANCE, m.Instance.GetName()}, true
	case *signalboxv1.Record_Assignment:
		return Key{signalboxv1.Kind_KIND_ASSIGNMENT, m.Assignment.GetInstance()}, true
	}
	return Key{}, false
}

// refusals are the records that a node refuses at present. Each is void once
// its record is written again, removed or accepted after all.
type refusals map[Key]*signalboxv1.Rejection

// applied takes note of a change and of what came of it.
func (r refusals) applied(c *Change, o Outcome) {
	if c.Whole {
		clear(r)
	}
	for _, u := range c.Upserts {
		if k, ok := KeyOf(u); ok {
			delete(r, k)
		}
	}
	for _, k := range c.Removals {
		delete(r, Key{k.GetKind(), k.GetName()})
	}
	for _, k := range o.Accepted {
		delete(r, Key{k.GetKind(), k.GetName()})
	}
	for _, rej := range o.Refused {
		r[refusedKey(rej)] = rej
	}
}

// stands reports whether a rejection has not become void.
func (r refusals) stands(rej *signalboxv1.Rejection) bool { return r[refusedKey(rej)] == rej }

// all returns the refusals in order of kind and name.
func (r refusals) all() []*signalboxv1.Rejection {
	return slices.SortedFunc(maps.Values(r), func(a, b *signalboxv1.Rejection) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetName(), b.GetName()))
	})
}

// refusedKey is the key of the record refused.
func refusedKey(rej *signalboxv1.Rejection) Key { return Key{rej.GetKind(), rej.GetName()} }
