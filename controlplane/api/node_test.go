package api_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

func routeStoreKey(name string) store.Key { return store.Key{Kind: store.KindRoute, Name: name} }

func (p *plane) node(name string) *signalboxv1.Node {
	p.t.Helper()
	res, err := p.wanted.GetNode(bounded(p.t), &signalboxv1.GetNodeRequest{Name: name})
	if err != nil {
		p.t.Fatal(err)
	}
	return res.GetNode()
}

// Nodes are listed whether they are stored, observed or both.
func TestNodes(t *testing.T) {
	p := start(t, mem.New())
	p.join(t, "b")
	p.join(t, "c")
	for _, name := range []string{"a", "b"} {
		n := &signalboxv1.Node{Name: name, Wanted: &signalboxv1.NodeWanted{Labels: map[string]string{"for": name}}, Observed: &signalboxv1.NodeObserved{Epoch: 7}}
		res, err := p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{Node: n})
		if err != nil || res.GetNode().GetMeta().GetRevision() != res.GetResult().GetVersion().GetRevision() {
			t.Fatalf("PutNode = %v, %v", res, err)
		}
		if o := res.GetNode().GetObserved(); name == "b" && o.GetLabels()["for"] != "b" || name == "a" && o != nil {
			t.Errorf("observed of %s after PutNode: %v", name, o)
		}
	}
	for _, c := range []struct {
		req  *signalboxv1.ListNodesRequest
		want []string
	}{
		{&signalboxv1.ListNodesRequest{}, []string{"a", "b", "c"}},
		{&signalboxv1.ListNodesRequest{NamePrefix: "b"}, []string{"b"}},
		{&signalboxv1.ListNodesRequest{Labels: []string{"for"}}, []string{"a", "b"}},
		{&signalboxv1.ListNodesRequest{Labels: []string{"for=b", "zone=a"}}, []string{"b"}},
		{&signalboxv1.ListNodesRequest{PageSize: 2}, []string{"a", "b", "c"}},
	} {
		var got []string
		for {
			res, err := p.wanted.ListNodes(bounded(t), c.req)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range res.GetNodes() {
				got = append(got, n.GetName())
			}
			if c.req.PageToken = res.GetNextPageToken(); c.req.GetPageToken() == "" {
				break
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("ListNodes(%v) = %q, want %q", c.req, got, c.want)
		}
	}
	b := p.node("b")
	if want := map[string]string{"zone": "a", "for": "b"}; !maps.Equal(b.GetObserved().GetLabels(), want) {
		t.Errorf("labels %v, want %v", b.GetObserved().GetLabels(), want)
	}
	_, err := p.wanted.GetNode(bounded(t), &signalboxv1.GetNodeRequest{Name: "d"})
	refused(t, err, codes.NotFound)
	_, err = p.wanted.GetNode(bounded(t), &signalboxv1.GetNodeRequest{})
	refused(t, err, codes.InvalidArgument, "name")
}

// A node's state is one word, and how far it is behind is counted in what it
// is sent.
func TestNodeStanding(t *testing.T) {
	p := start(t, mem.New())
	m := p.join(t, "n")
	standing := func(state signalboxv1.NodeState, behind int64) {
		t.Helper()
		if o := p.node("n").GetObserved(); o.GetState() != state || o.GetBehind() != behind {
			t.Errorf("%v, %d behind; want %v, %d", o.GetState(), o.GetBehind(), state, behind)
		}
	}
	standing(signalboxv1.NodeState_NODE_STATE_LIVE, 0)
	p.put(route("a", "/a"))
	p.put(route("a", "/a"))
	p.put(route("b", "/b"))
	p.key("other", "admin") // no node is sent keys
	standing(signalboxv1.NodeState_NODE_STATE_LIVE, 2)
	for _, name := range []string{"n", "other"} {
		n := &signalboxv1.Node{Name: name, Wanted: &signalboxv1.NodeWanted{Drain: true}}
		if _, err := p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{Node: n}); err != nil {
			t.Fatal(err)
		}
	}
	standing(signalboxv1.NodeState_NODE_STATE_DRAINING, 3) // its own record, not the other's
	if _, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	standing(signalboxv1.NodeState_NODE_STATE_DRAINING, 3)
	res, err := p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{
		Node: &signalboxv1.Node{Name: "n"}, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	standing(signalboxv1.NodeState_NODE_STATE_LAGGING, 3)
	m.ack(res.GetResult().GetVersion().GetRevision())
	standing(signalboxv1.NodeState_NODE_STATE_LIVE, 0)
	m.link.Ack(&signalboxv1.Ack{Version: &signalboxv1.Version{Epoch: "another", Revision: 1}})
	standing(signalboxv1.NodeState_NODE_STATE_LIVE, -1)
	m.link.Leave(true)
	standing(signalboxv1.NodeState_NODE_STATE_LOST, -1)
}

