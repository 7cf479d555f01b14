package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// An answer is what came back for an HTTP request.
type answer struct {
	status int
	header http.Header
	body   string
}

// at is a value of a JSON body by the names that lead to it, nil if there is
// none.
func (a answer) at(path ...string) any {
	var v any
	if json.Unmarshal([]byte(a.body), &v) != nil {
		return nil
	}
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// newHTTP is a client whose connections end with the test.
func newHTTP(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: (&net.Dialer{Timeout: patience}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 2 * patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send sends one request; header is names and values in turn.
func send(ctx context.Context, client *http.Client, method, url, body string, header ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	res, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text)}, err
}

// A caller calls the HTTP APIs at base, with a key.
type caller struct {
	t         testing.TB
	base, key string
	client    *http.Client
}

// try makes a call, and may fail to.
func (c *caller) try(ctx context.Context, method, path, body string) (answer, error) {
	return send(ctx, c.client, method, c.base+path, body, "Authorization", "token "+c.key)
}

// want makes a call that must have a status.
func (c *caller) want(code int, method, path, body string) answer {
	c.t.Helper()
	a, err := c.try(c.t.Context(), method, path, body)
	if err != nil || a.status != code {
		c.t.Fatalf("%s %s: got %d %s %v, want %d", method, path, a.status, a.body, err, code)
	}
	return a
}

// post writes a route through the CHP API, which waits for the nodes.
func (c *caller) post(path, target string) answer {
	c.t.Helper()
	a := c.want(http.StatusCreated, "POST", "/api/routes"+path, fmt.Sprintf(`{"target":%q}`, target))
	if late := a.header.Get("signalbox-lagging"); late != "" {
		c.t.Fatalf("POST %s: %s lag", path, late)
	}
	return a
}

// services are the gRPC API as a key's holder has it.
type services struct {
	conn      *grpc.ClientConn
	routes    signalboxv1.RouteServiceClient
	listeners signalboxv1.ListenerServiceClient
	instances signalboxv1.InstanceServiceClient
	nodes     signalboxv1.NodeServiceClient
	keys      signalboxv1.ApiKeyServiceClient
	certs     signalboxv1.CertificateServiceClient
	events    signalboxv1.EventServiceClient
	feed      signalboxv1.FeedServiceClient
}

// dialGRPC returns the services at an address; an empty key is none, nil
// credentials are no TLS.
func dialGRPC(t testing.TB, addr, key string, creds credentials.TransportCredentials) *services {
	t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	with := func(ctx context.Context) context.Context {
		if key == "" {
			return ctx
		}
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(with(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(with(ctx), desc, cc, method, opts...)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &services{
		conn:      conn,
		routes:    signalboxv1.NewRouteServiceClient(conn),
		listeners: signalboxv1.NewListenerServiceClient(conn),
		instances: signalboxv1.NewInstanceServiceClient(conn),
		nodes:     signalboxv1.NewNodeServiceClient(conn),
		keys:      signalboxv1.NewApiKeyServiceClient(conn),
		certs:     signalboxv1.NewCertificateServiceClient(conn),
		events:    signalboxv1.NewEventServiceClient(conn),
		feed:      signalboxv1.NewFeedServiceClient(conn),
	}
}

// route is a route to upstreams for everything below a path.
func route(name, path string, upstreams ...string) *signalboxv1.Route {
	r := &signalboxv1.Route{Name: name, Match: &signalboxv1.Match{PathPrefix: path}}
	for _, u := range upstreams {
		r.Upstreams = append(r.Upstreams, &signalboxv1.Upstream{Url: u})
	}
	return r
}

// put writes a route and waits until every live node serves it, all of them.
func (s *services) put(t testing.TB, r *signalboxv1.Route) *signalboxv1.WriteResult {
	t.Helper()
	res, err := s.routes.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{Route: r, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)})
	if err != nil {
		t.Fatalf("put %s: %v", r.GetName(), err)
	}
	if late := res.GetResult().GetLagging(); len(late) > 0 {
		t.Fatalf("put %s: %v lag", r.GetName(), late)
	}
	return res.GetResult()
}

// eventually tries until there is no error, for as long as a test waits.
func eventually(t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	within(t, patience, what, try)
}

// within is eventually with a patience of its own.
func within(t testing.TB, patience time.Duration, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil && status.Code(err) != codes.DeadlineExceeded {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, last)
		}
	}
}
