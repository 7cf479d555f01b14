package listen

import (
	"bytes"
	"net/netip"
	"strconv"
)

// maxMethod is the length of the longest method that is passed on, in bytes.
// The longest registered one is UPDATEREDIRECTREF, with 17.
const maxMethod = 32

// requestLine is what a request line says that matters for framing.
type requestLine struct {
	minor byte // of HTTP/1.minor: 0 or 1
	head  bool // the method is HEAD
}

// parse reads a request line without its CRLF (RFC 9112, section 3).
func (r *requestLine) parse(line []byte) *violation {
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first <= 0 || first == last || last == len(line)-1 {
		return broken(ReasonBadRequestLine, "the request line %s is not a method, a target and a version", quoted(line))
	}
	method, target, version := line[:first], line[first+1:last], line[last+1:]
	if !isToken(method) {
		return broken(ReasonBadMethod, "the method %s is not a token", quoted(method))
	}
	r.head = string(method) == "HEAD"
	if v := r.parseVersion(version); v != nil {
		return v
	}
	if v := checkMethod(method); v != nil {
		return v
	}
	return checkTarget(method, target)
}

func (r *requestLine) parseVersion(b []byte) *violation {
	switch string(b) {
	case "HTTP/1.1":
		r.minor = 1
		return nil
	case "HTTP/1.0":
		r.minor = 0
		return nil
	}
	isDigit := func(c byte) bool { return '0' <= c && c <= '9' }
	if len(b) == 8 && string(b[:5]) == "HTTP/" && isDigit(b[5]) && b[6] == '.' && isDigit(b[7]) {
		return broken(ReasonUnsupportedVersion, "the version %s is not supported: HTTP/1.0 and HTTP/1.1 are", b)
	}
	return broken(ReasonBadVersion, "the version %s is not of the form HTTP/1.1", quoted(b))
}

// checkMethod refuses methods a reverse proxy must not pass on: CONNECT would
// open a tunnel, TRACE would show a client what the proxy added.
func checkMethod(method []byte) *violation {
	if len(method) > maxMethod {
		return broken(ReasonMethodTooLong, "the method %s is longer than %d bytes", quoted(method), maxMethod)
	}
	switch string(method) {
	case "CONNECT", "TRACE":
		return broken(ReasonMethodRefused, "the method %s is not served here", method)
	}
	return nil
}

// checkTarget checks a request target (RFC 9112, section 3.2): a path, an
// http or https URI, or "*" with OPTIONS.
func checkTarget(method, target []byte) *violation {
	if !consists(target, inTarget) {
		return badTargetByte(target)
	}
	switch {
	case len(target) == 0:
		return broken(ReasonBadTarget, "the request target is empty")
	case target[0] == '/':
		return checkPath(target)
	case string(target) == "*" && string(method) == "OPTIONS":
		return nil
	}
	rest, ok := cutScheme(target)
	if !ok {
		return broken(ReasonBadTarget, "the request target %s is neither a path nor an http or https URI", quoted(target))
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if !validAuthority(rest[:end]) {
		return broken(ReasonBadTarget, "the request target %s has no valid host and port", quoted(target))
	}
	return checkPath(rest[end:])
}

// badTargetByte names the first byte that no target may have.
func badTargetByte(target []byte) *violation {
	for _, c := range target {
		switch {
		case class[c]&inTarget != 0:
			continue
		case c == ' ':
			return broken(ReasonSpaceInTarget, "the request target %s has a space in it", quoted(target))
		case c == '#':
			return broken(ReasonFragmentInTarget, "the request target %s has a fragment", quoted(target))
		}
		return broken(ReasonBadTarget, "the request target %s has the byte 0x%02x in it, which must be percent-encoded", quoted(target), c)
	}
	return nil
}

// cutScheme cuts "http://" or "https://" from the front of an absolute URI.
func cutScheme(target []byte) (rest []byte, ok bool) {
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(target) >= len(scheme) && equalFold(target[:len(scheme)], scheme) {
			return target[len(scheme):], true
		}
	}
	return nil, false
}

// checkPath checks the percent-escapes of a path. What follows a "?" is not
// looked at: queries have no common syntax, and are forwarded as they are.
func checkPath(path []byte) *violation {
	if q := bytes.IndexByte(path, '?'); q >= 0 {
		path = path[:q]
	}
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return nil
		}
		path = path[i:]
		if len(path) < 3 || class[path[1]]&class[path[2]]&inHex == 0 {
			return broken(ReasonBadEscape, "the percent-escape at %s in the path is not two hex digits", quoted(path[:min(3, len(path))]))
		}
		path = path[3:]
	}
}

// validAuthority reports whether b is host or host:port. The host is a DNS
// name, an IPv4 address or a bracketed IPv6 address without zone. RFC 3986
// would let names have percent-escapes and sub-delimiters; no DNS name has
// them. User information is refused (RFC 9110, section 4.2.4).
func validAuthority(b []byte) bool {
	host, port := b, []byte(nil)
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !validIPv6(b[1:end]) {
			return false
		}
		host, port = b[:end+1], b[end+1:]
	} else {
		if i := bytes.IndexByte(b, ':'); i >= 0 {
			host, port = b[:i], b[i:]
		}
		if !consists(host, inHost) {
			return false
		}
	}
	return len(host) > 0 && (len(port) == 0 || port[0] == ':' && validPort(port[1:]))
}

func validIPv6(b []byte) bool {
	addr, err := netip.ParseAddr(string(b))
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// validPort allows no digits at all, as RFC 3986 does: "example.com:".
func validPort(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	_, err := strconv.ParseUint(string(b), 10, 16)
	return err == nil && len(b) <= len("65535")
}
