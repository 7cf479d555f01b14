// One API write is one transaction is one revision, all of it or nothing; it
// can prove that every live node serves it; and its revision, which is the
// store's, follows it through every replica, node, event and log.

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// followRoutes follows what happens to routes from now on, and returns what
// waits for the next event.
func followRoutes(t *testing.T, s *services) (next func() *signalboxv1.Event) {
	t.Helper()
	stream, err := s.events.FollowEvents(t.Context(), &signalboxv1.FollowEventsRequest{Kinds: []signalboxv1.Kind{signalboxv1.Kind_KIND_ROUTE}})
	if err == nil {
		_, err = stream.Recv() // where it begins
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() *signalboxv1.Event {
		t.Helper()
		for {
			res, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if res.GetEvent().GetType() != signalboxv1.EventType_EVENT_TYPE_HEARTBEAT {
				return res.GetEvent()
			}
		}
	}
}

func TestABatchIsOneRevisionOrNothing(t *testing.T) {
	s := newSystem(t, 2, 2)
	to := newUpstream(t, "up")
	api, other := s.services(0), s.services(1)
	api.put(t, route("r0", "/r0", to.url))
	before, err := api.routes.ListRoutes(t.Context(), &signalboxv1.ListRoutesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	events := followRoutes(t, other)

	var batch []*signalboxv1.Route
	for i := range 40 {
		batch = append(batch, route(fmt.Sprintf("b%d", i), fmt.Sprintf("/b/%d", i), to.url))
	}
	for name, bad := range map[string]*signalboxv1.Route{
		"a bad record":    route("bad", "no-slash", to.url),
		"a taken match":   route("taken", "/r0", to.url),
		"a match twice":   route("twice", "/b/1", to.url),
		"a name twice":    route("b1", "/elsewhere", to.url),
		"a bad last word": route("bad", "/bad", "gopher://x"),
	} {
		_, err := api.routes.BatchPutRoutes(t.Context(), &signalboxv1.BatchPutRoutesRequest{Routes: append(batch[:40:40], bad), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)})
		if c := status.Code(err); c != codes.InvalidArgument && c != codes.AlreadyExists {
			t.Errorf("%s: got %v", name, err)
		}
	}
	after, err := other.routes.ListRoutes(t.Context(), &signalboxv1.ListRoutesRequest{})
	if err != nil || len(after.GetRoutes()) != 1 || after.GetVersion().GetRevision() != before.GetVersion().GetRevision() {
		t.Fatalf("refused batches left %v %v", after, err)
	}

	res, err := api.routes.BatchPutRoutes(t.Context(), &signalboxv1.BatchPutRoutesRequest{Routes: batch, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)})
	if err != nil || res.GetResult().GetNodesServing() != 2 {
		t.Fatalf("got %v %v", res, err)
	}
	rev := res.GetResult().GetVersion().GetRevision()
	for i := range batch {
		e := events()
		if e.GetVersion().GetRevision() != rev || !strings.HasSuffix(e.GetId(), fmt.Sprintf(".%d.%d", rev, i)) {
			t.Fatalf("event %d of the batch is %v, want revision %d", i, e, rev)
		}
	}
	for i := range batch {
		s.served(fmt.Sprintf("/b/%d", i), to)
	}
}

func TestAWriteThatWaitedIsServed(t *testing.T) {
	s := newSystem(t, 2, 3)
	to := []*upstream{newUpstream(t, "a"), newUpstream(t, "b")}
	for i := range 60 {
		// Now one, now the other, through both control planes.
		path, want := fmt.Sprintf("/user/%d", i%7), to[i%2]
		s.planes[i%2].rest.post(path, want.url)
		s.served(path+"/lab", want)
		if got := s.planes[(i+1)%2].rest.want(200, "GET", "/api/routes"+path, ""); got.at("target") != want.url {
			t.Fatalf("read from the other control plane: %s", got.body)
		}
	}
	s.planes[0].rest.want(204, "DELETE", "/api/routes/user/1", "")
	for _, n := range s.nodes {
		if a := s.get(n, "/user/1"); a.status != 404 {
			t.Errorf("a removed route is served by %s: %d %q", n.id, a.status, a.body)
		}
	}
}

func TestOneRevisionFollowsAChange(t *testing.T) {
	s := newSystem(t, 2, 2)
	to := newUpstream(t, "up")
	api, other := s.services(0), s.services(1)
	events := followRoutes(t, other)
	version := api.put(t, route("r", "/r", to.url)).GetVersion()

	got, err := other.routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{Name: "r"})
	if err != nil || got.GetRoute().GetMeta().GetRevision() != version.GetRevision() {
		t.Errorf("on the other control plane: %v %v", got, err)
	}
	if event := events(); event.GetId() != fmt.Sprintf("%s.%d.0", version.GetEpoch(), version.GetRevision()) {
		t.Errorf("the event is %v", event)
	}
	for _, n := range s.nodes {
		table, err := send(t.Context(), s.client, "GET", "http://"+n.admin+"/table", "", "Authorization", "Bearer "+s.nodeKey)
		if err != nil || table.at("version", "epoch") != version.GetEpoch() || table.at("version", "revision") != float64(version.GetRevision()) {
			t.Errorf("%s has %s %v", n.id, table.body, err)
		}
	}
	// `grep rev=N` tells the story: who wrote it, and each node that applied it.
	needle := "rev=" + strconv.FormatInt(version.GetRevision(), 10)
	var story []string
	for _, line := range s.log.lines() {
		if strings.HasSuffix(line, needle) || strings.Contains(line, needle+" ") {
			story = append(story, line)
		}
	}
	told := strings.Join(story, "\n")
	for _, part := range []string{"record=route/r", `"table applied" node=node0`, `"table applied" node=node1`} {
		if !strings.Contains(told, part) {
			t.Errorf("grep %s does not tell of %s:\n%s", needle, part, told)
		}
	}
}
