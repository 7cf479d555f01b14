package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/controlplane"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// key is the admin key of the run.
const key = "a-key-for-one-benchmark-run"

// A point is what was measured at one number of nodes; times in milliseconds.
type point struct {
	Nodes    int     `json:"nodes"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	PutP50   float64 `json:"bare_put_p50_ms"`
	PutP99   float64 `json:"bare_put_p99_ms"`
	RatioP50 float64 `json:"ratio_p50"`
}

// measure runs everything and writes the results.
func measure(ctx context.Context, writes int, out string) error {
	dir, err := os.MkdirTemp("", "propagation")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := begin(ctx, dir)
	if err != nil {
		return err
	}
	defer b.end()
	var points []point
	fmt.Println("nodes   call to answer p50/p99     bare put p50/p99    ratio of medians")
	for _, nodes := range []int{1, 20, 200} {
		p, err := b.point(ctx, nodes, writes)
		if err != nil {
			return err
		}
		points = append(points, p)
		fmt.Printf("%5d   %8.2f / %6.2f ms   %8.2f / %6.2f ms   %6.1f\n", p.Nodes, p.P50, p.P99, p.PutP50, p.PutP99, p.RatioP50)
	}
	return report(out, points)
}

// A bed is one etcd and one control plane on it.
type bed struct {
	put     *clientv3.Client
	conn    *grpc.ClientConn
	address string
	end     func()
}

func begin(ctx context.Context, dir string) (*bed, error) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
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
	ready := make(chan string, 1)
	plane := controlplane.New(controlplane.Config{
		ID: "bench", Address: ln.Addr().String(), Records: keeper, Notes: keeper, AdminKey: key,
		Ready: func(string) { ready <- "" }, Log: log,
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
	return &bed{put: put, conn: conn, address: ln.Addr().String(), end: func() {
		_ = conn.Close()
		_ = put.Close()
		stop()
		<-ended
		_ = keeper.Close()
		member.Close()
	}}, err
}

// point measures writes with a number of nodes, each followed by a bare put.
func (b *bed) point(ctx context.Context, nodes, writes int) (point, error) {
	self, err := os.Executable()
	if err != nil {
		return point{}, err
	}
	proc := exec.CommandContext(ctx, self, "-nodes-of", b.address, "-count", fmt.Sprint(nodes), "-key", key)
	proc.Stderr = os.Stderr
	if err := proc.Start(); err != nil {
		return point{}, err
	}
	defer func() {
		_ = proc.Process.Kill()
		_ = proc.Wait()
	}()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	api := signalboxv1.NewRouteServiceClient(b.conn)
	if err := b.awaitNodes(ctx, api, nodes); err != nil {
		return point{}, err
	}
	var calls, puts []time.Duration
	value := string(make([]byte, 120))
	for i := range writes {
		start := time.Now()
		if err := b.write(ctx, api, i, nodes); err != nil {
			return point{}, err
		}
		calls = append(calls, time.Since(start))
		start = time.Now()
		if _, err := b.put.Put(ctx, fmt.Sprintf("/bare/%d", i%100), value); err != nil {
			return point{}, err
		}
		puts = append(puts, time.Since(start))
	}
	p := point{Nodes: nodes, P50: at(calls, 50), P99: at(calls, 99), PutP50: at(puts, 50), PutP99: at(puts, 99)}
	p.RatioP50 = p.P50 / p.PutP50
	return p, nil
}

// awaitNodes waits until all nodes are there, and warms everything up.
func (b *bed) awaitNodes(ctx context.Context, api signalboxv1.RouteServiceClient, nodes int) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for seen := 0; seen < 20; {
		answer, err := api.PutRoute(ctx, request(0))
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

func (b *bed) write(ctx context.Context, api signalboxv1.RouteServiceClient, i, nodes int) error {
	answer, err := api.PutRoute(ctx, request(i))
	if err != nil {
		return err
	}
	if got := int(answer.GetResult().GetNodesServing()); got != nodes {
		return fmt.Errorf("write %d is served by %d of %d nodes", i, got, nodes)
	}
	return nil
}

func request(i int) *signalboxv1.PutRouteRequest {
	name := fmt.Sprintf("route-%d", i%100)
	return &signalboxv1.PutRouteRequest{
		Route: &signalboxv1.Route{
			Name: name, Match: &signalboxv1.Match{PathPrefix: "/" + name},
			Upstreams: []*signalboxv1.Upstream{{Url: fmt.Sprintf("http://127.0.0.1:%d", 1024+i)}},
		},
		Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(10 * time.Second),
	}
}

// at is a percentile, in milliseconds.
func at(all []time.Duration, percent int) float64 {
	all = slices.Sorted(slices.Values(all))
	return float64(all[min(len(all)-1, len(all)*percent/100)].Microseconds()) / 1000
}
