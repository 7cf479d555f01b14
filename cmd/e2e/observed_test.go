// Nothing is counted twice or lost, on any control plane; and what is observed
// never touches the records that operators write.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/node"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

func TestEveryControlPlaneAnswersTheSameTotals(t *testing.T) {
	s := newSystem(t, 2, 3)
	to := newUpstream(t, "up")
	s.services(0).put(t, route("r", "/r", to.url))
	var requests, received uint64
	carry := func(n *member, times int) {
		t.Helper()
		for range times {
			body := strings.Repeat("b", 10)
			if a, err := send(t.Context(), s.client, "POST", "http://"+n.public+"/r", body); err != nil || a.status != 200 {
				t.Fatalf("%d %v", a.status, err)
			}
			requests, received = requests+1, received+10
		}
	}
	total := func() {
		t.Helper()
		for i := range s.planes {
			api := s.services(i).routes
			eventually(t, "a control plane says what was counted", func(ctx context.Context) error {
				entry, err := api.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "r"})
				c := entry.GetObserved().GetCounters()
				if err == nil && (c.GetRequests() != requests || c.GetBytesReceived() != received || c.GetStatuses()[1] != requests) {
					err = fmt.Errorf("%v, want %d requests of %d bytes", c, requests, received)
				}
				return err
			})
		}
	}
	for i, n := range s.nodes {
		carry(n, 20*(i+1))
	}
	total()
	s.planes[0].stop()
	carry(s.nodes[0], 5)
	s.planes[0].start()
	total()
	for _, n := range s.nodes {
		carry(n, 3) // not reported yet when the node is asked to end
		n.stop()
		total()
		n.start()
		s.awaitReady(n)
		carry(n, 4)
	}
	total()
}

func TestObservedAndWantedShareNoRecord(t *testing.T) {
	s := newSystem(t, 1, 1)
	to := newUpstream(t, "up")
	api := s.services(0)
	res := api.put(t, route("r", "/r", to.url))

	// A write cannot say what only nodes can.
	claimed := &signalboxv1.Node{
		Name: "node0", Wanted: &signalboxv1.NodeWanted{Labels: map[string]string{"wanted": "yes"}},
		Observed: &signalboxv1.NodeObserved{State: signalboxv1.NodeState_NODE_STATE_LOST, SoftwareVersion: "claimed", LastContact: timestamppb.Now()},
	}
	put, err := api.nodes.PutNode(t.Context(), &signalboxv1.PutNodeRequest{Node: claimed, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)})
	if o := put.GetNode().GetObserved(); err != nil || o.GetState() != signalboxv1.NodeState_NODE_STATE_LIVE || o.GetSoftwareVersion() == "claimed" || o.GetLabels()["wanted"] != "yes" {
		t.Fatalf("got %v %v", put, err)
	}
	stored := func(kind store.Kind, name string) proto.Message {
		t.Helper()
		records, _, err := s.keeper.Read(t.Context(), store.Key{Kind: kind, Name: name})
		if err != nil || len(records) != 1 || records[0] == nil {
			t.Fatalf("read %s: %v %v", name, records, err)
		}
		return records[0].Message
	}
	kept, _ := stored(store.KindNode, "node0").(*signalboxv1.Node)
	if kept.GetObserved() != nil || kept.GetWanted().GetLabels()["wanted"] != "yes" {
		t.Errorf("the store holds %v", kept)
	}

	// Traffic, reports, and a node that comes and goes change no record.
	before := proto.Clone(stored(store.KindRoute, "r"))
	head, err := s.keeper.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		s.served("/r", to)
	}
	second := s.addNode(node.Config{})
	second.start()
	s.awaitReady(second)
	eventually(t, "the requests are reported", func(ctx context.Context) error {
		entry, err := api.routes.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "r"})
		if err == nil && entry.GetObserved().GetCounters().GetRequests() != 50 {
			err = errors.New(entry.String())
		}
		if got := entry.GetRoute().GetMeta().GetRevision(); err == nil && got != res.GetVersion().GetRevision() {
			t.Errorf("the route is at revision %d, and was written at %d", got, res.GetVersion().GetRevision())
		}
		return err
	})
	second.stop()
	if after := stored(store.KindRoute, "r"); !proto.Equal(after, before) {
		t.Error("the stored route has changed")
	}
	if now, err := s.keeper.Head(t.Context()); err != nil || now != head {
		t.Errorf("the head was %v and is %v, %v", head, now, err)
	}
}
