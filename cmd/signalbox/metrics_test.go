package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"signalbox/node/certfile"
)

// Metrics are shown to nobody unless it was said to whom.
func TestMetricsAreDeniedByDefault(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const local, remote = "127.0.0.1:0", "10.0.0.1:1"
	for _, c := range []struct {
		name  string
		flags metricsFlags
		says  string // empty: it is taken
	}{
		{"nothing said", metricsFlags{addr: local}, "--metrics-open"},
		{"a token", metricsFlags{addr: local, token: "x"}, ""},
		{"two ways at once", metricsFlags{addr: local, token: "x", open: true}, "alternatives"},
		{"a file that is missing", metricsFlags{addr: local, file: empty + "not"}, "--metrics-token-file"},
		{"a file that is empty", metricsFlags{addr: local, file: empty}, "is empty"},
		{"a token across the network in the clear", metricsFlags{addr: remote, token: "x"}, "--allow-plaintext"},
		{"open on the network", metricsFlags{addr: remote, open: true}, ""},
		{"clients' authorities without a certificate", metricsFlags{addr: local, tls: serverTLS{Server: certfile.Server{ClientCA: "ca.pem"}}}, "need"},
	} {
		_, err := c.flags.check(false, slog.New(slog.DiscardHandler))
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || exitCode(err) != exitUsage) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// ask asks for a path, and returns the status and the body.
func ask(t *testing.T, method, url, token, accept string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Accept", accept)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// The token is asked for, taken from its file as it is now, and gets /metrics
// and nothing else.
func TestMetricsAskForTheirToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	flags := metricsFlags{addr: "127.0.0.1:0", file: file}
	shown, err := flags.listen("node", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + shown.listener.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- shown.with(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
	}()
	expect := func(method, path, token string, status int) {
		t.Helper()
		if res, body := ask(t, method, at+path, token, ""); res.StatusCode != status {
			t.Errorf("%s %s with %q: %d %s", method, path, token, res.StatusCode, body)
		}
	}
	expect("GET", "/metrics", "", 401)
	expect("GET", "/metrics", "two", 401)
	expect("GET", "/metrics", "one", 200)
	expect("POST", "/metrics", "one", 405)
	expect("GET", "/", "one", 404)
	expect("GET", "/debug/pprof/", "", 401)
	write("two")
	expect("GET", "/metrics", "one", 401)
	expect("GET", "/metrics", "two", 200)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect("GET", "/metrics", "two", 401)
	expect("GET", "/metrics", "", 401)
	write("three")
	res, body := ask(t, "GET", at+"/metrics", "three", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("asked for OpenMetrics, got %s", res.Header.Get("Content-Type"))
	}
	if !strings.Contains(body, `signalbox_build_info{part="node"`) {
		t.Error("it does not say what it is")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A process ends when its metrics can be served no longer, and with its own
// error when that ends it.
func TestMetricsEndWithTheirProcess(t *testing.T) {
	flags := metricsFlags{addr: "127.0.0.1:0", open: true}
	for range 2 {
		shown, err := flags.listen("node", false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := shown.with(t.Context(), func(context.Context) error { return os.ErrClosed }); err != os.ErrClosed { //nolint:errorlint // it is handed on as it is
			t.Errorf("the process ended with %v", err)
		}
	}
	shown, err := flags.listen("node", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_ = shown.listener.Close()
	if err := shown.with(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return nil }); err == nil {
		t.Error("the process went on without its metrics")
	}
}

// A slow collector tells nothing until it is told to, and says when it is asked.
type slowCollector struct{ asked, tell chan struct{} }

func (slowCollector) Describe(chan<- *prometheus.Desc) {}

func (c slowCollector) Collect(chan<- prometheus.Metric) {
	c.asked <- struct{}{}
	<-c.tell
}

// No more than a few are answered at once, as each costs a whole collection.
func TestOnlyAFewCollectMetricsAtOnce(t *testing.T) {
	shown := newMetrics("node", slog.New(slog.DiscardHandler))
	shown.flags = &metricsFlags{open: true}
	slow := slowCollector{make(chan struct{}, scrapes+1), make(chan struct{})}
	shown.add(slow)
	status := func() int {
		w := httptest.NewRecorder()
		shown.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		return w.Code
	}
	answers := make(chan int, scrapes+1)
	for range scrapes {
		go func() { answers <- status() }()
		<-slow.asked
	}
	go func() { answers <- status() }()
	select {
	case code := <-answers:
		if code != http.StatusServiceUnavailable {
			t.Errorf("one more than may was answered with %d", code)
		}
		answers <- http.StatusOK // stands for the one that was read
	case <-slow.asked:
		t.Error("one more than may has metrics collected")
	}
	close(slow.tell)
	for range scrapes + 1 {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("one of those who may was answered with %d", code)
		}
	}
	if code := status(); code != http.StatusOK {
		t.Errorf("the next one was answered with %d", code)
	}
}

// What a process tells may grow while it is asked, as parts start after their
// metrics are shown.
func TestMetricsGrowWhileTheyAreAsked(t *testing.T) {
	shown := newMetrics("up", slog.New(slog.DiscardHandler))
	shown.flags = &metricsFlags{open: true}
	body := func() string {
		w := httptest.NewRecorder()
		shown.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for range 20 {
			body()
		}
	}()
	shown.addEtcd()
	<-asked
	if !strings.Contains(body(), "\netcd_") {
		t.Error("what was added is not told")
	}
}

// What is wrong with the token is logged when it changes, and not for everyone
// who asks without one.
func TestTokenThatCannotBeReadIsLoggedOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	var said strings.Builder
	shown := newMetrics("node", slog.New(slog.NewTextHandler(&said, nil)))
	shown.flags = &metricsFlags{file: file}
	expect := func(what string, lines int) {
		t.Helper()
		for range 3 {
			shown.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		}
		if n := strings.Count(said.String(), what); n != lines {
			t.Errorf("%q is said %d times, not %d:\n%s", what, n, lines, said.String())
		}
	}
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect("cannot be read", 1)
	write("")
	expect("is empty", 1)
	write("one")
	expect("can be read again", 1)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect("no such file", 2)
}
