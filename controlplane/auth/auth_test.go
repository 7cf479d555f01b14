package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
	"signalbox/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// follow runs a replica of a store until the test ends.
func follow(t *testing.T, st store.Records) *replica.Replica {
	r := replica.New(st, quiet())
	run(t, func(ctx context.Context) { _ = r.Run(ctx) })
	return r
}

func run(t *testing.T, all ...func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, f := range all {
		running.Go(func() { f(ctx) })
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
}

// probe is a server that says who calls it.
type probe struct {
	signalboxv1.UnimplementedRouteServiceServer
	signalboxv1.UnimplementedFeedServiceServer
}

func (probe) GetRoute(ctx context.Context, _ *signalboxv1.GetRouteRequest) (*signalboxv1.GetRouteResponse, error) {
	return &signalboxv1.GetRouteResponse{Route: &signalboxv1.Route{Name: auth.Caller(ctx).GetName()}}, nil
}

// Connect stays until the stream's context ends, and has its own words for it.
func (probe) Connect(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) error {
	welcome := &signalboxv1.Welcome{ControlPlane: auth.Caller(stream.Context()).GetName()}
	if err := stream.Send(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return status.Error(codes.Aborted, "the context has ended")
}

// a service of somebody else's, with a method that has no scope.
const foreign = "/elsewhere.v1.Service/Call"

// serve serves a probe behind keys.
func serve(t *testing.T, keys *auth.Keys) *grpc.ClientConn {
	t.Helper()
	server := grpc.NewServer(grpc.UnaryInterceptor(keys.Unary), grpc.StreamInterceptor(keys.Stream))
	signalboxv1.RegisterRouteServiceServer(server, probe{})
	signalboxv1.RegisterFeedServiceServer(server, probe{})
	healthv1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "elsewhere.v1.Service", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Call",
		Handler: func(srv any, ctx context.Context, _ func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			return intercept(ctx, nil, &grpc.UnaryServerInfo{Server: srv, FullMethod: foreign}, func(context.Context, any) (any, error) {
				return &signalboxv1.GetRouteResponse{}, nil
			})
		},
	}}}, probe{})
	listener := bufconn.Listen(1 << 16)
	run(t, func(context.Context) { _ = server.Serve(listener) })
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///probe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// write makes a key with a secret.
func write(t *testing.T, st store.Records, r *replica.Replica, secret string, key *signalboxv1.ApiKey) {
	t.Helper()
	record, claim := auth.Record(key, auth.Hash(secret))
	commit(t, st, r, store.Txn{Put: []store.Record{record}, Claim: []store.Claim{claim}})
}

