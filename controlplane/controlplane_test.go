package controlplane_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"signalbox/controlplane"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a replica, and returns a connection to it, the admin key it made
// and what stops it and waits for its end.
func start(t *testing.T, keeper *mem.Keeper, id, key string) (conn *grpc.ClientConn, made string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	cp := controlplane.New(controlplane.Config{
		ID: id, Address: ln.Addr().String(), Records: keeper, Notes: keeper, AdminKey: key, LeaseTTL: time.Second,
		Ready: func(made string) { ready <- made }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cp.Run(ctx, controlplane.Endpoint{Listener: ln}) }()
	conn, err = grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		_ = conn.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return conn, <-ready, stop
}

func as(t *testing.T, key string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
}

// The first admin key is made once and lets its holder in; nobody else gets
// in.
func TestFirstKey(t *testing.T) {
	keeper := mem.New()
	conn, key, _ := start(t, keeper, "one", "")
	if key == "" {
		t.Fatal("no admin key was made")
	}
	api := signalboxv1.NewRouteServiceClient(conn)
	if _, err := api.ListRoutes(as(t, key), &signalboxv1.ListRoutesRequest{}); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "x"} {
		if _, err := api.ListRoutes(as(t, wrong), &signalboxv1.ListRoutesRequest{}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("key %q: %v", wrong, err)
		}
	}
	if _, made, _ := start(t, keeper.Another(), "two", ""); made != "" {
		t.Error("a second replica made another admin key")
	}
}

// A replica stops within its grace while streams are open, and ends them.
func TestStopWithOpenStreams(t *testing.T) {
	conn, key, stop := start(t, mem.New(), "one", "")
	events, err := signalboxv1.NewEventServiceClient(conn).FollowEvents(as(t, key), &signalboxv1.FollowEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := signalboxv1.NewFeedServiceClient(conn).Connect(as(t, key))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: "n", Epoch: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for {
		if _, err := events.Recv(); err != nil {
			break
		}
	}
	for {
		if _, err := node.Recv(); err != nil {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("the node's stream ended with %v", err)
			}
			break
		}
	}
}

// A replica that has lost touch with the store says so by gRPC health, so that
// gateways and load balancers look for another, and takes it back.
func TestHealth(t *testing.T) {
	keeper := mem.New()
	conn, _, _ := start(t, keeper, "one", "")
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	until := func(want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for {
			m, err := watch.Recv()
			if err != nil {
				t.Fatalf("until %v: %v", want, err)
			}
			if m.GetStatus() == want {
				return
			}
		}
	}
	until(healthv1.HealthCheckResponse_SERVING)
	keeper.SetAvailable(false)
	until(healthv1.HealthCheckResponse_NOT_SERVING)
	keeper.SetAvailable(true)
	until(healthv1.HealthCheckResponse_SERVING)
}
