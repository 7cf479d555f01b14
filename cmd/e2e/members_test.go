//go:build e2e

// Nodes and etcd members that are killed under writes lose nothing that was
// acknowledged, and hold up nobody.

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// writes starts writes through all control planes. What it returns waits until
// so many more are acknowledged, and ends them and returns the names of all.
func (c *cluster) writes(target string) (more func(int), end func() []string) {
	c.t.Helper()
	ctx, stop := context.WithCancel(c.t.Context())
	w := &writer{}
	var writing sync.WaitGroup
	writing.Go(func() { w.run(ctx, c, target) })
	c.t.Cleanup(func() { stop(); writing.Wait() })
	more = func(n int) {
		c.t.Helper()
		n += w.count()
		eventually(c.t, "writes are acknowledged", func(context.Context) error {
			if got := w.count(); got < n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	return more, func() []string {
		stop()
		writing.Wait()
		c.t.Logf("%d writes acknowledged, %d tries failed meanwhile", w.count(), w.errors)
		return w.acked
	}
}

func TestNodesKilledUnderWritesComeBackToAllOfThem(t *testing.T) {
	c := newCluster(t, 2, 3)
	to := newUpstream(t, "up")
	c.planes[0].rest.post("/steady", to.url)
	steady := c.nodes[2]
	traffic := newLoad(t, "/steady", steady.public)
	more, end := c.writes(to.url)
	api := c.services(0).routes
	for round, dying := range [][]*nodeProcess{{c.nodes[0]}, {c.nodes[1]}, {c.nodes[0], c.nodes[1]}} {
		more(writesPerSecond / 2)
		var ids []string
		for _, n := range dying {
			n.kill()
			ids = append(ids, n.id)
		}
		// Nobody but those who died is waited for in vain.
		name := fmt.Sprintf("round%d", round)
		res, err := api.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{
			Route: route(name, "/"+name, to.url), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(2 * time.Second),
		})
		r := res.GetResult()
		if err != nil || int(r.GetNodesServing()) != len(c.nodes)-len(dying) ||
			slices.ContainsFunc(r.GetLagging(), func(id string) bool { return !slices.Contains(ids, id) }) {
			t.Errorf("while %v are dead, a write that waits answers %v %v", ids, res, err)
		}
		more(writesPerSecond / 2)
		for _, n := range dying {
			n.start()
		}
		for _, n := range dying {
			c.awaitNode(n)
		}
	}
	more(writesPerSecond / 2)
	acked := end()
	c.converge("last", to)
	c.holdsAll(acked, to)
	t.Logf("%d requests went through %s", traffic.stop(t), steady.id)
}

func TestEtcdMembersComeAndGoWhileNodesServe(t *testing.T) {
	c := emptyCluster(t)
	c.startEtcd(3)
	for range 2 {
		c.addPlane().start()
	}
	c.complete(2)
	to := newUpstream(t, "up")
	c.planes[0].rest.post("/steady", to.url)
	traffic := newLoad(t, "/steady", c.nodes[0].public, c.nodes[1].public)
	more, end := c.writes(to.url)
	for i := range c.store { // whichever leads is among them
		more(writesPerSecond / 2)
		member := c.part(fmt.Sprintf("etcd%d", i))
		member.kill()
		more(writesPerSecond / 2)
		member.start()
	}
	more(writesPerSecond / 2)
	acked := end()

	t.Log("most members are gone")
	for _, name := range []string{"etcd0", "etcd1"} {
		c.part(name).kill()
	}
	for i, p := range c.planes {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := c.services(i).routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("refused", "/refused", to.url)})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("without most of etcd's members, %s answers a write with %v", p.id, err)
		}
		if _, err = c.services(i).routes.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: acked[0]}); status.Code(err) != codes.Unavailable {
			t.Errorf("without most of etcd's members, %s answers a read with %v", p.id, err)
		}
		cancel()
	}
	c.served("/"+acked[0], to)

	t.Log("they are back")
	for _, name := range []string{"etcd0", "etcd1"} {
		c.part(name).start()
	}
	c.converge("last", to)
	c.holdsAll(acked, to)
	t.Logf("%d requests went through the nodes", traffic.stop(t))
}
