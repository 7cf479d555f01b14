//go:build e2e

// A bad record is a rejection on that record, told to whoever wrote it; the
// last good one stays in force, and nothing else is held back.

package e2e

import (
	"net/http"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A socket path is fine by the API, and refused by nodes that were not started
// to allow it.
const socketURL = "http+unix://%2Frun%2Fsomething.sock"

func TestABadRecordIsARejection(t *testing.T) {
	c := newCluster(t, 1, 2)
	allowing := c.addNode(true, "--allow-unix-upstreams")
	allowing.start()
	c.awaitNode(allowing)
	c.awaitLive()
	refusing := c.nodes[:2]
	to, other := newUpstream(t, "good"), newUpstream(t, "other")
	api := c.services(0)
	api.put(t, route("r", "/r", to.url))
	c.planes[0].rest.post("/chp", to.url)

	res := api.put(t, route("r", "/r", socketURL))
	if res.GetNodesServing() != 3 || len(res.GetRejections()) != 2 {
		t.Fatalf("the write's result is %v", res)
	}
	for i, rej := range res.GetRejections() {
		if rej.GetNode() != refusing[i].id || rej.GetName() != "r" || rej.GetRevision() != res.GetVersion().GetRevision() || !strings.Contains(rej.GetReason(), "unix sockets") {
			t.Errorf("got %v", rej)
		}
	}
	stored, err := api.routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{Name: "r"})
	if err != nil || stored.GetRoute().GetUpstreams()[0].GetUrl() != socketURL {
		t.Errorf("the write does not stand: %v %v", stored, err)
	}
	posted := c.planes[0].rest.want(http.StatusCreated, "POST", "/api/routes/chp", `{"target":"`+socketURL+`"}`)
	if told := posted.header.Values("signalbox-rejected"); len(told) != 2 || !strings.HasPrefix(told[0], "node0: ") || !strings.Contains(told[0], "unix sockets") {
		t.Errorf("the CHP API tells %q", told)
	}
	out, code := c.cli(0, "nodes", "get", "node0")
	if code != 0 || !strings.Contains(out, `rejects route "r" at revision`) || !strings.Contains(out, "unix sockets") {
		t.Errorf("`signalbox nodes get` exits with %d and says %s", code, out)
	}

	// A change of another route is served, as if nothing were wrong.
	if res := api.put(t, route("other", "/other", other.url)); len(res.GetRejections()) != 0 {
		t.Errorf("another route's write tells of %v", res.GetRejections())
	}
	c.served("/other", other)
	for _, n := range refusing {
		for _, path := range []string{"/r", "/chp"} {
			if a, err := c.get(t.Context(), n, path); err != nil || a.body != "good took 0\n" {
				t.Errorf("%s through %s: %d %q %v, want the last good version", path, n.id, a.status, a.body, err)
			}
		}
	}
	if a, err := c.get(t.Context(), allowing, "/r"); err != nil || a.status != http.StatusBadGateway {
		t.Errorf("through the node that allows it, to a socket that is not there: %d %q %v", a.status, a.body, err)
	}

	// It outlives the node, whose file holds the last good version beside the
	// one refused, with the control plane there or not.
	c.planes[0].kill()
	for _, n := range refusing {
		if code := n.stop(15); code != 0 {
			t.Errorf("%s exits with %d", n.id, code)
		}
		n.start()
	}
	for _, n := range refusing {
		c.awaitNode(n)
		if a, err := c.get(t.Context(), n, "/r"); err != nil || a.body != "good took 0\n" {
			t.Errorf("started from its file, %s answers %d %q %v", n.id, a.status, a.body, err)
		}
	}
	c.planes[0].start()
	c.awaitPlane(c.planes[0])
	c.converge("again", other)
	node, err := c.services(0).nodes.GetNode(t.Context(), &signalboxv1.GetNodeRequest{Name: "node0"})
	if got := node.GetNode().GetObserved().GetRejections(); err != nil || len(got) != 2 {
		t.Errorf("after a restart the node rejects %v, %v", got, err)
	}

	// Written again, it ends.
	api.put(t, route("r", "/r", other.url))
	c.planes[0].rest.want(http.StatusNoContent, "DELETE", "/api/routes/chp", "")
	c.served("/r", other)
	node, err = c.services(0).nodes.GetNode(t.Context(), &signalboxv1.GetNodeRequest{Name: "node0"})
	if got := node.GetNode().GetObserved().GetRejections(); err != nil || len(got) != 0 {
		t.Errorf("after a good write the node rejects %v, %v", got, err)
	}
}
