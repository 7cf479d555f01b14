package listen

import (
	"net/http"
	"strings"
)

// ServerMaxHeaderBytes is for [http.Server.MaxHeaderBytes]. HTTP/1 heads are
// bounded by [Config] before the server sees them. Over HTTP/2 the server has to
// take more than is allowed, so that [Violation] can say what is wrong: beyond
// this the server answers 431 itself, or ends the connection without a word.
const ServerMaxHeaderBytes = 4 * DefaultMaxHeaderBytes

// checkHTTP2 holds a request that came over HTTP/2 to the rules for heads, since
// it may be sent on in HTTP/1. What HTTP/2 has rules of its own for, names and
// values of headers and what belongs to one connection (RFC 9113, section 8.2),
// the server has checked.
func checkHTTP2(r *http.Request) *violation {
	method := []byte(r.Method)
	if !isToken(method) {
		return broken(ReasonBadMethod, "the method %s is not a token", quoted(method))
	}
	if v := checkMethod(method); v != nil {
		return v
	}
	if v := checkSize(r); v != nil {
		return v
	}
	if v := checkPseudoPath(method, []byte(r.RequestURI)); v != nil {
		return v
	}
	if v := checkAuthority(r); v != nil {
		return v
	}
	return checkFields(r)
}

// checkSize holds a head to the size that it would have in HTTP/1.
func checkSize(r *http.Request) *violation {
	const punctuation = len(": \r\n")
	size := len(r.Method) + len("  HTTP/1.1\r\n") + len(r.RequestURI) + len("Host") + len(r.Host) + punctuation + len("\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + punctuation
		}
	}
	if size > DefaultMaxHeaderBytes {
		return broken(ReasonHeadTooLarge, "the request head is larger than %d bytes", DefaultMaxHeaderBytes)
	}
	return nil
}

// checkPseudoPath checks a :path, which is never a whole URI (RFC 9113, section
// 8.3.1).
func checkPseudoPath(method, path []byte) *violation {
	if len(path) > 0 && path[0] != '/' && string(path) != "*" {
		return broken(ReasonBadTarget, "the request's path %s does not begin with a slash", quoted(path))
	}
	return checkTarget(method, path)
}

// checkAuthority checks what stands for Host: an :authority, or a Host header,
// or both if they say the same.
func checkAuthority(r *http.Request) *violation {
	if r.Host == "" {
		return broken(ReasonMissingHost, "the request has no authority")
	}
	if !validAuthority([]byte(r.Host)) {
		return broken(ReasonBadHost, "the request's authority %s is not a host with an optional port", quoted([]byte(r.Host)))
	}
	for i, host := range r.Header["Host"] {
		if i > 0 || !strings.EqualFold(host, r.Host) {
			return broken(ReasonDuplicateHost, "there is a Host header that differs from the authority, or more than one")
		}
	}
	return nil
}

// checkFields checks the headers that HTTP/1 has rules for beyond their form.
func checkFields(r *http.Request) *violation {
	if lengths := r.Header["Content-Length"]; len(lengths) > 0 {
		n, ok := parseLength([]byte(lengths[0]))
		switch {
		case len(lengths) > 1:
			return broken(ReasonDuplicateLength, "there is more than one Content-Length header")
		case !ok:
			return broken(ReasonBadContentLength, "the Content-Length header %s is not a decimal number", quoted([]byte(lengths[0])))
		case n != r.ContentLength:
			return broken(ReasonBadContentLength, "the Content-Length header %d is not the length of the body", n)
		}
	}
	for _, value := range r.Header["Expect"] {
		if v := expectField([]byte(value)); v != nil {
			return v
		}
	}
	for name := range r.Trailer {
		if v := trailerField([]byte(name)); v != nil {
			return v
		}
	}
	return nil
}
