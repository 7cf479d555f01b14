//go:build e2e

// When the control plane that feeds the nodes is killed under writes, no
// acknowledged write is lost, no request fails, and the other one feeds.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// writesPerSecond is what is written while a control plane dies.
const writesPerSecond = 200

// A writer writes routes until it is stopped, each once, to one control plane
// or, when that does not answer, to the other, and keeps the names of those
// that were acknowledged.
type writer struct {
	mu     sync.Mutex
	acked  []string
	errors int
}

// write writes a route by whichever control plane takes it.
func (w *writer) write(ctx context.Context, planes []*planeProcess, i int, target string) {
	name := fmt.Sprintf("w/%d", i)
	body := fmt.Sprintf(`{"route":{"name":%q,"match":{"pathPrefix":"/%s"},"upstreams":[{"url":%q}]}}`, name, name, target)
	for try := 0; ctx.Err() == nil; try++ {
		a, err := planes[(i+try)%len(planes)].rest.try(ctx, "POST", "/v1/routes", body)
		w.mu.Lock()
		if err == nil && a.status == 200 {
			w.acked = append(w.acked, name)
			w.mu.Unlock()
			return
		}
		w.errors++
		w.mu.Unlock()
	}
}

// run writes at writesPerSecond until ctx ends, and lets the last writes end.
func (w *writer) run(ctx context.Context, c *cluster, target string) {
	tick := time.NewTicker(time.Second / writesPerSecond)
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
				defer cancel()
				w.write(ctx, c.planes, i, target)
			})
		case <-ctx.Done():
			return
		}
	}
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// feeders counts the nodes that each control plane feeds.
func (c *cluster) feeders(plane int) map[string]int {
	c.t.Helper()
	res, err := c.services(plane).nodes.ListNodes(c.t.Context(), &signalboxv1.ListNodesRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	fed := map[string]int{}
	for _, n := range res.GetNodes() {
		fed[n.GetObserved().GetControlPlane()]++
	}
	return fed
}

func TestAKilledControlPlaneLosesNothing(t *testing.T) {
	c := newCluster(t, 2, 3)
	to := newUpstream(t, "up")
	c.planes[0].rest.post("/steady", to.url)
	traffic := newLoad(t, "/steady", c.nodes[0].public, c.nodes[1].public, c.nodes[2].public)

	// Whoever feeds most of the nodes is the one to die.
	victim, other := 0, 1
	if fed := c.feeders(0); fed[c.planes[1].id] > fed[c.planes[0].id] {
		victim, other = 1, 0
	}
	ctx, stop := context.WithCancel(t.Context())
	w := &writer{}
	var writing sync.WaitGroup
	writing.Go(func() { w.run(ctx, c, to.url) })
	atLeast := func(n int) {
		t.Helper()
		eventually(t, "writes are acknowledged", func(context.Context) error {
			if got := w.count(); got < n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	atLeast(2 * writesPerSecond)
	survivor := c.services(other).routes
	c.planes[victim].kill()

	began := time.Now()
	res, err := survivor.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{
		Route: route("after", "/after", to.url), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience),
	})
	took := time.Since(began)
	if r := res.GetResult(); err != nil || r.GetNodesServing() != 3 || r.GetNodesLive() != 3 {
		t.Fatalf("the first write that waits for the nodes: %v %v", res, err)
	}
	t.Logf("the other control plane feeds all nodes %v after the first was killed", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("that is too long")
	}
	atLeast(w.count() + 2*writesPerSecond)
	stop()
	writing.Wait()
	t.Logf("%d writes acknowledged, %d tries failed meanwhile", w.count(), w.errors)

	c.services(other).put(t, route("last", "/last", to.url))
	c.holdsAll(w.acked, to)
	t.Logf("%d requests went through the nodes", traffic.stop(t))

	// Who comes back has it all, and nodes know of it.
	c.planes[victim].start()
	c.awaitPlane(c.planes[victim])
	c.planes[victim].rest.post("/back", to.url)
	c.served("/back", to)
}

// holdsAll fails unless every name is a route in the store, in every node's
// table, and served by it.
func (c *cluster) holdsAll(names []string, from *upstream) {
	c.t.Helper()
	stored := map[string]bool{}
	for _, p := range c.planes {
		if !p.running() {
			continue
		}
		var page struct {
			Routes        []struct{ Route struct{ Name string } }
			NextPageToken string
		}
		if err := json.Unmarshal([]byte(p.rest.want(200, "GET", "/v1/routes?page_size=5000", "").body), &page); err != nil || page.NextPageToken != "" {
			c.t.Fatalf("%v, another page %q", err, page.NextPageToken)
		}
		for _, r := range page.Routes {
			stored[r.Route.Name] = true
		}
		for _, name := range names {
			if !stored[name] {
				c.t.Errorf("%s was acknowledged, and %s does not have it", name, p.id)
			}
		}
	}
	for _, n := range c.nodes {
		for _, name := range names {
			a, err := c.get(c.t.Context(), n, "/"+name)
			if err != nil || a.body != from.name+" took 0\n" {
				c.t.Errorf("%s was acknowledged, and through %s it is %d %q %v", name, n.id, a.status, a.body, err)
			}
		}
	}
}
