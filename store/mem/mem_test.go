package mem_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"signalbox/store"
	"signalbox/store/mem"
	"signalbox/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPromises(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Subject {
		k := mem.New()
		return storetest.Subject{
			Keeper:  k,
			Other:   k.Another(),
			Compact: func(*testing.T) { k.Compact() },
			PutRaw:  func(_ *testing.T, key store.Key, value []byte) { k.PutRaw(key, value) },
			Cut:     func(*testing.T) { k.SetAvailable(false) },
			Mend:    func(*testing.T) { k.SetAvailable(true) },
		}
	})
}

// route is a transaction that writes one route.
func route(name string) store.Txn {
	return store.Txn{Put: []store.Record{storetest.Route(name, "one")}}
}

// versions follows k and returns the versions of what it is given, whole
// states as such; the follower waits for each to be taken.
func versions(t *testing.T, k *mem.Keeper) <-chan store.Change {
	changes := make(chan store.Change)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = k.Follow(ctx, func(c store.Change) error {
			select {
			case changes <- c:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	t.Cleanup(func() { stop(); <-done })
	return changes
}

func TestARestoredStoreIsANewEpoch(t *testing.T) {
	k := mem.New()
	first, _ := k.Commit(t.Context(), route("a"))
	backup := k.Backup()
	changes := versions(t, k)
	before := <-changes
	if _, err := k.Commit(t.Context(), route("b")); err != nil {
		t.Fatal(err)
	}
	<-changes

	k.Restore(backup)
	c := <-changes
	if !c.Whole || c.Version.Epoch == before.Version.Epoch || c.Version.Revision != first || len(c.Put) != 1 {
		t.Errorf("after the restore came %+v", c)
	}
	if v, err := k.Head(t.Context()); err != nil || v != c.Version {
		t.Errorf("head is %+v, %v", v, err)
	}
	rev, _ := k.Commit(t.Context(), route("c"))
	if c := <-changes; c.Whole || c.Version.Revision != rev {
		t.Errorf("then came %+v, committed at %d", c, rev)
	}
}

func TestOnlyTheNewestChangesAreKept(t *testing.T) {
	k := mem.Config{History: 2}.New()
	changes := versions(t, k)
	<-changes
	var last store.Revision
	for range 20 { // the follower waits with the first of them, at the latest
		last, _ = k.Commit(t.Context(), route("a"))
	}
	for n := 0; ; n++ {
		c := <-changes
		if c.Whole {
			return
		}
		if c.Version.Revision == last {
			t.Fatalf("after %d changes without a whole state the follower is at the end", n)
		}
	}
}

func TestOneWayIsCutOffAndTheOtherIsNot(t *testing.T) {
	k := mem.New()
	other := k.Another()
	k.SetAvailable(false)
	if _, err := k.Commit(t.Context(), route("a")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("cut off: %v", err)
	}
	if _, err := other.Commit(t.Context(), route("a")); err != nil {
		t.Errorf("not cut off: %v", err)
	}
}
