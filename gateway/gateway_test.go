package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"signalbox/gateway/gatewaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg Config) (*gatewaytest.ControlPlane, *Gateway) {
	t.Helper()
	cp, conn := gatewaytest.Start(t)
	g, err := New(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cp, g
}

// ask sends a request; header is names and values in turn.
func ask(g http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func TestEachPathHasItsAPI(t *testing.T) {
	_, g := start(t, Config{Version: "v9"})
	for _, c := range []struct {
		path string
		code int
		kind string
		body string // the beginning
	}{
		{"/", 302, "", ""},
		{"/docs/", 200, "text/html; charset=utf-8", "<!DOCTYPE html>"},
		{"/openapi.json", 200, "application/json", "{"},
		{"/healthz", 200, "application/json", `{"status":"ok"}`},
		{"/readyz", 200, "application/json", `{"status":"ok"}`},
		{"/v1/routes", 200, "application/json", "{"},
		{"/v1/none", 404, "application/json", `{"error":{"code":404,"status":"NOT_FOUND",`},
		{"/v1", 404, "application/json", `{"error":`},
		{"/v1x", 404, "application/json", `{"error":`},
		{"/api", 200, "application/json", `{"compatible":`},
		{"/api/routes", 200, "application/json", "{}"},
		{"/api/routes//", 404, "", ""},
		{"/api/none", 404, "text/plain; charset=utf-8", "Not Found"},
		{"/apix", 404, "application/json", `{"error":`},
		{"/none", 404, "application/json", `{"error":`},
	} {
		w := ask(g, "GET", c.path, "", "X-API-Key", gatewaytest.Admin)
		// CHP's way with keys is Authorization; ours work too.
		if w.Code != c.code || w.Header().Get("Content-Type") != c.kind || !strings.HasPrefix(w.Body.String(), c.body) {
			t.Errorf("%s: got %d %q %.60q", c.path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

func TestWithoutAKeyOnlyHealthAndDocsAreOpen(t *testing.T) {
	cp, g := start(t, Config{})
	for path, code := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/openapi.json": 200, "/docs/": 200, "/": 302,
		"/v1/routes": 401, "/v1/events": 401, "/v1/none": 401, "/api": 403, "/api/routes": 403, "/api/routes/x": 403,
	} {
		if w := ask(g, "GET", path, ""); w.Code != code {
			t.Errorf("%s: got %d, want %d", path, w.Code, code)
		}
	}
	for _, c := range cp.Calls() {
		if c.Method != healthv1.Health_Check_FullMethodName {
			t.Errorf("%s was called", c.Method)
		}
	}
}

func TestReadyMeansAControlPlaneServes(t *testing.T) {
	cp, g := start(t, Config{})
	cp.Health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	if w := ask(g, "GET", "/readyz", ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("not serving: got %d %s", w.Code, w.Body)
	}
	cp.Before(func(string) error { return status.Error(codes.Unavailable, "dial tcp 10.0.0.1: refused") })
	if w := ask(g, "GET", "/readyz", ""); w.Code != 503 || strings.Contains(w.Body.String(), "10.0.0.1") {
		t.Errorf("not there: got %d %s", w.Code, w.Body)
	}
	if w := ask(g, "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("alive: got %d", w.Code)
	}
	if w := ask(g, "POST", "/healthz", ""); w.Code != 405 {
		t.Errorf("POST: got %d", w.Code)
	}
}

func TestARequestIDIsPassedOnAndEchoed(t *testing.T) {
	cp, g := start(t, Config{})
	w := ask(g, "GET", "/api/routes", "", "Authorization", "token "+gatewaytest.Admin, "X-Request-Id", "r-1")
	calls := cp.Calls()
	if w.Header().Get("X-Request-Id") != "r-1" || strings.Join(calls[len(calls)-1].Metadata.Get("x-request-id"), "") != "r-1" {
		t.Errorf("got %v, sent %v", w.Header(), calls)
	}
}

func TestCORS(t *testing.T) {
	const page, other = "https://page.example", "https://other.example"
	preflight := []string{"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization"}
	for _, c := range []struct {
		name           string
		allowed        []string
		origin, path   string
		answer         string // Access-Control-Allow-Origin
		question, real int    // statuses of the preflight and of the request
	}{
		{"off", nil, page, "/v1/routes", "", 401, 200},
		{"an allowed origin", []string{page}, page, "/v1/routes", page, 204, 200},
		{"another origin", []string{page}, other, "/v1/routes", "", 204, 200},
		{"all origins", []string{"*"}, other, "/v1/routes", "*", 204, 200},
		{"not the CHP API", []string{"*"}, page, "/api/routes", "", 405, 200},
		{"not the docs", []string{"*"}, page, "/openapi.json", "", 405, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, g := start(t, Config{AllowedOrigins: c.allowed})
			q := ask(g, "OPTIONS", c.path, "", append(preflight, "Origin", c.origin)...)
			r := ask(g, "GET", c.path, "", "Origin", c.origin, "X-API-Key", gatewaytest.Admin)
			if q.Code != c.question || r.Code != c.real {
				t.Errorf("got %d and %d", q.Code, r.Code)
			}
			for _, w := range []*httptest.ResponseRecorder{q, r} {
				if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.answer {
					t.Errorf("allowed is %q, want %q", got, c.answer)
				}
				if w.Header().Get("Access-Control-Allow-Credentials") != "" {
					t.Error("cookies are allowed")
				}
				if c.answer != "" && w.Header().Get("Vary") != "Origin" {
					t.Errorf("Vary is %q", w.Header().Get("Vary"))
				}
			}
			if got := q.Header().Get("Access-Control-Allow-Methods"); (got != "") != (c.answer != "") {
				t.Errorf("methods are %q", got)
			}
		})
	}
	_, conn := gatewaytest.Start(t)
	for _, bad := range []string{"page.example", "https://page.example/", "https://Page.example", "null", ""} {
		if _, err := New(conn, Config{AllowedOrigins: []string{bad}}); err == nil {
			t.Errorf("the origin %q was taken", bad)
		}
	}
}

// serve runs the gateway's own server until the test ends.
func serve(t *testing.T, g *Gateway) (*http.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := g.Server(nil)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return srv, ln.Addr().String()
}

func TestEventsDoNotHoldUpAShutdown(t *testing.T) {
	_, g := start(t, Config{})
	srv, addr := serve(t, g)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", gatewaytest.Admin)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Errorf("the response did not end well: %v", err)
	}
}

// deadlines is a connection that remembers what it was told.
type deadlines struct {
	http.ResponseWriter
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error  { d.read = at; return nil }
func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write = at; return nil }

// A body's deadline must end with the body: the wait for nodes may be longer,
// and a deadline that passes meanwhile would end the request.
func TestABodysDeadlineEndsWithTheBody(t *testing.T) {
	conn := &deadlines{ResponseWriter: httptest.NewRecorder()}
	r := withDeadlines(conn, httptest.NewRequest("POST", "/", strings.NewReader("body")))
	if conn.read.IsZero() || conn.write.IsZero() {
		t.Fatal("there are no deadlines")
	}
	if _, err := io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	if !conn.read.IsZero() {
		t.Error("the deadline stays after the body")
	}
	conn = &deadlines{ResponseWriter: httptest.NewRecorder()}
	withDeadlines(conn, httptest.NewRequest("GET", "/", nil))
	if !conn.read.IsZero() {
		t.Error("there is a deadline without a body")
	}
}

func TestAConnectionIsUsedAgain(t *testing.T) {
	_, g := start(t, Config{})
	_, addr := serve(t, g)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for i := range 3 {
		body := fmt.Sprintf(`{"target":"http://h:%d"}`, i+1)
		_, err := fmt.Fprintf(conn, "POST /api/routes/x HTTP/1.1\r\nHost: h\r\nAuthorization: token %s\r\nContent-Length: %d\r\n\r\n%s",
			gatewaytest.Admin, len(body), body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 201 {
			t.Fatalf("got %v, %v", res, err)
		}
		_ = res.Body.Close()
	}
}

func TestErrorsOfTheJSONAPIAreJSON(t *testing.T) {
	_, g := start(t, Config{MaxBody: 10})
	w := ask(g, "POST", "/v1/routes", `{"route":{"name":"long"}}`, "X-API-Key", gatewaytest.Admin)
	var got struct {
		Error struct {
			Code   int
			Status string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 413 || got.Error.Code != 413 {
		t.Errorf("got %d %s, %v", w.Code, w.Body, err)
	}
}
