package proxy_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/node/listen"
	"signalbox/node/upstream"
)

// handshake asks for a WebSocket on a new connection.
func (n *node) handshake(path string, more ...string) *client {
	c := n.dial()
	c.send(append([]string{"GET " + path + " HTTP/1.1", "Host: x", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: k"}, more...)...)
	return c
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n"

// join returns both ends of a WebSocket through the node.
func (n *node) join(o *origin, path string) (c, up *client) {
	n.t.Helper()
	c = n.handshake(path)
	up = o.accept(n.t)
	up.head()
	up.raw(switching)
	if got := lines(c.head()); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		n.t.Fatalf("got %s", got)
	}
	return c, up
}

func TestAnUpgradeIsSplicedBothWays(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.handshake("/ws?a=b", "Origin: https://o", "Sec-WebSocket-Protocol: p")
	c.raw("early") // together with the handshake
	up := o.accept(t)
	want := "GET /ws?a=b HTTP/1.1\nHost: x\nConnection: Upgrade\nOrigin: https://o\nSec-Websocket-Key: k\nSec-Websocket-Protocol: p\nUpgrade: WebSocket"
	if got := lines(up.head(), "x-forwarded"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	up.raw(switching + "first")
	if got := lines(c.head()); got != "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nSec-Websocket-Accept: a\nUpgrade: websocket" {
		t.Errorf("got %s", got)
	}
	if got := up.exactly(5) + c.exactly(5); got != "earlyfirst" {
		t.Errorf("got %q", got)
	}
	big := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB: some of it is left to the kernel
	go c.raw(big)
	if got := up.exactly(len(big)); got != big {
		t.Error("bytes to the upstream are not those sent")
	}
	go up.raw(big)
	if got := c.exactly(len(big)); got != big {
		t.Error("bytes to the client are not those sent")
	}
	eventually(t, "all bytes are counted while the stream runs", func() bool {
		got := n.counters("r")
		return got.Counters.BytesReceived == uint64(len(big)+5) && got.Counters.BytesSent == uint64(len(big)+5) &&
			got.OpenStreams == 1 && got.Counters.Statuses[0] == 1 && got.LastActivity != nil
	})
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	if got := up.rest(); got != "" {
		t.Errorf("got %q", got)
	}
	up.raw("last words") // a direction that has not ended goes on
	_ = up.Close()
	if got := c.rest(); got != "last words" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the stream is over", func() bool { return n.counters("r").OpenStreams == 0 })
}

func TestAnUpgradeGoesOverTLSOnBothSides(t *testing.T) {
	cert, roots := selfSigned(t)
	n := start(t, upstream.Config{TLS: &tls.Config{RootCAs: roots}}, listen.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}})
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			err = c.(*tls.Conn).Handshake()
		}
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	n.route("/", "https://"+ln.Addr().String())
	raw, err := tls.Dial("tcp", n.addr, &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, raw)
	c.send("GET / HTTP/1.1", "Host: h", "Connection: upgrade", "Upgrade: websocket")
	c.raw("early")
	up := newClient(t, <-accepted)
	if got := up.head(); !strings.Contains(got, "X-Forwarded-Proto: https\r\n") {
		t.Errorf("the upstream got %s", got)
	}
	up.raw(switching + "first")
	c.head()
	big := sizef(1 << 20)
	go func() { c.raw(big); up.raw(big) }()
	if got := up.exactly(5+len(big)) + c.exactly(5+len(big)); got != "early"+big+"first"+big {
		t.Error("what came is not what was sent")
	}
	_ = c.Close()
	up.rest()
	_ = up.Close()
}

func TestWhatIsNoAnswerToTheUpgradeIsA502(t *testing.T) {
	for name, answer := range map[string]string{
		"another protocol": "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: mqtt\r\n\r\n",
		"no protocol":      "HTTP/1.1 101 S\r\nConnection: upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			c := n.handshake("/")
			up := o.accept(t)
			up.head()
			up.raw(answer)
			if res, body := c.answer(); res.StatusCode != 502 {
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if got := up.rest(); got != "" {
				t.Errorf("the upstream got %q", got)
			}
		})
	}
}

