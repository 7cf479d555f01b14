package probe_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/emptypb"

	"signalbox/proto/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server takes any call. While it is frozen, its health watches stay open and
// no check is answered, as of a stopped process.
type server struct {
	*health.Server
	addr   string
	frozen atomic.Bool
	asked  atomic.Int32 // checks
	calls  atomic.Int32 // all others
}

func (s *server) Check(ctx context.Context, req *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	s.asked.Add(1)
	if s.frozen.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Server.Check(ctx, req)
}

func (s *server) call(_ any, stream grpc.ServerStream) error {
	s.calls.Add(1)
	if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
		return err
	}
	return stream.SendMsg(new(emptypb.Empty))
}

// start starts a server, until the test ends.
func start(t *testing.T) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: health.NewServer(), addr: ln.Addr().String()}
	g := grpc.NewServer(grpc.UnknownServiceHandler(s.call))
	healthv1.RegisterHealthServer(g, s)
	var served sync.WaitGroup
	served.Go(func() { _ = g.Serve(ln) }) // it ends with Stop
	t.Cleanup(func() {
		g.Stop()
		served.Wait()
	})
	return s
}

// between returns a call to some servers, by the policy and more of a service
// config.
func between(t *testing.T, more string, servers ...*server) func(context.Context) error {
	t.Helper()
	known := manual.NewBuilderWithScheme("known")
	var state resolver.State
	for _, s := range servers {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: s.addr}}})
	}
	known.InitialState(state)
	conn, err := grpc.NewClient("known:///servers", grpc.WithResolvers(known), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"`+probe.Policy+`": {}}]`+more+`}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func(ctx context.Context) error {
		return conn.Invoke(ctx, "/any.Service/Call", new(emptypb.Empty), new(emptypb.Empty))
	}
}

// configs are what clients say beside the policy: those of etcd nothing.
var configs = map[string]string{
	"without a health watch": "",
	"with one":               `, "healthCheckConfig": {"serviceName": ""}`,
}

// None goes to a server that hangs, once it was found out, and they go to it
// again when it answers.
func TestCallsGoAroundWhoHangs(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hanging := start(t)
			call := between(t, config, hanging, start(t))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			// until calls until the last few calls went where they should.
			until := func(what string, right func(before int32) bool) {
				t.Helper()
				for inRow := 0; inRow < 20; inRow++ {
					before := hanging.calls.Load()
					if err := call(ctx); err != nil || !right(before) {
						inRow = -1
						<-time.After(time.Millisecond)
					}
					if ctx.Err() != nil {
						t.Fatal("never: " + what)
					}
				}
			}
			some := func(int32) bool { return hanging.calls.Load() > 0 }
			none := func(before int32) bool { return hanging.calls.Load() == before }
			until("both are called", some)
			hanging.frozen.Store(true)
			until("only one is called", none)
			hanging.frozen.Store(false)
			hanging.calls.Store(0)
			until("both are called again", some)
		})
	}
}

// Where none is known to answer, they are called all the same: it may be the
// caller that stood still.
func TestCallsGoToWhoeverIsThereWhenAllSeemToHang(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			only := start(t)
			only.frozen.Store(true)
			call := between(t, config, only)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for only.asked.Load() < 3 { // so that one has gone unanswered
				if err := call(ctx); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Millisecond)
			}
		})
	}
}

func TestWhyThereIsNoConnectionIsSaidInTheNetworksWords(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		ln.Addr().String(): "dial tcp " + ln.Addr().String() + ": connect: connection refused",
		start(t).addr:      "",
	} {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		if got := probe.Trouble(t.Context(), conn); strings.TrimSpace(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
