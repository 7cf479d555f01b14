package proxy

import (
	"net/http"
	"strings"

	"signalbox/proto/rules"
)

// rewriteLocation has a redirection to the upstream itself lead to where the
// client found it, as far as the policy says so.
func (x *exchange) rewriteLocation(res *http.Response) {
	host, scheme := x.policy.LocationHost, x.policy.LocationScheme
	if !host && scheme == "" {
		return
	}
	switch res.StatusCode {
	case http.StatusCreated, http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return
	}
	location := res.Header["Location"]
	if len(location) != 1 {
		return
	}
	was, rest, ok := strings.Cut(location[0], "://")
	if !ok {
		return
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if !leadsTo(was, authority, x.to) {
		return
	}
	if !strings.HasPrefix(tail, "/") {
		tail = "/" + tail // the same URL as it is usually spelled (RFC 3986, section 6.2.3)
	}
	if scheme == "" {
		scheme = was
	}
	if host && x.r.Host != "" {
		authority = x.r.Host
	}
	location[0] = scheme + "://" + authority + tail
}

// leadsTo tells whether a URL's scheme and authority are those of an upstream.
// The scheme itself does not matter but for the port that it implies.
func leadsTo(scheme, authority string, to *rules.Upstream) bool {
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https":
	default:
		return false
	}
	u, err := rules.ParseUpstream(scheme + "://" + authority)
	return err == nil && !to.Unix && (strings.EqualFold(u.Address, to.Address) || strings.EqualFold(u.Host, to.Host))
}
