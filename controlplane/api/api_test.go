package api_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"signalbox/controlplane/api"
	"signalbox/controlplane/auth"
	"signalbox/controlplane/logs"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	"signalbox/controlplane/tally"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// adminSecret is the secret of the key that the clients of tests call with.
const adminSecret = "sbx_a-secret-for-tests-alone"

// A plane is one control plane with its own way to a store, and clients of it.
type plane struct {
	t       testing.TB
	store   store.Records
	replica *replica.Replica
	nodes   *observe.Nodes
	runs    *observe.Instances
	logs    *logs.Hub
	book    *tally.Book
	conn    *grpc.ClientConn

	routes    signalboxv1.RouteServiceClient
	listeners signalboxv1.ListenerServiceClient
	wanted    signalboxv1.NodeServiceClient
	instances signalboxv1.InstanceServiceClient
	keys      signalboxv1.ApiKeyServiceClient
	events    signalboxv1.EventServiceClient
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start runs a control plane over a store until the test ends. change may
// alter its configuration.
func start(t testing.TB, st *mem.Keeper, change ...func(*api.Config)) *plane {
	t.Helper()
	return startOver(t, st, change...)
}

// startOver is start for whatever keeps records.
func startOver(t testing.TB, st store.Records, change ...func(*api.Config)) *plane {
	t.Helper()
	log := quiet()
	ctx, stop := context.WithCancel(context.Background())
	p := &plane{
		t: t, store: st, replica: replica.New(st, log), nodes: observe.NewNodes(),
		runs: observe.NewInstances(), logs: logs.New(), book: tally.New(tally.Config{}),
	}
	keys := auth.New(p.replica, auth.Certificates{})
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(certified, keys.Unary), grpc.StreamInterceptor(keys.Stream))
	config := api.Config{
		Store: st, Replica: p.replica, Nodes: p.nodes, Instances: p.runs, Logs: p.logs, Totals: p.book,
		Log: log, StoreTimeout: 2 * time.Second,
	}
	for _, f := range change {
		f(&config)
	}
	api.Register(server, config)
	listener := bufconn.Listen(1 << 20)
	done := make(chan struct{}, 3)
	for _, run := range []func(){
		func() { _ = p.replica.Run(ctx) },
		func() { _ = keys.Run(ctx) },
		func() { _ = server.Serve(listener) },
	} {
		go func() {
			run()
			done <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		server.Stop()
		stop()
		for range 3 {
			<-done
		}
	})
	ring := auth.Keyring{Views: p.replica, Store: st, Log: log}
	if _, err := ring.Bootstrap(ctx, adminSecret); err != nil {
		t.Fatal(err)
	}
	p.dial(listener)
	return p
}

// dial makes the clients. Calls are made with the admin key, unless their
// context has another; see as.
func (p *plane) dial(listener *bufconn.Listener) {
	p.t.Helper()
	conn, err := grpc.NewClient("passthrough:///plane",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, res any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(authorized(ctx), method, req, res, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return stream(authorized(ctx), desc, cc, method, opts...)
		}))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	p.conn = conn
	p.routes = signalboxv1.NewRouteServiceClient(conn)
	p.listeners = signalboxv1.NewListenerServiceClient(conn)
	p.wanted = signalboxv1.NewNodeServiceClient(conn)
	p.instances = signalboxv1.NewInstanceServiceClient(conn)
	p.keys = signalboxv1.NewApiKeyServiceClient(conn)
	p.events = signalboxv1.NewEventServiceClient(conn)
}

// as returns a context whose calls are made with a secret.
func as(ctx context.Context, secret string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
}

func authorized(ctx context.Context) context.Context {
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get("authorization")) > 0 {
		return ctx
	}
	return as(ctx, adminSecret)
}

// bounded is a context that ends before a hanging test would be killed.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func route(name, path string) *signalboxv1.Route {
	return &signalboxv1.Route{
		Name:      name,
		Match:     &signalboxv1.Match{PathPrefix: path},
		Upstreams: []*signalboxv1.Upstream{{Url: "http://127.0.0.1:8080"}},
	}
}

// put writes a route that must be right, and returns it as it is stored.
func (p *plane) put(r *signalboxv1.Route) *signalboxv1.Route {
	p.t.Helper()
	res, err := p.routes.PutRoute(bounded(p.t), &signalboxv1.PutRouteRequest{Route: r})
	if err != nil {
		p.t.Fatalf("PutRoute(%q) = %v", r.GetName(), err)
	}
	return res.GetRoute()
}

// blamed returns the fields a status blames.
func blamed(err error) []string {
	var fields []string
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	return fields
}

// refused checks that a call failed with a code, and blames these fields.
func refused(t testing.TB, err error, code codes.Code, fields ...string) {
	t.Helper()
	if status.Code(err) != code || !slices.Equal(blamed(err), fields) {
		t.Errorf("got %v blaming %q, want %v blaming %q", err, blamed(err), code, fields)
	}
}

func version(v *signalboxv1.Version) store.Version {
	return store.Version{Epoch: v.GetEpoch(), Revision: store.Revision(v.GetRevision())}
}

func ptr[T any](v T) *T { return &v }
