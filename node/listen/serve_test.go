package listen_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/node/listen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should never be waited for; nothing is measured by it.
const patience = 20 * time.Second

// server is a real net/http server behind a listener. It answers what was
// refused as a node would, and hands all else to a handler.
type server struct {
	addr string

	mu   sync.Mutex
	seen []string // "METHOD target" of every request that was not refused
}

// serve starts a server that stops with the test. A nil handler echoes method,
// target and body.
func serve(t *testing.T, cfg listen.Config, handler http.HandlerFunc) *server {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, inner, cfg, handler)
}

func serveOn(t *testing.T, inner net.Listener, cfg listen.Config, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{addr: inner.Addr().String()}
	if handler == nil {
		handler = echo
	}
	ln := listen.New(inner, cfg)
	srv := &http.Server{
		ConnContext:    listen.ConnContext,
		ConnState:      listen.ConnState,
		MaxHeaderBytes: listen.ServerMaxHeaderBytes,
		Protocols:      new(http.Protocols),
		Handler:        s.answerRefused(handler),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func (s *server) answerRefused(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if bad := listen.Violation(r); bad != nil {
			w.Header().Set("Reason", string(bad.Reason))
			w.WriteHeader(bad.Status)
			_, _ = io.WriteString(w, bad.Text)
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.RequestURI)
		s.mu.Unlock()
		next(w, r)
	}
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

// echo answers with method, target, body and trailers, or 400 for a bad body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		status := http.StatusBadGateway // nothing but a refused body may fail here
		if bad := listen.BodyViolation(r.Context()); bad != nil {
			w.Header().Set("Reason", string(bad.Reason))
			status = http.StatusBadRequest
		}
		if r.Context().Err() != nil {
			status = http.StatusInternalServerError // the client has not gone
		}
		w.WriteHeader(status)
		return
	}
	fmt.Fprintf(w, "%s %s %q", r.Method, r.RequestURI, body)
	for name, values := range r.Trailer {
		fmt.Fprintf(w, " %s=%q", name, values)
	}
}

// answer is one response, read to its end.
type answer struct {
	status int
	reason string
	body   string
}

// client is a raw client connection.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, s *server, tc *tls.Config) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if tc != nil {
		c = tls.Client(c, tc)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// answer reads the next response; it is one to a request of the given method.
func (c *client) answer(method string) answer {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read response: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("read body: %v", err)
	}
	return answer{res.StatusCode, res.Header.Get("Reason"), string(body)}
}

// closed checks that the server has sent all it will, and nothing is left.
func (c *client) closed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if err != nil || len(rest) > 0 {
		c.t.Fatalf("want the connection closed; got %q, %v", rest, err)
	}
}

var lines = listen.Lines

func get(target string) string { return lines("GET "+target+" HTTP/1.1", "Host: a.example") }

var next = get("/smuggled")
