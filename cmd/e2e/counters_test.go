//go:build e2e

// Nothing is counted twice or lost: what nodes carried adds up on every control
// plane, whoever is killed.

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/etcd"
)

// carry sends requests through a node to their end, every third of those to
// /count with a body, and adds them to what is expected of their route.
func (c *cluster) carry(n *nodeProcess, path string, requests int, sum *signalboxv1.RouteCounters) {
	c.t.Helper()
	for i := range requests {
		body, method := "", "GET"
		if i%3 == 0 && path == "/count" {
			body, method = strings.Repeat("b", 100+i), "POST"
		}
		a, err := send(c.t.Context(), c.client, method, "http://"+n.public+path, body)
		if err != nil {
			c.t.Fatal(err)
		}
		sum.Requests++
		sum.BytesReceived += uint64(len(body))
		sum.BytesSent += uint64(len(a.body))
		sum.Statuses[a.status/100-1]++
		if a.status == http.StatusBadGateway {
			sum.NodeFailures++
		}
	}
}

// totals fails unless every control plane comes to say exactly what was
// counted, and all the same of when it was.
func (c *cluster) totals(name string, want *signalboxv1.RouteCounters) *signalboxv1.RouteObserved {
	c.t.Helper()
	var seen []*signalboxv1.RouteObserved
	for i, p := range c.planes {
		api := c.services(i).routes
		eventually(c.t, p.id+" says what was counted", func(ctx context.Context) error {
			entry, err := api.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: name})
			o := entry.GetObserved()
			if err == nil && !proto.Equal(o.GetCounters(), want) {
				err = fmt.Errorf("%s has carried %v, want %v", name, o.GetCounters(), want)
			}
			if err == nil && i > 0 && !o.GetLastActivity().AsTime().Equal(seen[0].GetLastActivity().AsTime()) {
				err = fmt.Errorf("last activity %v, and %v elsewhere", o.GetLastActivity().AsTime(), seen[0].GetLastActivity().AsTime())
			}
			if err == nil {
				seen = append(seen, o)
			}
			return err
		})
	}
	return seen[0]
}

func counters() *signalboxv1.RouteCounters {
	return &signalboxv1.RouteCounters{Statuses: make([]uint64, 5)}
}

func TestCountersAddUpWhoeverIsKilled(t *testing.T) {
	c := newCluster(t, 2, 3)
	to := newUpstream(t, "up")
	api := c.services(0)
	api.put(t, route("count", "/count", to.url))
	api.put(t, route("down", "/down", "http://"+freeAddr(t)))
	count, down := counters(), counters()
	began := time.Now()
	var ended time.Time
	for i, n := range c.nodes {
		c.carry(n, "/count", 100*(i+1), count)
		ended = time.Now()
		c.carry(n, "/down", 7, down)
	}
	o := c.totals("count", count)
	if last := o.GetLastActivity().AsTime(); last.Before(began) || last.After(ended) {
		t.Errorf("last activity %v, requests from %v to %v", last, began, ended)
	}
	c.totals("down", down)
	t.Logf("%v, and %v", count, down)

	t.Log("a control plane is killed")
	c.planes[0].kill()
	c.carry(c.nodes[0], "/count", 50, count)
	c.planes[0].start()
	c.awaitPlane(c.planes[0])
	c.totals("count", count)

	t.Log("a node is killed, after it reported")
	c.nodes[0].kill()
	c.totals("count", count)
	c.nodes[0].start()
	c.awaitNode(c.nodes[0])
	c.carry(c.nodes[0], "/count", 60, count)
	c.carry(c.nodes[1], "/count", 10, count)
	c.totals("count", count)
	c.totals("down", down)

	t.Log("all are killed, after a checkpoint")
	c.checkpointed("count", count.GetRequests())
	for _, p := range c.all {
		if p.running() {
			p.kill()
		}
	}
	for _, name := range []string{"etcd", "cp0", "cp1"} {
		c.part(name).start()
	}
	for _, p := range c.planes {
		c.awaitPlane(p)
	}
	c.totals("count", count)

	t.Log("the nodes come back, and count on")
	for _, n := range c.nodes {
		n.start()
	}
	for _, n := range c.nodes {
		c.awaitNode(n)
		c.carry(n, "/count", 5, count)
	}
	c.totals("count", count)

	t.Log("all are asked to end, the nodes first: their last report is not awaited, nor a checkpoint")
	c.checkpointed("count", count.GetRequests())
	for _, n := range c.nodes {
		c.carry(n, "/count", 5, count)
	}
	for i := len(c.all) - 1; i >= 0; i-- {
		if p := c.all[i]; p.running() {
			if code := p.stop(15); code != 0 {
				t.Errorf("%s exits with %d", p.name, code)
			}
		}
	}
	for _, name := range []string{"etcd", "cp1", "cp0"} {
		c.part(name).start()
	}
	c.totals("count", count)
}

