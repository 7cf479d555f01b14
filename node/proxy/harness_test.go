package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/listen"
	"signalbox/node/proxy"
	"signalbox/node/report"
	"signalbox/node/route"
	"signalbox/node/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests. None of them takes that long
// unless something is broken.
const patience = 10 * time.Second

// A node is the data plane of a node: pools, table, handler, one listener.
type node struct {
	t       testing.TB
	handler *proxy.Handler
	book    *report.Book
	pools   *upstream.Registry
	table   *route.Table
	addr    string
	server  *http.Server
	log     *logged
	created int64
}

// logged is what was logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start starts a node that, in a test, logs every exchange.
func start(t testing.TB, upstreams upstream.Config, accept listen.Config) *node {
	t.Helper()
	n := &node{t: t, book: report.New(), pools: upstream.New(upstreams), log: &logged{}}
	n.table = route.New(route.Config{UnixSockets: upstreams.AllowUnix})
	cfg := proxy.Config{Pools: n.pools, Book: n.book}
	if _, benchmark := t.(*testing.B); !benchmark {
		cfg.Sample = 1
		cfg.Log = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	n.handler = proxy.New(cfg)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := listen.New(inner, accept)
	n.addr = ln.Addr().String()
	n.server = proxy.Server(n.handler, "public")
	var served sync.WaitGroup
	served.Go(func() { _ = n.server.Serve(ln) }) // until it is closed
	t.Cleanup(func() {
		_ = n.server.Close()
		served.Wait()
		n.handler.Close()
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.pools.Close(gone)
	})
	return n
}

// plain starts a node with all defaults.
func plain(t testing.TB) *node { return start(t, upstream.Config{}, listen.Config{}) }

// record is a route of the node's own making.
func (n *node) record(prefix string, urls ...string) *signalboxv1.Route {
	n.created++
	rec := &signalboxv1.Route{
		Name:  "r" + strings.ReplaceAll(strings.TrimRight(prefix, "/"), "/", "."),
		Match: &signalboxv1.Match{PathPrefix: prefix},
		Meta:  &signalboxv1.Meta{Revision: n.created, CreatedRevision: n.created},
	}
	for _, u := range urls {
		rec.Upstreams = append(rec.Upstreams, &signalboxv1.Upstream{Url: u})
	}
	return rec
}

// put writes records, none of which may be refused.
func (n *node) put(recs ...*signalboxv1.Route) {
	n.t.Helper()
	t, change := n.table.With(recs, nil)
	if len(change.Rejections) > 0 {
		n.t.Fatalf("rejected: %v", change.Rejections)
	}
	n.table = t
	n.handler.SetTable(t, change)
}

// remove removes routes by name.
func (n *node) remove(names ...string) {
	t, change := n.table.With(nil, names)
	n.table = t
	n.handler.SetTable(t, change)
}

// route sends everything below a prefix to upstreams.
func (n *node) route(prefix string, urls ...string) { n.t.Helper(); n.put(n.record(prefix, urls...)) }

// listener sets the listener's record.
func (n *node) listener(rec *signalboxv1.Listener) {
	n.t.Helper()
	rec.Name = "public"
	if bad := n.handler.SetListeners(map[string]*signalboxv1.Listener{"public": rec}); len(bad) > 0 {
		n.t.Fatal(bad)
	}
}

// counters returns what a route carried so far.
func (n *node) counters(name string) *signalboxv1.RouteReport {
	r := n.book.Reader()
	defer r.Close()
	for _, c := range r.Changed() {
		if c.Route == name {
			return c
		}
	}
	return &signalboxv1.RouteReport{Counters: &signalboxv1.RouteCounters{Statuses: make([]uint64, 5)}}
}

// A client is a raw connection to the node, or an upstream's from it.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (n *node) dial() *client {
	n.t.Helper()
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	return newClient(n.t, c)
}

func newClient(t testing.TB, c net.Conn) *client {
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{t, c, bufio.NewReader(c)}
}

// send writes lines, each ended with CRLF, and then the end of a head.
func (c *client) send(lines ...string) {
	c.t.Helper()
	c.raw(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func (c *client) raw(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Errorf("write: %v", err)
	}
}

// head reads up to and with the next empty line, and returns it without.
func (c *client) head() string {
	c.t.Helper()
	var head strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Errorf("after %q: %v", head.String(), err)
			return head.String()
		}
		if line == "\r\n" {
			return head.String()
		}
		head.WriteString(line)
	}
}

// exactly reads n bytes.
func (c *client) exactly(n int) string {
	c.t.Helper()
	b := make([]byte, n)
	m, err := io.ReadFull(c.r, b)
	if err != nil {
		c.t.Errorf("after %q: %v", b[:m], err)
	}
	return string(b[:m])
}

// rest reads until the other side closes.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Errorf("after %q: %v", b, err)
	}
	return string(b)
}

// A reply is a response that was read to its end.
type reply struct {
	StatusCode      int
	Header, Trailer http.Header
	Close           bool
}

// answer reads one response and its body.
func (c *client) answer() (reply, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Errorf("no response: %v", err)
		return reply{Header: http.Header{}}, ""
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Errorf("body after %q: %v", body, err)
	}
	return reply{res.StatusCode, res.Header, res.Trailer, res.Close}, string(body)
}

// An origin is an upstream that does exactly what it is told.
type origin struct {
	url   string
	conns chan *client // every connection made to it
}

// listenOn returns an origin whose connections the test handles itself.
func listenOn(t testing.TB, network, address string) *origin {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{url: "http://" + ln.Addr().String(), conns: make(chan *client, 100)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			o.conns <- newClient(t, c)
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return o
}

func scripted(t testing.TB) *origin { t.Helper(); return listenOn(t, "tcp", "127.0.0.1:0") }

// accept returns the next connection.
func (o *origin) accept(t testing.TB) *client {
	t.Helper()
	select {
	case c := <-o.conns:
		return c
	case <-time.After(patience):
		t.Fatal("the upstream was not connected to")
		return nil
	}
}

// web is an upstream that is a Go server.
func web(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: h, Protocols: &p}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(ln) }) // until it is closed
	t.Cleanup(func() { _ = srv.Close(); served.Wait() })
	return "http://" + ln.Addr().String()
}

// eventually waits until ok, for things that nobody can wait for otherwise.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// lines turns a head into its lines, without those a test does not look at.
func lines(head string, drop ...string) string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimSpace(head), "\r\n") {
		keep := true
		for _, d := range drop {
			keep = keep && !strings.HasPrefix(strings.ToLower(line), d)
		}
		if keep {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// sizef is a body of n bytes.
func sizef(n int) string { return strings.Repeat("x", n) }
