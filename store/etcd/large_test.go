package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
	"signalbox/store/storetest"
)

func TestAHundredThousandRoutes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	const routes, some = 100_000, 100
	m := member(t, embedded.Config{})
	inside, err := m.Keeper(etcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range routes / some {
		var txn store.Txn
		for j := range some {
			txn.Put = append(txn.Put, storetest.Route(fmt.Sprintf("user/%06d", i*some+j), "10.0.0.1:8888"))
		}
		commit(t, inside, txn)
	}
	k := open(t, etcd.Config{Endpoints: m.ClientAddrs()})
	v := head(t, k)
	begun := time.Now()
	late := follow(t, k)
	late.first()
	t.Logf("%d routes were read in %v", routes, time.Since(begun))
	if len(late.routes) != routes || late.version != v {
		t.Errorf("who came late has %d routes at %+v, want those at %+v", len(late.routes), late.version, v)
	}
	rev := commit(t, k, route("one more", "one"))
	late.reach(store.Version{Epoch: v.Epoch, Revision: rev})
	if len(late.routes) != routes+1 || late.wholes != 1 {
		t.Errorf("after one more there are %d routes, of %d whole states", len(late.routes), late.wholes)
	}
}

// The first page holds the largest records there are, and small ones: later
// pages are then small too, but all is there.
func TestLargeRecordsAreListedInSmallPages(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	k := open(t, etcd.Config{Endpoints: m.ClientAddrs()})
	const large, small = 8, 1000
	for i := range large {
		commit(t, k, dataRoute(fmt.Sprintf("a%02d", i), store.MaxBytes-1000))
	}
	var txn store.Txn
	for i := range small {
		if txn.Put = append(txn.Put, storetest.Route(fmt.Sprintf("b%04d", i), "one")); len(txn.Put) == 100 {
			commit(t, k, txn)
			txn = store.Txn{}
		}
	}
	tb := follow(t, k)
	tb.first()
	if len(tb.routes) != large+small || tb.version != head(t, k) {
		t.Errorf("listed %d of %d routes at %+v", len(tb.routes), large+small, tb.version)
	}
}

// dataRoute returns a transaction that writes a route with so much data.
func dataRoute(name string, size int) store.Txn {
	r := storetest.Route(name, "one")
	r.Message.(*signalboxv1.Route).Data = strings.Repeat("d", size)
	return store.Txn{Put: []store.Record{r}}
}

// A follower that is slow, and not disconnected, while more is written than
// lies ready for it, and then compacted away: the connection holds at most
// 16 MiB, which 25 large changes exceed, and etcd 128 changes behind those.
func TestASlowFollowerIsGivenAWholeState(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	k := open(t, etcd.Config{Endpoints: m.ClientAddrs()})
	commit(t, k, store.Txn{Put: []store.Record{storetest.Route("gone", "one"), storetest.Route("a", "one")}})

	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	started, stuck, resume := make(chan struct{}), make(chan struct{}), make(chan struct{})
	tb := &table{t: t}
	reached := errors.New("reached")
	var last store.Revision
	done := make(chan error)
	go func() {
		done <- k.Follow(ctx, func(c store.Change) error {
			tb.apply(c)
			switch {
			case tb.wholes == 1 && c.Whole:
				close(started)
			case tb.routes["a"] == "http://two":
				close(stuck)
				<-resume
			}
			if last != 0 && c.Version.Revision >= last {
				return reached
			}
			return nil
		})
	}()
	// Only then is it the watch that it is behind with, and not the list.
	<-started
	commit(t, k, route("a", "two"))
	<-stuck
	for range 25 {
		commit(t, k, dataRoute("a", store.MaxBytes-1000))
	}
	for range 200 {
		commit(t, k, route("a", "one"))
	}
	commit(t, k, store.Txn{Delete: []store.Key{{Kind: store.KindRoute, Name: "gone"}}})
	last = commit(t, k, route("a", "three"))
	compact(t, m)
	close(resume)
	if err := <-done; !errors.Is(err, reached) {
		t.Fatalf("the follower: %v", err)
	}
	if tb.wholes != 2 || len(tb.routes) != 1 || tb.routes["a"] != "http://three" {
		t.Errorf("after %d whole states the follower has %v", tb.wholes, tb.routes)
	}
}
