package route

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A builder makes one table out of another.
type builder struct {
	e     *edit
	from  *Table
	t     Table // as far as it is
	swaps []Swap
	// shared are the matches that more than one route had, at some moment; nil
	// while there is none, which is nearly always.
	shared map[match]struct{}
	// looked are the names that may be refused now and were not, or the other
	// way round, and the refused ones that were written; nil while none is.
	looked map[string]struct{}
}

// A match is a host and a prefix as stored.
type match struct{ host, prefix string }

func (t *Table) begin() *builder {
	return &builder{e: &edit{seed: t.seed}, from: t, t: *t}
}

// remove takes a name out.
func (b *builder) remove(name string) {
	old, _ := b.t.Get(name)
	b.swap(name, old, nil)
}

// upsert writes one record, unless it is refused or there already.
func (b *builder) upsert(rec *signalboxv1.Route) {
	name := rec.GetName()
	old, _ := b.t.Get(name)
	switch r, err := compile(rec, b.t.sockets); {
	case err != nil:
		b.refuseBad(old, rec, err)
	case old == nil || !old.same(r):
		b.swap(name, old, r)
	case b.kept(old):
		b.rank(old, func() { b.accept(name) })
	}
	if _, refused := b.t.refusal(name); refused {
		b.look(name)
	}
}

// refuseBad refuses a record. The route of its name stays in force, unless it
// is an earlier one that must have been removed.
func (b *builder) refuseBad(old *Route, rec *signalboxv1.Route, err error) {
	if old != nil && old.Created != rec.GetMeta().GetCreatedRevision() {
		b.swap(old.Name, old, nil)
		old = nil
	}
	refuse := func() {
		b.refuse(Rejection{Name: rec.GetName(), Revision: rec.GetMeta().GetRevision(), Reason: err.Error(), bad: true})
	}
	if old == nil || b.kept(old) {
		refuse()
	} else {
		b.rank(old, refuse)
	}
}

// swap puts r in the place of old, of the same name; either may be nil. What
// was refused under the name is so no more.
func (b *builder) swap(name string, old, r *Route) {
	if old != nil {
		b.unlink(old)
		b.t.count--
	}
	b.accept(name)
	if r != nil {
		b.link(r)
		b.t.count++
		b.t.names = b.t.names.put(b.e, name, r)
	} else if old != nil {
		b.t.names = b.t.names.without(b.e, name)
	}
	if old != nil || r != nil {
		b.swaps = append(b.swaps, Swap{Old: old, New: r})
	}
}

// rank makes a change that decides how r stands among those with its match.
func (b *builder) rank(r *Route, change func()) {
	b.unlink(r)
	change()
	b.link(r)
}

// refuse takes note of a rejection, in place of one of the same name.
func (b *builder) refuse(rej Rejection) {
	if old, ok := b.t.refusal(rej.Name); !ok || old != rej {
		b.t.refused = b.t.refused.put(b.e, rej.Name, rej)
		b.look(rej.Name)
	}
}

// accept takes a rejection back, if there is one.
func (b *builder) accept(name string) {
	if _, ok := b.t.refusal(name); ok {
		b.t.refused = b.t.refused.without(b.e, name)
		b.look(name)
	}
}

// look has end look at what became of a name.
func (b *builder) look(name string) {
	if b.looked == nil {
		b.looked = map[string]struct{}{}
	}
	b.looked[name] = struct{}{}
}

// share has end judge who holds r's match.
func (b *builder) share(r *Route) {
	if b.shared == nil {
		b.shared = map[match]struct{}{}
	}
	b.shared[match{r.Host, r.Prefix}] = struct{}{}
}

// kept reports whether a route is in force only because the record after it
// was refused.
func (b *builder) kept(r *Route) bool {
	rej, ok := b.t.refusal(r.Name)
	return ok && rej.bad
}

// before tells which of two routes with the same match holds it. One that is
// kept stands back: what it should be by now has another match, or none.
func (b *builder) before(r, o *Route) bool {
	if k := b.kept(r); k != b.kept(o) {
		return !k
	}
	return r.before(o)
}

// link lets r be matched.
func (b *builder) link(r *Route) {
	b.tree(r.Host, func(n *node) *node { return n.put(b, segments(r.Prefix), r) })
}

// unlink undoes link.
func (b *builder) unlink(r *Route) {
	b.tree(r.Host, func(n *node) *node { return n.without(b, segments(r.Prefix), r) })
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

// end returns the table, and how it came to be.
func (b *builder) end() (*Table, Change) {
	for m := range b.shared {
		b.judge(b.t.hostTree(m.host).at(b.e.seed, segments(m.prefix)))
	}
	change := Change{Swaps: b.swaps}
	for _, name := range slices.Sorted(maps.Keys(b.looked)) {
		if rej, ok := b.t.refusal(name); ok {
			change.Rejections = append(change.Rejections, rej)
			continue
		}
		was, had := b.from.refusal(name)
		if now, ok := b.t.Get(name); ok && had && now.Revision == was.Revision {
			change.Accepted = append(change.Accepted, name)
		}
	}
	t := b.t
	return &t, change
}

// judge refuses the routes that do not hold their match, and takes back what
// was said against the one that does. Kept routes are refused as it is.
func (b *builder) judge(n *node) {
	if n == nil {
		return
	}
	if !b.kept(n.route) {
		b.accept(n.route.Name)
	}
	if n.others == nil {
		return
	}
	for _, r := range *n.others {
		if !b.kept(r) {
			b.refuse(Rejection{Name: r.Name, Revision: r.Revision, Reason: fmt.Sprintf("match: route %q, created before, has the same", n.route.Name)})
		}
	}
}

// refusal returns what was refused under a name.
func (t *Table) refusal(name string) (Rejection, bool) {
	return t.refused.get(maphash.String(t.seed, name), name)
}

// segments returns a stored prefix without the slash that stands for all paths.
func segments(prefix string) string {
	if prefix == "/" {
		return ""
	}
	return prefix
}