// checkpointed waits until the store holds how many requests a route has had.
func (c *cluster) checkpointed(name string, requests uint64) {
	c.t.Helper()
	keeper, err := etcd.Open(etcd.Config{Endpoints: c.store})
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = keeper.Close() }()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	notes := map[string]uint64{} // requests of the route, by note
	_ = keeper.FollowNotes(ctx, "tally/", func(change store.NoteChange) error {
		mu.Lock()
		defer mu.Unlock()
		if change.Whole {
			clear(notes)
		}
		for _, n := range change.Put {
			notes[n.Name] = requestsIn(n.Name, n.Value, name)
		}
		for _, gone := range change.Gone {
			delete(notes, gone)
		}
		var sum uint64
		for _, n := range notes {
			sum += n
		}
		if sum == requests {
			cancel()
		}
		return nil
	})
	if ctx.Err() != context.Canceled {
		c.t.Errorf("no checkpoint holds %d requests of %s: %v", requests, name, notes)
	}
}

// requestsIn is how many requests of a route a note of the checkpoint holds.
func requestsIn(note string, value []byte, name string) uint64 {
	var chunk signalboxv1.TallyChunk
	entries := chunk.GetEntries
	if strings.HasPrefix(note, "tally/base/") {
		var base signalboxv1.TallyBase
		if proto.Unmarshal(value, &base) != nil {
			return 0
		}
		entries = base.GetEntries
	} else if proto.Unmarshal(value, &chunk) != nil {
		return 0
	}
	var sum uint64
	for _, e := range entries() {
		if e.GetRoute() == name {
			sum += e.GetCounters().GetRequests()
		}
	}
	return sum
}

func TestBytesOfAWebSocketAreActivityInBothDirections(t *testing.T) {
	c := newCluster(t, 1, 1)
	to := newUpstream(t, "up")
	api := c.services(0)
	api.put(t, route("ws", "/ws", to.url))
	open := map[string]*socket{}
	for _, path := range []string{"/ws/sink", "/ws/push"} {
		s, err := openSocket(c.nodes[0].public, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		open[path] = s
	}
	observed := func(what string, ok func(*signalboxv1.RouteObserved) bool) *signalboxv1.RouteObserved {
		t.Helper()
		var o *signalboxv1.RouteObserved
		eventually(t, what, func(ctx context.Context) error {
			entry, err := api.routes.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "ws"})
			if o = entry.GetObserved(); err == nil && !ok(o) {
				err = fmt.Errorf("%v", o)
			}
			return err
		})
		return o
	}
	before := observed("two streams are open", func(o *signalboxv1.RouteObserved) bool {
		return o.GetOpenStreams() == 2 && o.GetCounters().GetStatuses()[0] == 2
	})

	// Activity is told to the second, so messages are sent until it moves.
	messages := uint64(0)
	fromClient := frame("from the client", true)
	up := observed("bytes from the client are activity", func(o *signalboxv1.RouteObserved) bool {
		if o.GetLastActivity().AsTime().After(before.GetLastActivity().AsTime()) {
			return o.GetCounters().GetBytesReceived() == messages*uint64(len(fromClient))
		}
		messages++
		if _, err := open["/ws/sink"].conn.Write(fromClient); err != nil {
			t.Fatal(err)
		}
		return false
	})
	if up.GetCounters().GetBytesSent() != 0 {
		t.Errorf("nothing was sent, and %v was counted", up)
	}

	messages = 0
	fromUpstream := "from the upstream"
	down := observed("bytes from the upstream are activity", func(o *signalboxv1.RouteObserved) bool {
		if o.GetLastActivity().AsTime().After(up.GetLastActivity().AsTime()) {
			return o.GetCounters().GetBytesSent() == messages*uint64(len(frame(fromUpstream, false)))
		}
		messages++
		to.push <- fromUpstream
		if got, _, err := readFrame(open["/ws/push"].in); err != nil || got != fromUpstream {
			t.Fatalf("got %q %v", got, err)
		}
		return false
	})
	if down.GetCounters().GetBytesReceived() != up.GetCounters().GetBytesReceived() {
		t.Errorf("nothing was received, and %v was counted after %v", down, up)
	}
}
