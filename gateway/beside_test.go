package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"signalbox/gateway/gatewaytest"
	"signalbox/gateway/nodepass"
)

// CHP's API and NodePass's share a port and the prefix /api; neither answers
// for the other.
func TestNodePassBesideCHP(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    Config
		method string
		path   string
		code   int
		body   string // the beginning
		cors   bool
	}{
		{"instances", Config{}, "GET", "/api/instances", 200, `[{"id":"********",`, true},
		{"instances of v1", Config{}, "GET", "/api/v1/instances", 200, `[{"id":"********",`, true},
		{"info", Config{}, "GET", "/api/v1/info", 200, `{"alias":"",`, true},
		{"docs", Config{}, "GET", "/api/docs", 200, `<!DOCTYPE html>`, true},
		{"nothing of v1", Config{}, "GET", "/api/v1/none", 404, "404 page not found\n", false},
		{"v1 alone", Config{}, "GET", "/api/v1", 404, "404 page not found\n", false},
		{"a browser's question", Config{}, "OPTIONS", "/api/instances", 200, "", true},
		{"an unclean path", Config{}, "GET", "/api/v1//info", 307, "", false},

		{"routes", Config{}, "GET", "/api/routes", 200, `{}`, false},
		{"a route called like an instance", Config{}, "GET", "/api/routes/api/v1/instances", 404, "", false},
		{"an unclean route", Config{}, "GET", "/api/routes//instances", 404, "", false},
		{"who CHP is", Config{}, "GET", "/api", 200, `{"compatible":"configurable-http-proxy 5"`, false},
		{"who CHP is, with a slash", Config{}, "GET", "/api/", 200, `{"compatible":`, false},
		{"nothing of CHP's", Config{}, "GET", "/api/none", 404, "Not Found", false},
		{"CHP's options", Config{}, "OPTIONS", "/api/routes", 405, "", false},

		{"ours", Config{}, "GET", "/v1/routes", 200, `{`, false},
		{"our docs", Config{}, "GET", "/openapi.json", 200, `{`, false},
		{"another prefix", Config{NodePass: nodepass.Config{Prefixes: []string{"/admin"}}}, "GET", "/admin/info", 200, `{"alias":`, true},
		{"another prefix and v1", Config{NodePass: nodepass.Config{Prefixes: []string{"/admin"}}}, "GET", "/admin/v1/info", 200, `{"alias":`, true},
		{"another prefix alone", Config{NodePass: nodepass.Config{Prefixes: []string{"/admin"}}}, "GET", "/api/v1/info", 404, "Not Found", false},
		{"CHP as a drop-in", Config{CHPElsewhere: true}, "GET", "/api/instances", 404, "Not Found", false},
		{"CHP as a drop-in, v1", Config{CHPElsewhere: true}, "GET", "/api/v1/info", 404, "Not Found", false},
	} {
		_, g := start(t, c.cfg)
		w := ask(g, c.method, c.path, "", "X-API-Key", gatewaytest.Admin)
		if w.Code != c.code || !strings.HasPrefix(w.Body.String(), c.body) || (w.Header().Get("Access-Control-Allow-Origin") == "*") != c.cors {
			t.Errorf("%s: got %d %v %.80q", c.name, w.Code, w.Header(), w.Body)
		}
	}
}

func TestAPrefixOfAnotherAPIIsRefused(t *testing.T) {
	_, err := New(nil, Config{NodePass: nodepass.Config{Prefixes: []string{"/v1"}}})
	if err == nil || !strings.Contains(err.Error(), "/v1") {
		t.Errorf("got %v", err)
	}
}

// A server that shuts down ends NodePass's streams, as ours.
func TestShutdownEndsNodePassStreams(t *testing.T) {
	cp, g := start(t, Config{})
	cp.Greet()
	srv := g.Server(nil)
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ln.Addr().String()+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", gatewaytest.Admin)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	in := bufio.NewReader(res.Body)
	if first, err := in.ReadString('\n'); err != nil || first != "retry: 3000\n" {
		t.Fatalf("got %q, %v", first, err)
	}
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	rest := new(strings.Builder)
	if _, err := in.WriteTo(rest); err != nil || strings.Contains(rest.String(), "shutdown") {
		t.Errorf("it ends with %v after %q", err, rest)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
