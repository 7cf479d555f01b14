// Adding one route to thousands sends one route; a node that comes back, to
// whichever control plane, is sent only what it lacks.

package e2e

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/node"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// fill writes many routes.
func (s *services) fill(t testing.TB, n int, to string) {
	t.Helper()
	var all []*signalboxv1.Route
	for i := range n {
		all = append(all, route(fmt.Sprintf("many/%d", i), fmt.Sprintf("/many/%d", i), to))
	}
	res, err := s.routes.BatchPutRoutes(t.Context(), &signalboxv1.BatchPutRoutesRequest{Routes: all, Split: true, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)})
	if err != nil || int(res.GetWritten()) != n {
		t.Fatalf("%v %v", res, err)
	}
}

func TestANodeIsSentChangesNotTheWorld(t *testing.T) {
	const routes = 3000
	s := emptySystem(t)
	s.hidden = true
	var wires []*wire
	for range 2 {
		p := s.addPlane()
		p.start()
		wires = append(wires, newWire(t, p.grpc))
	}
	to := newUpstream(t, "up")
	api := s.services(0)
	api.fill(t, routes, to.url)
	n := s.addNode(node.Config{ControlPlanes: []string{wires[0].addr, wires[1].addr}})
	n.start()
	s.awaitReady(n)
	s.awaitLive()
	api.put(t, route("zero", "/zero", to.url)) // so that all before it has come
	s.served("/many/7", to)
	sent := func() int64 { return wires[0].bytes() + wires[1].bytes() }
	world := sent()
	if world < routes*50 {
		t.Fatalf("%d routes came as %d bytes, past the wires", routes, world)
	}

	// Both control planes' streams together, with acknowledgements of reports,
	// pings and all: still nothing like the world.
	const few = 8 << 10
	one := func(what, name string, do func()) {
		t.Helper()
		before := sent()
		do()
		s.served("/"+name, to)
		got := sent() - before
		t.Logf("%s: %d bytes were sent; the whole state is %d", what, got, world)
		if got > few {
			t.Errorf("that is too much")
		}
	}
	one("one route more", "one", func() { api.put(t, route("one", "/one", to.url)) })
	write := func(name string) {
		t.Helper()
		if _, err := api.routes.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{Route: route(name, "/"+name, to.url)}); err != nil {
			t.Fatal(err)
		}
	}
	arrives := func(name string) {
		t.Helper()
		eventually(t, name+" is served", func(ctx context.Context) error {
			a, err := send(ctx, s.client, "GET", "http://"+n.public+"/"+name, "")
			if err == nil && a.status != 200 {
				err = fmt.Errorf("%d", a.status)
			}
			return err
		})
	}
	one("cut off from both, then back", "two", func() {
		wires[0].sever()
		wires[1].sever()
		write("two")
		wires[0].mend()
		wires[1].mend()
		arrives("two")
	})
	for i, w := range wires {
		name := fmt.Sprintf("elsewhere%d", i)
		one("fed by the other control plane", name, func() {
			w.sever()
			write(name)
			arrives(name)
			w.mend()
		})
	}
	s.served("/many/2999", to)
}
