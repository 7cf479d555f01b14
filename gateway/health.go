package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"signalbox/gateway/apierror"
)

// readyTimeout bounds the question whether a control plane serves.
const readyTimeout = 2 * time.Second

// health answers /healthz and /readyz, to everyone. It therefore says only
// whether, never why not: that is in the log.
type health struct {
	client healthv1.HealthClient
	log    *slog.Logger
}

func newHealth(conn grpc.ClientConnInterface, log *slog.Logger) *health {
	return &health{client: healthv1.NewHealthClient(conn), log: log}
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		apierror.Write(w, apierror.New(http.StatusMethodNotAllowed, codes.Unimplemented, "the method must be GET"))
		return
	}
	if r.URL.Path == "/readyz" && !h.ready(r.Context()) {
		apierror.Write(w, status.Error(codes.Unavailable, "no control plane that serves was reached"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte("{\"status\":\"ok\"}\n")) // the client has gone, or reads it
}

// ready reports whether a control plane says that it serves.
func (h *health) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	res, err := h.client.Check(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		h.log.Warn("control plane not reached", "err", err)
		return false
	}
	return res.GetStatus() == healthv1.HealthCheckResponse_SERVING
}
