package route

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Table is the routes of one version. It never changes, so any number of
// requests may use it without a lock.
type Table struct {
	seed    maphash.Seed
	sockets bool
	count   int
	names   *branch[*Route]
	exact   *branch[*node] // by host
	wild    *branch[*node] // by what follows "*."
	any     *node          // of any host
	// refused are the records that are not in the table as they were sent, by
	// name.
	refused *branch[Rejection]
}

// Config is what a node allows its routes.
type Config struct {
	// UnixSockets lets upstreams be unix sockets.
	UnixSockets bool
}

// New returns a table without routes.
func New(c Config) *Table {
	return &Table{seed: maphash.MakeSeed(), sockets: c.UnixSockets}
}

// A Rejection is a record that is not in the table as it was sent.
type Rejection struct {
	// Name and Revision of the record.
	Name     string
	Revision int64
	// Reason, for people: the field and what would be right.
	Reason string

	// bad says that the record itself is refused: what the table has under its
	// name, if anything, is an older one. Otherwise the record is in the table
	// and only its match is another's.
	bad bool
}

// A Swap is a route that came, went or was written again.
type Swap struct {
	// Old is what there was under the name, nil if nothing.
	Old *Route
	// New is what there is now, nil if nothing.
	New *Route
}

// A Change is how a table differs from the one it was made from.
type Change struct {
	// Swaps name every route that is not the same pointer in both tables,
	// those that are not served because another holds their match included.
	Swaps []Swap
	// Rejections are those of the records written, and those that came or got
	// another reason because of them, in order of their names. In a change to a
	// whole state they are all there are.
	Rejections []Rejection
	// Accepted are the names of the records that were refused and are in force
	// now as they were sent then, in order.
	Accepted []string
}

// Len returns the number of routes.
func (t *Table) Len() int { return t.count }

// Get returns the route of a name.
func (t *Table) Get(name string) (*Route, bool) {
	return t.names.get(maphash.String(t.seed, name), name)
}

// All returns every route, in order of their names.
func (t *Table) All() []*Route {
	all := make([]*Route, 0, t.count)
	t.names.each(func(_ string, r *Route) bool {
		all = append(all, r)
		return true
	})
	slices.SortFunc(all, func(a, b *Route) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Match returns the route for a host, as Host returns it, and a clean path.
// It allocates nothing, and takes no longer in a large table.
func (t *Table) Match(host, path string) (*Route, bool) {
	if host != "" && t.exact != nil {
		n, _ := t.exact.get(maphash.String(t.seed, host), host)
		if r := n.match(t.seed, path); r != nil {
			return r, true
		}
	}
	if t.wild != nil {
		if _, parent, ok := strings.Cut(host, "."); ok {
			n, _ := t.wild.get(maphash.String(t.seed, parent), parent)
			if r := n.match(t.seed, path); r != nil {
				return r, true
			}
		}
	}
	r := t.any.match(t.seed, path)
	return r, r != nil
}

// With returns the table with some records written and some removed, by name.
// A record that cannot be served is a rejection, and the last one before it
// that could stays in force, but for a match that another route has by a
// record in order.
func (t *Table) With(upserts []*signalboxv1.Route, removals []string) (*Table, Change) {
	b := t.begin()
	for _, name := range removals {
		b.remove(name)
	}
	for _, rec := range upserts {
		b.upsert(rec)
	}
	return b.end()
}

// Whole returns the table with exactly these records. Routes that are the same
// in t stay the same pointers; a record that is refused leaves in force what t
// has under its name, as in With.
func (t *Table) Whole(records []*signalboxv1.Route) (*Table, Change) {
	wanted := make(map[string]bool, len(records))
	for _, rec := range records {
		wanted[rec.GetName()] = true
	}
	b := t.begin()
	for name := range t.names.all() {
		if !wanted[name] {
			b.remove(name)
		}
	}
	for name := range t.refused.all() {
		if !wanted[name] {
			b.remove(name)
		}
	}
	for _, rec := range records {
		b.upsert(rec)
	}
	return b.end()
}

// hostTree returns the tree of a host as stored.
func (t *Table) hostTree(host string) (n *node) {
	if host == "" {
		return t.any
	}
	if parent, wild := strings.CutPrefix(host, "*."); wild {
		n, _ = t.wild.get(maphash.String(t.seed, parent), parent)
		return n
	}
	n, _ = t.exact.get(maphash.String(t.seed, host), host)
	return n
}
