//go:build e2e

// A node that is drained is not ready and serves on; one that is asked to end
// fails no request.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// ready asks a node whether it is.
func (c *cluster) ready(ctx context.Context, n *nodeProcess) (answer, error) {
	return send(ctx, c.client, "GET", "http://"+n.admin+"/readyz", "")
}

func TestADrainedNodeServesOn(t *testing.T) {
	c := newCluster(t, 1, 2)
	to := newUpstream(t, "up")
	rest, n := c.planes[0].rest, c.nodes[0]
	c.services(0).put(t, route("r", "/r", to.url))
	s, err := openSocket(n.public, "/r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)

	put := rest.want(200, "PUT", "/v1/nodes/"+n.id+"?wait=nodes", `{"wanted":{"drain":true}}`)
	if put.at("result", "nodesServing") != 2.0 {
		t.Errorf("got %s", put.body)
	}
	eventually(t, "it calls itself not ready, everywhere", func(ctx context.Context) error {
		a, err := c.ready(ctx, n)
		if err == nil && a.status != http.StatusServiceUnavailable {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		if err != nil {
			return err
		}
		got, err := rest.try(ctx, "GET", "/v1/nodes/"+n.id, "")
		if err == nil && (got.at("node", "observed", "ready") != false || got.at("node", "observed", "state") != "NODE_STATE_DRAINING") {
			err = errors.New(got.body)
		}
		return err
	})
	c.awaitNode(c.nodes[1]) // which nobody asked
	for range 3 {
		a, err := c.get(t.Context(), n, "/r")
		if err != nil || a.status != 200 || a.header.Get("Connection") != "" && a.header.Get("Connection") != "close" {
			t.Errorf("drained, it answers %d %v %v", a.status, a.header, err)
		}
	}
	if a, closed := raw(t, n.public, lines("GET /r HTTP/1.1", "Host: a")+lines("GET /r HTTP/1.1", "Host: a")); a.status != 200 || !closed {
		t.Errorf("drained, it answers %d and keeps the connection: %t", a.status, !closed)
	}
	if err := s.echoes("still here"); err != nil {
		t.Errorf("a WebSocket of before: %v", err)
	}
	// What is written is served by it all the same.
	if res := c.services(0).put(t, route("new", "/new", to.url)); res.GetNodesServing() != 2 {
		t.Errorf("got %v", res)
	}
	c.served("/new", to)
	// And it stays drained when it is started anew.
	n.kill()
	n.start()
	eventually(t, "it is drained still", func(ctx context.Context) error {
		a, err := c.ready(ctx, n)
		if err == nil && !strings.Contains(a.body, "drain") {
			err = errors.New(a.body)
		}
		return err
	})
	// It was killed before the file with the new route had to be written.
	eventually(t, "it serves the new route again", func(ctx context.Context) error {
		a, err := c.get(ctx, n, "/new")
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})

	if out, code := c.cli(0, "nodes", "undrain", n.id, "--wait", "--wait-timeout", patience.String()); code != 0 {
		t.Errorf("undrain: %d %s", code, out)
	}
	c.awaitNode(n)
}

// begins returns a context for a request, and what tells whether any of an
// answer to it has come.
func begins(ctx context.Context) (context.Context, func() bool) {
	var begun atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: func() { begun.Store(true) },
	}), begun.Load
}

