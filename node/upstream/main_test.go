package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/proto/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// An origin is a listener whose connections are served by a script, which may
// misbehave as net/http's server cannot.
type origin struct {
	addr string
	ln   net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]bool
	number int // connections accepted
}

// raw starts an origin on TCP. The nth connection, from 1, is served by serve
// and closed when that returns.
func raw(t *testing.T, serve func(n int, c net.Conn, r *bufio.Reader)) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return rawOn(t, ln, serve)
}

func rawOn(t *testing.T, ln net.Listener, serve func(n int, c net.Conn, r *bufio.Reader)) *origin {
	o := &origin{addr: ln.Addr().String(), ln: ln, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.number++
			n := o.number
			o.conns[c] = true
			o.mu.Unlock()
			wg.Go(func() {
				serve(n, c, bufio.NewReader(c))
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		o.mu.Lock()
		for c := range o.conns {
			_ = c.Close()
		}
		o.mu.Unlock()
		wg.Wait()
	})
	return o
}

// accepted returns how many connections came.
func (o *origin) accepted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.number
}

// answer reads one request, its body included, and writes text. It returns
// false when no request came.
func answer(c net.Conn, r *bufio.Reader, text string) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, req.Body)
	_, err = io.WriteString(c, text)
	return err == nil
}

// keepAnswering is an origin's script that answers every request alike.
func keepAnswering(text string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, r *bufio.Reader) {
		for answer(c, r, text) {
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// registry returns a registry that is closed, and must close in time, at the
// test's end.
func registry(t *testing.T, cfg Config) *Registry {
	t.Helper()
	r := New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("closing the registry: %v", err)
		}
	})
	return r
}

// acquire returns the pool of target, released at the test's end.
func acquire(t *testing.T, r *Registry, target Target) *Pool {
	t.Helper()
	p, err := r.Acquire(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

// pool returns a pool for a plain target in a registry of its own.
func pool(t *testing.T, cfg Config, addr string) *Pool {
	t.Helper()
	return acquire(t, registry(t, cfg), Target{Address: addr})
}

// request returns a request for any pool, canceled when the test takes too long.
func request(t *testing.T, method string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://upstream.test/path?q=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		rc, ok := body.(io.ReadCloser)
		if !ok {
			rc = io.NopCloser(body)
		}
		req.Body, req.ContentLength = rc, -1
	}
	return req
}

// get does a GET and reads the whole answer.
func get(t *testing.T, p *Pool, opt Options) (string, Info) {
	t.Helper()
	resp, info, err := p.RoundTrip(request(t, "GET", nil), opt)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp), info
}

// read reads a response's body to its end and closes it.
func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Errorf("closing the body: %v", err)
	}
	return string(text)
}

// reason returns err's Reason and checks its Side.
func reason(t *testing.T, err error, side Side) Reason {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	if e.Side() != side {
		t.Errorf("%v: side %q, want %q", err, e.Side(), side)
	}
	if e.Err == nil {
		t.Errorf("%v has no cause", e.Reason)
	}
	return e.Reason
}

// eventually waits for what other goroutines will have done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !done(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// happens waits for a channel to be closed.
func happens(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("never happened: %s", what)
	}
}

// secure starts an HTTPS server, with or without HTTP/2, and returns it with
// the TLS config that trusts it.
func secure(t *testing.T, h2 bool, h http.HandlerFunc) (*httptest.Server, *tls.Config) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = h2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv, &tls.Config{RootCAs: roots}
}

// cleartext starts an HTTP/2 server without TLS and returns its address.
func cleartext(t *testing.T, h http.HandlerFunc, cfg *http.HTTP2Config) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Config.HTTP2 = cfg
	srv.Start()
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// parse is the target of an upstream's URL, and a URL for requests to it.
func parse(t *testing.T, rawURL string) (Target, *url.URL) {
	t.Helper()
	up, err := rules.ParseUpstream(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Address: up.Address, TLS: up.Scheme == "https"}
	if up.Unix {
		target.Network = networkUnix
	}
	if up.Scheme == "h2c" {
		target.Protocol = H2C
	}
	scheme := "http"
	if target.TLS {
		scheme = "https"
	}
	return target, &url.URL{Scheme: scheme, Host: up.Host, Path: up.Path, RawQuery: up.Query}
}