// An upstream may take longer over a handshake than over an answer, and what
// comes of it has no other bound.
func TestAHandshakeHasTheTimeOfWhatItAsksFor(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	slow := n.record("/slow", o.url)
	slow.Policy = &signalboxv1.RoutePolicy{IdleTimeout: durationpb.New(1e6), UpgradeIdleTimeout: durationpb.New(0)}
	n.put(slow)
	c := n.handshake("/slow")
	up := o.accept(t)
	up.head()
	if res, _ := n.get("/slow"); res.StatusCode != 504 { // this one's time is over, and so the other's would be
		t.Errorf("status %d", res.StatusCode)
	}
	up.raw(switching)
	if got := c.head(); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Errorf("got %s", got)
	}
	c.raw("x")
	up.exactly(1)

	quick := n.record("/quick", o.url)
	quick.Policy = &signalboxv1.RoutePolicy{UpgradeIdleTimeout: durationpb.New(50e6)}
	n.put(quick)
	c = n.handshake("/quick")
	if res, _ := c.answer(); res.StatusCode != 504 {
		t.Errorf("a handshake without an answer: status %d", res.StatusCode)
	}
}

// Its client may say already what is meant for a WebSocket.
func TestAHandshakeThatIsRefusedEndsTheConnection(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/a", o.url)
	n.route("/dead", "http://127.0.0.1:1")
	n.listener(&signalboxv1.Listener{KeepAliveHeader: true})
	for _, answer := range []string{"200 OK", "403 Forbidden", "503 Service Unavailable"} {
		c := n.handshake("/a")
		up := o.accept(t)
		up.head()
		up.raw("HTTP/1.1 " + answer + "\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		_ = up.Close()
		if got := c.rest(); !strings.HasPrefix(got, "HTTP/1.1 "+answer+"\r\n") || !strings.Contains(got, "Connection: close\r\n") || !strings.HasSuffix(got, "\r\n\r\nno") {
			t.Errorf("%s: got %q", answer, got)
		}
	}
	for path, status := range map[string]string{"/none": "404", "/dead": "502", "/a/%zz": "400"} {
		if got := n.handshake(path).rest(); !strings.HasPrefix(got, "HTTP/1.1 "+status+" ") || !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

func TestAnUpgradeThatIsNotAllowedIsAnOrdinaryRequest(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	none := n.record("/none", o.url)
	none.Policy = &signalboxv1.RoutePolicy{Upgrades: []string{"none"}}
	spdy := n.record("/spdy", o.url)
	spdy.Policy = &signalboxv1.RoutePolicy{Upgrades: []string{"spdy"}}
	n.put(n.record("/", o.url), none, spdy)
	for _, c := range []struct{ line, connection, upgrade, want string }{
		{"GET / HTTP/1.1", "Upgrade, HTTP2-Settings", "h2c", ""},
		{"GET / HTTP/1.1", "keep-alive", "websocket", ""},
		{"GET / HTTP/1.1", "upgrade", "h2c, WebSocket", "WebSocket"},
		{"GET /none HTTP/1.1", "upgrade", "websocket", ""},
		{"GET /spdy HTTP/1.1", "upgrade", "websocket", ""},
		{"GET /spdy HTTP/1.1", "upgrade", "SPDY/3.1", "SPDY/3.1"},
		{"GET / HTTP/1.1\r\nContent-Length: 1", "upgrade", "websocket", ""},
		{"POST / HTTP/1.1\r\nContent-Length: 0", "upgrade", "websocket", ""},
		{"OPTIONS / HTTP/1.1", "upgrade", "websocket", ""},
		{"POST /spdy HTTP/1.1\r\nContent-Length: 0", "upgrade", "spdy", "spdy"},
	} {
		down := n.dial()
		down.send(c.line, "Host: x", "Connection: "+c.connection, "Upgrade: "+c.upgrade, "HTTP2-Settings: AAMAAABk")
		if strings.HasSuffix(c.line, "Length: 1") {
			down.raw("x")
		}
		up := o.accept(t)
		head := strings.ToLower(up.head())
		if strings.Contains(head, "http2-settings") {
			t.Errorf("%v: the upstream got %s", c, head)
		}
		if got := strings.Contains(head, "\nupgrade: "+strings.ToLower(c.want)+"\r"); got != (c.want != "") {
			t.Errorf("%v: the upstream got %s", c, head)
		}
		up.raw("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n")
		_ = up.Close()
		if res, _ := down.answer(); res.StatusCode != 204 {
			t.Errorf("%v: status %d", c, res.StatusCode)
		}
		_ = down.Close()
	}
}

// frame is a WebSocket frame of a server's with a payload of n bytes.
func frame(n int) string {
	if n < 126 {
		return "\x82" + string(rune(n)) + sizef(n)
	}
	return "\x82\x7e" + string([]byte{byte(n >> 8), byte(n)}) + sizef(n)
}

func TestStreamsOfOtherRoutesSurviveChanges(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.put(n.record("/ws", o.url), n.record("/other", "http://127.0.0.1:1"))
	c, up := n.join(o, "/ws")
	for range 1000 {
		n.put(n.record("/other", "http://127.0.0.1:1"))
	}
	n.remove("r.other")
	n.put(n.record("/ws", o.url)) // even its own, as long as it is there
	c.raw("ping")
	up.exactly(4)
	up.raw("pong")
	c.exactly(4)
}

func TestTheRoutesRemovalDecidesAboutItsStreams(t *testing.T) {
	t.Run("by default they run to their end", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		n.route("/ws", o.url)
		c, up := n.join(o, "/ws")
		n.remove("r.ws")
		c.raw("ping")
		up.exactly(4)
		eventually(t, "what it carries is still counted", func() bool { return n.counters("r.ws").Counters.BytesReceived == 4 })
	})
	t.Run("closed, they end with 1001 between two frames", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		rec := n.record("/ws", o.url)
		rec.Policy = &signalboxv1.RoutePolicy{Removal: signalboxv1.Removal_REMOVAL_CLOSE, RemovalGrace: durationpb.New(1e6)}
		n.put(rec)
		c, up := n.join(o, "/ws")
		up.raw(frame(5) + frame(300))
		c.exactly(len(frame(5) + frame(300)))
		n.remove("r.ws")
		if got := c.rest(); got != "\x88\x02\x03\xe9" {
			t.Errorf("the client got % x", got)
		}
		if got := up.rest(); got != "\x88\x82\x00\x00\x00\x00\x03\xe9" {
			t.Errorf("the upstream got % x", got)
		}
		eventually(t, "the reason is logged", func() bool { return strings.Contains(n.log.String(), "reason=route_removed side=policy") })
	})
	t.Run("also after large frames, and by a policy that is younger than they are", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		rec := n.record("/ws", o.url)
		n.put(rec)
		c, up := n.join(o, "/ws")
		large := "\x82\x7f\x00\x00\x00\x00\x00\x20\x00\x00" + sizef(2<<20) // left to the kernel
		go up.raw(large + frame(300) + large + frame(5))
		c.exactly(2*len(large) + len(frame(300)+frame(5)))
		again := n.record("/ws", o.url)
		again.Meta.CreatedRevision = rec.Meta.CreatedRevision
		again.Policy = &signalboxv1.RoutePolicy{Removal: signalboxv1.Removal_REMOVAL_CLOSE}
		n.put(again)
		n.remove("r.ws")
		if got := c.rest(); got != "\x88\x02\x03\xe9" {
			t.Errorf("the client got % x", got)
		}
	})
	t.Run("within a frame they end without", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		rec := n.record("/ws", o.url)
		rec.Policy = &signalboxv1.RoutePolicy{Removal: signalboxv1.Removal_REMOVAL_CLOSE}
		n.put(rec)
		c, up := n.join(o, "/ws")
		up.raw(frame(100)[:50])
		c.exactly(50)
		n.remove("r.ws")
		if got := c.rest(); got != "" {
			t.Errorf("the client got % x", got)
		}
	})
	t.Run("an answer that is under way ends abruptly", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		rec := n.record("/sse", o.url)
		rec.Policy = &signalboxv1.RoutePolicy{Removal: signalboxv1.Removal_REMOVAL_CLOSE}
		n.put(rec)
		c := n.dial()
		c.send("GET /sse HTTP/1.1", "Host: x")
		up := o.accept(t)
		up.head()
		up.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
		c.head()
		c.exactly(len("9\r\ndata: 1\n\n\r\n"))
		n.remove("r.sse")
		if got := c.rest(); got != "" {
			t.Errorf("the client got %q, which looks like an end", got)
		}
	})
}

