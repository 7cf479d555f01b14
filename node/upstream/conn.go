package upstream

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// A conn is one connection of a pool.
type conn struct {
	pool  *Pool
	cc    *http.ClientConn     // nil until connect is done
	raw   net.Conn             // the socket, under everything
	wire  *wire                // above raw, and above TLS for HTTP/1.1
	top   net.Conn             // what HTTP is spoken on: wire, or TLS above it
	tls   *tls.ConnectionState // of HTTP/1.1 over TLS, which net/http cannot see
	proto Protocol             // H1, H2 or H2C: what is spoken, never Auto
	addr  string               // the peer's, resolved
	born  time.Time

	// current is the exchange on an HTTP/1.1 connection; nil while unused.
	current atomic.Pointer[exchange]
	// timer bounds the wait for a response header on an HTTP/1.1 connection,
	// made at first use; it belongs to the current exchange.
	timer *time.Timer

	// The pool's lock guards these.
	used   bool      // an exchange has begun on it, now or before
	active int       // exchanges going on, for HTTP/2
	retire bool      // takes no more, closes when active is zero, for HTTP/2
	gone   bool      // its socket is closed
	since  time.Time // when it became unused, for HTTP/1.1

	// killed says that Registry.Close cut it.
	killed atomic.Bool
}

// multiplexed tells whether the connection carries several exchanges at once.
func (c *conn) multiplexed() bool { return c.proto != H1 }

// wireClosed is what c.wire calls when it is closed, for whichever cause. An
// HTTP/1.1 exchange that still sends must not be held up by its client then.
func (c *conn) wireClosed() {
	if x := c.current.Load(); x != nil && x.sending != nil {
		x.sending.end()
	}
	c.pool.forget(c)
}

// headerDue is what c.timer calls.
func (c *conn) headerDue() {
	if x := c.current.Load(); x != nil {
		x.expire()
	}
}

// close closes c in an orderly way. It must not be called with the pool's or
// the registry's lock held, since closing comes back to both.
func (c *conn) close() {
	if c.cc != nil {
		_ = c.cc.Close() // nobody is left for whom a failure would matter
	}
	_ = c.wire.Close()
}

// abort closes c at once: without TLS's farewell, which may wait for the peer.
func (c *conn) abort() {
	_ = c.raw.Close()
	c.close()
}
