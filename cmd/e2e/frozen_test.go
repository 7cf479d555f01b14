//go:build e2e

// Who is frozen, and holds its connections open, holds up nobody: a write says
// which node lags, and the next one does not wait for it; nodes leave a control
// plane that has stopped answering.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestAFrozenNodeIsNamedAndThenNotWaitedFor(t *testing.T) {
	c := newCluster(t, 1, 3)
	to := newUpstream(t, "up")
	c.converge("first", to)
	frozen := c.nodes[1]
	frozen.signal(syscall.SIGSTOP)

	api := c.services(0).routes
	late := func(name string, timeout time.Duration) time.Duration {
		t.Helper()
		began := time.Now()
		res, err := api.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{
			Route: route(name, "/"+name, to.url), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(timeout),
		})
		r := res.GetResult()
		if err != nil || r.GetNodesLive() != 3 || r.GetNodesServing() != 2 || !slices.Equal(r.GetLagging(), []string{frozen.id}) {
			t.Fatalf("%s: got %v %v, want %s lagging", name, res, err, frozen.id)
		}
		for _, n := range []*nodeProcess{c.nodes[0], c.nodes[2]} {
			if a, err := c.get(t.Context(), n, "/"+name); err != nil || a.status != 200 {
				t.Errorf("%s through %s: %d %v", name, n.id, a.status, err)
			}
		}
		return time.Since(began)
	}
	// Long enough for the others, even on a machine that has much else to do.
	const wait = 2 * time.Second
	if took := late("missed", wait); took < wait {
		t.Errorf("it was given up after %v", took)
	}
	// No timeout of this length is waited out: the node lags already.
	if took := late("unawaited", time.Minute); took > patience {
		t.Errorf("a lagging node was waited for, for %v", took)
	}
	posted := c.planes[0].rest.want(201, "POST", "/api/routes/chp", fmt.Sprintf(`{"target":%q}`, to.url))
	if got := posted.header.Get("signalbox-lagging"); got != frozen.id {
		t.Errorf("the CHP API names %q as lagging, want %s", got, frozen.id)
	}
	if out, code := c.cli(0, "route", "put", "cli", "--path", "/cli", "--to", to.url, "--wait"); code != 7 {
		t.Errorf("the client exits with %d, want 7, and says %s", code, out)
	}

	frozen.signal(syscall.SIGCONT)
	eventually(t, "the node catches up, and is waited for again", func(ctx context.Context) error {
		res, err := api.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("thawed", "/thawed", to.url), Wait: signalboxv1.Wait_WAIT_NODES})
		if err == nil && res.GetResult().GetNodesServing() != 3 {
			err = fmt.Errorf("%v", res.GetResult())
		}
		return err
	})
	for _, name := range []string{"missed", "unawaited", "chp", "cli", "thawed"} {
		c.served("/"+name, to)
	}
}

func TestNodesLeaveAFrozenControlPlane(t *testing.T) {
	c := newCluster(t, 2, 3)
	to := newUpstream(t, "up")
	c.converge("first", to)
	traffic := newLoad(t, "/first/0", c.nodes[0].public)
	victim, other, _ := c.busier()
	api := c.services(other).routes
	c.planes[victim].signal(syscall.SIGSTOP)
	began, i := time.Now(), 0
	eventually(t, "a write is served by all nodes", func(ctx context.Context) error {
		i++
		name := fmt.Sprintf("frozen%d", i)
		res, err := api.PutRoute(ctx, &signalboxv1.PutRouteRequest{
			Route: route(name, "/"+name, to.url), Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(time.Second),
		})
		if err == nil && res.GetResult().GetNodesServing() != 3 {
			err = errors.New(res.GetResult().String())
		}
		return err
	})
	t.Logf("all nodes are fed by the other %v after theirs froze", time.Since(began).Round(time.Millisecond))
	for k := range i {
		c.served(fmt.Sprintf("/frozen%d", k+1), to)
	}
	c.planes[victim].signal(syscall.SIGCONT)
	c.converge("thawed", to)
	t.Logf("%d requests went through meanwhile", traffic.stop(t))
}
