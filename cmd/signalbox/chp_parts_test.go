package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// post writes a route.
func (s *chpSystem) post(t *testing.T, key, target string) {
	t.Helper()
	if a := s.ask(t, `POST /api/routes`+key+`||{"target":"`+target+`"}`); a.status != http.StatusCreated {
		t.Fatalf("%s: %d %s", key, a.status, a.body)
	}
}

func TestCHPOnUnixSockets(t *testing.T) {
	dir := t.TempDir()
	public, api, shown, target := filepath.Join(dir, "p"), filepath.Join(dir, "a"), filepath.Join(dir, "m"), filepath.Join(dir, "t")
	ln, err := net.Listen("unix", target)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: chpEcho("T"), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	for _, stale := range []string{public, api, shown} { // as a killed process leaves them
		old, err := net.Listen("unix", stale)
		if err != nil {
			t.Fatal(err)
		}
		old.(*net.UnixListener).SetUnlinkOnClose(false)
		_ = old.Close()
	}
	s := &chpSystem{log: &safeBuffer{}}
	t.Setenv("CONFIGPROXY_AUTH_TOKEN", chpToken)
	s.runHere(t, func(ctx context.Context) error {
		return runCHP(ctx, []string{"--socket", public, "--api-socket", api, "--metrics-socket", shown}, s.log, s.log)
	})
	s.says(t, "Proxy API at http://"+api+"/api/routes")
	body := `{"target":"http+unix://` + strings.ReplaceAll(target, "/", "%2F") + `/base"}`
	if a := onSocket(t, api, "POST /api/routes/x HTTP/1.1\r\nHost: x\r\nAuthorization: token "+chpToken+"\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n"+body); a != 201 {
		t.Fatalf("the API answers %d", a)
	}
	if a := onSocket(t, public, "GET /x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"); a != 200 {
		t.Errorf("the proxy answers %d", a)
	}
	if a := onSocket(t, shown, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); a != 200 {
		t.Errorf("the metrics answer %d", a)
	}
	s.stop()
	for _, file := range []string{public, api, shown} {
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%s is left behind", filepath.Base(file))
		}
	}
}

// onSocket asks on a unix socket and returns the status.
func onSocket(t *testing.T, path, request string) int {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(c, request)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// CHP's dashboards read these.
func TestCHPsMetrics(t *testing.T) {
	shown := freeAddr(t)
	_, port, _ := net.SplitHostPort(shown)
	s := startCHP(t, asDropIn, "--metrics-ip", "127.0.0.1", "--metrics-port", port)
	s.post(t, "/a", "http://"+chpUpstream(t, "A"))
	s.ask(t, "GET /a/x")
	s.ask(t, "GET /a/x?status=302&location=/")
	s.ask(t, "GET /none")
	s.ask(t, "GET /a/ws"+webSocket)
	s.ask(t, "GET /_chp_healthz")
	s.ask(t, "GET /api/routes")
	s.ask(t, "GET /api/routes/a")
	s.ask(t, "GET /api/routes|Authorization: none")
	s.ask(t, "DELETE /api/routes/a")
	s.ask(t, "DELETE /api/routes/a")
	want := []string{
		"api_route_get 1", "api_route_add 1", "api_route_delete 2", "requests_web 3", "requests_ws 1",
		`requests_proxy{status="200"} 1`, `requests_proxy{status="302"} 1`, `requests_proxy{status="404"} 1`,
		`requests_api{status="200"} 2`, `requests_api{status="201"} 1`, `requests_api{status="403"} 1`, `requests_api{status="204"} 1`, `requests_api{status="404"} 1`,
		"find_target_for_req_count 4", "last_activity_updating_count 2",
	}
	// What is over a moment ago is counted a moment later.
	deadline := time.Now().Add(5 * time.Second)
	for {
		a := s.send(t, shown, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 3*time.Second)
		missing := ""
		for _, line := range want {
			if !strings.Contains(a.body, "\n"+line+"\n") && !strings.HasPrefix(a.body, line+"\n") {
				missing = line
			}
		}
		if missing == "" {
			if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain; version=0.0.4; charset=utf-8") {
				t.Errorf("the type is %q", a.header.Get("Content-Type"))
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no line %q in\n%s", missing, regexp.MustCompile(`(?m)^(#|go_|process_|signalbox_).*\n`).ReplaceAllString(a.body, ""))
		}
	}
	if a := s.send(t, shown, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", time.Second); a.status != 404 {
		t.Errorf("another path is answered %d", a.status)
	}
}

// A WebSocket on which nothing moves outlives --timeout and --proxy-timeout.
func TestCHPsTimeoutsAreNotForWebSockets(t *testing.T) {
	s := startCHP(t, asDropIn, "--timeout", "300", "--proxy-timeout", "200")
	s.post(t, "/a", "http://"+chpUpstream(t, "A"))
	c, err := net.Dial("tcp", s.public)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\n"+strings.ReplaceAll(webSocket[1:], "|", "\r\n")+"\r\n\r\n")
	r := bufio.NewReader(c)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	// Two requests that do time out take longer than either time.
	for range 2 {
		if a := s.ask(t, "GET /a?sleep=2000"); a.status != 503 {
			t.Errorf("a request that hangs is answered %d", a.status)
		}
	}
	_, _ = io.WriteString(c, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "ping" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Pages are edited while it runs.
func TestCHPsErrorPagesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	s := startCHP(t, asDropIn, "--error-path", dir)
	if a := s.ask(t, "GET /x"); a.body != "Not Found" {
		t.Fatalf("without a page: %q", a.body)
	}
	if err := os.WriteFile(filepath.Join(dir, "404.html"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for s.ask(t, "GET /x").body != "mine" {
		if time.Now().After(deadline) {
			t.Fatalf("the page is not read:\n%s", s.log)
		}
	}
}