// Deleting a node forgets what is wanted of it, and a lost node itself.
func TestDeleteNode(t *testing.T) {
	p := start(t, mem.New())
	remove := func(req *signalboxv1.DeleteNodeRequest) (*signalboxv1.WriteResult, error) {
		res, err := p.wanted.DeleteNode(bounded(t), req)
		return res.GetResult(), err
	}
	_, err := remove(&signalboxv1.DeleteNodeRequest{Name: "n"})
	refused(t, err, codes.NotFound)
	_, err = remove(&signalboxv1.DeleteNodeRequest{})
	refused(t, err, codes.InvalidArgument, "name")

	made, err := p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{Node: &signalboxv1.Node{Name: "n"}, ExpectedRevision: ptr[int64](0)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = remove(&signalboxv1.DeleteNodeRequest{Name: "n", ExpectedRevision: ptr[int64](1)})
	refused(t, err, codes.Aborted)
	if res, err := remove(&signalboxv1.DeleteNodeRequest{Name: "n", ExpectedRevision: ptr(made.GetNode().GetMeta().GetRevision())}); err != nil || res.GetVersion() == nil {
		t.Errorf("stored: %v, %v", res, err)
	}

	m := p.join(t, "n")
	if res, err := remove(&signalboxv1.DeleteNodeRequest{Name: "n"}); err != nil || res.GetVersion() != nil {
		t.Errorf("live: %v, %v", res, err)
	}
	if n := p.node("n"); n.GetObserved().GetState() != signalboxv1.NodeState_NODE_STATE_LIVE {
		t.Errorf("a live node was forgotten: %v", n)
	}
	_, err = remove(&signalboxv1.DeleteNodeRequest{Name: "n", ExpectedRevision: ptr[int64](5)})
	refused(t, err, codes.Aborted)
	m.link.Leave(true)
	if _, err := remove(&signalboxv1.DeleteNodeRequest{Name: "n"}); err != nil {
		t.Errorf("lost: %v", err)
	}
	_, err = p.wanted.GetNode(bounded(t), &signalboxv1.GetNodeRequest{Name: "n"})
	refused(t, err, codes.NotFound)
}

// What is wrong with a node is named by field.
func TestPutNodeRefuses(t *testing.T) {
	p := start(t, mem.New())
	_, err := p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{})
	refused(t, err, codes.InvalidArgument, "node")
	_, err = p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{Node: &signalboxv1.Node{Name: "a/b", Wanted: &signalboxv1.NodeWanted{Labels: map[string]string{"": ""}}}})
	refused(t, err, codes.InvalidArgument, "node.name", `node.wanted.labels[""]`)
}

// Listeners are kept as routes are.
func TestListeners(t *testing.T) {
	p := start(t, mem.New())
	put := func(req *signalboxv1.PutListenerRequest) (*signalboxv1.PutListenerResponse, error) {
		return p.listeners.PutListener(bounded(t), req)
	}
	_, err := put(&signalboxv1.PutListenerRequest{})
	refused(t, err, codes.InvalidArgument, "listener")
	_, err = put(&signalboxv1.PutListenerRequest{Listener: &signalboxv1.Listener{Name: "A", TrustedProxies: []string{"x"}}})
	refused(t, err, codes.InvalidArgument, "listener.name", "listener.trusted_proxies[0]")
	for _, name := range []string{"public", "admin"} {
		res, err := put(&signalboxv1.PutListenerRequest{Listener: &signalboxv1.Listener{Name: name, ErrorDetails: true}, ExpectedRevision: ptr[int64](0)})
		if err != nil || res.GetListener().GetMeta().GetRevision() == 0 {
			t.Fatalf("PutListener = %v, %v", res, err)
		}
	}
	_, err = put(&signalboxv1.PutListenerRequest{Listener: &signalboxv1.Listener{Name: "public"}, ExpectedRevision: ptr[int64](0)})
	refused(t, err, codes.AlreadyExists)
	got, err := p.listeners.GetListener(bounded(t), &signalboxv1.GetListenerRequest{Name: "public"})
	if err != nil || !got.GetListener().GetErrorDetails() {
		t.Errorf("GetListener = %v, %v", got, err)
	}
	first, err := p.listeners.ListListeners(bounded(t), &signalboxv1.ListListenersRequest{PageSize: 1})
	if err != nil || len(first.GetListeners()) != 1 || first.GetListeners()[0].GetName() != "admin" {
		t.Errorf("ListListeners = %v, %v", first, err)
	}
	second, err := p.listeners.ListListeners(bounded(t), &signalboxv1.ListListenersRequest{PageToken: first.GetNextPageToken()})
	if err != nil || len(second.GetListeners()) != 1 || second.GetNextPageToken() != "" {
		t.Errorf("ListListeners = %v, %v", second, err)
	}
	if _, err := p.listeners.DeleteListener(bounded(t), &signalboxv1.DeleteListenerRequest{Name: "public"}); err != nil {
		t.Errorf("DeleteListener = %v", err)
	}
	_, err = p.listeners.GetListener(bounded(t), &signalboxv1.GetListenerRequest{Name: "public"})
	refused(t, err, codes.NotFound)
	_, err = p.listeners.DeleteListener(bounded(t), &signalboxv1.DeleteListenerRequest{Name: "public"})
	refused(t, err, codes.NotFound)
}