func commit(t *testing.T, st store.Records, r *replica.Replica, txn store.Txn) {
	t.Helper()
	if _, err := st.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Current(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func call(ctx context.Context, conn *grpc.ClientConn, headers ...string) (string, error) {
	res, err := signalboxv1.NewRouteServiceClient(conn).GetRoute(metadata.AppendToOutgoingContext(ctx, headers...), &signalboxv1.GetRouteRequest{})
	return res.GetRoute().GetName(), err
}

// A caller is let in by a valid key alone, and is not told what was wrong with
// another.
func TestKeys(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	conn := serve(t, auth.New(r, auth.Certificates{}))
	write(t, st, r, "right", &signalboxv1.ApiKey{Name: "reader", Scopes: []string{"routes:read"}})
	write(t, st, r, "writer", &signalboxv1.ApiKey{Name: "writer", Scopes: []string{"nodes:read", "routes:write"}})
	write(t, st, r, "admin", &signalboxv1.ApiKey{Name: "boss", Scopes: []string{"admin"}})
	write(t, st, r, "node", &signalboxv1.ApiKey{Name: "worker", Scopes: []string{"node"}})
	write(t, st, r, "late", &signalboxv1.ApiKey{Name: "late", Scopes: []string{"admin"}, ExpireTime: timestamppb.New(time.Now().Add(-time.Second))})
	write(t, st, r, "soon", &signalboxv1.ApiKey{Name: "soon", Scopes: []string{"admin"}, ExpireTime: timestamppb.New(time.Now().Add(time.Hour))})
	var unknown []string
	for _, c := range []struct {
		headers []string
		name    string
		code    codes.Code
	}{
		{[]string{"authorization", "Bearer right"}, "reader", codes.OK},
		{[]string{"authorization", "bearer  right "}, "reader", codes.OK},
		{[]string{"authorization", "token right"}, "reader", codes.OK},
		{[]string{"x-api-key", "right"}, "reader", codes.OK},
		{[]string{"authorization", "Basic abc", "x-api-key", "right"}, "reader", codes.OK},
		{[]string{"authorization", "Bearer writer"}, "writer", codes.OK},
		{[]string{"authorization", "Bearer admin"}, "boss", codes.OK},
		{[]string{"authorization", "Bearer soon"}, "soon", codes.OK},
		{[]string{"authorization", "Bearer node"}, "", codes.PermissionDenied},
		{[]string{"authorization", "Bearer late"}, "", codes.Unauthenticated},
		{[]string{"authorization", "Bearer wrong"}, "", codes.Unauthenticated},
		{[]string{"authorization", "Bearer wrong", "x-api-key", "right"}, "", codes.Unauthenticated},
		{[]string{"authorization", "Bearer"}, "", codes.Unauthenticated},
		{[]string{"authorization", "right"}, "", codes.Unauthenticated},
		{nil, "", codes.Unauthenticated},
	} {
		name, err := call(bounded(t), conn, c.headers...)
		if name != c.name || status.Code(err) != c.code {
			t.Errorf("%q: %q, %v; want %q, %v", c.headers, name, err, c.name, c.code)
		}
		if c.code == codes.Unauthenticated {
			unknown = append(unknown, err.Error())
		}
		if c.code == codes.PermissionDenied && !strings.Contains(err.Error(), `"routes:read"`) {
			t.Errorf("%v does not name the scope", err)
		}
	}
	for _, e := range unknown {
		if e != unknown[0] {
			t.Errorf("refusals differ: %q and %q", e, unknown[0])
		}
	}
}

// Every method of ours says what it needs, and it is a scope there is. One
// that says nothing is refused to everybody.
func TestEveryMethodHasAScope(t *testing.T) {
	known := map[string]bool{"any": true}
	for _, s := range rules.Scopes() {
		known[s] = true
	}
	methods := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("signalbox.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			service := f.Services().Get(i)
			for j := range service.Methods().Len() {
				methods++
				m := service.Methods().Get(j)
				if scope, _ := proto.GetExtension(m.Options(), signalboxv1.E_Scope).(string); !known[scope] {
					t.Errorf("%s has the scope %q", m.FullName(), scope)
				}
			}
		}
		return true
	})
	if methods < 20 {
		t.Errorf("only %d methods were found", methods)
	}
	st := mem.New()
	r := follow(t, st)
	conn := serve(t, auth.New(r, auth.Certificates{}))
	write(t, st, r, "admin", &signalboxv1.ApiKey{Name: "boss", Scopes: []string{"admin"}})
	for _, headers := range [][]string{nil, {"x-api-key", "admin"}} {
		err := conn.Invoke(metadata.AppendToOutgoingContext(bounded(t), headers...), foreign, &signalboxv1.GetRouteRequest{}, &signalboxv1.GetRouteResponse{})
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("a method without a scope: %v, want PERMISSION_DENIED", err)
		}
	}
}

