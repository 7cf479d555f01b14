package controlplane

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// calls is what is told of the calls of the gRPC API. Only methods that exist
// come here, so there are few.
type calls struct {
	done *prometheus.CounterVec   // by service, method and code
	took *prometheus.HistogramVec // by service and method
	open *prometheus.GaugeVec     // by service and method
}

func newCalls() *calls {
	return &calls{
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "calls_total", Help: "Calls of the gRPC API that have ended, by the code of their status.",
		}, []string{"service", "method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "call_duration_seconds", Help: "How long calls of the gRPC API took, waits for the nodes included; streams left out.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"service", "method"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "streams_open", Help: "Streams of the gRPC API that are open: of nodes (Connect), of those who follow events (FollowEvents), and others.",
		}, []string{"service", "method"}),
	}
}

// split takes "/signalbox.v1.RouteService/PutRoute" apart.
func split(full string) (service, method string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return service[strings.LastIndexByte(service, '.')+1:], method
}

// codeOf is the code that a call ends with.
func codeOf(err error) string {
	if st, ok := status.FromError(err); ok {
		return st.Code().String()
	}
	if code := status.FromContextError(err).Code(); code != codes.Unknown {
		return code.String()
	}
	return codes.Unknown.String()
}

// unary counts a call. It stands before all that may refuse one.
func (c *calls) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	service, method := split(info.FullMethod)
	begun := time.Now()
	res, err := handler(ctx, req)
	c.took.WithLabelValues(service, method).Observe(time.Since(begun).Seconds())
	c.done.WithLabelValues(service, method, codeOf(err)).Inc()
	return res, err
}

// stream counts a stream.
func (c *calls) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	service, method := split(info.FullMethod)
	open := c.open.WithLabelValues(service, method)
	open.Inc()
	defer open.Dec()
	err := handler(srv, ss)
	c.done.WithLabelValues(service, method, codeOf(err)).Inc()
	return err
}
