package controlplane_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

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
	return startOn(t, ln, keeper, id, key)
}

// startInside is start for tests in simulated time: with a network in memory.
func startInside(t *testing.T, keeper *mem.Keeper, id, key string) (conn *grpc.ClientConn, made string) {
	t.Helper()
	ln := bufconn.Listen(1 << 16)
	conn, made, _ = startOn(t, ln, keeper, id, key,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	return conn, made
}

// startOn is start on a listener.
func startOn(t *testing.T, ln net.Listener, keeper *mem.Keeper, id, key string, option ...grpc.DialOption) (conn *grpc.ClientConn, made string, stop func() error) {
	t.Helper()
	ready := make(chan string, 1)
	cp := controlplane.New(controlplane.Config{
		ID: id, Address: ln.Addr().String(), Records: keeper, Notes: keeper, AdminKey: key, LeaseTTL: time.Second,
		Ready: func(made string) { ready <- made }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cp.Run(ctx, controlplane.Endpoint{Listener: ln}) }()
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), append(option, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
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

// A replica that starts while the store is away answers, and says so, until
// the store is there; the first key is made then.
func TestStartWithoutTheStore(t *testing.T) {
	keeper := mem.New()
	keeper.SetAvailable(false)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	cp := controlplane.New(controlplane.Config{
		ID: "one", Records: keeper, Notes: keeper, LeaseTTL: time.Second,
		Ready: func(made string) { ready <- made }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cp.Run(ctx, controlplane.Endpoint{Listener: ln}) }()
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	res, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || res.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health without the store: %v, %v", res.GetStatus(), err)
	}
	api := signalboxv1.NewRouteServiceClient(conn)
	_, err = api.ListRoutes(as(t, "x"), &signalboxv1.ListRoutesRequest{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "has not read the store yet") {
		t.Errorf("a call without the store: %v", err)
	}
	if node, err := signalboxv1.NewFeedServiceClient(conn).Connect(as(t, "x")); err != nil {
		t.Error(err)
	} else if _, err := node.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream without the store: %v", err)
	}
	keeper.SetAvailable(true)
	if _, err := api.ListRoutes(as(t, <-ready), &signalboxv1.ListRoutesRequest{}); err != nil {
		t.Error(err)
	}
}

// A replica that is told to stop before the store was there stops; one that
// cannot make its keys ends with the reason.
func TestEndWhileItStarts(t *testing.T) {
	for _, c := range []struct{ name, key, want string }{
		{"it is told to stop", "sbx_a-secret-for-tests-alone", ""},
		{"its key cannot be a key", "a secret with spaces", "visible ASCII"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keeper := mem.New()
			keeper.SetAvailable(false)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			cp := controlplane.New(controlplane.Config{
				ID: "one", Records: keeper, Notes: keeper, AdminKey: c.key, LeaseTTL: time.Second,
				Ready: func(string) { t.Error("it was ready") }, Log: slog.New(slog.DiscardHandler),
			})
			ctx, cancel := context.WithCancel(t.Context())
			if c.want == "" {
				cancel()
			}
			defer cancel()
			err = cp.Run(ctx, controlplane.Endpoint{Listener: ln})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("it ended with %v", err)
			}
			if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is left: %v", err)
			}
		})
	}
}

// A node's end of a stream, which takes every update and acknowledges it.
type node struct {
	stream signalboxv1.FeedService_ConnectClient
	fed    chan struct{} // closed when the first update was acknowledged
	ended  chan error    // given what the stream ended with
}

func connect(t *testing.T, conn *grpc.ClientConn, key, name string) *node {
	t.Helper()
	stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(as(t, key))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{stream: stream, fed: make(chan struct{}), ended: make(chan error, 1)}
	n.say(t, &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: name, Epoch: 1}}})
	n.say(t, &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Feed{Feed: &signalboxv1.Feed{}}})
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	serving.Go(n.serve)
	<-n.fed
	return n
}

func (n *node) say(t *testing.T, m *signalboxv1.ConnectRequest) {
	t.Helper()
	if err := n.stream.Send(m); err != nil {
		t.Fatal(err)
	}
}

// serve acknowledges until the stream ends.
func (n *node) serve() {
	first := sync.OnceFunc(func() { close(n.fed) })
	for {
		m, err := n.stream.Recv()
		if err != nil {
			n.ended <- err
			return
		}
		if up := m.GetUpdate(); up != nil && up.GetPart() == up.GetParts() {
			ack := &signalboxv1.Ack{Version: up.GetTo(), Ready: true}
			if n.stream.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: ack}}) != nil {
				return
			}
			first()
		}
	}
}

