package api_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/api"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// A brokenStore is a store whose writes fail.
type brokenStore struct {
	*mem.Keeper
	err error
}

func (b brokenStore) Commit(context.Context, store.Txn) (store.Revision, error) {
	return 0, fmt.Errorf("commit: %w", b.err)
}

// failing makes the writes of the API fail.
func failing(st *mem.Keeper, err error) func(*api.Config) {
	return func(c *api.Config) { c.Store = brokenStore{st, err} }
}

// Every write answered is seen by the next read on any control plane.
func TestReadYourWrites(t *testing.T) {
	st := mem.New()
	planes := []*plane{start(t, st), start(t, st.Another())}
	for i := range 300 {
		wrote, read := planes[i%2], planes[(i+1)%2]
		name := fmt.Sprint("r", i%7)
		rev := wrote.put(route(name, "/"+name)).GetMeta().GetRevision()
		got, err := read.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: name})
		if err != nil || got.GetRoute().GetMeta().GetRevision() != rev {
			t.Fatalf("wrote %d, read %v, %v", rev, got, err)
		}
		if i%7 != 6 {
			continue
		}
		if _, err := read.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		if _, err := wrote.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: name}); status.Code(err) != codes.NotFound {
			t.Fatalf("removed, and read: %v", err)
		}
	}
}

// Of writers that expect the same revision exactly one wins, whichever control
// planes they use.
func TestRacingWriters(t *testing.T) {
	st := mem.New()
	planes := []*plane{start(t, st), start(t, st.Another())}
	rev := planes[0].put(route("a", "/a")).GetMeta().GetRevision()
	for range 20 {
		var won atomic.Int64
		var newest atomic.Int64
		var g errgroup.Group
		for i := range 8 {
			g.Go(func() error {
				res, err := planes[i%2].routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", "/a"), ExpectedRevision: &rev})
				switch status.Code(err) {
				case codes.OK:
					won.Add(1)
					newest.Store(res.GetRoute().GetMeta().GetRevision())
				case codes.Aborted:
				default:
					return err
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil || won.Load() != 1 {
			t.Fatalf("%d of the writers won, %v", won.Load(), err)
		}
		rev = newest.Load()
	}
}

// Writers that expect nothing all get through, and of routes that want one
// match one gets it.
func TestRacingWithoutExpectations(t *testing.T) {
	st := mem.New()
	planes := []*plane{start(t, st), start(t, st.Another())}
	var g errgroup.Group
	for i := range 10 {
		g.Go(func() error {
			_, err := planes[i%2].routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", fmt.Sprint("/a", i%3))})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	var won atomic.Int64
	for i := range 10 {
		g.Go(func() error {
			_, err := planes[i%2].routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route(fmt.Sprint("b", i), "/b")})
			switch status.Code(err) {
			case codes.OK:
				won.Add(1)
				return nil
			case codes.AlreadyExists:
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil || won.Load() != 1 {
		t.Errorf("%d routes have one match, %v", won.Load(), err)
	}
}

// A countingStore counts what the API asks of a store, and hands changes on
// only when it is told to, or asked for the head: as one that lags.
type countingStore struct {
	*mem.Keeper
	heads, commits atomic.Int64
	mu             sync.Mutex
	open           chan struct{} // closed while changes are handed on
}

func (c *countingStore) Head(ctx context.Context) (store.Version, error) {
	c.heads.Add(1)
	c.let(true)
	return c.Keeper.Head(ctx)
}

func (c *countingStore) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	c.commits.Add(1)
	return c.Keeper.Commit(ctx, txn)
}

func (c *countingStore) Follow(ctx context.Context, apply func(store.Change) error) error {
	return c.Keeper.Follow(ctx, func(ch store.Change) error {
		c.mu.Lock()
		open := c.open
		c.mu.Unlock()
		select {
		case <-open:
			return apply(ch)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// let hands changes on, or holds them back.
func (c *countingStore) let(through bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	isOpen := false
	select {
	case <-c.open:
		isOpen = true
	default:
	}
	switch {
	case through && !isOpen:
		close(c.open)
	case !through && isOpen:
		c.open = make(chan struct{})
	}
}

// lagging starts a control plane whose view can be held back.
func lagging(t *testing.T, st *mem.Keeper, change ...func(*api.Config)) (*plane, *countingStore) {
	c := &countingStore{Keeper: st.Another(), open: make(chan struct{})}
	c.let(true)
	return startOver(t, c, change...), c
}

// A write costs one round trip, unless somebody else wrote the same record
// meanwhile.
func TestRoundTrips(t *testing.T) {
	st := mem.New()
	other := start(t, st)
	p, c := lagging(t, st)
	wait := func() {
		if _, err := p.replica.Current(bounded(t)); err != nil {
			t.Fatal(err)
		}
		c.heads.Store(0)
		c.commits.Store(0)
	}
	cost := func(what string, commits, heads int64) {
		t.Helper()
		if c.commits.Load() != commits || c.heads.Load() != heads {
			t.Errorf("%s: %d commits and %d heads, want %d and %d", what, c.commits.Load(), c.heads.Load(), commits, heads)
		}
	}
	wait()
	p.put(route("a", "/a"))
	cost("a new route", 1, 0)
	wait()
	p.put(route("a", "/a2"))
	cost("a route that moves", 1, 0)
	wait()
	if _, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	cost("a removal", 1, 0)

	wait()
	c.let(false)
	other.put(route("a", "/a3"))
	p.put(route("a", "/a4"))
	cost("a route that another wrote meanwhile", 2, 1)
	wait()
	c.let(false)
	other.put(route("b", "/b"))
	_, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("c", "/b")})
	if status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("a match that another took meanwhile: %v", err)
	}
	cost("that", 1, 1)
	wait()
	c.let(false)
	if _, err := other.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	p.put(route("c", "/b"))
	cost("a match that was given up meanwhile", 1, 1)
	wait()
	c.let(false)
	other.put(route("d", "/d"))
	if _, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "d"}); err != nil {
		t.Errorf("a route that another wrote meanwhile could not be removed: %v", err)
	}
	wait()
	c.let(false)
	other.put(route("e", "/e"))
	if res, err := p.routes.BatchDeleteRoutes(bounded(t), &signalboxv1.BatchDeleteRoutesRequest{Names: []string{"c", "e"}}); err != nil || res.GetRemoved() != 2 {
		t.Errorf("of two routes, one written by another meanwhile: %v, %v", res, err)
	}
}

// A replica that does not catch up is no reason to answer what is old.
func TestBehind(t *testing.T) {
	st := mem.New()
	other := start(t, st)
	stuck := replica.New(st, quiet()) // not running
	p := start(t, st.Another(), func(c *api.Config) { c.Replica, c.StoreTimeout = stuck, time.Millisecond })
	other.put(route("a", "/a"))
	_, err := p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "a"})
	refused(t, err, codes.Unavailable)
	_, err = p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", "/a")})
	refused(t, err, codes.Unavailable)
	if got := reason(err); got != "NOTHING_WRITTEN" {
		t.Errorf("a write that was not sent gives the reason %q", got)
	}
}