func TestAtTheEndOfADrainStreamsAreClosed(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c, _ := n.join(o, "/ws")
	n.handler.Drain()
	other := n.dial()
	other.send("GET / HTTP/1.1", "Host: x")
	up := o.accept(t)
	up.head()
	up.raw("HTTP/1.1 204 N\r\n\r\n")
	if got := other.rest(); !strings.Contains(got, "Connection: close") {
		t.Errorf("while draining the answer is %q", got)
	}
	closed := make(chan struct{})
	go func() { n.handler.Close(); close(closed) }()
	if got, err := io.ReadAll(c.r); err != nil || !bytes.Equal(got, []byte("\x88\x02\x03\xe9")) {
		t.Errorf("the client got % x, %v", got, err)
	}
	_ = c.Close()
	<-closed
}

func TestAnIdleStreamIsEnded(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	rec := n.record("/ws", o.url)
	rec.Policy = &signalboxv1.RoutePolicy{IdleTimeout: durationpb.New(50e6)}
	n.put(rec)
	c, _ := n.join(o, "/ws")
	if got := c.rest(); got != "\x88\x02\x03\xe9" {
		t.Errorf("the client got % x", got)
	}
	eventually(t, "the reason is logged", func() bool { return strings.Contains(n.log.String(), "reason=idle_timeout") })
}
