package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A replica answers with its name, or hangs, or fails.
type replica struct {
	signalboxv1.UnimplementedRouteServiceServer
	name   string
	hangs  bool
	fails  error
	reads  atomic.Int32
	writes atomic.Int32
}

func (r *replica) answer(ctx context.Context) error {
	if r.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return r.fails
}

func (r *replica) GetRoute(ctx context.Context, _ *signalboxv1.GetRouteRequest) (*signalboxv1.GetRouteResponse, error) {
	r.reads.Add(1)
	return &signalboxv1.GetRouteResponse{Route: &signalboxv1.Route{Name: r.name}}, r.answer(ctx)
}

func (r *replica) PutRoute(ctx context.Context, _ *signalboxv1.PutRouteRequest) (*signalboxv1.PutRouteResponse, error) {
	r.writes.Add(1)
	return &signalboxv1.PutRouteResponse{}, r.answer(ctx)
}

// between serves the replicas, and connects to them as a gateway does.
func between(t *testing.T, after time.Duration, replicas ...*replica) signalboxv1.RouteServiceClient {
	t.Helper()
	var addresses []string
	for _, r := range replicas {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		signalboxv1.RegisterRouteServiceServer(server, r)
		healthv1.RegisterHealthServer(server, health.NewServer())
		var served sync.WaitGroup
		served.Go(func() { _ = server.Serve(ln) }) // it ends with Stop
		t.Cleanup(func() {
			server.Stop()
			served.Wait()
		})
		addresses = append(addresses, ln.Addr().String())
	}
	conn, err := dial(addresses, nil, healthyReplica, grpc.WithUnaryInterceptor(hedge(after)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return signalboxv1.NewRouteServiceClient(conn)
}

// Reads are answered while one control plane of two hangs or fails.
func TestReadsGoToAnother(t *testing.T) {
	for _, c := range []struct {
		name  string
		bad   *replica
		after time.Duration
	}{
		{"one hangs", &replica{hangs: true}, 10 * time.Millisecond},
		{"one fails", &replica{fails: status.Error(codes.Unavailable, "no store")}, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := &replica{name: "good"}
			routes := between(t, c.after, c.bad, good)
			// Until both are connected, there may be none but the bad one.
			for good.reads.Load() == 0 && t.Context().Err() == nil {
				_, _ = routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{}) // of either
			}
			for c.bad.reads.Load() < 3 {
				var header metadata.MD
				res, err := routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{}, grpc.Header(&header))
				if err != nil || res.GetRoute().GetName() != "good" {
					t.Fatalf("got %v, %v", res, err)
				}
			}
		})
	}
}

// What is the same everywhere is said at once; what none can answer, after a
// few tries.
func TestReadsThatFail(t *testing.T) {
	for code, want := range map[codes.Code]int32{codes.NotFound: 1, codes.Unavailable: hedgeTries} {
		bad := &replica{fails: status.Error(code, "no")}
		_, err := between(t, time.Hour, bad).GetRoute(t.Context(), &signalboxv1.GetRouteRequest{})
		if status.Code(err) != code || bad.reads.Load() != want {
			t.Errorf("%v: got %v after %d tries, want %d", code, err, bad.reads.Load(), want)
		}
	}
}

// A write is sent once, whatever becomes of it.
func TestWritesAreSentOnce(t *testing.T) {
	bad := &replica{fails: status.Error(codes.Unavailable, "no store")}
	_, err := between(t, 0, bad).PutRoute(t.Context(), &signalboxv1.PutRouteRequest{})
	if status.Code(err) != codes.Unavailable || bad.writes.Load() != 1 {
		t.Errorf("got %v after %d writes", err, bad.writes.Load())
	}
}
