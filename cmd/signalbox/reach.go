package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"signalbox/proto/probe"
)

// patient is how a command tries to connect: often, since it will not for
// long.
var patient = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
	MinConnectTimeout: 2 * time.Second,
}

// reach waits until a control plane is connected and serves, for one may be
// starting. What ails one that answers and does not serve, its answer to the
// call says better.
func reach(ctx context.Context, conn *grpc.ClientConn, addresses []string, within time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		conn.Connect()
		state := conn.GetState()
		if state == connectivity.Ready {
			served(waiting, conn)
			return ctx.Err()
		}
		if conn.WaitForStateChange(waiting, state) {
			continue
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
		defer cancel()
		return status.Errorf(codes.Unavailable, "no control plane answers at %s (--controlplane): %s", strings.Join(addresses, ", "), lastTrouble(grace, conn, addresses))
	}
}

// served waits until the control plane says that it serves, or ctx ends, or it
// does not say.
func served(ctx context.Context, conn *grpc.ClientConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := healthv1.NewHealthClient(conn).Watch(ctx, new(healthv1.HealthCheckRequest))
	for err == nil {
		var res *healthv1.HealthCheckResponse
		if res, err = watch.Recv(); res.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			return
		}
	}
}

// lastTrouble is why a connection could not be made.
func lastTrouble(ctx context.Context, conn *grpc.ClientConn, addresses []string) string {
	// gRPC does not pass on what became of names.
	for _, addr := range addresses {
		host, _, _ := net.SplitHostPort(addr)
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			return err.Error()
		}
	}
	text := probe.Trouble(ctx, conn)
	switch {
	case text == "":
		return "the connection is taken, and nothing is said on it"
	case strings.Contains(text, "looked like an HTTP/1.1 header"):
		return "that is no gRPC API, which is at another port, 8002 by default"
	case strings.Contains(text, "remote error: tls: "):
		return text + " (does it want a client certificate, or another one? see --controlplane-cert)"
	case strings.HasPrefix(text, "error reading server preface"), strings.Contains(text, "broken pipe"), strings.Contains(text, "connection reset by peer"):
		// What it said in TLS may be lost, if it said something.
		return text + " (does it want TLS, or a client certificate? see --controlplane-tls, and --controlplane-cert)"
	}
	return text
}
