//go:build e2e

package faults

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/backoff"
)

// quickBackoff keeps clients from being what takes long to come back.
var quickBackoff = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}

// An answer is what came back for an HTTP request.
type answer struct {
	status int
	body   string
}

// send sends one request; header is names and values in turn.
func send(ctx context.Context, client *http.Client, method, url, body string, header ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, string(text)}, err
}
