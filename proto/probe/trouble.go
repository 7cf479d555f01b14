package probe

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// Trouble is why there is no connection, in the network's words: refused, no
// such host, a certificate that is not taken. It is empty where there is one,
// and where an attempt to make one has not failed before ctx ends.
func Trouble(ctx context.Context, conn grpc.ClientConnInterface) string {
	_, err := healthv1.NewHealthClient(conn).Check(ctx, new(healthv1.HealthCheckRequest))
	if status.Code(err) != codes.Unavailable {
		return ""
	}
	text := status.Convert(err).Message()
	for _, frame := range []string{"last connection error: ", "connection error: desc = ", "transport: Error while dialing: ", "transport: "} {
		if _, inner, ok := strings.Cut(text, frame); ok {
			text = strings.Trim(inner, `"`)
		}
	}
	return text
}