// until asks again and again, in simulated time, until it is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 200 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // simulated
	}
	t.Fatal("not within 20 s: " + what)
}

// A node with a stream to one of two replicas is waited for at the other too,
// and what it carried is answered there.
func TestANodeThatReachesOneReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := mem.New()
		const key = "sbx_a-secret-for-tests-alone"
		one, _ := startInside(t, keeper, "one", key)
		two, _ := startInside(t, keeper.Another(), "two", key)
		n := connect(t, two, key, "n")
		nodes, routes := signalboxv1.NewNodeServiceClient(one), signalboxv1.NewRouteServiceClient(one)
		until(t, "the node is live at the other", func() bool {
			res, err := nodes.GetNode(as(t, key), &signalboxv1.GetNodeRequest{Name: "n"})
			return err == nil && res.GetNode().GetObserved().GetState() == signalboxv1.NodeState_NODE_STATE_LIVE
		})
		put, err := routes.PutRoute(as(t, key), &signalboxv1.PutRouteRequest{
			Route: &signalboxv1.Route{Name: "a", Match: &signalboxv1.Match{PathPrefix: "/"}, Upstreams: []*signalboxv1.Upstream{{Url: "http://127.0.0.1:1"}}},
			Wait:  signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(time.Minute),
		})
		if r := put.GetResult(); err != nil || r.GetNodesLive() != 1 || r.GetNodesServing() != 1 {
			t.Fatalf("the write was answered with %v, %v", r, err)
		}
		n.say(t, &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Report{Report: &signalboxv1.Report{
			Routes: []*signalboxv1.RouteReport{{Route: "a", CreatedRevision: put.GetRoute().GetMeta().GetCreatedRevision(), Counters: &signalboxv1.RouteCounters{Requests: 7}}},
		}}})
		until(t, "the other knows what the node carried", func() bool {
			res, err := routes.GetRoute(as(t, key), &signalboxv1.GetRouteRequest{Name: "a"})
			return err == nil && res.GetObserved().GetCounters().GetRequests() == 7
		})
		instances := signalboxv1.NewInstanceServiceClient(one)
		i, err := instances.PutInstance(as(t, key), &signalboxv1.PutInstanceRequest{Instance: &signalboxv1.Instance{Name: "a", Url: "server://:10101/:8080"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []signalboxv1.InstanceState{signalboxv1.InstanceState_INSTANCE_STATE_RUNNING, signalboxv1.InstanceState_INSTANCE_STATE_ERROR} {
			n.say(t, &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Report{Report: &signalboxv1.Report{
				Instances: []*signalboxv1.InstanceReport{{
					Instance: "a", Incarnation: i.GetInstance().GetMeta().GetCreatedRevision(),
					Run: &signalboxv1.InstanceRun{State: state}, Counters: &signalboxv1.InstanceCounters{UdpSent: 7},
				}},
			}}})
			until(t, "the other knows how the instance stands", func() bool {
				res, err := instances.GetInstance(as(t, key), &signalboxv1.GetInstanceRequest{Name: "a"})
				o := res.GetInstance().GetObserved()
				return err == nil && o.GetState() == state && o.GetCounters().GetUdpSent() == 7
			})
		}
	})
}

// What was opened with a key ends when the key expires, a node's stream too.
func TestStreamsEndWhenTheirKeyExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, admin := startInside(t, mem.New(), "one", "")
		end := time.Now().Add(time.Hour)
		res, err := signalboxv1.NewApiKeyServiceClient(conn).CreateApiKey(as(t, admin), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{
			Name: "brief", Scopes: []string{"node", "events:read", "routes:read"}, ExpireTime: timestamppb.New(end),
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(as(t, res.GetSecret()), 2*time.Hour)
		defer cancel()
		events, err := signalboxv1.NewEventServiceClient(conn).FollowEvents(ctx, &signalboxv1.FollowEventsRequest{Kinds: []signalboxv1.Kind{signalboxv1.Kind_KIND_ROUTE}})
		if err != nil {
			t.Fatal(err)
		}
		n := connect(t, conn, res.GetSecret(), "n")
		for err = nil; err == nil; _, err = events.Recv() {
		}
		if status.Code(err) != codes.Unauthenticated || time.Now().Before(end) || time.Since(end) > time.Second {
			t.Errorf("the events ended %s after the key's end with %v", time.Since(end), err)
		}
		synctest.Wait()
		select {
		case err := <-n.ended:
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("the node's stream ended with %v", err)
			}
		default:
			t.Error("the node's stream goes on")
		}
	})
}
