package listen

// head checks one request head and gathers what follows from it for framing.
// Like [lines], it is given the same bytes again with more at the end until it
// has seen the whole head, and its verdict does not depend on where the bytes
// were split. The zero value stands before the request line.
type head struct {
	lines   lines
	started bool // the request line has been read
	request requestLine

	host    bool  // there was a Host
	sized   bool  // there was a Content-Length
	length  int64 // its value
	coded   bool  // there was a Transfer-Encoding
	coding  coding
	upgrade struct{ named, wanted bool } // Upgrade, and Connection: upgrade
}

// coding is what all Transfer-Encoding lines of a head say together.
type coding struct {
	chunked int  // elements that are exactly "chunked"
	other   bool // elements we know but do not allow, and malformed ones
	unknown bool // elements we do not know
}

// parse looks at b, which starts with the head. It returns the head's size once
// b has all of it, and zero while it has not.
func (h *head) parse(b []byte, most int) (size int, v *violation) {
	if !h.started && len(b) > 0 && class[b[0]]&inToken == 0 && b[0] != '\n' {
		return 0, broken(ReasonBadMethod, "the request starts with the byte 0x%02x, which starts no method", b[0])
	}
	for {
		line, ok, v := h.lines.next(b, bound{most, ReasonHeadTooLarge, "request head"})
		if v != nil || !ok {
			return 0, v
		}
		switch {
		case !h.started:
			h.started = true
			v = h.request.parse(line)
		case len(line) == 0:
			if v := h.finish(); v != nil {
				return 0, v
			}
			return h.lines.start, nil
		default:
			v = h.field(line)
		}
		if v != nil {
			return 0, bareCR(line, v)
		}
	}
}

// field checks a header line.
func (h *head) field(line []byte) *violation {
	name, value, v := cutField(line)
	if v != nil {
		return v
	}
	switch len(name) {
	case len("Host"):
		if equalFold(name, "host") {
			return h.hostField(value)
		}
	case len("Expect"):
		if equalFold(name, "expect") {
			return expectField(value)
		}
	case len("Upgrade"): // and Trailer
		if equalFold(name, "upgrade") {
			h.upgrade.named = h.upgrade.named || len(value) > 0
		} else if equalFold(name, "trailer") {
			return trailerField(value)
		}
	case len("Connection"):
		if equalFold(name, "connection") {
			h.connectionField(value)
		}
	case len("Content-Length"):
		if equalFold(name, "content-length") {
			return h.lengthField(value)
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "transfer-encoding") {
			h.coded = true
			for e := range elements(value) {
				h.coding.add(e)
			}
		}
	}
	return nil
}

func (h *head) hostField(value []byte) *violation {
	if h.host {
		return broken(ReasonDuplicateHost, "there is more than one Host header")
	}
	h.host = true
	if !validAuthority(value) {
		return broken(ReasonBadHost, "the Host header %s is not a host with an optional port", quoted(value))
	}
	return nil
}

// expectField refuses what nobody knows how to meet (RFC 9110, section 10.1.1).
// net/http would too, without a word to its handler.
func expectField(value []byte) *violation {
	for e := range elements(value) {
		if len(e) > 0 && !equalFold(e, "100-continue") {
			return broken(ReasonUnknownExpectation, "the Expect header %s is not 100-continue", quoted(value))
		}
	}
	return nil
}

func (h *head) connectionField(value []byte) {
	for e := range elements(value) {
		if equalFold(e, "upgrade") {
			h.upgrade.wanted = true
		}
	}
}

func (h *head) lengthField(value []byte) *violation {
	if h.sized {
		return broken(ReasonDuplicateLength, "there is more than one Content-Length header")
	}
	h.sized = true
	n, ok := parseLength(value)
	if !ok {
		return broken(ReasonBadContentLength, "the Content-Length header %s is not a decimal number", quoted(value))
	}
	h.length = n
	return nil
}

// parseLength parses 1*DIGIT below 2^63 (RFC 9110, section 8.6).
func parseLength(b []byte) (n int64, ok bool) {
	const most = 1<<63 - 1
	for _, c := range b {
		if c < '0' || c > '9' || n > (most-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0
}

// add takes in one element of a Transfer-Encoding list.
func (c *coding) add(e []byte) {
	name := e
	for i, b := range e {
		if b == ';' || b == ' ' || b == '\t' {
			name = e[:i]
			break
		}
	}
	switch {
	case equalFold(e, "chunked"):
		c.chunked++
	case !isToken(name), equalFold(name, "chunked"), equalFold(name, "identity"):
		c.other = true
	default:
		c.unknown = true
	}
}

// trailerField checks what a Trailer header announces. net/http refuses some
// of these names, and RFC 9110, section 6.5.1 forbids them all.
func trailerField(value []byte) *violation {
	for e := range elements(value) {
		if framesOrRoutes(e) {
			return broken(ReasonBadTrailerAnnounced, "the Trailer header names %s, which may not be a trailer", quoted(e))
		}
	}
	return nil
}

// framesOrRoutes reports whether name is a field that decides where a message
// ends or goes, and so cannot come after it.
func framesOrRoutes(name []byte) bool {
	return equalFold(name, "transfer-encoding") || equalFold(name, "content-length") ||
		equalFold(name, "trailer") || equalFold(name, "host")
}

// finish checks what only the whole head can tell.
func (h *head) finish() *violation {
	switch {
	case !h.host && h.request.minor == 1:
		return broken(ReasonMissingHost, "there is no Host header")
	case !h.coded:
		return nil
	case h.request.minor == 0:
		return broken(ReasonEncodingInHTTP10, "there is a Transfer-Encoding header, which HTTP/1.0 does not have")
	case h.sized:
		return broken(ReasonLengthAndEncoding, "there are both a Content-Length and a Transfer-Encoding header")
	case h.coding.unknown:
		return broken(ReasonUnknownEncoding, "the Transfer-Encoding header has a coding other than chunked")
	case h.coding.chunked != 1 || h.coding.other:
		return broken(ReasonBadEncoding, "the Transfer-Encoding header is not exactly chunked")
	}
	return nil
}

// upgrades reports whether the request asks for another protocol on its
// connection (RFC 9110, section 7.8).
func (h *head) upgrades() bool { return h.upgrade.named && h.upgrade.wanted }
