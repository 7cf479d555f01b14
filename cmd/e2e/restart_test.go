//go:build e2e

// Nodes outlive everything else, and whatever the order in which the parts
// come back, they converge.

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// part is a process of the cluster by its name.
func (c *cluster) part(name string) *process {
	for _, p := range c.all {
		if p.name == name {
			return p
		}
	}
	c.t.Fatalf("there is no %s", name)
	return nil
}

// converge writes through every control plane until the write is served by
// all nodes.
func (c *cluster) converge(name string, to *upstream) {
	c.t.Helper()
	for i, p := range c.planes {
		path := fmt.Sprintf("/%s/%d", name, i)
		api := c.services(i).routes
		eventually(c.t, "a write through "+p.id+" is served by all", func(ctx context.Context) error {
			res, err := api.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route(strings.Trim(path, "/"), path, to.url), Wait: signalboxv1.Wait_WAIT_NODES})
			if err == nil && int(res.GetResult().GetNodesServing()) != len(c.nodes) {
				err = fmt.Errorf("%v", res.GetResult())
			}
			return err
		})
		c.served(path, to)
	}
}

func TestPartsRestartInAnyOrder(t *testing.T) {
	c := newCluster(t, 2, 3)
	to := newUpstream(t, "up")
	c.converge("first", to)
	traffic := newLoad(t, "/first/0", c.nodes[0].public, c.nodes[1].public)
	rest := []string{"etcd", "cp0", "cp1"}
	for i, order := range [][]string{
		{"etcd", "cp0", "cp1"},
		{"cp1", "cp0", "etcd"},
		{"cp0", "etcd", "cp1", "node2"}, // which dies too, last
		{"node2", "cp1", "etcd", "cp0"},
	} {
		name := strings.Join(order, "-")
		for _, part := range append(rest, order...) {
			if p := c.part(part); p.running() {
				p.kill()
			}
		}
		for _, n := range c.nodes[:2] {
			if a, err := c.get(t.Context(), n, "/first/1"); err != nil || a.status != 200 {
				t.Errorf("%s, with everything else gone: %d %q %v", n.id, a.status, a.body, err)
			}
		}
		for _, part := range order {
			c.part(part).start()
		}
		c.converge(fmt.Sprintf("round%d", i), to)
		c.served("/first/0", to)
		t.Logf("back in the order %s", name)
	}
	t.Logf("%d requests went through two nodes meanwhile", traffic.stop(t))
}

func TestANodeStartsFromItsFileWhenNobodyAnswers(t *testing.T) {
	c := newCluster(t, 1, 1)
	forgetful := c.addNode(false)
	forgetful.start()
	c.awaitNode(forgetful)
	c.awaitLive()
	keeping := c.nodes[0]
	to := newUpstream(t, "up")
	for i := range 50 {
		c.planes[0].rest.post(fmt.Sprintf("/r/%d", i), to.url)
	}
	c.planes[0].rest.want(http.StatusNoContent, "DELETE", "/api/routes/r/7", "")

	// The file is written a moment after the table changed. A kill that does
	// not wait for it would only lose that moment; here nothing may be lost.
	if code := keeping.stop(15); code != 0 {
		t.Errorf("asked to end, the node exits with %d", code)
	}
	keeping.start()
	c.awaitNode(keeping)
	c.planes[0].kill()
	forgetful.kill()
	keeping.kill()
	keeping.start()
	forgetful.start()

	c.awaitNode(keeping)
	for i := range 50 {
		want := http.StatusOK
		if i == 7 {
			want = http.StatusNotFound
		}
		if a, err := c.get(t.Context(), keeping, fmt.Sprintf("/r/%d", i)); err != nil || a.status != want {
			t.Errorf("route %d from the file: %d %q %v", i, a.status, a.body, err)
		}
	}
	eventually(t, "the other node answers", func(ctx context.Context) error {
		a, err := c.get(ctx, forgetful, "/r/1")
		if err == nil && (a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "") {
			t.Errorf("without a file it answers %d %v %s", a.status, a.header, a.body)
		}
		return err
	})
	ready, err := send(t.Context(), c.client, "GET", "http://"+forgetful.admin+"/readyz", "")
	if err != nil || ready.status != http.StatusServiceUnavailable {
		t.Errorf("without a file it calls itself %d %s %v", ready.status, ready.body, err)
	}

	c.planes[0].start()
	c.converge("again", to)
	c.served("/r/1", to)
	c.awaitNode(forgetful)
}
