//go:build e2e

// A POST through the CHP API returns after every node serves it, and a read on
// any control plane sees every write answered before it.

package e2e

import (
	"fmt"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// rounds is how many times a route is written and asked for.
const rounds = 1000

func TestARouteIsServedEverywhereOnceItsPostReturns(t *testing.T) {
	c := newCluster(t, 1, 3)
	to := []*upstream{newUpstream(t, "first"), newUpstream(t, "second")}
	api := c.planes[0].rest
	for i := range rounds {
		// A path is new, or it is moved to the other upstream: the nodes must
		// serve the write, not just some route.
		path, want := fmt.Sprintf("/user/%d", i%(rounds/2)), to[i/(rounds/2)]
		api.post(path, want.url)
		a, err := c.get(t.Context(), c.anyNode(), path+"/lab")
		if err != nil || a.status != 200 || a.body != want.name+" took 0\n" {
			t.Fatalf("round %d: got %d %q %v, want it from %s", i, a.status, a.body, err, want.name)
		}
	}
}

func TestWritesToOneControlPlaneAreReadFromTheOther(t *testing.T) {
	c := newCluster(t, 2, 3)
	to := newUpstream(t, "up")
	writer, reader := c.planes[0].rest, c.planes[1].rest
	routes := c.services(1).routes
	for i := range rounds {
		path := fmt.Sprintf("/user/%d", i)
		if i%2 == 1 {
			writer, reader = reader, writer
		}
		posted := writer.post(path, to.url)
		got := reader.want(200, "GET", "/api/routes"+path, "")
		if got.at("target") != to.url {
			t.Fatalf("round %d: the other control plane says %s", i, got.body)
		}
		if a, err := c.get(t.Context(), c.anyNode(), path); err != nil || a.status != 200 {
			t.Fatalf("round %d: got %d %q %v", i, a.status, a.body, err)
		}
		entry, err := routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{Name: "chp" + path})
		if err != nil || fmt.Sprint(entry.GetRoute().GetMeta().GetRevision()) != posted.header.Get("signalbox-revision") {
			t.Fatalf("round %d: got %v %v, want revision %s", i, entry, err, posted.header.Get("signalbox-revision"))
		}
	}
	// Not waiting for nodes, so that the reader cannot have been waited for.
	for i := range rounds {
		path := fmt.Sprintf("/now/%d", i)
		w, r := c.planes[i%2].rest, c.planes[(i+1)%2].rest
		w.want(200, "POST", "/v1/routes", fmt.Sprintf(`{"route":{"name":"now/%d","match":{"pathPrefix":%q},"upstreams":[{"url":%q}]}}`, i, path, to.url))
		r.want(200, "GET", fmt.Sprintf("/v1/routes/now/%d", i), "")
	}
}
