package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/controlplane"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// key is the admin key of the run.
const key = "a-key-for-one-benchmark-run"

// A bed is one etcd and one control plane on it.
type bed struct {
	put     *clientv3.Client
	conn    *grpc.ClientConn
	api     signalboxv1.RouteServiceClient
	address string
	end     func() error
}

// begin starts a bed in a directory. The control plane and the bare puts both
// reach etcd over its socket.
func begin(ctx context.Context, dir string) (*bed, error) {
	member, err := embedded.Start(ctx, embedded.Config{DataDir: filepath.Join(dir, "etcd"), ListenClientURLs: []string{"http://127.0.0.1:0"}})
	if err != nil {
		return nil, err
	}
	endpoint := member.ClientAddrs()[0]
	keeper, err := etcd.Open(etcd.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return nil, err
	}
	put, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	plane := controlplane.New(controlplane.Config{
		ID: "bench", Address: ln.Addr().String(), Records: keeper, Notes: keeper, AdminKey: key,
		Ready: func(string) { close(ready) }, Log: slog.New(slog.DiscardHandler),
	})
	pctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- plane.Run(pctx, controlplane.Endpoint{Listener: ln}) }()
	select {
	case <-ready:
	case err := <-ended:
		stop()
		return nil, err
	}
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return &bed{put: put, conn: conn, api: signalboxv1.NewRouteServiceClient(conn), address: ln.Addr().String(), end: func() error {
		_ = conn.Close()
		_ = put.Close()
		stop()
		err := <-ended
		_ = keeper.Close()
		member.Close()
		return err
	}}, err
}

// awaitNodes waits until as many nodes serve what is written, and warms
// everything up.
func (b *bed) awaitNodes(ctx context.Context, nodes int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for seen := 0; seen < 20; {
		answer, err := b.api.PutRoute(ctx, request(0))
		if err != nil {
			return err
		}
		if int(answer.GetResult().GetNodesServing()) == nodes {
			seen++
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// write is what is measured. It fails unless every node serves it.
func (b *bed) write(ctx context.Context, i, nodes int) error {
	answer, err := b.api.PutRoute(ctx, request(i))
	if err != nil {
		return err
	}
	if got := int(answer.GetResult().GetNodesServing()); got != nodes {
		return fmt.Errorf("write %d is served by %d of %d nodes", i, got, nodes)
	}
	return nil
}

// barePut is what it is compared with: as many bytes, in one key.
func (b *bed) barePut(ctx context.Context, i int) error {
	_, err := b.put.Put(ctx, fmt.Sprintf("/bare/%d", i%100), value)
	return err
}

// value is about as long as the record that request writes.
var value = string(make([]byte, 120))

func request(i int) *signalboxv1.PutRouteRequest {
	name := fmt.Sprintf("route-%d", i%100)
	return &signalboxv1.PutRouteRequest{
		Route: &signalboxv1.Route{
			Name: name, Match: &signalboxv1.Match{PathPrefix: "/" + name},
			Upstreams: []*signalboxv1.Upstream{{Url: fmt.Sprintf("http://127.0.0.1:%d", 1024+i%60_000)}},
		},
		Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(10 * time.Second),
	}
}
