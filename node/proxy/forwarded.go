package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	"signalbox/node/listen"
)

// An origin is where a request came from.
type origin struct {
	// peer is the address at the other end of the connection; empty for a
	// unix socket.
	peer string
	// trusted says that the peer is a proxy whose word is taken.
	trusted bool
}

// originOf finds out who is at the other end.
func originOf(remote string, l *listener) origin {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return origin{trusted: l.trustUnix}
	}
	o := origin{peer: host}
	if len(l.trusted) > 0 {
		if a, err := netip.ParseAddr(host); err == nil {
			o.trusted = l.trusts(a)
		}
	}
	return o
}

// setForwarded says in the header who the client is and what it asked for. What
// a trusted proxy has said of that is continued; what anyone else has is gone
// by now.
func (x *exchange) setForwarded(h http.Header) {
	proto, port := "http", "80"
	if listen.Encrypted(x.r) {
		proto, port = "https", "443"
	}
	if i := strings.LastIndexByte(x.r.Host, ':'); i > strings.LastIndexByte(x.r.Host, ']') && i+1 < len(x.r.Host) {
		port = x.r.Host[i+1:]
	}
	if x.from.peer != "" {
		chain := x.from.peer
		if before := h["X-Forwarded-For"]; len(before) > 0 {
			chain = strings.Join(before, ", ") + ", " + chain
		}
		x.set(h, 0, "X-Forwarded-For", chain)
	}
	x.keepOrSet(h, 1, "X-Forwarded-Proto", proto)
	if x.r.Host != "" { // as HTTP/1.0 clients may leave it
		x.keepOrSet(h, 2, "X-Forwarded-Host", x.r.Host)
	}
	x.keepOrSet(h, 3, "X-Forwarded-Port", port)
}

// keepOrSet leaves the last value that there is, or sets one.
func (x *exchange) keepOrSet(h http.Header, i int, name, value string) {
	if before := h[name]; len(before) > 0 {
		value = before[len(before)-1]
		if k := strings.LastIndexByte(value, ','); k >= 0 {
			value = textproto.TrimString(value[k+1:])
		}
	}
	x.set(h, i, name, value)
}

// set sets a header without allocating its list of values.
func (x *exchange) set(h http.Header, i int, name, value string) {
	x.forwarded[i] = value
	h[name] = x.forwarded[i : i+1 : i+1]
}

// client returns the address of who sent the request first, as far as it can
// be believed: of the addresses in X-Forwarded-For, read from right to left,
// the first that is not a trusted proxy's.
func (x *exchange) client() string {
	if x.from.peer == "" {
		x.from = originOf(x.r.RemoteAddr, x.rules)
	}
	if !x.from.trusted {
		return x.from.peer
	}
	client := x.from.peer
	chain := strings.Split(strings.Join(x.r.Header["X-Forwarded-For"], ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(textproto.TrimString(chain[i]))
		if err != nil {
			break
		}
		client = a.String()
		if !x.rules.trusts(a) {
			break
		}
	}
	return client
}
