package replica

import (
	"cmp"
	"strings"

	"github.com/google/btree"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// degree of the trees: wide nodes make reads short, narrow ones make the
// copies of a write small.
const degree = 16

// A View is the store's state at one version. It never changes, and shares
// what it can with the views before and after it.
type View struct {
	// Version of the state.
	Version store.Version
	// Horizon is the oldest revision from which Since can tell what changed.
	Horizon store.Revision

	byKey  *btree.BTreeG[*store.Record]
	byRev  *btree.BTreeG[*store.Record]
	index  *btree.BTreeG[indexed]
	graves *btree.BTreeG[grave] // removals since the horizon, by revision
	buried *btree.BTreeG[grave] // the same, by key
}

// A grave says that there has been no record under a key since a revision.
type grave struct {
	key store.Key
	rev store.Revision
}

// indexed finds a record by something other than its key: a route by what it
// matches, an API key by its hash.
type indexed struct {
	by     string
	record *store.Record
}

func newView(v store.Version) *View {
	return &View{
		Version: v,
		Horizon: v.Revision,
		byKey:   btree.NewG(degree, func(a, b *store.Record) bool { return a.Key.Compare(b.Key) < 0 }),
		byRev: btree.NewG(degree, func(a, b *store.Record) bool {
			return cmp.Or(cmp.Compare(a.Modified, b.Modified), a.Key.Compare(b.Key)) < 0
		}),
		graves: btree.NewG(degree, func(a, b grave) bool {
			return cmp.Or(cmp.Compare(a.rev, b.rev), a.key.Compare(b.key)) < 0
		}),
		buried: btree.NewG(degree, func(a, b grave) bool { return a.key.Compare(b.key) < 0 }),
		index:  btree.NewG(degree, func(a, b indexed) bool { return a.by < b.by }),
	}
}

// Get returns the record under a key, or nil.
func (v *View) Get(key store.Key) *store.Record {
	r, _ := v.byKey.Get(&store.Record{Key: key})
	return r
}

// Ascend calls visit with the records of a kind whose names begin with prefix
// and are not before from, in order of their names, until it returns false.
func (v *View) Ascend(kind store.Kind, prefix, from string, visit func(*store.Record) bool) {
	start := store.Key{Kind: kind, Name: max(prefix, from)}
	v.byKey.AscendGreaterOrEqual(&store.Record{Key: start}, func(r *store.Record) bool {
		if r.Kind != kind || !strings.HasPrefix(r.Name, prefix) {
			return false
		}
		return visit(r)
	})
}

// RouteMatching returns the route that has exactly this normal match, or nil.
func (v *View) RouteMatching(m *signalboxv1.Match) *store.Record {
	found, _ := v.index.Get(indexed{by: rules.MatchName(m)})
	return found.record
}

// APIKeyHashed returns the API key with this hash, or nil.
func (v *View) APIKeyHashed(hash []byte) *store.Record {
	found, _ := v.index.Get(indexed{by: "hash/" + string(hash)})
	return found.record
}

// Since tells what was touched after a revision: written is called with the
// records written since that still exist, removed with the keys of those gone
// since, each once. It returns false, having called neither, when the revision
// is before the Horizon.
func (v *View) Since(rev store.Revision, written func(*store.Record), removed func(store.Key)) bool {
	if rev < v.Horizon {
		return false
	}
	v.byRev.AscendGreaterOrEqual(&store.Record{Modified: rev + 1}, func(r *store.Record) bool {
		written(r)
		return true
	})
	v.graves.AscendGreaterOrEqual(grave{rev: rev + 1}, func(g grave) bool {
		removed(g.key)
		return true
	})
	return true
}

// Len counts the records of all kinds.
func (v *View) Len() int { return v.byKey.Len() }

// Count returns how many records there are of each kind.
func (v *View) Count() map[store.Kind]int {
	n := map[store.Kind]int{}
	v.byKey.Ascend(func(r *store.Record) bool {
		n[r.Kind]++
		return true
	})
	return n
}

// indexName is what a record is indexed by; empty for most.
func indexName(r *store.Record) string {
	switch m := r.Message.(type) {
	case *signalboxv1.Route:
		return rules.MatchName(rules.NormalMatch(m.GetMatch()))
	case *signalboxv1.ApiKeyRecord:
		return "hash/" + string(m.GetHash())
	}
	return ""
}
