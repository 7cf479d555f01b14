package api_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// onEtcd starts two control planes on one etcd.
func onEtcd(t *testing.T) (a, b *plane) {
	t.Helper()
	m, err := embedded.Start(bounded(t), embedded.Config{DataDir: t.TempDir(), Unsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	keeper := func() *etcd.Keeper {
		k, err := m.Keeper(etcd.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return startOver(t, keeper()), startOver(t, keeper())
}

// What holds on a store in memory holds on etcd: reads after writes, one
// winner, claims, pieces, events in order.
func TestOnEtcd(t *testing.T) {
	a, b := onEtcd(t)
	events := b.follow(bounded(t), "", signalboxv1.Kind_KIND_ROUTE)
	rev := a.put(route("a", "/a/")).GetMeta().GetRevision()
	got, err := b.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "a"})
	if err != nil || got.GetRoute().GetMeta().GetRevision() != rev {
		t.Fatalf("wrote %d, read %v, %v", rev, got, err)
	}
	_, err = b.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("b", "/a")})
	if status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a match that is taken: %v", err)
	}

	var won atomic.Int64
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			_, err := []*plane{a, b}[i%2].routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", fmt.Sprint("/a", i)), ExpectedRevision: &rev})
			switch status.Code(err) {
			case codes.OK:
				won.Add(1)
				return nil
			case codes.Aborted:
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil || won.Load() != 1 {
		t.Fatalf("%d of the writers won, %v", won.Load(), err)
	}

	_, err = b.batch(many(64), false)
	refused(t, err, codes.InvalidArgument, "routes")
	all := many(200)
	res, err := b.batch(all, true)
	if err != nil || res.GetWritten() != 200 || len(res.GetResult().GetPieces()) != 4 {
		t.Fatalf("split: %v, %v", res.GetResult(), err)
	}
	swapped := []*signalboxv1.Route{route("r0000", "/r1"), route("r0001", "/r0")}
	if _, err := a.batch(swapped, false); err != nil {
		t.Errorf("swapped: %v", err)
	}
	gone, err := a.routes.BatchDeleteRoutes(bounded(t), &signalboxv1.BatchDeleteRoutesRequest{Names: append([]string{"a"}, names(all)...), Split: true})
	if err != nil || gone.GetRemoved() != 201 {
		t.Errorf("removed %d, %v", gone.GetRemoved(), err)
	}
	if left, _ := b.listed(&signalboxv1.ListRoutesRequest{}); len(left) != 0 {
		t.Errorf("left: %q", left)
	}

	want := []string{"CREATED route/a", "UPDATED route/a"}
	for _, r := range all {
		want = append(want, "CREATED route/"+r.GetName())
	}
	want = append(want, "UPDATED route/r0000", "UPDATED route/r0001", "REMOVED route/a")
	for _, r := range all {
		want = append(want, "REMOVED route/"+r.GetName())
	}
	middle := ""
	for i, w := range want {
		if id := events.says(w).GetId(); i == 100 {
			middle = id
		}
	}
	a.follow(bounded(t), middle).says(want[101:]...)
	a.put(route("new", "/r0")) // every claim was given back
	if again, _ := b.listed(&signalboxv1.ListRoutesRequest{}); !slices.Equal(again, []string{"new"}) {
		t.Errorf("in the end there are %q", again)
	}
}

// So it is with instances: no change of several at once is lost, and what an
// instance was assigned to goes with it.
func TestInstancesOnEtcd(t *testing.T) {
	a, b := onEtcd(t)
	events := b.follow(bounded(t), "", signalboxv1.Kind_KIND_INSTANCE, signalboxv1.Kind_KIND_ASSIGNMENT)
	a.putInstance(instance("a", aServer))
	if got := b.instance("a"); got.GetUrl() != aServer {
		t.Errorf("the other reads %v", got)
	}
	const each = 5
	var g errgroup.Group
	for _, p := range []*plane{a, b} {
		g.Go(func() error {
			for range each {
				req := &signalboxv1.UpdateInstanceRequest{Name: "a", Action: signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART}
				if _, err := p.instances.UpdateInstance(bounded(t), req); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := b.instance("a"); got.GetStarts() != 2*each {
		t.Errorf("after %d restarts it is %v", 2*each, got)
	}
	events.says("CREATED instance/a")
	for range 2 * each {
		events.says("UPDATED instance/a")
	}
	a.assign("a", "n")
	events.says("CREATED assignment/a", "OBSERVED instance/a")
	if _, err := b.instances.DeleteInstance(bounded(t), &signalboxv1.DeleteInstanceRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	events.says("REMOVED assignment/a", "REMOVED instance/a")
}
