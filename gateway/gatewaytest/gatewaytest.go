// Package gatewaytest is a control plane small enough for the gateway's tests:
// the public services for routes, instances, events and one's own key, kept in
// memory, behind real gRPC. It keeps what the .proto files promise of them,
// revisions, claims, scopes and resumable events included, and can be told to
// fail.
package gatewaytest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Keys that every ControlPlane knows.
const (
	Admin  = "admin-secret"
	Reader = "reader-secret" // may read everything
)

// What keys may do.
const (
	admin  = "admin"
	reader = "reader"
)

// ControlPlane is the services' state.
type ControlPlane struct {
	signalboxv1.UnimplementedRouteServiceServer
	signalboxv1.UnimplementedEventServiceServer
	signalboxv1.UnimplementedInstanceServiceServer
	signalboxv1.UnimplementedApiKeyServiceServer

	// Health is what the health service answers.
	Health *health.Server

	mu       sync.Mutex
	revision int64
	routes   map[string]*signalboxv1.RouteEntry
	claims   map[string]string // matches, to the names of the routes that have them
	history  []*signalboxv1.Event
	changed  chan struct{} // closed and replaced when history grows
	broken   chan struct{} // closed and replaced to end all streams
	calls    []Call
	before   func(method string) error
	late     []string
	refused  []*signalboxv1.Rejection

	instances map[string]*signalboxv1.Instance // with what is observed of them
	made      uint32                           // names that were
	lines     []*signalboxv1.LogLine
	listeners int               // calls that followed lines
	keys      map[string]string // secrets, to what they may do
	forgotten bool              // history was
	greets    bool              // streams of events begin with a heartbeat
}

// Call is a call as it arrived.
type Call struct {
	Method   string
	Metadata metadata.MD
	Request  proto.Message // nil for streams
}

// Start runs a control plane until the test ends, and connects to it.
func Start(t testing.TB) (*ControlPlane, *grpc.ClientConn) {
	t.Helper()
	c := &ControlPlane{
		Health:   health.NewServer(),
		revision: 100,
		routes:   map[string]*signalboxv1.RouteEntry{},
		claims:   map[string]string{},
		changed:  make(chan struct{}),
		broken:   make(chan struct{}),

		instances: map[string]*signalboxv1.Instance{},
		keys:      map[string]string{Admin: admin, Reader: reader},
	}
	srv := grpc.NewServer(grpc.UnaryInterceptor(c.unary), grpc.StreamInterceptor(c.stream), grpc.MaxRecvMsgSize(64<<20))
	signalboxv1.RegisterRouteServiceServer(srv, c)
	signalboxv1.RegisterEventServiceServer(srv, c)
	signalboxv1.RegisterInstanceServiceServer(srv, c)
	signalboxv1.RegisterApiKeyServiceServer(srv, c)
	healthv1.RegisterHealthServer(srv, c.Health)
	ln := bufconn.Listen(1 << 20)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(ln) }) // it ends with Stop
	conn, err := grpc.NewClient("passthrough:///memory",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		srv.Stop()
		served.Wait()
	})
	return c, conn
}

// Before has f called before each call; an error it returns is the call's.
func (c *ControlPlane) Before(f func(method string) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = f
}

// Nodes says which nodes are late and which refuse what is written from now on.
func (c *ControlPlane) Nodes(late []string, refused ...*signalboxv1.Rejection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late, c.refused = late, refused
}

// Calls returns all calls so far.
func (c *ControlPlane) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Break ends all streams with UNAVAILABLE.
func (c *ControlPlane) Break() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.broken)
	c.broken = make(chan struct{})
}

func (c *ControlPlane) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	msg, _ := req.(proto.Message)
	if err := c.enter(ctx, info.FullMethod, msg); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (c *ControlPlane) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := c.enter(ss.Context(), info.FullMethod, nil); err != nil {
		return err
	}
	return next(srv, ss)
}

// enter notes a call and checks who makes it.
func (c *ControlPlane) enter(ctx context.Context, method string, req proto.Message) error {
	md, _ := metadata.FromIncomingContext(ctx)
	c.mu.Lock()
	c.calls = append(c.calls, Call{Method: method, Metadata: md, Request: req})
	before := c.before
	c.mu.Unlock()
	if before != nil {
		if err := before(method); err != nil {
			return err
		}
	}
	return c.allowed(md, method)
}

// secretIn is the key that a call is made with.
func secretIn(md metadata.MD) string {
	return strings.TrimPrefix(strings.Join(md.Get("authorization"), ","), "Bearer ")
}

// RotateApiKey implements ApiKeyService.
func (c *ControlPlane) RotateApiKey(ctx context.Context, _ *signalboxv1.RotateApiKeyRequest) (*signalboxv1.RotateApiKeyResponse, error) { //nolint:revive // the name is protoc-gen-go-grpc's
	md, _ := metadata.FromIncomingContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision++
	old := secretIn(md)
	secret := fmt.Sprintf("%032x", c.revision)
	c.keys[secret] = c.keys[old]
	delete(c.keys, old)
	c.wake()
	return &signalboxv1.RotateApiKeyResponse{Secret: secret, Version: c.version()}, nil
}

// wake tells everybody who waits that something has changed.
func (c *ControlPlane) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait returns when something has changed, or why a stream ends.
func (c *ControlPlane) wait(ctx context.Context, changed, broken <-chan struct{}) error {
	select {
	case <-changed:
	case <-broken:
		return status.Error(codes.Unavailable, "the control plane is going away")
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys[secretIn(md)] == "" {
		return status.Error(codes.Unauthenticated, "the key is not known any more")
	}
	return nil
}

// allowed compares a caller's scopes with the method's.
func (c *ControlPlane) allowed(md metadata.MD, method string) error {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	if strings.HasPrefix(name, "grpc.health.") {
		return nil // open to everyone
	}
	desc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return err
	}
	scope, _ := proto.GetExtension(desc.Options(), signalboxv1.E_Scope).(string)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.keys[secretIn(md)] {
	case admin:
		return nil
	case reader:
		if strings.HasSuffix(scope, ":read") || scope == "any" {
			return nil
		}
		return status.Errorf(codes.PermissionDenied, "the key lacks the scope %s", scope)
	}
	return status.Error(codes.Unauthenticated, "the key is not known")
}
