package link

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// A Conn is a connection whose first bytes can be looked at before it is
// decided who reads them.
type Conn struct {
	net.Conn
	first *bufio.Reader
	begun time.Time

	known   sync.Once
	onKnown func()
}

// NewConn returns c, which was just accepted, as a Conn that can look 512 bytes
// ahead.
func NewConn(c net.Conn) *Conn {
	return &Conn{Conn: c, first: bufio.NewReaderSize(c, 512), begun: time.Now()}
}

// Age is how long ago the connection was accepted.
func (c *Conn) Age() time.Duration { return time.Since(c.begun) }

// OnKnown sets what the first call of Known calls. It is for whoever accepted
// the connection, before it is handed on.
func (c *Conn) OnKnown(f func()) { c.onKnown = f }

// Known says that the connection is no stranger's any more: the key was shown on
// it, or it belongs to a session of whoever has shown it. A wire's server calls
// it as soon as that is so.
func (c *Conn) Known() {
	c.known.Do(func() {
		if c.onKnown != nil {
			c.onKnown()
		}
	})
}

// Peek returns the next n bytes, at most 512, without taking them; fewer, with
// the reason, where the connection ends or its read deadline passes first.
func (c *Conn) Peek(n int) ([]byte, error) { return c.first.Peek(n) }

// Buffered is how many bytes were read ahead.
func (c *Conn) Buffered() int { return c.first.Buffered() }

// Read takes what was read ahead first.
func (c *Conn) Read(p []byte) (int, error) {
	if c.first.Buffered() > 0 {
		return c.first.Read(p)
	}
	return c.Conn.Read(p)
}

// CloseWrite ends the sending direction.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
