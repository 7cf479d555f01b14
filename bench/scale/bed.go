package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/bench/child"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/etcd/embedded"
)

// A bed is an etcd in this process, and a control plane and a node in others.
type bed struct {
	routes int
	plane  *child.Child
	node   *child.Child // nil before attend
	feed   string       // address of the control plane for nodes
	api    signalboxv1.RouteServiceClient
	closes []func() error
}

// newBed starts a bed with an empty store.
func newBed(ctx context.Context, dir string, routes int) (*bed, error) {
	b := &bed{routes: routes}
	member, err := embedded.Start(ctx, embedded.Config{DataDir: filepath.Join(dir, strconv.Itoa(routes)), ListenClientURLs: []string{"http://127.0.0.1:0"}})
	if err != nil {
		return nil, err
	}
	b.closes = append(b.closes, func() error { member.Close(); return nil })
	if b.plane, err = child.Start(ctx, child.Spec{Part: "plane", Config: planeConfig{Etcd: "http://" + member.ClientAddrs()[0]}}); err != nil {
		return b, err
	}
	b.closes = append(b.closes, b.plane.Close)
	var s planeState
	if err := b.plane.Ask("state", &s); err != nil {
		return b, err
	}
	conn, err := grpc.NewClient(s.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return b, err
	}
	b.closes = append(b.closes, conn.Close)
	b.feed, b.api = s.Feed, signalboxv1.NewRouteServiceClient(conn)
	return b, nil
}

// close ends everything, in the order opposite to that of starting.
func (b *bed) close() error {
	var errs []error
	if b.node != nil {
		errs = append(errs, b.node.Close())
	}
	for i := len(b.closes) - 1; i >= 0; i-- {
		errs = append(errs, b.closes[i]())
	}
	return errors.Join(errs...)
}

// withKey adds the admin key to all calls.
func withKey(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

// batch is how many routes are put in one call: as many as fit.
const batch = 10_000

// load writes the bed's routes. The first leads to origin.
func (b *bed) load(ctx context.Context, origin string, say func(done int)) error {
	for from := 0; from < b.routes; from += batch {
		req := &signalboxv1.BatchPutRoutesRequest{Split: true}
		for i := from; i < min(from+batch, b.routes); i++ {
			r := record(i)
			if i == 0 {
				r.Upstreams[0].Url = origin
			}
			req.Routes = append(req.Routes, r)
		}
		answer, err := b.api.BatchPutRoutes(ctx, req)
		if err != nil {
			return err
		}
		if int(answer.GetWritten()) != len(req.GetRoutes()) {
			return fmt.Errorf("%d of %d routes were written", answer.GetWritten(), len(req.GetRoutes()))
		}
		say(from + len(req.GetRoutes()))
	}
	return nil
}

// newNode starts a node and waits until it serves. Before that a route is
// written, so that the control plane has nothing made ready.
func (b *bed) newNode(ctx context.Context, c nodeConfig) (*child.Child, served, error) {
	var s served
	if _, err := b.api.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: named("changing", fmt.Sprintf("http://10.255.0.1:%d", 1024+time.Now().UnixNano()%60_000))}); err != nil {
		return nil, s, err
	}
	c.Feed = b.feed
	n, err := child.Start(ctx, child.Spec{Part: "node", Config: c})
	if err != nil {
		return nil, s, err
	}
	if err := n.Ask("serve", &s); err != nil {
		return nil, s, errors.Join(err, n.Close())
	}
	return n, s, nil
}

// attend starts the node that stays.
func (b *bed) attend(ctx context.Context) (err error) {
	b.node, _, err = b.newNode(ctx, nodeConfig{Path: path(0)})
	return err
}

// A change is what routes written one by one cost, each.
type change struct {
	// Calls is how long each took until the node served it.
	Calls []time.Duration
	// PlaneCPU and NodeCPU in microseconds; ToNode and FromNode in bytes.
	PlaneCPU, NodeCPU, ToNode, FromNode float64
}

// change writes routes one by one, and removes them again.
func (b *bed) change(ctx context.Context, writes int) (c change, err error) {
	var plane, planeAfter planeState
	var node, nodeAfter int64
	if err := errors.Join(b.plane.Ask("state", &plane), b.node.Ask("cpu", &node)); err != nil {
		return c, err
	}
	remove := &signalboxv1.BatchDeleteRoutesRequest{Split: true, Wait: signalboxv1.Wait_WAIT_NODES}
	for i := range writes {
		r := named(fmt.Sprintf("one-more-%d", i), "http://10.255.0.2:8888")
		remove.Names = append(remove.Names, r.GetName())
		begun := time.Now()
		answer, err := b.api.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: r, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(10 * time.Second)})
		if err != nil {
			return c, err
		}
		c.Calls = append(c.Calls, time.Since(begun))
		if got := answer.GetResult(); got.GetNodesServing() != 1 || got.GetNodesLive() != 1 {
			return c, fmt.Errorf("a write is served by %d of %d nodes, want 1 of 1", got.GetNodesServing(), got.GetNodesLive())
		}
	}
	if err := errors.Join(b.plane.Ask("state", &planeAfter), b.node.Ask("cpu", &nodeAfter)); err != nil {
		return c, err
	}
	n := float64(writes)
	c.PlaneCPU, c.NodeCPU = float64(planeAfter.CPU-plane.CPU)/n/1e3, float64(nodeAfter-node)/n/1e3
	c.ToNode, c.FromNode = float64(planeAfter.Sent-plane.Sent)/n, float64(planeAfter.Received-plane.Received)/n
	_, err = b.api.BatchDeleteRoutes(ctx, remove)
	return c, err
}

// startOrigin serves 200 to everyone, and returns its URL.
func startOrigin(ctx context.Context) (url string, end func(), err error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: patience}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln) // says only that it was closed
	}()
	return "http://" + ln.Addr().String(), func() {
		_ = server.Close()
		<-ended
	}, nil
}
