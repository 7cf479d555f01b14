package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// An Upgraded is the stream to an upstream that has switched protocols. It is
// an io.ReadWriteCloser, belongs to its user from then on, and has to be closed.
// The end of the request's context closes it too.
type Upgraded struct {
	x *exchange
	// stream is net/http's: what it has read too much, then the connection.
	stream io.ReadWriteCloser
	// unwatch ends the watch over the request's context.
	unwatch func() bool
}

// errNoUpgrade is a 101 that nobody asked for, or that names no protocol.
var errNoUpgrade = errors.New("the upstream switched protocols without being asked, or without saying to which")

// upgrade makes resp, a 101, the start of an Upgraded.
func (x *exchange) upgrade(resp *http.Response) error {
	stream, ok := resp.Body.(io.ReadWriteCloser) // only if the header says Upgrade
	if !ok || !wantsUpgrade(x.req) {
		_ = resp.Body.Close()
		return &Error{ReasonBadResponse, errNoUpgrade}
	}
	x.conn.wire.hearOut.Store(false)
	x.body = stream
	u := &Upgraded{x: x, stream: stream}
	u.unwatch = context.AfterFunc(x.req.Context(), func() { _ = x.Close() })
	resp.Body = u
	return nil
}

// wantsUpgrade tells whether req asks for another protocol.
func wantsUpgrade(req *http.Request) bool { return len(req.Header["Upgrade"]) > 0 }

// Read reads what the upstream sends.
func (u *Upgraded) Read(p []byte) (int, error) { return u.stream.Read(p) }

// Write sends to the upstream.
func (u *Upgraded) Write(p []byte) (int, error) { return u.stream.Write(p) }

// CloseWrite tells the upstream that nothing more will be sent.
func (u *Upgraded) CloseWrite() error { return u.x.conn.wire.CloseWrite() }

// Close closes the connection.
func (u *Upgraded) Close() error {
	u.unwatch()
	return u.x.Close()
}

// Detach returns the connection itself, for deadlines and so that the kernel
// can splice it with another, and what was already read from it, which comes
// before anything that it will give. Reading and writing the Upgraded is over
// then; the connection is still closed by the Upgraded's Close.
func (u *Upgraded) Detach() (nc net.Conn, early []byte, err error) {
	nc = u.x.conn.wire.Conn
	// A deadline long past gives what net/http has buffered and no more.
	if err := nc.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, nil, err
	}
	var buffered bytes.Buffer
	if _, err := buffered.ReadFrom(u.stream); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil, err
	}
	return nc, buffered.Bytes(), nc.SetReadDeadline(time.Time{})
}
