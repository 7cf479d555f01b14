package proxy

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The statuses of gRPC that failures become, by what they mean for the caller.
const (
	grpcDeadlineExceeded = 4
	grpcUnimplemented    = 12
	grpcInternal         = 13
	grpcUnavailable      = 14
)

// isGRPC tells whether the client makes a gRPC call.
func (x *exchange) isGRPC() bool {
	return strings.HasPrefix(x.r.Header.Get("Content-Type"), "application/grpc")
}

// refuseGRPC answers a gRPC call in its own terms: a response of nothing but
// trailers, which are in its header.
func (x *exchange) refuseGRPC(h http.Header, f *failure) {
	text := f.text
	if text == "" {
		text = sentence(f.status)
	}
	h["Content-Type"] = []string{"application/grpc"}
	h["Grpc-Status"] = []string{strconv.Itoa(x.grpcStatus(f.status))}
	h["Grpc-Message"] = []string{url.PathEscape(text + " (" + string(f.reason) + ")")}
	x.started = true
	x.answered(http.StatusOK)
	x.w.WriteHeader(http.StatusOK)
}

// breakOffGRPC ends a gRPC response that has begun, and reports whether it could.
func (x *exchange) breakOffGRPC(f *failure) bool {
	h := x.w.Header()
	if !x.isGRPC() || x.r.ProtoMajor < 2 || len(h["Content-Length"]) > 0 || f.status == statusClientGone {
		return false
	}
	h[http.TrailerPrefix+"Grpc-Status"] = []string{strconv.Itoa(x.grpcStatus(f.status))}
	h[http.TrailerPrefix+"Grpc-Message"] = []string{url.PathEscape("the call was broken off (" + string(f.reason) + ")")}
	return true
}

// grpcStatus returns what a failure is in gRPC. The upstream knows a call's
// deadline as well and may break off first; that is the deadline all the same.
func (x *exchange) grpcStatus(status int) int {
	if d, ok := grpcTimeout(x.r.Header.Get("Grpc-Timeout")); ok && time.Since(x.begun) >= d {
		return grpcDeadlineExceeded
	}
	switch status {
	case http.StatusGatewayTimeout:
		return grpcDeadlineExceeded
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return grpcUnimplemented
	case http.StatusBadRequest:
		return grpcInternal
	}
	return grpcUnavailable
}

// grpcTimeout reads a grpc-timeout: up to eight digits and a unit.
func grpcTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	units := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second,
		'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}
	unit, ok := units[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	if n > uint64(24*time.Hour/unit) {
		return 24 * time.Hour, true // or more; no exchange is that old
	}
	return time.Duration(n) * unit, true
}
