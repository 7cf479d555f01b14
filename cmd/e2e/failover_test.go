//go:build e2e

// When the control plane that feeds the nodes is killed under writes, no
// acknowledged write is lost, no request fails, and the other one feeds.

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// Where the machine cannot write as fast as that, not all of it is to go
	// into writes that wait.
	turns := make(chan struct{}, writesPerSecond/4)
	var all sync.WaitGroup
	defer all.Wait()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			turns <- struct{}{}
			all.Go(func() {
				defer func() { <-turns }()
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

// busier is which of two control planes feeds more nodes, and which is the
// other. It waits until each node is known to be fed, and by whom.
func (c *cluster) busier() (busier, other int, fedBy map[string]string) {
	c.t.Helper()
	api := c.services(0).nodes
	var feeds map[string]int // how many nodes, by control plane
	eventually(c.t, "all nodes are fed", func(ctx context.Context) error {
		res, err := api.ListNodes(ctx, &signalboxv1.ListNodesRequest{})
		fedBy, feeds = map[string]string{}, map[string]int{}
		for _, n := range res.GetNodes() {
			by := n.GetObserved().GetControlPlane()
			fedBy[n.GetName()] = by
			feeds[by]++
		}
		if err == nil && (feeds[""] > 0 || len(fedBy) != len(c.nodes)) {
			err = fmt.Errorf("%v", fedBy)
		}
		return err
	})
	if feeds[c.planes[1].id] > feeds[c.planes[0].id] {
		return 1, 0, fedBy
	}
	return 0, 1, fedBy
}

func TestAKilledControlPlaneLosesNothing(t *testing.T) {
	c := newCluster(t, 2, 3)
	to := newUpstream(t, "up")
	c.planes[0].rest.post("/steady", to.url)
	traffic := newLoad(t, "/steady", c.nodes[0].public, c.nodes[1].public, c.nodes[2].public)

	// Whoever feeds most of the nodes is the one to die.
	victim, other, fedBy := c.busier()
	more, end := c.writes(to.url)
	more(2 * writesPerSecond)
	survivor := c.services(other).routes
	before := map[string]int{} // lines of the nodes' logs
	for _, n := range c.nodes {
		before[n.id] = len(n.lines())
	}
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
	for _, n := range c.nodes {
		n.switchedAtOnce(before[n.id], fedBy[n.id], c.planes[victim], c.planes[other])
	}
	more(2 * writesPerSecond)
	acked := end()

	c.services(other).put(t, route("last", "/last", to.url))
	c.holdsAll(acked, to)
	t.Logf("%d requests went through the nodes", traffic.stop(t))

	// Who comes back has it all, and nodes know of it.
	c.planes[victim].start()
	c.awaitPlane(c.planes[victim])
	c.planes[victim].rest.post("/back", to.url)
	c.served("/back", to)
}

// switchedAtOnce fails unless a node that was fed by the control plane that died
// asked the other the moment it lost it, and over the stream that it had: what
// waits for nothing takes no time that counts, on any machine. The node's log
// tells, from the line on that it had reached before.
func (n *nodeProcess) switchedAtOnce(from int, fedBy string, dead, other *planeProcess) {
	n.t.Helper()
	var feed []string // what it said of control planes
	says := func(line, what string, p *planeProcess) bool {
		return strings.Contains(line, `msg="`+what+`"`) && strings.Contains(line, " addr="+p.grpc)
	}
	lost := -1
	eventually(n.t, n.id+" loses "+dead.id, func(context.Context) error {
		feed = slices.DeleteFunc(n.lines()[from:], func(line string) bool {
			return !strings.Contains(line, "control plane") && !strings.Contains(line, "to be fed")
		})
		lost = slices.IndexFunc(feed, func(line string) bool { return says(line, "lost control plane", dead) })
		if lost < 0 {
			return errors.New("not yet")
		}
		return nil
	})
	asks := 0
	for i, line := range feed {
		switch {
		case says(line, "asking to be fed", other):
			asks++
			if i != lost+1 {
				n.t.Errorf("%s asked %s to feed it, and not as the first thing after it had lost %s", n.id, other.id, dead.id)
			}
		case strings.Contains(line, " addr="+other.grpc):
			n.t.Errorf("%s had no stream to %s that lasted: %s", n.id, other.id, line)
		}
	}
	if want := map[string]int{dead.id: 1}[fedBy]; asks != want {
		n.t.Errorf("%s, fed by %s, asked %s %d times, want %d", n.id, fedBy, other.id, asks, want)
	}
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
