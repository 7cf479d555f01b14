package listen_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"signalbox/node/listen"
)

// tapped is a listener whose connections count the bytes read from them, so
// that a test can wait until what it sent has been read.
type tapped struct {
	net.Listener
	read   atomic.Int64
	closed atomic.Int64  // connections on which Close was called
	moved  chan struct{} // has a value after each read
}

func tap(t *testing.T) *tapped {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &tapped{Listener: ln, moved: make(chan struct{}, 1)}
}

func (l *tapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tappedConn{TCPConn: c.(*net.TCPConn), l: l}, nil
}

type tappedConn struct {
	*net.TCPConn
	l      *tapped
	closed atomic.Bool
}

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.l.read.Add(int64(n))
	select {
	case c.l.moved <- struct{}{}:
	default:
	}
	return n, err
}

func (c *tappedConn) Close() error {
	if !c.closed.Swap(true) {
		c.l.closed.Add(1)
	}
	return c.TCPConn.Close()
}

// wait waits until n bytes have been read in all.
func (l *tapped) wait(ctx context.Context, t *testing.T, n int) {
	for l.read.Load() < int64(n) {
		select {
		case <-l.moved:
		case <-ctx.Done():
			t.Errorf("%d bytes were read, want %d: %v", l.read.Load(), n, ctx.Err())
			return
		}
	}
}

var (
	upgrade = lines("GET /ws HTTP/1.1", "Host: a", "Connection: keep-alive, Upgrade", "Upgrade: websocket")
	// frames are bytes that no HTTP parser should see.
	frames = "\x81\x85\x01\x02\x03\x04abcde\n\x00GET / HTTP/1.1\n\n\r\n\r\n\x88\x00"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// echoUnwrapped and echoHijacked switch protocols and send back what they read
// until the client shuts down its side.
func echoUnwrapped(t *testing.T, w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	inner, early := listen.Unwrap(c)
	defer inner.Close()
	_, _ = io.WriteString(inner, switching+string(early))
	_, _ = io.Copy(inner, inner)
}

func echoHijacked(t *testing.T, w http.ResponseWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, switching)
	_, _ = io.Copy(c, rw)
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
}

func TestUpgrade(t *testing.T) {
	for name, echo := range map[string]func(*testing.T, http.ResponseWriter){
		"unwrapped": echoUnwrapped, "hijacked": echoHijacked,
	} {
		for size, early := range map[string]string{
			"no": "", "one": frames[:1], "a few": frames, "many": strings.Repeat(frames, 500),
		} {
			for when, head := range map[string]string{
				"with the head": upgrade,
				"with a body": lines("POST /ws HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket",
					"Content-Length: 2") + "hi",
				"on a used connection": get("/first") + upgrade,
			} {
				t.Run("when upgraded, "+size+" early bytes sent "+when+" are not lost, "+name, func(t *testing.T) {
					t.Parallel()
					s := serve(t, listen.Config{}, func(w http.ResponseWriter, r *http.Request) {
						_, _ = io.ReadAll(r.Body)
						if r.Header.Get("Upgrade") != "" {
							echo(t, w)
						}
					})
					c := dial(t, s, nil)
					c.send(head + early)
					if strings.HasPrefix(head, get("/first")) {
						c.answer("GET")
					}
					if a := c.answer("GET"); a.status != 101 {
						t.Fatalf("got %d, want 101", a.status)
					}
					go c.finish(frames)
					if got, err := io.ReadAll(c.r); err != nil || string(got) != early+frames {
						t.Errorf("got %q, %v; want what was sent", got, err)
					}
				})
			}
		}
	}
}

// finish sends s and shuts down the sending side.
func (c *client) finish(s string) {
	_, _ = io.WriteString(c, s)
	_ = c.Conn.(*net.TCPConn).CloseWrite()
}

// serveTapped is serve on a tapped listener.
func serveTapped(t *testing.T, handler func(*tapped, http.ResponseWriter, *http.Request)) *server {
	ln := tap(t)
	return serveOn(t, ln, listen.Config{}, func(w http.ResponseWriter, r *http.Request) { handler(ln, w, r) })
}

func TestUpgradeWhileTheHandlerRuns(t *testing.T) {
	for name, early := range map[string]string{"few": frames, "many": strings.Repeat("\x00frame\n", 500)} {
		t.Run(name+" bytes read before the upgrade are not lost", func(t *testing.T) {
			s := serveTapped(t, func(ln *tapped, w http.ResponseWriter, r *http.Request) {
				ln.wait(r.Context(), t, len(upgrade)+len(early))
				echoUnwrapped(t, w)
			})
			c := dial(t, s, nil)
			c.send(upgrade)
			c.send(early)
			if a := c.answer("GET"); a.status != 101 {
				t.Fatalf("got %d, want 101", a.status)
			}
			go c.finish("")
			if got, _ := io.ReadAll(c.r); string(got) != early {
				t.Errorf("got %q, want what was sent", got)
			}
		})
	}
	t.Run("the request's context ends when the client goes away", func(t *testing.T) {
		gone := make(chan struct{})
		s := serveTapped(t, func(_ *tapped, w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(gone)
		})
		c := dial(t, s, nil)
		c.send(upgrade)
		_ = c.Close()
		<-gone
	})
}

