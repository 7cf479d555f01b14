// Nodes outlive the control plane, and one that starts without any begins from
// its last-known-good file; bad records are rejected on their own, and the last
// good ones stay in force over a restart.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"signalbox/node"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestNodesOutliveTheControlPlane(t *testing.T) {
	s := newSystem(t, 2, 0)
	keeping, forgetful := s.addNode(node.Config{StateDir: t.TempDir()}), s.addNode(node.Config{})
	keeping.start()
	forgetful.start()
	s.awaitReady(keeping)
	s.awaitReady(forgetful)
	s.awaitLive()
	to := newUpstream(t, "up")
	s.services(0).put(t, route("r", "/r", to.url))
	for _, p := range s.planes {
		p.stop()
	}
	s.served("/r", to)
	keeping.stop()
	forgetful.stop()
	keeping.start()
	forgetful.start()
	s.awaitReady(keeping)
	if a := s.get(keeping, "/r"); a.body != "up took 0\n" {
		t.Errorf("from its file: %d %q", a.status, a.body)
	}
	if a := s.get(forgetful, "/r"); a.status != 503 {
		t.Errorf("without a file: %d %q", a.status, a.body)
	}
	if a, err := send(t.Context(), s.client, "GET", "http://"+forgetful.admin+"/readyz", ""); err != nil || a.status != 503 {
		t.Errorf("without a file it calls itself %d %s %v", a.status, a.body, err)
	}
	s.planes[1].start()
	s.awaitReady(forgetful)
	eventually(t, "a write is served by both", func(ctx context.Context) error {
		res, err := s.services(1).routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("new", "/new", to.url), Wait: signalboxv1.Wait_WAIT_NODES})
		if err == nil && res.GetResult().GetNodesServing() != 2 {
			err = errors.New(res.String())
		}
		return err
	})
	s.served("/new", to)
	s.served("/r", to)
}

func TestARejectionHoldsBackNothingElse(t *testing.T) {
	s := newSystem(t, 1, 0)
	refusing := s.addNode(node.Config{StateDir: t.TempDir()})
	allowing := s.addNode(node.Config{AllowUnixUpstreams: true})
	refusing.start()
	allowing.start()
	s.awaitReady(refusing)
	s.awaitReady(allowing)
	s.awaitLive()
	to := newUpstream(t, "good")
	api := s.services(0)
	api.put(t, route("r", "/r", to.url))
	bad := api.put(t, route("r", "/r", "http+unix://%2Frun%2Fnone.sock"))
	if rej := bad.GetRejections(); len(rej) != 1 || rej[0].GetNode() != refusing.id || rej[0].GetName() != "r" || !strings.Contains(rej[0].GetReason(), "unix sockets") {
		t.Errorf("the write's result is %v", bad)
	}
	api.put(t, route("other", "/other", to.url))
	s.served("/other", to)
	for range 2 {
		if a := s.get(refusing, "/r"); a.body != "good took 0\n" {
			t.Errorf("the last good version is not in force: %d %q", a.status, a.body)
		}
		node, err := api.nodes.GetNode(t.Context(), &signalboxv1.GetNodeRequest{Name: refusing.id})
		if rej := node.GetNode().GetObserved().GetRejections(); err != nil || len(rej) != 1 {
			t.Errorf("the node rejects %v, %v", rej, err)
		}
		refusing.stop()
		refusing.start()
		eventually(t, "it is back", func(ctx context.Context) error {
			node, err := api.nodes.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: refusing.id})
			if o := node.GetNode().GetObserved(); err == nil && (o.GetState() != signalboxv1.NodeState_NODE_STATE_LIVE || !o.GetReady()) {
				err = fmt.Errorf("%v", o)
			}
			return err
		})
	}
}