func TestANodeThatIsAskedToEndFailsNoRequest(t *testing.T) {
	c := newCluster(t, 1, 2)
	to := newUpstream(t, "up")
	c.services(0).put(t, route("r", "/r", to.url))
	leaving, staying := c.nodes[0], c.nodes[1]

	// A request that is half answered when the node is told.
	var half sync.WaitGroup
	t.Cleanup(half.Wait)
	half.Go(func() {
		a, err := c.get(context.Background(), leaving, "/r?hold")
		if err != nil || a.body != "held, up took 0\n" {
			t.Errorf("the exchange that was running: %d %q %v", a.status, a.body, err)
		}
	})
	eventually(t, "it runs", func(context.Context) error {
		if r := to.asked(); r == nil || r.URL.RawQuery != "hold" {
			return errors.New("not yet")
		}
		return nil
	})

	// Clients go on to the other node when nobody is there, or when the
	// connection ends before an answer has begun: what a GET allows (RFC 9110,
	// section 9.2.2). Any other end of a request is a failure.
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var served, moved atomic.Int64
	for range 8 {
		client := newHTTP(t)
		clients.Go(func() {
			at := leaving
			for ctx.Err() == nil {
				asking, begun := begins(context.WithoutCancel(ctx))
				a, err := send(asking, client, "GET", "http://"+at.public+"/r", "")
				switch {
				case err == nil && a.body == "up took 0\n":
					served.Add(1)
				case at == leaving && err != nil && !begun():
					moved.Add(1)
					at = staying
				default:
					t.Errorf("through %s: %d %q %v", at.id, a.status, a.body, err)
					return
				}
			}
		})
	}
	more := func(n int64) {
		t.Helper()
		n += served.Load()
		eventually(t, "requests are answered", func(context.Context) error {
			if served.Load() < n {
				return fmt.Errorf("%d of %d", served.Load(), n)
			}
			return nil
		})
	}
	more(500)
	leaving.signal(syscall.SIGTERM)
	eventually(t, "all clients have moved", func(context.Context) error {
		if n := moved.Load(); n < 8 && !t.Failed() {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if !leaving.running() {
		t.Error("it did not wait for the exchange that was running")
	}
	close(to.hold)
	half.Wait()
	<-leaving.ended
	if code := leaving.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it exits with %d", code)
	}
	more(500)
	stop()
	clients.Wait()
	t.Logf("%d requests were answered", served.Load())

	// It has said goodbye: nobody waits for it, or for its lease.
	node, err := c.services(0).nodes.GetNode(t.Context(), &signalboxv1.GetNodeRequest{Name: leaving.id})
	if err != nil || node.GetNode().GetObserved().GetState() != signalboxv1.NodeState_NODE_STATE_LOST {
		t.Errorf("the node that ended is %v, %v", node.GetNode().GetObserved().GetState(), err)
	}
	if res := c.services(0).put(t, route("after", "/after", to.url)); res.GetNodesLive() != 1 {
		t.Errorf("got %v", res)
	}
}

func TestADrainEndsInTimeAndWithItTheProcessButNotItsSuccessor(t *testing.T) {
	c := newCluster(t, 2, 2)
	to := newUpstream(t, "up")
	c.services(0).put(t, route("r", "/r", to.url))
	n := c.nodes[0]
	s, err := openSocket(n.public, "/r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	var half sync.WaitGroup
	t.Cleanup(half.Wait)
	half.Go(func() {
		a, err := c.get(context.Background(), n, "/r?hold")
		if err != nil || a.body != "held, up took 0\n" {
			t.Errorf("the exchange that was running: %d %q %v", a.status, a.body, err)
		}
	})
	open := func(want int64) {
		t.Helper()
		for i := range c.planes {
			eventually(t, fmt.Sprintf("%d are open", want), func(ctx context.Context) error {
				got, err := c.services(i).nodes.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: n.id})
				if o := got.GetNode().GetObserved(); err == nil && (o.OpenStreams == nil || o.GetOpenStreams() != want) {
					err = errors.New(o.String())
				}
				return err
			})
		}
	}
	open(2)

	var watching sync.WaitGroup
	watching.Go(func() {
		out, code := c.cli(1, "nodes", "drain", n.id, "--drain-timeout", "3s", "--stop", "--watch")
		if code != 0 || !strings.Contains(out, "that are open: ") || !strings.Contains(out, "has stopped") {
			t.Errorf("drain --watch: %d %s", code, out)
		}
	})
	eventually(t, "it calls itself not ready", func(ctx context.Context) error {
		a, err := c.ready(ctx, n)
		if err == nil && a.status != http.StatusServiceUnavailable {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	if err := s.echoes("still here"); err != nil {
		t.Errorf("a WebSocket, before the time is over: %v", err)
	}
	close(to.hold)
	half.Wait()
	if body, closed, err := readFrame(s.in); err != nil || !closed || body != "\x03\xe9" {
		t.Errorf("the WebSocket ends with %q, %t, %v", body, closed, err)
	}
	<-n.ended
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it exits with %d", code)
	}
	watching.Wait()

	n.start()
	eventually(t, "its successor is drained, and serves", func(ctx context.Context) error {
		a, err := c.ready(ctx, n)
		if err == nil && !strings.Contains(a.body, "drain") {
			err = errors.New(a.body)
		}
		if err == nil {
			a, err = c.get(ctx, n, "/r")
		}
		if err == nil && a.body != "up took 0\n" {
			err = errors.New(a.body)
		}
		return err
	})
	if out, code := c.cli(0, "nodes", "undrain", n.id, "--wait", "--wait-timeout", patience.String()); code != 0 {
		t.Errorf("undrain: %d %s", code, out)
	}
	c.awaitNode(n)
}
