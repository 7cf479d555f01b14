package main

import (
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// serveHealth runs a gRPC server that has only its health to tell, and does
// not serve yet.
func serveHealth(t *testing.T) (addr string, condition *health.Server) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	condition = health.NewServer()
	condition.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, condition)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(ln) }) // it ends with Stop
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return ln.Addr().String(), condition
}

// A control plane that answers but does not serve yet is waited for, and then
// left to say itself what is wrong.
func TestReachWaitsUntilItServes(t *testing.T) {
	addr, condition := serveHealth(t)
	conn, err := dial([]string{addr}, nil, everyReplica, grpc.WithConnectParams(patient))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := reach(t.Context(), conn, []string{addr}, 300*time.Millisecond); err != nil {
		t.Errorf("of one that does not serve: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- reach(t.Context(), conn, []string{addr}, time.Hour) }()
	condition.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	if err := <-done; err != nil {
		t.Errorf("of one that serves: %v", err)
	}
}
