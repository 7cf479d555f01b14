package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Reason names a kind of failure. Its text is stable: it goes into logs,
// counters and, where asked, response headers.
type Reason string

// What can go wrong, in the order of an exchange.
const (
	// ReasonBadRequest: the request cannot be sent as it is, for instance
	// with an invalid header, or an upgrade to a target that speaks only HTTP/2.
	ReasonBadRequest Reason = "bad_request"
	// ReasonPoolClosed: the node is shutting down.
	ReasonPoolClosed Reason = "pool_closed"
	// ReasonNoResources: this machine ran out of file descriptors, local
	// ports or memory.
	ReasonNoResources Reason = "no_resources"
	// ReasonDNS: the host's name could not be resolved. A resolver that did
	// not answer in time is this, and Error.Timeout tells.
	ReasonDNS Reason = "dns"
	// ReasonDialRefused: nothing listens there, or the socket file is missing.
	ReasonDialRefused Reason = "dial_refused"
	// ReasonDialTimeout: no connection within Timeouts.Connect.
	ReasonDialTimeout Reason = "dial_timeout"
	// ReasonDialUnreachable: there is no route to the host.
	ReasonDialUnreachable Reason = "dial_unreachable"
	// ReasonDialFailed: no connection, for any other cause.
	ReasonDialFailed Reason = "dial_failed"
	// ReasonTLSHandshake: the handshake failed, the certificate was not
	// trusted, or HTTP/2 was wanted and not agreed to.
	ReasonTLSHandshake Reason = "tls_handshake"
	// ReasonTLSTimeout: no handshake within Timeouts.TLS.
	ReasonTLSTimeout Reason = "tls_timeout"
	// ReasonHeaderTimeout: no response header within Timeouts.Header of the
	// whole request having been sent.
	ReasonHeaderTimeout Reason = "header_timeout"
	// ReasonStreamRefused: an HTTP/2 upstream says that it did not act on the
	// request (REFUSED_STREAM, or GOAWAY below the stream).
	ReasonStreamRefused Reason = "stream_refused"
	// ReasonReset: the upstream reset the connection or the stream.
	ReasonReset Reason = "reset"
	// ReasonClosedBeforeResponse: the connection ended before a whole
	// response header.
	ReasonClosedBeforeResponse Reason = "closed_before_response"
	// ReasonBadResponse: the answer is not HTTP, or not the HTTP spoken.
	ReasonBadResponse Reason = "bad_response"
	// ReasonHeaderTooLarge: the response header is beyond Config.MaxHeaderBytes.
	ReasonHeaderTooLarge Reason = "header_too_large"
	// ReasonBodyTruncated: the connection ended before the response body did.
	ReasonBodyTruncated Reason = "body_truncated"
	// ReasonClientBody: reading the client's request body failed.
	ReasonClientBody Reason = "client_body"
	// ReasonCanceled: the request's context was canceled; the client is gone.
	ReasonCanceled Reason = "canceled"
	// ReasonDeadline: the deadline of the request's context has passed.
	ReasonDeadline Reason = "deadline"
)

// Side says at whose door a failure is laid. Only the upstream's own and the
// network's may count against an upstream's health.
type Side string

// The sides of an exchange.
const (
	SideClient   Side = "client"
	SideNode     Side = "node"
	SideNetwork  Side = "network"
	SideUpstream Side = "upstream"
)

// Side returns the side that a failure of this kind belongs to.
func (r Reason) Side() Side {
	switch r {
	case ReasonClientBody, ReasonCanceled:
		return SideClient
	case ReasonBadRequest, ReasonPoolClosed, ReasonNoResources, ReasonDeadline:
		// A deadline is the node's own rule, and a client that sends slowly
		// can make it pass: it must not tell against the upstream.
		return SideNode
	case ReasonDNS, ReasonDialTimeout, ReasonDialUnreachable, ReasonDialFailed:
		return SideNetwork
	}
	return SideUpstream
}

// An Error is what RoundTrip and reading a response body fail with.
type Error struct {
	// Reason is what went wrong.
	Reason Reason
	// Err is the cause, never nil. For ReasonClientBody it is the error of
	// reading the request body.
	Err error
}

// Error returns the reason and the cause.
func (e *Error) Error() string { return string(e.Reason) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Side returns the side the failure belongs to.
func (e *Error) Side() Side { return e.Reason.Side() }

// Timeout tells whether some time ran out, which a client is told as 504
// where another failure is 502.
func (e *Error) Timeout() bool {
	switch e.Reason {
	case ReasonDialTimeout, ReasonTLSTimeout, ReasonHeaderTimeout, ReasonDeadline:
		return true
	case ReasonDNS:
		var ne net.Error
		return errors.As(e.Err, &ne) && ne.Timeout()
	}
	return false
}

var (
	// errPoolClosed is why requests fail once the registry is closed.
	errPoolClosed = errors.New("the node is closing its connections")
	// errHeaderTimeout ends an exchange whose answer took too long.
	errHeaderTimeout = errors.New("no response header in time")
	// errConnectTimeout and errTLSTimeout end an attempt to connect.
	errConnectTimeout = errors.New("no connection in time")
	errTLSTimeout     = errors.New("no TLS handshake in time")
	// errNoH2 is a TLS upstream that would speak only HTTP/1.1.
	errNoH2 = errors.New("the upstream did not agree to HTTP/2 by ALPN")
)

// ended returns the error of a request whose own context is over, or nil.
func ended(ctx context.Context) *Error {
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{ReasonDeadline, context.Cause(ctx)}
	case err != nil:
		return &Error{ReasonCanceled, context.Cause(ctx)}
	}
	// A socket that was given the same deadline may be told first.
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return &Error{ReasonDeadline, context.DeadlineExceeded}
	}
	return nil
}

// isTimeout tells whether err is of a time that ran out.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		(errors.As(err, &ne) && ne.Timeout())
}
