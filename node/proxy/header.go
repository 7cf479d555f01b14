package proxy

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"signalbox/node/route"
)

// A fate is what becomes of a request header.
type fate int

const (
	passes fate = iota
	// hopByHop belongs to one connection (RFC 9110, section 7.6.1).
	hopByHop
	// forwarding says who the client is, and is believed from trusted proxies.
	forwarding
	// odd has a "_" or "." in its name, which servers that turn names into
	// variables take for another header.
	odd
)

// fateOf tells what becomes of a header by its canonical name.
func fateOf(name string) fate {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Alt-Svc",
		"Proxy": // which CGI programs take for HTTP_PROXY
		return hopByHop
	case "Forwarded", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "X-Rewrite-Url",
		// the names under which proxies for hire tell who the client is
		"Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Client-Ip", "Do-Connecting-Ip", "Fastly-Client-Ip",
		"Fly-Client-Ip", "Incap-Client-Ip", "X-Appengine-User-Ip", "X-Azure-Clientip", "X-Azure-Socketip",
		"X-Envoy-External-Address", "X-Proxyuser-Ip", "X-Remote-Addr", "X-Remote-Ip", "X-Sucuri-Clientip":
		return forwarding
	}
	if name[0] == 'X' && (strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "X-Original-")) {
		return forwarding
	}
	if isOdd(name) {
		return odd
	}
	return passes
}

func isOdd(name string) bool { return strings.ContainsAny(name, "_.") }

// clean removes from a client's header, or trailer, what must not be sent on.
// It returns whether the client understands trailers.
func (x *exchange) clean(h http.Header) (trailers bool) {
	dropNamed(h)
	for name := range h {
		switch fateOf(name) {
		case hopByHop:
			if name == "Te" {
				trailers = hasToken(h[name], "trailers")
			}
			delete(h, name)
		case forwarding:
			// A trusted proxy does not vouch for "X-Forwarded_For", which it may
			// not even know.
			if !x.from.trusted && !x.policy.PassForwarding || isOdd(name) && !x.rules.allows(name) {
				delete(h, name)
			}
		case odd:
			if !x.rules.allows(name) {
				delete(h, name)
			}
		}
	}
	return trailers
}

// change makes the changes that a policy asks for.
func change(h http.Header, c *route.HeaderChanges) {
	if c == nil {
		return
	}
	for _, name := range c.Remove {
		delete(h, name)
	}
	for _, f := range c.Set {
		h[f.Name] = f.Values[:1:1]
	}
}

// cleanResponse removes from an upstream's header what must not be sent on.
func cleanResponse(h http.Header) {
	dropNamed(h)
	for _, name := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Alt-Svc"} {
		delete(h, name)
	}
}

// dropNamed removes the headers that the Connection header names.
func dropNamed(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			switch name = textproto.TrimString(name); {
			case name == "", strings.EqualFold(name, "close"), strings.EqualFold(name, "keep-alive"):
			case strings.EqualFold(name, "te"), strings.EqualFold(name, "upgrade"):
				// they are looked at for themselves
			default:
				delete(h, http.CanonicalHeaderKey(name))
			}
		}
	}
}

// hasToken tells whether a list of tokens has one, which is in lower case.
func hasToken(values []string, token string) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		for t := range strings.SplitSeq(v, ",") {
			t, _, _ = strings.Cut(t, ";")
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
		return false
	})
}
