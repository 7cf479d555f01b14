package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A builder makes one table out of another.
type builder struct {
	e      *edit
	t      Table // as far as it is
	change Change
	lost   []*Route // those that were, for a moment at least, without their match
}

func (t *Table) begin() *builder {
	return &builder{e: &edit{seed: t.seed}, t: *t}
}

// upsert writes one record, unless it is refused or there already.
func (b *builder) upsert(rec *signalboxv1.Route) {
	r, err := compile(rec, b.t.sockets)
	if err != nil {
		b.reject(rec.GetName(), rec.GetMeta().GetRevision(), err.Error())
		return
	}
	old, _ := b.t.Get(r.Name)
	if old != nil && old.same(r) {
		return
	}
	b.swap(old, r)
}

// swap puts r in old's place; either may be nil.
func (b *builder) swap(old, r *Route) {
	if old != nil {
		b.unlink(old)
		b.t.count--
	}
	if r != nil {
		b.link(r)
		b.t.count++
		b.t.names = b.t.names.put(b.e, r.Name, r)
	} else {
		b.t.names = b.t.names.without(b.e, old.Name)
	}
	b.change.Swaps = append(b.change.Swaps, Swap{Old: old, New: r})
}

func (b *builder) reject(name string, revision int64, reason string) {
	b.change.Rejections = append(b.change.Rejections, Rejection{name, revision, reason})
}

// link lets r be matched.
func (b *builder) link(r *Route) {
	var lost *Route
	b.tree(r.Host, func(n *node) *node {
		n, lost = n.put(b.e, segments(r.Prefix), r)
		return n
	})
	if lost != nil {
		b.lost = append(b.lost, lost)
	}
}

// unlink undoes link.
func (b *builder) unlink(r *Route) {
	b.tree(r.Host, func(n *node) *node { return n.without(b.e, segments(r.Prefix), r) })
}

// tree replaces the tree of a host by what edit makes of it.
func (b *builder) tree(host string, edit func(*node) *node) {
	if host == "" {
		b.t.any = edit(b.t.any)
		return
	}
	hosts, name := &b.t.exact, host
	if parent, ok := strings.CutPrefix(host, "*."); ok {
		hosts, name = &b.t.wild, parent
	}
	n := b.t.hostTree(host)
	if made := edit(n); made == nil {
		*hosts = (*hosts).without(b.e, name)
	} else if made != n {
		*hosts = (*hosts).put(b.e, name, made)
	}
}

// end returns the table. Whoever lost its match and did not get it back is a
// rejection.
func (b *builder) end() (*Table, Change) {
	for _, r := range b.lost {
		holder := b.t.holder(r)
		if now, ok := b.t.Get(r.Name); ok && now == r && holder != r {
			b.reject(r.Name, r.Revision, fmt.Sprintf("match: route %q, created before, has the same", holder.Name))
		}
	}
	rejections := b.change.Rejections
	slices.SortFunc(rejections, func(a, b Rejection) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Revision, b.Revision))
	})
	b.change.Rejections = slices.Compact(rejections)
	t := b.t
	return &t, b.change
}

// segments returns a stored prefix without the slash that stands for all paths.
func segments(prefix string) string {
	if prefix == "/" {
		return ""
	}
	return prefix
}