func TestUpgradeRefused(t *testing.T) {
	for name, sent := range map[string]string{"at once": upgrade, "after a body": strings.Replace(upgrade, "\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi", 1)} {
		t.Run("when not upgraded, the next heads are checked, "+name, func(t *testing.T) {
			after := get("/b") + upgrade + "GET / HTTP/1.1\n\n" + next
			s := serveTapped(t, func(ln *tapped, w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				ln.wait(r.Context(), t, len(sent)+len(after)) // so that there is something to be held back
				if r.Context().Err() != nil || listen.Violation(r) != nil {
					t.Error("a request was harmed by what came after it")
				}
				echo(w, r)
			})
			c := dial(t, s, nil)
			c.send(sent)
			c.send(after)
			for _, want := range []string{"GET /ws", "GET /b", "GET /ws"} {
				if a := c.answer("GET"); a.status != 200 || !strings.HasPrefix(a.body, want) {
					t.Errorf("got %d %s %s, want %s", a.status, a.reason, a.body, want)
				}
			}
			if a := c.answer("GET"); a.status != 400 || a.reason != string(listen.ReasonBareLF) {
				t.Errorf("got %d %s, want 400 bare_lf", a.status, a.reason)
			}
			c.closed()
		})
	}
	t.Run("what follows an HTTP/1.0 request is a request, upgrade or not", func(t *testing.T) {
		s := serve(t, listen.Config{}, nil)
		c := dial(t, s, nil)
		c.send(lines("GET /a HTTP/1.0", "Connection: upgrade, keep-alive", "Upgrade: websocket") + "\x00" + next)
		c.answer("GET")
		if a := c.answer("GET"); a.reason != string(listen.ReasonBadMethod) {
			t.Errorf("got %d %s, want bad_method", a.status, a.reason)
		}
		c.closed()
	})
}

func TestARequestIsNotHarmedByTheNext(t *testing.T) {
	bad := "GET / HTTP/1.1\n\n" + strings.Repeat("x", 5000)
	s := serveTapped(t, func(ln *tapped, w http.ResponseWriter, r *http.Request) {
		ln.wait(r.Context(), t, len(get("/a"))+len(bad)-5000)
		if r.Context().Err() != nil || listen.Violation(r) != nil {
			t.Error("a request was harmed by what came after it")
		}
		echo(w, r)
	})
	c := dial(t, s, nil)
	c.send(get("/a"))
	c.send(bad)
	if a := c.answer("GET"); a.body != `GET /a ""` {
		t.Errorf("got %d %s, want GET /a", a.status, a.body)
	}
	if a := c.answer("GET"); a.reason != string(listen.ReasonBareLF) {
		t.Errorf("got %d %s, want bare_lf", a.status, a.reason)
	}
	c.closed()
}

// bare is a server without the ConnState hook.
func bare(t *testing.T, handler func(*tapped, http.ResponseWriter, *http.Request)) *server {
	inner := tap(t)
	srv := &http.Server{
		ConnContext: listen.ConnContext,
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(inner, w, r) }),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listen.New(inner, listen.Config{})) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return &server{addr: inner.Addr().String()}
}

func TestTheRefusedRequestsContextLives(t *testing.T) {
	done := make(chan error, 1)
	s := bare(t, func(inner *tapped, w http.ResponseWriter, r *http.Request) {
		// More than the check needed has been read: net/http is watching.
		inner.wait(r.Context(), t, 5000)
		done <- r.Context().Err()
	})
	c := dial(t, s, nil)
	c.send("GET / HTTP/1.1\n\n")
	c.send(strings.Repeat("x", 5000))
	if err := <-done; err != nil {
		t.Errorf("the context of a refused request ended: %v", err)
	}
	c.answer("GET")
	c.closed()
}

func TestHijack(t *testing.T) {
	t.Run("a hijacked plain request reads what follows as it is", func(t *testing.T) {
		s := serve(t, listen.Config{}, func(w http.ResponseWriter, r *http.Request) { echoHijacked(t, w) })
		c := dial(t, s, nil)
		c.send(get("/"))
		if a := c.answer("GET"); a.status != 101 {
			t.Fatalf("got %d", a.status)
		}
		go c.finish(frames)
		if got, _ := io.ReadAll(c.r); string(got) != frames {
			t.Errorf("got %q, want %q", got, frames)
		}
	})
	t.Run("Unwrap and Raw need no hook", func(t *testing.T) {
		s := bare(t, func(_ *tapped, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ws" {
				echoUnwrapped(t, w)
				return
			}
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			listen.Raw(c)
			_, _ = io.WriteString(c, switching)
			_, _ = io.Copy(c, rw)
			_ = c.Close()
		})
		for _, head := range []string{upgrade, strings.Replace(upgrade, "/ws", "/raw", 1)} {
			c := dial(t, s, nil)
			c.send(head + frames)
			c.answer("GET")
			go c.finish(frames)
			if got, _ := io.ReadAll(c.r); string(got) != frames+frames {
				t.Errorf("got %q, want %q", got, frames+frames)
			}
		}
	})
	t.Run("Unwrap gives the TCP connection", func(t *testing.T) {
		s := serve(t, listen.Config{}, func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			inner, _ := listen.Unwrap(c)
			if _, ok := inner.(*net.TCPConn); !ok {
				t.Errorf("inner is a %T", inner)
			}
			if again, early := listen.Unwrap(inner); again != inner || early != nil {
				t.Errorf("unwrapping twice gave %T and %q", again, early)
			}
			_ = inner.Close()
		})
		c := dial(t, s, nil)
		c.send(upgrade)
		c.closed()
	})
}
