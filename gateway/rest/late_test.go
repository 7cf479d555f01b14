package rest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// frozen is a connection to a control plane that takes calls and does not
// answer.
type frozen struct{ grpc.ClientConnInterface }

func (frozen) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

func TestAControlPlaneThatHangsIsSaidTo(t *testing.T) {
	const route = `{"match":{"pathPrefix":"/a"},"upstreams":[{"url":"http://127.0.0.1:1"}]}`
	for _, c := range []struct {
		name, method, target, body string
		within                     time.Duration
	}{
		{"of a write soon", "PUT", "/v1/routes/a", route, 5 * time.Second},
		{"of a removal soon", "DELETE", "/v1/routes/a", "", 5 * time.Second},
		{"of a read soon", "GET", "/v1/routes/a", "", 5 * time.Second},
		{"of a write that waits for nodes when that is over", "PUT", "/v1/routes/a?wait=nodes", route, longest},
		{"of a list when it cannot come any more", "GET", "/v1/routes", "", longest},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, err := New(frozen{}, Config{MaxBody: 4096, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				r := httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader(c.body))
				r.Header.Set("Authorization", "Bearer key")
				w, began := httptest.NewRecorder(), time.Now()
				h.ServeHTTP(w, r)
				took := time.Since(began)
				var got struct {
					Error struct{ Status, Reason string }
				}
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 503 || got.Error.Status != "UNAVAILABLE" || got.Error.Reason != "MAYBE_WRITTEN" {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
				if took > c.within || took < c.within-time.Second {
					t.Errorf("after %v, want soon before %v", took, c.within)
				}
			})
		})
	}
}
