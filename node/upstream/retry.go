package upstream

import (
	"errors"
	"net/http"
)

// Retriable tells whether req, which failed with err and info, may be sent once
// more to the same target, with Options.Fresh. That is so when
//
//   - the connection had been used before and died before any byte of an
//     answer, the method is idempotent and no body was begun: the upstream
//     most likely closed an unused connection while the request was under way
//     (RFC 9112, section 9.3.1); or
//   - an HTTP/2 upstream says that it did not act on the request, and no body
//     was begun.
//
// It is false when no connection could be made: another attempt at the same
// target gains nothing, though one at another target is safe for any method
// while Info.BodyTouched is false.
func Retriable(err error, info Info, req *http.Request) bool {
	var e *Error
	if !errors.As(err, &e) || info.BodyTouched {
		return false
	}
	switch e.Reason {
	case ReasonStreamRefused:
		return true
	case ReasonReset, ReasonClosedBeforeResponse:
		return info.Reused && !info.Answered && idempotent(req)
	}
	return false
}

// idempotent tells whether sending req twice does what sending it once does
// (RFC 9110, section 9.2.2). PUT and DELETE count without a body only: with
// one they often stand for more than the RFC has in mind.
func idempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	case http.MethodPut, http.MethodDelete:
		return !hasBody(req)
	}
	return false
}
