package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// After a refusal the client may still be sending. Closing at once would make
// the kernel reset the connection, and the answer might never be read. So Close
// reads on for at most lingerTime and lingerBytes, as RFC 9112, section 9.6
// advises. The time is the one net/http takes where it closes early.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// Close implements [net.Conn]. After a refusal it first waits a moment for the
// client to stop sending; a second Close ends that wait.
func (c *checkedConn) Close() error {
	if c.linger.Swap(false) {
		linger(c.Conn)
	}
	return c.Conn.Close()
}

// CloseWrite shuts down the writing side of the connection, if it can.
func (c *checkedConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// linger says that nothing more will be sent, and waits for the other side to
// say so too. Its errors are nobody's: the connection is closed next.
func linger(c net.Conn) {
	_ = closeWrite(c)
	if tc, ok := c.(*tls.Conn); ok {
		_ = closeWrite(tc.NetConn()) // TLS only says goodbye; TCP must too
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c, lingerBytes)
}
