package chp

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"signalbox/gateway/gatewaytest"
)

// TestBesideCHP asks configurable-http-proxy and us the same and compares whole
// answers. SIGNALBOX_CHP names the program, as npm installs it.
func TestBesideCHP(t *testing.T) {
	bin := os.Getenv("SIGNALBOX_CHP")
	if bin == "" {
		t.Skip("SIGNALBOX_CHP does not name a configurable-http-proxy")
	}
	for _, flags := range [][]string{nil, {"--host-routing"}} {
		theirs := &proxy{t: t, addr: startCHP(t, bin, flags...)}
		ours := start(t, Config{HostRouting: flags != nil})
		for _, c := range conversation() {
			want := theirs.admin(c.method, c.path, c.body)
			got := ours.admin(c.method, c.path, c.body)
			if got.code != want.code || masked(got.body) != masked(want.body) {
				t.Errorf("%v %s %s %s: got %d %s, CHP says %d %s", flags, c.method, c.path, c.body,
					got.code, masked(got.body), want.code, masked(want.body))
			}
		}
	}
}

// masked hides what may differ: times, and a JavaScript engine's words.
func masked(body string) string {
	body = regexp.MustCompile(stamp).ReplaceAllString(body, "TIME")
	return regexp.MustCompile(`SyntaxError: .*`).ReplaceAllString(body, "SyntaxError")
}

type asked struct{ method, path, body string }

// conversation is what both are asked, in order.
func conversation() []asked {
	paths := []string{
		"/h.example/tr/", "/h.example/tr2//", "/h.example/a//b", "/h.example/foo%40bar", "/h.example/b%20c", "/h.example/%2Fslash",
		"/h.example%2Fjoined", "/h.example/up%41case", "/h.example/UPPER", "/h.example/%E4%BD%A0%E5%A5%BD", "/h.example/q%3Fx",
		"/h.example/h%23x", "/h.example/q?x=1", "/h.example/plus+sign", "/h.example/dots/../up", "/h.example/dots/%2e%2e/up2",
		"/h.example/./x", "/h.example/x/.", "/h.example/x/..", "/h.example/pct/%25", "/h.example/pct/%252F", "/h.example/nul%00x",
		"/h.example/bs%5Cx", `/h.example/bs\x`, "/h.example/semi;v=1", "/h.example/%7e'()*!$&,:=@", "/h.example/.%2E/%2e/y", "/h.example/end%2F",
	}
	var all []asked
	for i, path := range paths {
		target := fmt.Sprintf(`{"target":"http://127.0.0.1:%d","n":{"a":[1,2]}}`, 1000+i)
		all = append(all, asked{"POST", "/api/routes" + path, target}, asked{"GET", "/api/routes" + path, ""}, asked{"GET", "/api/routes", ""})
	}
	// "/h.example/tr2//" is left out: CHP cannot remove again what it took.
	for _, path := range append(paths[2:], "/h.example/tr/", "/h.example/none", "/h.example", "/", "/%2F", "//", "/%2F") {
		all = append(all, asked{"DELETE", "/api/routes" + path, ""}, asked{"GET", "/api/routes", ""})
	}
	for _, body := range []string{``, `{`, `{}`, `null`, `[]`, `"s"`, `5`, `{"target":1}`, `{"target":null}`, `{"target":[]}`, good + "x"} {
		all = append(all, asked{"POST", "/api/routes/h.example/bad", body})
	}
	all = append(all, asked{"POST", "/api/routes/", `{"target":"http://root:1/a?b","host":"mine"}`}, asked{"GET", "/api/routes/%2F", ""})
	for _, query := range []string{
		"inactive_since=2000-01-01T00:00:00Z", "inactiveSince=2099", "inactive_since=1", "inactive_since=0", "inactiveSince=", "INACTIVE_SINCE=bad",
		"inactive_since=endoftheuniverse", "inactive_since=%20", "inactive_since=2099-13-01T00:00:00Z", "inactive_since=Tue,%2001%20Jan%202000",
		"inactiveSince=2099&inactive_since=2000", "inactive_since=2099-01-01T00:00:00%2B00:00",
	} {
		all = append(all, asked{"GET", "/api/routes?" + query, ""})
	}
	for _, method := range []string{"PUT", "PATCH", "HEAD", "OPTIONS"} {
		all = append(all, asked{method, "/api/routes/h.example", ""})
	}
	return append(all, asked{"GET", "/foo", ""}, asked{"GET", "/api/routesX", ""}, asked{"DELETE", "/api/routes/", ""})
}

// startCHP runs CHP until the test ends and returns its API's address.
func startCHP(t *testing.T, bin string, flags ...string) string {
	t.Helper()
	public, api := freePort(t), freePort(t)
	cmd := exec.Command(bin, append([]string{"--ip", "127.0.0.1", "--port", public, "--api-ip", "127.0.0.1", "--api-port", api}, flags...)...)
	cmd.Env = append(os.Environ(), "CONFIGPROXY_AUTH_TOKEN="+gatewaytest.Admin, "TZ=UTC")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as told
	})
	addr := net.JoinHostPort("127.0.0.1", api)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
			return addr
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			t.Fatalf("CHP does not listen: %v", err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
