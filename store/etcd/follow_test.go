package etcd_test

import (
	"context"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/storetest"
)

// A table is what a follower has put together, for tests that look at it from
// outside; its follower never waits for the test.
type table struct {
	t       *testing.T
	changes chan store.Change

	version store.Version
	routes  map[string]string // upstream by name
	wholes  int               // how many whole states came
}

// follow follows a keeper until the test ends.
func follow(t *testing.T, k *etcd.Keeper) *table {
	tb := &table{t: t, changes: make(chan store.Change, 100_000)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = k.Follow(ctx, func(c store.Change) error {
			tb.changes <- c
			return nil
		})
	}()
	t.Cleanup(func() { stop(); <-done })
	return tb
}

// until applies changes until ok says that it is enough.
func (tb *table) until(what string, ok func() bool) {
	tb.t.Helper()
	patience := time.After(30 * time.Second)
	for !ok() {
		select {
		case c := <-tb.changes:
			tb.apply(c)
		case <-patience:
			tb.t.Fatalf("%s: not within 30 s; the table is at %+v", what, tb.version)
		}
	}
}

// reach applies changes until the table is at a version or later.
func (tb *table) reach(v store.Version) {
	tb.t.Helper()
	tb.until("reach", func() bool { return tb.version.Epoch == v.Epoch && tb.version.Revision >= v.Revision })
}

// first applies the first whole state.
func (tb *table) first() {
	tb.t.Helper()
	tb.until("first", func() bool { return tb.wholes > 0 })
}

func (tb *table) apply(c store.Change) {
	tb.t.Helper()
	if c.Whole {
		tb.wholes++
		tb.routes = map[string]string{}
	} else if c.Version.Epoch != tb.version.Epoch || c.Version.Revision <= tb.version.Revision {
		tb.t.Errorf("after %+v came a change to %+v", tb.version, c.Version)
	}
	tb.version = c.Version
	for _, r := range c.Put {
		tb.routes[r.Name] = r.Message.(*signalboxv1.Route).GetUpstreams()[0].GetUrl()
	}
	for _, k := range c.Delete {
		delete(tb.routes, k.Name)
	}
}

func route(name, to string) store.Txn {
	return store.Txn{Put: []store.Record{storetest.Route(name, to)}}
}

func commit(t *testing.T, k *etcd.Keeper, txn store.Txn) store.Revision {
	t.Helper()
	rev, err := k.Commit(t.Context(), txn)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return rev
}

func head(t *testing.T, k *etcd.Keeper) store.Version {
	t.Helper()
	v, err := k.Head(t.Context())
	if err != nil {
		t.Fatalf("head: %v", err)
	}
	return v
}
