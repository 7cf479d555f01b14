package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"signalbox/node/listen"
	"signalbox/node/route"
	"signalbox/proto/rules"
)

// methods is what is served here, for answers that have to say so. Others are
// passed on as well.
const methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// parseTarget takes the request's target apart, byte for byte: what net/http
// makes of it has lost how it was spelled. listen has checked it already.
// "OPTIONS *" is matched as the path "/", and sent on as it is unless the
// upstream's URL has a path.
func (x *exchange) parseTarget() *failure {
	target := x.r.RequestURI
	switch {
	case strings.HasPrefix(target, "/"):
	case target == "*" && x.r.Method == http.MethodOptions:
		target, x.star = "/", true
	default:
		target = pathOf(target)
	}
	path := target
	if i := strings.IndexByte(target, '?'); i >= 0 {
		path, x.query = target[:i], target[i:]
	}
	var ok bool
	if x.path, ok = route.ParsePath(path); !ok {
		return refused(listen.ReasonBadEscape, "a percent-escape in the path is not two hex digits")
	}
	return nil
}

// pathOf returns path and query of a target that is a whole URI (RFC 9112,
// section 3.2.2). Its host is in the request's Host already.
func pathOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '?':
		return "/" + rest[i:]
	}
	return rest[i:]
}

// url returns what the request's URL is for an upstream, such that it is sent
// byte for byte.
func (x *exchange) url(u *rules.Upstream) *url.URL {
	scheme := u.Scheme
	if scheme == "h2c" {
		scheme = "http"
	}
	out := &url.URL{Scheme: scheme, Host: u.Host}
	target := x.route.Target(u, x.path, x.query, &x.policy)
	switch {
	case x.star && target == "/":
		out.Opaque = "*"
	case !strings.HasPrefix(target, "//"):
		out.Opaque = target
	default:
		// net/http would take such an opaque part for host and path.
		path, query, found := strings.Cut(target, "?")
		out.RawPath, out.RawQuery, out.ForceQuery = escapeOdd(path), query, found
		out.Path, _ = url.PathUnescape(out.RawPath) // all of its escapes are whole
	}
	return out
}

// escapeOdd escapes the bytes for which net/url would give up a RawPath and
// spell the whole path anew.
func escapeOdd(path string) string {
	const odd = "\"<>\\^`{|}"
	if !strings.ContainsAny(path, odd) {
		return path
	}
	var out strings.Builder
	for i := range len(path) {
		if strings.IndexByte(odd, path[i]) >= 0 {
			out.WriteString(url.PathEscape(path[i : i+1]))
		} else {
			out.WriteByte(path[i])
		}
	}
	return out.String()
}
