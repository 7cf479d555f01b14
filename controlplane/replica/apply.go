package replica

import "signalbox/store"

// maxGraves is how many removals a view remembers. Nodes that lack older ones
// are sent the whole state.
const maxGraves = 100_000

// apply returns the view after a change. The view it is called on stays as it
// is.
func (v *View) apply(ch store.Change) *View {
	if ch.Whole {
		return v.replace(ch)
	}
	next := *v
	next.byKey, next.byRev, next.index = v.byKey.Clone(), v.byRev.Clone(), v.index.Clone()
	next.graves, next.buried = v.graves.Clone(), v.buried.Clone()
	next.Version = ch.Version
	for _, key := range ch.Delete {
		next.remove(key, ch.Version.Revision)
	}
	for i := range ch.Put {
		next.put(&ch.Put[i])
	}
	next.trim()
	return &next
}

// replace returns the view of a whole state. Within one history it goes on
// remembering what was removed, the gap included, so that nodes need not be
// sent what they have.
func (v *View) replace(ch store.Change) *View {
	next := newView(ch.Version)
	for i := range ch.Put {
		next.put(&ch.Put[i])
	}
	if v == nil || !v.precedes(ch) {
		return next
	}
	next.Horizon = v.Horizon
	v.graves.Ascend(func(g grave) bool {
		next.bury(g.key, g.rev)
		return true
	})
	v.byKey.Ascend(func(r *store.Record) bool {
		next.bury(r.Key, ch.Version.Revision) // if it was removed, then in the gap
		return true
	})
	next.trim()
	return next
}

// precedes reports whether a whole state goes on where v ended. One restored
// from a backup may have the same epoch and a higher revision; but what it
// says of the time before v's version is not what v knows.
func (v *View) precedes(ch store.Change) bool {
	if v.Version.Epoch != ch.Version.Epoch || v.Version.Revision > ch.Version.Revision {
		return false
	}
	for i := range ch.Put {
		r := &ch.Put[i]
		if r.Modified > v.Version.Revision {
			continue
		}
		if known := v.Get(r.Key); known == nil || known.Modified != r.Modified {
			return false
		}
	}
	return true
}

func (v *View) put(r *store.Record) {
	v.forget(r.Key)
	if g, ok := v.buried.Delete(grave{key: r.Key}); ok {
		v.graves.Delete(g)
	}
	v.byKey.ReplaceOrInsert(r)
	v.byRev.ReplaceOrInsert(r)
	if by := indexName(r); by != "" {
		v.index.ReplaceOrInsert(indexed{by: by, record: r})
	}
}

func (v *View) remove(key store.Key, rev store.Revision) {
	if v.forget(key) {
		v.bury(key, rev)
	}
}

// forget takes a record out of every tree, and reports whether it was there.
func (v *View) forget(key store.Key) bool {
	old, ok := v.byKey.Delete(&store.Record{Key: key})
	if !ok {
		return false
	}
	v.byRev.Delete(old)
	// Another record may have taken the index over in the same transaction.
	if by := indexName(old); by != "" {
		if at, ok := v.index.Get(indexed{by: by}); ok && at.record == old {
			v.index.Delete(at)
		}
	}
	return true
}

// bury remembers that a key is gone since rev, unless it exists.
func (v *View) bury(key store.Key, rev store.Revision) {
	if v.Get(key) != nil {
		return
	}
	v.graves.ReplaceOrInsert(grave{key: key, rev: rev})
	v.buried.ReplaceOrInsert(grave{key: key, rev: rev})
}

// trim forgets the oldest removals beyond maxGraves.
func (v *View) trim() {
	for v.graves.Len() > maxGraves {
		g, _ := v.graves.DeleteMin()
		v.buried.Delete(g)
		v.Horizon = max(v.Horizon, g.rev)
	}
}
