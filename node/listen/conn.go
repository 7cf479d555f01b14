package listen

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// checkedConn is an accepted connection on which Read gives only what the
// framer approves. One goroutine reads at a time, as net/http does; everything
// else may be called at any time.
//
// A Read that finds whole heads and body data checks them where the caller
// wants them, without a copy. Only what must be held back is copied, and given
// by later calls. An error that the inner connection returns along with bytes
// is left for the next Read, which gets it again.
type checkedConn struct {
	net.Conn // what was accepted: a *net.TCPConn, a *tls.Conn, ...

	// The reading goroutine's.
	frame       framer
	held        held
	headTimeout time.Duration
	bounded     bool   // the head being read has a deadline
	standIn     string // given in place of what was refused; empty until then
	given       int    // bytes of it that have been given
	method      string // of the head that was refused, as in [BadHead]
	path        string // the same

	// What was refused, once the reader has all of the stand-in. Not earlier:
	// until then a handler may still be busy with the request before it.
	badHead atomic.Pointer[BadHead]
	badBody atomic.Pointer[BadBody]

	phrase   phrase
	deadline readDeadline
	linger   atomic.Bool // Close must wait for the client to stop sending
}

// checkedTLS is a checkedConn on TLS. net/http asks connections that are not
// *tls.Conn for ConnectionState, and has no other way to set Request.TLS.
type checkedTLS struct{ checkedConn }

// ConnectionState is that of the TLS connection.
func (c *checkedTLS) ConnectionState() tls.ConnectionState {
	return c.Conn.(*tls.Conn).ConnectionState()
}

// setUp prepares c, which is new, to check what inner reads.
func (c *checkedConn) setUp(inner net.Conn, cfg Config, h2c bool) {
	c.Conn = inner
	c.frame = framer{maxHead: cfg.MaxHeaderBytes, h2c: h2c}
	c.headTimeout = cfg.HeadTimeout
}

// What net/http is given in place of a bad head: a request that any handler
// finds nothing for, and after which net/http closes.
const (
	standInGet  = "GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"
	standInHead = "HEAD / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"
)

// standInBody is given in place of a bad part of a chunked body: neither a
// chunk's first line, nor what ends its data, nor a trailer section.
const standInBody = "\x00\r\n\r\n"

const (
	// background is the size of the reads by which net/http watches for the
	// client to go away while a handler runs.
	background = 1
	// minInPlace is the size of the smallest read in which heads are checked
	// in place, in bytes.
	minInPlace = 512
)

// Read implements [net.Conn].
func (c *checkedConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading(true)
	defer c.reading(false)
	for {
		if n := c.held.give(p); n > 0 {
			return n, nil
		}
		var n int
		var err error
		switch {
		case c.standIn != "":
			return c.readStandIn(p)
		case c.frame.at == undecided && len(p) == background:
			return c.watch(p)
		case c.frame.at == undecided:
			c.frame.notUpgraded()
			c.checkHeld()
		case c.frame.at == raw:
			return c.Conn.Read(p)
		case c.held.empty() && (len(p) >= minInPlace || len(p) == background || c.frame.left > 0):
			n, err = c.readInPlace(p)
		default:
			err = c.readHeld(len(p) > background)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// readInPlace reads into p and checks there what it read. It returns without
// bytes or error when what it read had to be held back. (A background read
// arrives here too: so nothing takes a buffer until the client sends.)
func (c *checkedConn) readInPlace(p []byte) (int, error) {
	have := 0
	for {
		if have > 0 && c.frame.at == inHead && len(p) > background {
			c.boundHead()
		}
		n, err := c.Conn.Read(p[have:])
		if n == 0 {
			c.held.add(p[:have])
			return 0, err
		}
		var ok int
		ok, have = c.check(p[:have+n])
		if ok > 0 || have == len(p) || c.standIn != "" || c.frame.at == undecided {
			c.held.add(p[ok:have])
			return ok, nil
		}
	}
}

// readHeld reads more of what is held incomplete.
func (c *checkedConn) readHeld(foreground bool) error {
	if foreground && c.frame.at == inHead && !c.held.empty() {
		c.boundHead()
	}
	n, err := c.Conn.Read(c.held.room(minInPlace))
	if n == 0 {
		c.held.release()
		return err
	}
	c.held.end += n
	c.checkHeld()
	return nil
}

// checkHeld checks what is held unchecked.
func (c *checkedConn) checkHeld() { c.held.settle(c.check(c.held.unchecked())) }

// check has the framer look at b, the next bytes of the connection. The first
// ok of them may be given; they are size in all, less than len(b) if some were
// dropped.
func (c *checkedConn) check(b []byte) (ok, size int) {
	size = len(b)
	for {
		n, why := c.frame.advance(b[ok:size])
		ok += n
		switch why {
		case skip:
			copy(b[ok:], b[ok+len("\r\n"):size])
			size -= len("\r\n")
			continue
		case refused:
			c.refuse(b[ok:size])
			size = ok
		}
		if c.bounded && (ok > 0 || why == refused) {
			c.unboundHead()
		}
		return ok, size
	}
}

// refuse puts the stand-in in place of b, which the framer refused.
func (c *checkedConn) refuse(b []byte) {
	switch {
	case c.frame.inABody:
		c.standIn = standInBody
	case c.frame.head.request.head:
		c.standIn = standInHead
	default:
		c.standIn = standInGet
	}
	if !c.frame.inABody {
		c.method, c.path = claim(b)
	}
	c.linger.Store(true)
}

// readStandIn gives the stand-in, and nothing after it. It shows what was
// refused when the last byte is given. No byte before the stand-in was given
// by the same Read, so whoever reads that byte is done with the earlier
// requests.
func (c *checkedConn) readStandIn(p []byte) (int, error) {
	if c.given == len(c.standIn) {
		return c.readNothing(p)
	}
	n := copy(p, c.standIn[c.given:])
	c.given += n
	if c.given == len(c.standIn) {
		wrong := c.frame.wrong
		if c.frame.inABody {
			c.badBody.Store(&BadBody{wrong.reason, wrong.text})
		} else {
			c.badHead.Store(&BadHead{wrong.reason.status(), wrong.reason, wrong.text, c.method, c.path})
		}
	}
	return n, nil
}

// readNothing ends the stream. While the handler of the stand-in runs it must
// not end yet, or the request's context would be cancelled: what the client
// still sends is thrown away instead.
func (c *checkedConn) readNothing(p []byte) (int, error) {
	for !c.frame.inABody && len(p) == background {
		n, err := c.Conn.Read(c.held.room(heldSize))
		c.held.release()
		if n == 0 {
			return 0, err
		}
	}
	return 0, io.EOF
}

// watch is the background read while an upgrade is undecided. What arrives
// meanwhile is held back. Once that is too much, watch returns without bytes
// or error, which ends net/http's watching and nothing else.
func (c *checkedConn) watch(p []byte) (int, error) {
	for len(c.held.unchecked()) < heldSize {
		to := p
		if !c.held.empty() {
			to = c.held.room(1)
		}
		n, err := c.Conn.Read(to)
		if n == 0 {
			return 0, err
		}
		if c.held.empty() {
			c.held.add(p)
		} else {
			c.held.end += n
		}
	}
	return 0, nil
}

// pass makes everything from here on raw, unless something was refused before.
func (c *checkedConn) pass() {
	if c.standIn == "" {
		c.frame.upgraded()
		c.checkHeld()
	}
}
