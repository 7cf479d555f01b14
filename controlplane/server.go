package controlplane

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/api"
	"signalbox/controlplane/auth"
	"signalbox/controlplane/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Limits of the gRPC API. A batch of routes is larger than gRPC's default of
// 4 MiB; nodes and gateways ask every few seconds whether we are there.
const (
	maxReceive    = 16 << 20
	pingAtMost    = time.Second // how often a client may ping
	pingEvery     = 2 * time.Second
	pingTimeout   = 3 * time.Second
	streamsAtMost = 10_000
	// window is how much may be under way to us. gRPC would find a size by
	// itself, but pings for that with every message, and an ack is one.
	window = 1 << 20
)

// server returns a gRPC server with every service of this replica. Streams end
// when ctx does.
func (cp *ControlPlane) server(ctx context.Context, creds credentials.TransportCredentials, condition *health.Server) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(feed.Codec()),
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxConcurrentStreams(streamsAtMost),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAtMost, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.ChainUnaryInterceptor(cp.metrics.calls.unary, cp.unary, cp.keys.Unary),
		grpc.ChainStreamInterceptor(endWith(ctx), cp.metrics.calls.stream, cp.stream, cp.keys.Stream),
	}
	if creds != nil {
		options = append(options, grpc.Creds(creds))
	}
	server := grpc.NewServer(options...)
	api.Register(server, api.Config{
		Store: cp.config.Records, Backups: cp.config.Backups, Replica: cp.replica, Nodes: cp.nodes, Instances: cp.runs, Logs: cp.logs, Totals: cp.tally,
		Given: cp.given(), Certifier: cp.config.Certifier, Log: cp.config.Log,
	})
	signalboxv1.RegisterFeedServiceServer(server, feed.New(feed.Config{
		Views: cp.replica, Head: cp.config.Records, Presence: cp.stand, Nodes: cp.nodes, Instances: cp.runs, Tally: cp.tally, Logs: cp.logs,
		MayJoin: cp.mayConnect, ReportInterval: cp.config.ReportInterval, Metrics: cp.metrics.feed, Log: cp.config.Log,
	}))
	healthv1.RegisterHealthServer(server, condition)
	reflection.Register(server)
	return server
}

// mayConnect reports whether the caller may connect as the node of this name.
func (cp *ControlPlane) mayConnect(ctx context.Context, node string) error {
	if cp.config.Certifier != nil && !auth.Certified(ctx) && !auth.Inside(ctx) {
		return status.Error(codes.PermissionDenied, "nodes connect with a certificate here; the API key gets one from IssueNodeCertificate")
	}
	return auth.MayJoin(ctx, node)
}

// tellHealth says by grpc.health.v1 whether this replica is in touch with the
// store, until ctx ends: without it, it refuses reads and writes alike.
func (cp *ControlPlane) tellHealth(ctx context.Context, condition *health.Server) {
	for {
		inTouch, _, changed := cp.stand.Standing()
		status := healthv1.HealthCheckResponse_NOT_SERVING
		if inTouch {
			status = healthv1.HealthCheckResponse_SERVING
		}
		condition.SetServingStatus("", status)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// errTooEarly is the answer to calls while the first keys are not made: those
// who hold one of them must not be told that it is wrong.
var errTooEarly = auth.TooEarly("this control plane is starting and has not read the store yet; try again")

// early returns the status to refuse a call with while this replica starts. Its
// health may be asked for at any time.
func (cp *ControlPlane) early(method string) error {
	if cp.begun.Load() || strings.HasPrefix(method, "/"+healthv1.Health_ServiceDesc.ServiceName+"/") {
		return nil
	}
	return errTooEarly
}

func (cp *ControlPlane) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := cp.early(info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (cp *ControlPlane) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := cp.early(info.FullMethod); err != nil {
		return err
	}
	return handler(srv, ss)
}

// endWith returns an interceptor that ends streams when the process is about
// to: they would not end by themselves.
func endWith(ctx context.Context) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		sctx, cancel := context.WithCancelCause(ss.Context())
		defer cancel(nil)
		defer context.AfterFunc(ctx, func() {
			cancel(status.Error(codes.Unavailable, "this control plane is shutting down"))
		})()
		return handler(srv, &endingStream{ServerStream: ss, ctx: sctx})
	}
}

// An endingStream has a context of its own, as grpc.ServerStream asks of those
// who change it.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the stream's own
}

// Context ends with the call, or before the process does.
func (s *endingStream) Context() context.Context { return s.ctx }
