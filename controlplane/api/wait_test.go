package api_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/controlplane/observe"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

// A member is a node as far as its control plane can tell.
type member struct {
	t    *testing.T
	p    *plane
	link *observe.Link
}

// join adds a live node that serves the present version.
func (p *plane) join(t *testing.T, name string) *member {
	t.Helper()
	link, err := p.nodes.Join(&signalboxv1.Hello{Node: name, Epoch: 1, SoftwareVersion: "v1", Labels: map[string]string{"zone": "a"}, Ready: true})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t, p, link}
	view, err := p.replica.Current(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	m.ack(int64(view.Version.Revision))
	return m
}

// ack says that the node serves a revision, refusing some records.
func (m *member) ack(rev int64, rejections ...*signalboxv1.Rejection) {
	m.t.Helper()
	view, _ := m.p.replica.Now()
	m.link.Ack(&signalboxv1.Ack{
		Version: &signalboxv1.Version{Epoch: view.Version.Epoch, Revision: rev}, Rejections: rejections, Ready: true,
	})
}

// follow acknowledges every version as it comes, until the test ends.
func (m *member) follow(refuse func() []*signalboxv1.Rejection) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			view, next := m.p.replica.Now()
			m.ack(int64(view.Version.Revision), refuse()...)
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	}()
	m.t.Cleanup(func() {
		stop()
		<-done
	})
}

func noRefusals() []*signalboxv1.Rejection { return nil }

// A write that waits says how many live nodes serve it.
func TestWaitForNodes(t *testing.T) {
	p := start(t, mem.New())
	p.join(t, "a").follow(noRefusals)
	p.join(t, "b").follow(noRefusals)
	for _, r := range []*signalboxv1.Route{route("a", "/a"), route("b", "/b")} {
		res, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: r, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(30 * time.Second)})
		if w := res.GetResult(); err != nil || w.GetNodesLive() != 2 || w.GetNodesServing() != 2 || len(w.GetLagging()) != 0 {
			t.Fatalf("PutRoute = %v, %v", res, err)
		}
	}
	res, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a", Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(30 * time.Second)})
	if w := res.GetResult(); err != nil || w.GetNodesServing() != 2 {
		t.Errorf("DeleteRoute = %v, %v", res, err)
	}
}

// A node that misses a wait is named, and is not waited for again until it has
// caught up. The write stands.
func TestLaggingNode(t *testing.T) {
	p := start(t, mem.New())
	p.join(t, "quick").follow(noRefusals)
	slow := p.join(t, "slow")
	put := func(timeout time.Duration) *signalboxv1.WriteResult {
		t.Helper()
		res, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", "/a"), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(timeout)})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetResult()
	}
	res := put(time.Second)
	if !slices.Contains(res.GetLagging(), "slow") || res.GetNodesLive() != 2 {
		t.Errorf("missed: %v", res)
	}
	// The quick node may have missed the second as well. It catches up,
	// and is waited for again.
	over := bounded(t)
	for res = put(30 * time.Second); len(res.GetLagging()) == 2 && over.Err() == nil; {
		res = put(30 * time.Second)
	}
	if !slices.Equal(res.GetLagging(), []string{"slow"}) || res.GetNodesServing() != 1 {
		t.Errorf("not waited for: %v", res)
	}
	slow.ack(res.GetVersion().GetRevision())
	slow.follow(noRefusals)
	if res = put(30 * time.Second); len(res.GetLagging()) != 0 || res.GetNodesServing() != 2 {
		t.Errorf("caught up: %v", res)
	}
	if res := p.put(route("b", "/b")); res == nil {
		t.Error("a write that does not wait")
	}
}

// Without a wait the answer says how things stand when it is given.
func TestNoWait(t *testing.T) {
	p := start(t, mem.New())
	p.join(t, "slow")
	res, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", "/a")})
	if w := res.GetResult(); err != nil || w.GetNodesLive() != 1 || w.GetNodesServing() != 0 || !slices.Equal(w.GetLagging(), []string{"slow"}) {
		t.Errorf("PutRoute = %v, %v", res, err)
	}
	next, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("b", "/b"), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(0)})
	if w := next.GetResult(); err != nil || !slices.Equal(w.GetLagging(), []string{"slow"}) {
		t.Errorf("a wait of no time: %v, %v", next, err)
	}
}

// A write that waits tells which nodes had to leave the record out, and why.
func TestRejections(t *testing.T) {
	p := start(t, mem.New())
	p.join(t, "picky").follow(func() []*signalboxv1.Rejection {
		view, _ := p.replica.Now()
		r := view.Get(routeStoreKey("a"))
		if r == nil {
			return nil
		}
		return []*signalboxv1.Rejection{{Kind: signalboxv1.Kind_KIND_ROUTE, Name: "a", Revision: int64(r.Modified), Reason: "no"}}
	})
	check := func(what string, w *signalboxv1.WriteResult, err error) {
		t.Helper()
		if err != nil || len(w.GetRejections()) != 1 || w.GetRejections()[0].GetNode() != "picky" || w.GetRejections()[0].GetReason() != "no" {
			t.Errorf("%s: %v, %v", what, w, err)
		}
	}
	wait := durationpb.New(30 * time.Second)
	one, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", "/a"), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: wait})
	check("one", one.GetResult(), err)
	many, err := p.routes.BatchPutRoutes(bounded(t), &signalboxv1.BatchPutRoutesRequest{
		Routes: []*signalboxv1.Route{route("b", "/b"), route("a", "/a")}, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: wait,
	})
	check("a batch", many.GetResult(), err)
	n, err := p.wanted.GetNode(bounded(t), &signalboxv1.GetNodeRequest{Name: "picky"})
	if err != nil || len(n.GetNode().GetObserved().GetRejections()) != 1 {
		t.Errorf("GetNode = %v, %v", n, err)
	}
}

// A caller that goes away while it waits takes nothing back.
func TestCallerGone(t *testing.T) {
	p := start(t, mem.New())
	p.join(t, "slow")
	ctx, leave := context.WithCancel(bounded(t))
	failed := make(chan error, 1)
	go func() {
		_, err := p.routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("a", "/a"), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(time.Minute)})
		failed <- err
	}()
	for {
		view, next := p.replica.Now()
		if view.Get(routeStoreKey("a")) != nil {
			break
		}
		<-next
	}
	leave()
	refused(t, <-failed, codes.Canceled)
	if _, err := p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "a"}); err != nil {
		t.Errorf("GetRoute = %v", err)
	}
}
