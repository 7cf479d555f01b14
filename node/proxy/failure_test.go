package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/listen"
	"signalbox/node/proxy"
	"signalbox/node/upstream"
)

// get sends one request on a connection of its own.
func (n *node) get(path string, more ...string) (reply, string) {
	n.t.Helper()
	c := n.dial()
	c.send(append([]string{"GET " + path + " HTTP/1.1", "Host: h"}, more...)...)
	res, body := c.answer()
	_ = c.Close()
	return res, body
}

// silent is an address that accepts connections, by the kernel, and never says
// a word.
func silent(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
}

func TestFailuresHaveAStatusAReasonAndASide(t *testing.T) {
	garbage := web(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		_, _ = c.Write([]byte("SSH-2.0-no\r\n"))
		_ = c.Close()
	})
	closes := web(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	huge := web(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", sizef(300<<10)) })
	for _, c := range []struct {
		name, url string
		status    int
		reason    string
		side      string
	}{
		{"nothing listens", "http://127.0.0.1:1", 502, "dial_refused", "upstream"},
		{"no such name", "http://no-such-name.invalid", 502, "dns", "network"},
		{"no such socket", "http+unix://%2Fno%2Fsuch.sock", 502, "dial_refused", "upstream"},
		{"no TLS there", "https://" + strings.TrimPrefix(garbage, "http://"), 502, "tls_handshake", "upstream"},
		{"TLS that says nothing", "https://" + silent(t), 504, "tls_timeout", "upstream"},
		{"no answer in time", "http://" + silent(t), 504, "header_timeout", "upstream"},
		{"no HTTP", garbage, 502, "bad_response", "upstream"},
		{"closed without an answer", closes, 502, "closed_before_response", "upstream"},
		{"a header beyond the limit", huge, 502, "header_too_large", "upstream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, upstream.Config{AllowUnix: true, Timeouts: upstream.Timeouts{TLS: 50 * time.Millisecond}}, listen.Config{})
			rec := n.record("/", c.url)
			if c.reason == "header_timeout" {
				rec.Policy = &signalboxv1.RoutePolicy{ResponseTimeout: durationpb.New(50 * time.Millisecond)}
			}
			n.put(rec)
			res, body := n.get("/")
			if res.StatusCode != c.status || !strings.Contains(body, "("+c.reason+")") || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if got := n.counters("r").Counters; got.NodeFailures != 1 || got.Requests != 1 || got.Statuses[4] != 1 {
				t.Errorf("counted %v", got)
			}
			if got := n.handler.Failures(); len(got) != 1 || got[proxy.Reason(c.reason)] != 1 {
				t.Errorf("counted %v", got)
			}
			eventually(t, "it is logged", func() bool {
				return strings.Contains(n.log.String(), "reason="+c.reason+" side="+c.side)
			})
		})
	}
}

// full is an address whose backlog is full, so that the kernel leaves every
// attempt to connect unanswered.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 3 {
		if c, err := net.DialTimeout("tcp", address, 50*time.Millisecond); err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return address
}

func TestADialThatTakesTooLongIsA504(t *testing.T) {
	n := plain(t)
	rec := n.record("/", "http://"+full(t))
	rec.Policy = &signalboxv1.RoutePolicy{ConnectTimeout: durationpb.New(50 * time.Millisecond)}
	n.put(rec)
	res, body := n.get("/")
	if res.StatusCode != 504 || !strings.Contains(body, "(dial_timeout)") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestWhatIsNotRoutedIsA404(t *testing.T) {
	n := plain(t)
	rec := n.record("/a", "http://127.0.0.1:1")
	rec.Match.Host = "a.example"
	n.put(rec)
	for _, path := range []string{"/", "/a"} {
		if res, body := n.get(path); res.StatusCode != 404 || !strings.Contains(body, "(no_route)") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	eventually(t, "logged without its query", func() bool { return strings.Contains(n.log.String(), "path=/a ") })
}

func TestTheReasonIsInAHeaderOnlyWhereItIsWanted(t *testing.T) {
	n := plain(t)
	if res, _ := n.get("/?secret"); res.Header.Get("Signalbox-Error") != "" {
		t.Errorf("header %v", res.Header)
	}
	n.listener(&signalboxv1.Listener{ErrorDetails: true})
	res, body := n.get("/", "Accept: text/html, application/json")
	if res.Header.Get("Signalbox-Error") != "no_route" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", res.Header)
	}
	var page struct {
		Status          int
		Reason, Message string
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil || page.Status != 404 || page.Reason != "no_route" || page.Message == "" {
		t.Errorf("%s: %v", body, err)
	}
	if strings.Contains(n.log.String(), "secret") {
		t.Error("a query is in the log")
	}
}

func TestABadHeadIsAnsweredWithItsStatus(t *testing.T) {
	n := plain(t)
	n.route("/", "http://127.0.0.1:1")
	n.listener(&signalboxv1.Listener{ErrorDetails: true})
	for _, c := range []struct {
		head, want, reason string
	}{
		{"GET / HTTP/1.1\nHost: h\n\n", "400", "bare_lf"},
		{"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400", "length_and_encoding"},
		{"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", "400", "duplicate_host"},
		{"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", "400", "obs_fold"},
		{"GET / HTTP/9.9\r\nHost: h\r\n\r\n", "505", "unsupported_version"},
		{"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "405", "method_refused"},
		{"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "405", "method_refused"},
		{"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400", "bad_escape"},
		{"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", "501", "unknown_transfer_encoding"},
		{"GET / HTTP/1.1\r\nHost: h\r\nX: " + sizef(70<<10) + "\r\n\r\n", "431", "head_too_large"},
	} {
		down := n.dial()
		down.raw(c.head)
		got := down.rest()
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.want) || !strings.Contains(got, "Signalbox-Error: "+c.reason+"\r\n") || !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("%.40q: got %s", c.head, got)
		}
		if allow := strings.Contains(got, "\r\nAllow: GET, "); allow != (c.want == "405") {
			t.Errorf("%.40q: got %s", c.head, got)
		}
	}
}

func TestWithNoUpstreamLeftItIsA503(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_ = n.pools.Close(over)
	res, body := n.get("/")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "(shutting_down)") {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
}

func TestAUnixSocketIsAnUpstream(t *testing.T) {
	n := start(t, upstream.Config{AllowUnix: true}, listen.Config{})
	path := filepath.Join(t.TempDir(), "s")
	o := listenOn(t, "unix", path)
	n.route("/", "http+unix://"+strings.ReplaceAll(path, "/", "%2F"))
	c, up := n.asked(o, "GET / HTTP/1.1")
	up.raw("HTTP/1.1 204 N\r\n\r\n")
	if res, _ := c.answer(); res.StatusCode != 204 {
		t.Errorf("status %d", res.StatusCode)
	}
	_ = os.Remove(path)
}
