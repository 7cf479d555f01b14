//go:build e2e

// What a client says of itself in forwarding headers is not believed, and what
// two HTTP parsers could read in two ways goes no further than the node.

package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// raw sends bytes to a node and reads one answer. It reports whether the node
// closed the connection after it.
func raw(t *testing.T, node, text string) (a answer, closed bool) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", node, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %q: %v", text, err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if res.Close {
		_, err = in.ReadByte()
		closed = err != nil
	}
	return answer{res.StatusCode, res.Header, string(body)}, closed
}

// lines is a request head.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

var spoofed = []string{
	"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1",
	"X-Forwarded-Server: evil", "X-Forwarded-User: root", "X-Forwarded-Prefix: /evil", "Forwarded: for=6.6.6.6",
	"X-Real-IP: 6.6.6.6", "X-Client-IP: 6.6.6.6", "True-Client-IP: 6.6.6.6", "X-Original-URL: /evil", "CF-Connecting-IP: 6.6.6.6",
	"X_Forwarded_For: 6.6.6.6", "X-Forwarded_For: 6.6.6.6", "Proxy: evil:1",
}

func TestSpoofedHeadersAreNotBelieved(t *testing.T) {
	c := newCluster(t, 1, 1)
	to := newUpstream(t, "up")
	api := c.services(0)
	api.put(t, route("all", "/", to.url))
	head := lines(append([]string{"GET /a HTTP/1.1", "Host: public.example:8000"}, spoofed...)...)

	seen := func() http.Header {
		t.Helper()
		if a, _ := raw(t, c.nodes[0].public, head); a.status != 200 {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		r := to.asked()
		return r.Header
	}
	got := seen()
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "public.example:8000", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "8000",
	} {
		if v := got.Values(name); !slices.Equal(v, []string{want}) {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
		got.Del(name)
	}
	for name, v := range got {
		t.Errorf("%s went through: %q", name, v)
	}

	// A proxy that operators trust is believed, from the next request on.
	_, err := api.listeners.PutListener(t.Context(), &signalboxv1.PutListenerRequest{
		Listener: &signalboxv1.Listener{Name: "public", TrustedProxies: []string{"127.0.0.0/8"}}, Wait: signalboxv1.Wait_WAIT_NODES,
	})
	if err != nil {
		t.Fatal(err)
	}
	got = seen()
	for name, want := range map[string]string{
		"X-Forwarded-For": "6.6.6.6, 127.0.0.1", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "Forwarded": "for=6.6.6.6",
		"X-Real-Ip": "6.6.6.6", "Cf-Connecting-Ip": "6.6.6.6", "X_Forwarded_For": "", "X-Forwarded_For": "", "Proxy": "",
	} {
		if v := strings.Join(got.Values(name), "|"); v != want {
			t.Errorf("from a trusted proxy, %s is %q, want %q", name, v, want)
		}
	}
}

func TestHeadsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	c := newCluster(t, 1, 1)
	to := newUpstream(t, "up")
	c.services(0).put(t, route("all", "/", to.url))
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tt := range []struct {
		name, head string
		status     int
	}{
		{"Content-Length beside Transfer-Encoding", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"), 400},
		{"Transfer-Encoding beside Content-Length", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 4"), 400},
		{"two Content-Lengths", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Content-Length: 5"), 400},
		{"two equal Content-Lengths", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Content-Length: 4"), 400},
		{"a list of Content-Lengths", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4, 4"), 400},
		{"a signed Content-Length", lines("POST / HTTP/1.1", "Host: a", "Content-Length: +4"), 400},
		{"an encoding of letters around chunked", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: xchunked"), 501},
		{"gzip, chunked", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"), 501},
		{"chunked, then identity", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400},
		{"a space before the colon", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding : chunked"), 400},
		{"two Hosts", lines("GET / HTTP/1.1", "Host: a", "Host: b"), 400},
		{"no Host", lines("GET / HTTP/1.1", "X-A: b"), 400},
		{"HTTP/9.9", lines("GET / HTTP/9.9", "Host: a"), 505},
		{"obs-fold", lines("GET / HTTP/1.1", "Host: a", "X-A: b", " c"), 400},
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
		{"bare LF in one line", "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", 400},
		{"bare LF in a chunk line", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "1\nx\r\n0\r\n\r\n", 400},
		{"a chunk size with 0x", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "0x1\r\nx\r\n0\r\n\r\n", 400},
		{"a NUL in a value", lines("GET / HTTP/1.1", "Host: a", "X-A: b\x00c"), 400},
		{"a CR in a value", lines("GET / HTTP/1.1", "Host: a", "X-A: b\rc"), 400},
		{"a space in the target", lines("GET /a b HTTP/1.1", "Host: a"), 400},
		{"a bad percent-escape", lines("GET /%zz HTTP/1.1", "Host: a"), 400},
		{"a target without slash", lines("GET a HTTP/1.1", "Host: a"), 400},
		{"Transfer-Encoding in HTTP/1.0", lines("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"), 400},
		{"CONNECT", lines("CONNECT a:443 HTTP/1.1", "Host: a:443"), 405},
		{"TRACE", lines("TRACE / HTTP/1.1", "Host: a"), 405},
		{"a method of 33 bytes", lines(strings.Repeat("A", 33)+" / HTTP/1.1", "Host: a"), 405},
		{"an unknown expectation", lines("POST / HTTP/1.1", "Host: a", "Expect: more", "Content-Length: 1"), 417},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, closed := raw(t, c.nodes[0].public, tt.head+smuggled)
			if a.status != tt.status || !closed {
				t.Errorf("got %d %q, connection closed %t; want %d and closed", a.status, a.body, closed, tt.status)
			}
		})
	}
	if r := to.asked(); r != nil && (r.URL.Path == "/smuggled" || r.Method == "CONNECT" || r.Method == "TRACE") {
		t.Errorf("%s %s reached the upstream", r.Method, r.URL)
	}

	t.Run("a chunk extension is taken, and goes no further", func(t *testing.T) {
		a, _ := raw(t, c.nodes[0].public, lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")+"2;a=b\r\nhi\r\n0\r\n\r\n")
		if a.status != 200 || a.body != "up took 2\n" {
			t.Errorf("got %d %q", a.status, a.body)
		}
	})
	t.Run("an upgrade to h2c is not passed on", func(t *testing.T) {
		a, _ := raw(t, c.nodes[0].public, lines("GET /h2c HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"))
		r := to.asked()
		if a.status != 200 || r.URL.Path != "/h2c" || r.Header.Get("Upgrade") != "" || r.Header.Get("Http2-Settings") != "" {
			t.Errorf("got %d, and the upstream %v", a.status, r.Header)
		}
	})
	t.Run("OPTIONS * goes to the route of the root", func(t *testing.T) {
		a, _ := raw(t, c.nodes[0].public, lines("OPTIONS * HTTP/1.1", "Host: a"))
		if a.status != 200 {
			t.Errorf("got %d %q", a.status, a.body)
		}
	})
	t.Run("a Host with a trailing dot is the host without", func(t *testing.T) {
		dotted := newUpstream(t, "dotted")
		r := route("dotted", "/", dotted.url)
		r.Match.Host = "a.example"
		c.services(0).put(t, r)
		if a, _ := raw(t, c.nodes[0].public, lines("GET / HTTP/1.1", "Host: A.Example.:80")); a.body != "dotted took 0\n" {
			t.Errorf("got %d %q", a.status, a.body)
		}
	})
}
