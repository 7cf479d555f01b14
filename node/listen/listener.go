package listen

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Config].
const (
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultMaxHandshakes    = 1024
	DefaultMaxHeaderBytes   = 64 << 10
	DefaultHeadTimeout      = 30 * time.Second
)

// Config is how a [Listener] accepts. The zero value accepts cleartext.
type Config struct {
	// TLS, if not nil, is what connections are accepted with. For HTTP/2 its
	// NextProtos must have "h2" and "http/1.1". Its callbacks must return when
	// the context of the hello they are given ends.
	TLS *tls.Config

	// HandshakeTimeout is how long a client may take for its TLS handshake.
	// Zero means DefaultHandshakeTimeout. When most of MaxHandshakes are taken,
	// new ones have a second at most.
	HandshakeTimeout time.Duration

	// MaxHandshakes is how many connections may be in their TLS handshake at
	// once; others wait in the kernel. Zero means DefaultMaxHandshakes.
	MaxHandshakes int

	// MaxHeaderBytes is the size of the largest request head, from the method
	// to the empty line. Zero means DefaultMaxHeaderBytes.
	// http.Server.MaxHeaderBytes must not be smaller. Over HTTP/2 the limit is
	// always the default.
	MaxHeaderBytes int

	// HeadTimeout is how long a client may take for a request head once its
	// first bytes have come. Zero means DefaultHeadTimeout. The
	// ReadHeaderTimeout of http.Server bounds a connection's first head too,
	// counting from its start, but no later ones; IdleTimeout bounds the wait
	// before them.
	HeadTimeout time.Duration

	// Log is told of failed handshakes, at debug level. Nil means nobody is.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if c.MaxHandshakes <= 0 {
		c.MaxHandshakes = DefaultMaxHandshakes
	}
	if c.MaxHeaderBytes <= 0 {
		c.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	if c.HeadTimeout <= 0 {
		c.HeadTimeout = DefaultHeadTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// A Listener accepts connections whose TLS handshake is done and whose request
// heads are checked. It is a [net.Listener] for [http.Server.Serve].
type Listener struct {
	inner net.Listener
	cfg   Config
	ready chan accepted // from the handshakes to Accept
	done  chan struct{} // closed by Close

	failed atomic.Uint64 // handshakes

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc // ends all handshakes; nil until the first Accept
	work   sync.WaitGroup     // the accept loop and the handshakes
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// New returns a listener on top of inner, which it will close. It does nothing
// until Accept.
func New(inner net.Listener, cfg Config) *Listener {
	return &Listener{
		inner: inner,
		cfg:   cfg.withDefaults(),
		ready: make(chan accepted),
		done:  make(chan struct{}),
	}
}

// Addr is the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// FailedHandshakes is how many TLS handshakes have failed so far.
func (l *Listener) FailedHandshakes() uint64 { return l.failed.Load() }

// Accept returns the next connection that is ready to be read from. It does not
// wait for one client while another is ready. The connection is a *tls.Conn if
// it negotiated HTTP/2, or any other protocol that is not HTTP/1; otherwise its
// request heads are checked.
func (l *Listener) Accept() (net.Conn, error) {
	if l.cfg.TLS == nil {
		c, err := l.inner.Accept()
		if err != nil {
			return nil, err
		}
		return l.check(c), nil
	}
	if !l.start() {
		return nil, net.ErrClosed
	}
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close stops listening and closes the connections that Accept has not
// returned. When it returns, everything the listener started has stopped. The
// connections that Accept has returned go on.
func (l *Listener) Close() error {
	err := l.inner.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	close(l.done)
	if l.cancel != nil {
		l.cancel()
	}
	l.work.Wait()
	return err
}

// check puts the head check on a cleartext connection.
func (l *Listener) check(c net.Conn) net.Conn {
	cc := new(checkedConn)
	cc.setUp(c, l.cfg, true)
	return cc
}

// checkTLS puts the head check on c if ALPN says that it speaks HTTP/1.
func (l *Listener) checkTLS(c *tls.Conn) net.Conn {
	switch c.ConnectionState().NegotiatedProtocol {
	case "", "http/1.1", "http/1.0":
		cc := new(checkedTLS)
		cc.setUp(c, l.cfg, false)
		return cc
	}
	return c
}
