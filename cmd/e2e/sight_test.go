//go:build e2e

// What nodes say of themselves is told right by every control plane, also after
// they were frozen, killed and cut off; and a node that has vanished is lost,
// never live.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A sighting is how a node should be seen.
type sighting struct {
	state      signalboxv1.NodeState
	behind     int64
	rejections int
	// since is when it was last heard at the earliest, or until at the latest.
	since, until time.Time
}

// seen waits until every control plane that runs sees a node so, by itself and
// in the list. Where it is lost, no control plane calls it anything else once
// one has, as long as the test looks.
func (c *cluster) seen(n *nodeProcess, as sighting) {
	c.t.Helper()
	began := time.Now()
	defer func() { c.t.Logf("%s is seen as %v by all after %.1f s", n.id, as.state, time.Since(began).Seconds()) }()
	for round := range 2 {
		for i, p := range c.planes {
			if !p.running() {
				continue
			}
			api := c.services(i).nodes
			look := func(ctx context.Context) error {
				one, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: n.id})
				if err != nil {
					return err
				}
				if err := as.fits(one.GetNode().GetObserved()); err != nil {
					return err
				}
				all, err := api.ListNodes(ctx, &signalboxv1.ListNodesRequest{})
				if err != nil {
					return err
				}
				for _, listed := range all.GetNodes() {
					if listed.GetName() == n.id {
						return as.fits(listed.GetObserved())
					}
				}
				return errors.New("it is not listed")
			}
			what := fmt.Sprintf("%s sees %s as it is", p.id, n.id)
			if round == 0 {
				eventually(c.t, what, look)
			} else if err := look(c.t.Context()); err != nil {
				c.t.Errorf("once it was seen by all, not: %s: %v", what, err)
			}
		}
	}
}

// fits holds what is seen against how it should be.
func (s sighting) fits(o *signalboxv1.NodeObserved) error {
	live := s.state == signalboxv1.NodeState_NODE_STATE_LIVE
	last := o.GetLastContact().AsTime()
	switch {
	case o.GetState() != s.state:
		return fmt.Errorf("state %v, want %v", o.GetState(), s.state)
	case o.GetBehind() != s.behind:
		return fmt.Errorf("%d behind, want %d, serving %v", o.GetBehind(), s.behind, o.GetServing())
	case len(o.GetRejections()) != s.rejections:
		return fmt.Errorf("it rejects %v, want %d", o.GetRejections(), s.rejections)
	case o.GetReady() != live:
		return fmt.Errorf("ready is %v, of a node that is %v", o.GetReady(), o.GetState())
	case live != (o.GetControlPlane() != ""):
		return fmt.Errorf("fed by %q, and %v", o.GetControlPlane(), o.GetState())
	case o.GetSoftwareVersion() == "":
		return errors.New("no software version")
	case last.After(time.Now()):
		return fmt.Errorf("last heard at %v, which is to come", last)
	case !s.since.IsZero() && last.Before(s.since):
		return fmt.Errorf("last heard at %v, want since %v", last, s.since)
	case !s.until.IsZero() && last.After(s.until):
		return fmt.Errorf("last heard at %v, want until %v", last, s.until)
	}
	return nil
}

func TestEveryControlPlaneSeesNodesAsTheyAre(t *testing.T) {
	const live, lost = signalboxv1.NodeState_NODE_STATE_LIVE, signalboxv1.NodeState_NODE_STATE_LOST
	c := emptyCluster(t)
	c.startEtcd(1)
	var wires []*wire
	for range 2 {
		w := newWire(t, "")
		p := c.addPlane("--advertise", w.addr, "--lease-ttl", "2s")
		w.to, p.told = p.grpc, w.addr
		wires = append(wires, w)
		p.start()
	}
	c.complete(2)
	to := newUpstream(t, "up")
	api := c.services(0)
	api.put(t, route("r", "/r", to.url))
	victim, other := c.nodes[0], c.nodes[1]
	for _, n := range c.nodes {
		c.seen(n, sighting{state: live})
	}

	t.Log("a node is frozen, and misses three changes")
	victim.signal(syscall.SIGSTOP)
	frozen := time.Now()
	for i := range 3 {
		if _, err := api.routes.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{Route: route(fmt.Sprint("missed", i), fmt.Sprint("/missed", i), to.url)}); err != nil {
			t.Fatal(err)
		}
	}
	c.seen(other, sighting{state: live, since: frozen})
	c.seen(victim, sighting{state: lost, behind: 3, until: frozen.Add(time.Second)})
	thawed := time.Now()
	victim.signal(syscall.SIGCONT)
	c.seen(victim, sighting{state: live, since: thawed})

	t.Log("a node is killed that rejects a record, and comes back from its file")
	if res := api.put(t, route("bad", "/bad", socketURL)); len(res.GetRejections()) != 2 {
		t.Fatalf("got %v", res)
	}
	c.seen(victim, sighting{state: live, rejections: 1})
	victim.kill()
	killed := time.Now()
	c.seen(victim, sighting{state: lost, rejections: 1, until: killed.Add(time.Second)})
	victim.start()
	c.seen(victim, sighting{state: live, rejections: 1, since: killed})

	t.Log("a control plane is killed and comes back, knowing nothing")
	for i, p := range c.planes {
		p.kill()
		for _, n := range c.nodes {
			c.seen(n, sighting{state: live, rejections: 1})
		}
		p.start()
		c.awaitPlane(c.planes[i])
		for _, n := range c.nodes {
			c.seen(n, sighting{state: live, rejections: 1})
		}
	}

	t.Log("all nodes are cut off")
	for _, w := range wires {
		w.sever()
	}
	cut := time.Now()
	c.write(1, route("unseen", "/unseen", to.url))
	for _, n := range c.nodes {
		c.seen(n, sighting{state: lost, behind: 1, rejections: 1, until: cut.Add(time.Second)})
	}
	mended := time.Now()
	for _, w := range wires {
		w.mend()
	}
	for _, n := range c.nodes {
		c.seen(n, sighting{state: live, rejections: 1, since: mended})
	}

	t.Log("what was refused is made good")
	c.services(0).put(t, route("bad", "/bad", to.url))
	for _, n := range c.nodes {
		c.seen(n, sighting{state: live})
	}
}
