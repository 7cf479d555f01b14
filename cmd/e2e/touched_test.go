// A change of one route never closes, resets or re-balances a connection or a
// counter of another; a removed route's streams end by that route's policy.

package e2e

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestOnlyWhatChangedIsTouched(t *testing.T) {
	s := newSystem(t, 1, 1)
	n, api := s.nodes[0], s.services(0)
	kept, other := newUpstream(t, "kept"), newUpstream(t, "other")
	api.put(t, route("kept", "/kept", kept.url))
	stays := route("stays", "/stays", kept.url) // removed, its streams run on
	stays.Policy = &signalboxv1.RoutePolicy{Removal: signalboxv1.Removal_REMOVAL_FINISH}
	goes := route("goes", "/goes", kept.url) // removed, they are closed
	goes.Policy = &signalboxv1.RoutePolicy{Removal: signalboxv1.Removal_REMOVAL_CLOSE}
	api.put(t, stays)
	api.put(t, goes)
	sockets := map[string]*socket{}
	for _, name := range []string{"kept", "stays", "goes"} {
		ws, err := openSocket(n.public, "/"+name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(ws.close)
		sockets[name] = ws
		if err := ws.echoes("before"); err != nil {
			t.Fatal(err)
		}
	}
	s.served("/kept", kept)
	connections := kept.connections()
	var carried *signalboxv1.RouteObserved
	eventually(t, "what was carried is reported", func(ctx context.Context) error {
		entry, err := api.routes.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "kept"})
		carried = entry.GetObserved()
		if err == nil && (carried.GetCounters().GetRequests() != 2 || carried.GetOpenStreams() != 1) {
			err = fmt.Errorf("%v", carried)
		}
		return err
	})

	for i := range 100 {
		r := route("changing", []string{"/", "/kept/below", "/changing"}[i%3], []string{other.url, kept.url}[i%2])
		api.put(t, r)
	}
	for _, name := range []string{"changing", "stays", "goes"} {
		if _, err := api.routes.DeleteRoute(t.Context(), &signalboxv1.DeleteRouteRequest{Name: name, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := sockets["goes"].ended(); err != nil {
		t.Errorf("the WebSocket of the route whose policy is to close: %v", err)
	}
	for _, name := range []string{"kept", "stays"} {
		if err := sockets[name].echoes("after"); err != nil {
			t.Errorf("the WebSocket of %s: %v", name, err)
		}
	}
	entry, err := api.routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{Name: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	if got := entry.GetObserved().GetCounters(); got.GetRequests() != carried.GetCounters().GetRequests() || !proto.Equal(&signalboxv1.RouteCounters{Statuses: got.GetStatuses()}, &signalboxv1.RouteCounters{Statuses: carried.GetCounters().GetStatuses()}) {
		t.Errorf("its counters were %v and are %v", carried.GetCounters(), got)
	}
	s.served("/kept", kept)
	if got := kept.connections(); got != connections {
		t.Errorf("its requests came over %d connections, and now over %d", connections, got)
	}
}
