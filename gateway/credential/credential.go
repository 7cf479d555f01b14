// Package credential carries a caller's API key, and nothing else of the
// caller's headers but a request id, from an HTTP request to a gRPC call. It
// does not judge the key: the control plane does.
package credential

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/grpc/metadata"
)

// RequestID is the header by which a caller may name its request, to find it
// again in logs. It is passed on when it is printable and not overlong.
const RequestID = "X-Request-Id"

// maxRequestID bounds what a caller can put into our logs, in bytes.
const maxRequestID = 128

// chpToken is how configurable-http-proxy 5 finds the secret: the first
// "token", in lower case and anywhere in the header, that white space and
// something else follow.
var chpToken = regexp.MustCompile(`token\s+(\S+)`)

// Secret returns the secret a request carries as "Authorization: Bearer
// SECRET", "Authorization: token SECRET" or "X-API-Key: SECRET", in this order
// of preference. A header of another kind, such as one for a proxy in front of
// us, is passed over. False means that there is none that could be sent on.
func Secret(h http.Header) (string, bool) {
	for _, v := range h.Values("Authorization") {
		if s, ok := authorization(v); ok {
			return s, true
		}
	}
	s := strings.TrimSpace(h.Get("X-API-Key"))
	return s, sendable(s)
}

// authorization reads one Authorization header.
func authorization(v string) (string, bool) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
	if s := strings.TrimSpace(rest); strings.EqualFold(scheme, "Bearer") && !strings.Contains(s, " ") {
		return s, sendable(s)
	}
	if m := chpToken.FindStringSubmatch(v); m != nil {
		return m[1], sendable(m[1])
	}
	return "", false
}

// Metadata returns what is sent to the control plane in a request's name: its
// secret, or else fallback, and its request id. False means that there is no
// secret; an empty fallback is none.
func Metadata(h http.Header, fallback string) (metadata.MD, bool) {
	secret, ok := Secret(h)
	if !ok {
		secret, ok = fallback, sendable(fallback)
	}
	if !ok {
		return nil, false
	}
	md := metadata.Pairs("authorization", "Bearer "+secret)
	if id := h.Get(RequestID); GoodRequestID(id) {
		md.Set(strings.ToLower(RequestID), id)
	}
	return md, true
}

// GoodRequestID reports whether an id can be passed on.
func GoodRequestID(id string) bool { return sendable(id) && len(id) <= maxRequestID }

// Outgoing returns ctx with Metadata for the calls made under it.
func Outgoing(ctx context.Context, h http.Header, fallback string) (context.Context, bool) {
	md, ok := Metadata(h, fallback)
	if !ok {
		return ctx, false
	}
	return metadata.NewOutgoingContext(ctx, md), true
}

// sendable reports whether gRPC can carry s as a header's value.
func sendable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