// Health and reflection are for everybody, from the beginning; all else waits
// for the store to have been read.
func TestOpen(t *testing.T) {
	conn := serve(t, auth.New(replica.New(mem.New(), quiet()), auth.Certificates{}))
	if _, err := healthv1.NewHealthClient(conn).Check(bounded(t), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	ask, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ask.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if got, err := ask.Recv(); err != nil || len(got.GetListServicesResponse().GetService()) < 2 {
		t.Errorf("reflection: %v, %v", got, err)
	}
	for _, headers := range [][]string{nil, {"x-api-key", "admin"}} {
		if _, err := call(bounded(t), conn, headers...); status.Code(err) != codes.Unavailable {
			t.Errorf("before the store was read: %v, want UNAVAILABLE", err)
		}
	}
}

// A control plane that is cut off from the store still knows its keys.
func TestCutOff(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	conn := serve(t, auth.New(r, auth.Certificates{}))
	write(t, st, r, "right", &signalboxv1.ApiKey{Name: "reader", Scopes: []string{"routes:read"}})
	st.SetAvailable(false)
	if name, err := call(bounded(t), conn, "x-api-key", "right"); err != nil || name != "reader" {
		t.Errorf("cut off: %q, %v", name, err)
	}
	if _, err := call(bounded(t), conn, "x-api-key", "wrong"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("cut off: %v, want UNAUTHENTICATED", err)
	}
}

// connect opens a stream and waits until it is let in.
func connect(t *testing.T, conn *grpc.ClientConn, secret string) grpc.BidiStreamingClient[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse] {
	t.Helper()
	stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(metadata.AppendToOutgoingContext(bounded(t), "x-api-key", secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// A stream ends with the key it was opened with, however that ends, and with
// no other.
func TestStreamsEndWithTheirKeys(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	keys := auth.New(r, auth.Certificates{})
	run(t, func(ctx context.Context) { _ = keys.Run(ctx) })
	conn := serve(t, keys)
	for _, name := range []string{"deleted", "replaced", "gone-in-a-gap", "stays"} {
		write(t, st, r, name, &signalboxv1.ApiKey{Name: name, Scopes: []string{"node"}})
	}
	ends := func(stream grpc.BidiStreamingClient[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) {
		t.Helper()
		if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("the stream ended with %v, want UNAUTHENTICATED", err)
		}
	}
	stays := connect(t, conn, "stays")
	deleted, replaced, inGap := connect(t, conn, "deleted"), connect(t, conn, "replaced"), connect(t, conn, "gone-in-a-gap")
	commit(t, st, r, store.Txn{Put: []store.Record{{Key: store.Key{Kind: store.KindRoute, Name: "a"}, Message: &signalboxv1.Route{Name: "a"}}}})
	commit(t, st, r, store.Txn{Delete: []store.Key{{Kind: store.KindAPIKey, Name: "deleted"}}})
	ends(deleted)
	write(t, st, r, "another", &signalboxv1.ApiKey{Name: "replaced", Scopes: []string{"node"}})
	ends(replaced)
	other := st.Another()
	st.SetAvailable(false)
	if _, err := other.Commit(t.Context(), store.Txn{Delete: []store.Key{{Kind: store.KindAPIKey, Name: "gone-in-a-gap"}}}); err != nil {
		t.Fatal(err)
	}
	other.Compact()
	st.SetAvailable(true)
	ends(inGap)
	if err := stays.CloseSend(); err != nil || stays.Context().Err() != nil {
		t.Errorf("another key's stream ended: %v", stays.Context().Err())
	}
}

// lateViews shows an older view once.
type lateViews struct {
	*replica.Replica
	older *replica.View
}

func (v *lateViews) Now() (*replica.View, <-chan struct{}) {
	view, next := v.Replica.Now()
	if v.older != nil {
		view, v.older = v.older, nil
	}
	return view, next
}

// A key that is deleted in the moment in which a stream is let in does not let
// it in.
func TestKeyDeletedMeanwhile(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	write(t, st, r, "right", &signalboxv1.ApiKey{Name: "worker", Scopes: []string{"node"}})
	before, _ := r.Now()
	commit(t, st, r, store.Txn{Delete: []store.Key{{Kind: store.KindAPIKey, Name: "worker"}}})
	conn := serve(t, auth.New(&lateViews{r, before}, auth.Certificates{}))
	stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(metadata.AppendToOutgoingContext(bounded(t), "x-api-key", "right"))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream was let in: %v", err)
	}
}

// A node's key may be bound to one node.
func TestMayJoin(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	keys := auth.New(r, auth.Certificates{})
	write(t, st, r, "bound", &signalboxv1.ApiKey{Name: "bound", Scopes: []string{"node"}, Node: "n1"})
	write(t, st, r, "free", &signalboxv1.ApiKey{Name: "free", Scopes: []string{"node"}})
	write(t, st, r, "admin", &signalboxv1.ApiKey{Name: "boss", Scopes: []string{"admin"}})
	write(t, st, r, "reader", &signalboxv1.ApiKey{Name: "reader", Scopes: []string{"nodes:read"}})
	for _, c := range []struct {
		secret, node string
		code         codes.Code
	}{
		{"bound", "n1", codes.OK}, {"bound", "n2", codes.PermissionDenied}, {"bound", "", codes.PermissionDenied},
		{"free", "n2", codes.OK}, {"admin", "n2", codes.OK}, {"reader", "n2", codes.PermissionDenied}, {"", "n2", codes.PermissionDenied},
	} {
		joined := auth.MayJoin(t.Context(), c.node)
		if c.secret != "" {
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-api-key", c.secret))
			method := signalboxv1.FeedService_Connect_FullMethodName
			if c.secret == "reader" {
				method = signalboxv1.NodeService_GetNode_FullMethodName
			}
			_, err := keys.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
				joined = auth.MayJoin(ctx, c.node)
				return nil, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if status.Code(joined) != c.code {
			t.Errorf("%q joining as %q: %v, want %v", c.secret, c.node, joined, c.code)
		}
	}
}

// However many control planes start at once, one of them makes the first admin
// key, and nobody ever makes a second.
func TestBootstrapOnce(t *testing.T) {
	st := mem.New()
	var made atomic.Int64
	var secret atomic.Value
	var starting sync.WaitGroup
	for range 8 {
		way := st.Another()
		ring := auth.Keyring{Views: follow(t, way), Store: way, Log: quiet()}
		starting.Go(func() {
			printed, err := ring.Bootstrap(bounded(t), "")
			if err != nil {
				t.Error(err)
			}
			if printed != "" {
				made.Add(1)
				secret.Store(printed)
			}
		})
	}
	starting.Wait()
	if made.Load() != 1 {
		t.Fatalf("%d processes made the first admin key", made.Load())
	}
	r := follow(t, st)
	conn := serve(t, auth.New(r, auth.Certificates{}))
	if _, err := r.Current(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if name, err := call(bounded(t), conn, "x-api-key", secret.Load().(string)); err != nil || name != auth.BootstrapName {
		t.Errorf("with what was printed: %q, %v", name, err)
	}
	before, err := st.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if printed, err := (auth.Keyring{Views: r, Store: st, Log: quiet()}).Bootstrap(bounded(t), ""); printed != "" || err != nil {
		t.Errorf("a second start printed %q, %v", printed, err)
	}
	if after, err := st.Head(t.Context()); err != nil || after != before {
		t.Errorf("a second start wrote: %v and then %v, %v", before, after, err)
	}
}

// A secret from the environment is that of its key from then on; nothing is
// written when it is already, and no log ever holds it.
func TestPutSecret(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	conn := serve(t, auth.New(r, auth.Certificates{}))
	var logged bytes.Buffer
	ring := auth.Keyring{Views: r, Store: st, Log: slog.New(slog.NewTextHandler(&logged, nil))}
	works := func(secret string, want codes.Code) {
		t.Helper()
		if _, err := call(bounded(t), conn, "x-api-key", secret); status.Code(err) != want {
			t.Errorf("calling with %q: %v, want %v", secret, err, want)
		}
	}
	head := func() store.Version {
		t.Helper()
		v, err := st.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if printed, err := ring.Bootstrap(bounded(t), "first-secret-of-many"); printed != "" || err != nil {
		t.Fatalf("Bootstrap = %q, %v", printed, err)
	}
	works("first-secret-of-many", codes.OK)
	written := head()
	if _, err := ring.Bootstrap(bounded(t), "first-secret-of-many"); err != nil || head() != written {
		t.Errorf("the same secret again: %v, written at %v, then %v", err, written, head())
	}
	if _, err := ring.Bootstrap(bounded(t), "brief"); err != nil {
		t.Fatal(err)
	}
	works("first-secret-of-many", codes.Unauthenticated)
	works("brief", codes.OK)
	if !strings.Contains(logged.String(), "short") {
		t.Errorf("nobody was warned of a short secret: %s", &logged)
	}
	if err := ring.Put(bounded(t), "first-secret-of-many", auth.CHPName, "routes:read", "routes:write"); err != nil {
		t.Fatalf("a secret that was given up: %v", err)
	}
	works("first-secret-of-many", codes.OK)
	for name, secret := range map[string]string{"another key's": "brief", "none": "", "a line": "a\nb", "a space": "a b"} {
		if err := ring.Put(bounded(t), secret, "other", "node"); err == nil || secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("%s secret: %v", name, err)
		}
	}
	if strings.Contains(logged.String(), "first-secret") || strings.Contains(logged.String(), "brief") {
		t.Errorf("a secret is in the log: %s", &logged)
	}
}

// A key that is removed lets nobody in, and its secret can be another's.
func TestRemove(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	conn := serve(t, auth.New(r, auth.Certificates{}))
	ring := auth.Keyring{Views: r, Store: &sometimesStore{Keeper: st}, Log: quiet()}
	const secret = "the-token-of-a-hub"
	if err := ring.Put(bounded(t), secret, auth.CHPName, "routes:read", "routes:write"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ring.Remove(bounded(t), auth.CHPName); err != nil {
			t.Fatal(err)
		}
		if _, err := call(bounded(t), conn, "x-api-key", secret); status.Code(err) != codes.Unauthenticated {
			t.Errorf("calling with it: %v", err)
		}
	}
	if _, err := ring.Bootstrap(bounded(t), secret); err != nil {
		t.Errorf("another key with its secret: %v", err)
	}
}

// A sometimesStore loses answers: what it was told is done, and it says that
// nobody knows.
type sometimesStore struct {
	*mem.Keeper
	lost int
}

func (s *sometimesStore) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	rev, err := s.Keeper.Commit(ctx, txn)
	if s.lost++; s.lost == 1 && err == nil {
		return 0, fmt.Errorf("commit: %w", store.ErrUnavailable)
	}
	return rev, err
}

// The first admin key is printed even when the answer to its making was lost.
func TestBootstrapAnswerLost(t *testing.T) {
	st := mem.New()
	ring := auth.Keyring{Views: follow(t, st), Store: &sometimesStore{Keeper: st}, Log: quiet()}
	if printed, err := ring.Bootstrap(bounded(t), ""); err != nil || !strings.HasPrefix(printed, "sbx_") {
		t.Errorf("Bootstrap = %q, %v", printed, err)
	}
}

// Bootstrap waits for the store until its context ends.
func TestBootstrapUnavailable(t *testing.T) {
	st := mem.New()
	st.SetAvailable(false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	ring := auth.Keyring{Views: follow(t, st), Store: st, Log: quiet()}
	if printed, err := ring.Bootstrap(ctx, ""); err == nil || printed != "" {
		t.Errorf("Bootstrap = %q, %v", printed, err)
	}
}

// Secrets differ, and say what they are.
func TestNewSecret(t *testing.T) {
	a, b := auth.NewSecret(), auth.NewSecret()
	if a == b || !strings.HasPrefix(a, "sbx_") || len(a) != 4+43 {
		t.Errorf("NewSecret = %q and %q", a, b)
	}
}

// An oldView has read the store once; asked for what is current, it looks
// again.
type oldView struct {
	*replica.Replica
	view *replica.View
}

func (o oldView) Now() (*replica.View, <-chan struct{}) { return o.view, make(chan struct{}) }

// A key that another control plane has just made is let in by one that has not
// read of it yet, and strangers cannot make it ask the store without end.
func TestKeyMadeAMomentAgo(t *testing.T) {
	st := mem.New()
	r := follow(t, st)
	before, err := r.Current(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	write(t, st, r, "fresh", &signalboxv1.ApiKey{Name: "fresh", Scopes: []string{"routes:read"}})
	conn := serve(t, auth.New(oldView{r, before}, auth.Certificates{}))
	if name, err := call(bounded(t), conn, "x-api-key", "fresh"); err != nil || name != "fresh" {
		t.Errorf("called as %q, %v", name, err)
	}
	var asked atomic.Int64
	counting := countedViews{oldView: oldView{r, before}, asked: &asked}
	conn = serve(t, auth.New(counting, auth.Certificates{}))
	for range 500 {
		if _, err := call(bounded(t), conn, "x-api-key", "wrong"); status.Code(err) != codes.Unauthenticated {
			t.Fatalf("a stranger: %v", err)
		}
	}
	if n := asked.Load(); n == 0 || n >= 500 {
		t.Errorf("the store was asked %d times for 500 strangers", n)
	}
}

type countedViews struct {
	oldView
	asked *atomic.Int64
}

func (c countedViews) Current(ctx context.Context) (*replica.View, error) {
	c.asked.Add(1)
	return c.oldView.Current(ctx)
}
