package upstream

import (
	"cmp"
	"errors"
	"io"
	"net"
	"strings"
)

// streamError has the shape of net/http's error for one HTTP/2 stream. That
// type is not exported, but errors.As fills a struct of the same fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "HTTP/2 stream error" }

// refusedStream is HTTP/2's error code for a request that was not acted on
// (RFC 9113, section 8.7).
const refusedStream = 0x7

// What net/http says about HTTP/2 and has neither an exported value nor a type
// for. A change of these texts in a later Go makes the reason less exact,
// nothing worse; tests watch those that an upstream can bring about.
const (
	textUnusable       = "http2: client conn not usable"
	textNotEstablished = "http2: client conn could not be established"
	textForceClosed    = "http2: client connection force closed via ClientConn.Close"
	textLost           = "http2: client connection lost"
	textGoAway         = "http2: Transport received Server's graceful shutdown GOAWAY"
	textGoAwayClosed   = "http2: server sent GOAWAY and closed the connection"
	textFromPeer       = "received from peer"
	textHeaderList     = "header list larger than advertised limit"
)

// breach returns the reasons that come before all others, because they explain
// whatever error there is: the client, the context, the node.
func (x *exchange) breach() *Error {
	if x.sending != nil {
		if _, _, err := x.sending.state(); err != nil {
			return &Error{ReasonClientBody, err}
		}
	}
	if e := ended(x.req.Context()); e != nil {
		return e
	}
	if x.conn.killed.Load() {
		return &Error{ReasonPoolClosed, errPoolClosed}
	}
	return nil
}

// headError explains err, with which waiting for the response header ended.
func (x *exchange) headError(err error) *Error {
	if e := x.breach(); e != nil {
		return e
	}
	if x.conn.multiplexed() {
		return x.h2Error(err, ReasonClosedBeforeResponse)
	}
	w := x.conn.wire
	received := w.received.Load() - x.received
	readErr, writeErr := w.errs()
	switch {
	case received >= x.pool.registry.cfg.MaxHeaderBytes:
		return &Error{ReasonHeaderTooLarge, err}
	case isEnd(readErr):
		return &Error{ReasonClosedBeforeResponse, err}
	case readErr != nil || writeErr != nil:
		return &Error{ReasonReset, cmp.Or(readErr, writeErr)}
	case received == 0:
		return &Error{ReasonBadRequest, err} // the wire is well: net/http itself gave up
	}
	return &Error{ReasonBadResponse, err}
}

// isEnd tells whether err is an upstream's closing, under TLS maybe an unclean one.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// bodyError explains err, with which reading the response body ended.
func (x *exchange) bodyError(err error) *Error {
	if e := x.breach(); e != nil {
		return e
	}
	if x.conn.multiplexed() {
		return x.h2Error(err, ReasonBodyTruncated)
	}
	switch readErr, _ := x.conn.wire.errs(); {
	case readErr != nil && !isEnd(readErr):
		return &Error{ReasonReset, err}
	case readErr != nil, isEnd(err):
		return &Error{ReasonBodyTruncated, err}
	}
	return &Error{ReasonBadResponse, err}
}

// h2Error explains err of an exchange on an HTTP/2 connection; cut is the
// reason if the connection ended. Unlike HTTP/1.1's, these errors are those of
// the read that ended the connection, so they come before what the wire noted.
func (x *exchange) h2Error(err error, cut Reason) *Error {
	var (
		stream streamError
		op     *net.OpError
		text   = err.Error()
	)
	switch {
	case errors.As(err, &stream) && stream.Code == refusedStream,
		text == textUnusable, text == textGoAway:
		return &Error{ReasonStreamRefused, err}
	case strings.Contains(text, textHeaderList):
		return &Error{ReasonHeaderTooLarge, err}
	case stream.Cause != nil && stream.Cause.Error() == textFromPeer:
		return &Error{ReasonReset, err}
	case stream.Cause != nil || stream.Code != 0:
		return &Error{ReasonBadResponse, err} // what the upstream sent broke the protocol
	case isEnd(err), text == textNotEstablished, strings.HasPrefix(text, textGoAwayClosed):
		return &Error{cut, err}
	case errors.As(err, &op), text == textLost:
		return &Error{ReasonReset, err}
	case x.conn.cc.Err() == nil:
		return &Error{ReasonBadRequest, err} // the connection is well: it was never sent
	}
	// net/http closes after a write that failed, and does not say why.
	if readErr, writeErr := x.conn.wire.errs(); text == textForceClosed && cmp.Or(readErr, writeErr) != nil {
		return &Error{ReasonReset, cmp.Or(readErr, writeErr)}
	}
	return &Error{ReasonBadResponse, err}
}
