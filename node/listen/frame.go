package listen

// framer follows one connection from the client: it knows which bytes are
// request heads, which are bodies, and whether they keep to the rules. It does
// no I/O and keeps no bytes.
type framer struct {
	maxHead int        // the largest request head, in bytes
	at      place      // what the next byte belongs to
	left    int64      // bytes of body or chunk data still to come
	h2c     bool       // HTTP/2's preface may come: cleartext, nothing read yet
	skipped bool       // the empty line allowed before the next head was there
	upgrade bool       // the current request asks for an upgrade
	head    head       // while at inHead
	trailer trailer    // while at inTrailer
	wrong   *violation // what was wrong, once advance said refused
	inABody bool       // and whether it was in a body
}

// A place is a position in the grammar of a connection.
type place uint8

const (
	inHead      place = iota // in a request head, or before it
	inBody                   // in a body of known length
	inChunkLine              // in a chunk's size and extensions
	inChunkData              // in a chunk's data
	inChunkEnd               // in the CRLF after it
	inTrailer                // in the trailer section
	undecided                // after a request that asked for an upgrade
	raw                      // in something that is not HTTP/1
)

// A verdict says why advance stopped.
type verdict uint8

const (
	more    verdict = iota // all was looked at; the rest is incomplete
	skip                   // the next two bytes are an empty line to be dropped
	refused                // what follows breaks a rule: see wrong; there is nothing after it
	waiting                // what follows can be read only once an upgrade is decided
)

// preface is how an HTTP/2 client begins (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// advance looks at b, the bytes that follow those already approved, and
// approves the first n of them: complete heads, chunk lines and trailer
// sections, and body data. The rest must be given again, unchanged, with more
// bytes after it. Where b is split between calls makes no difference.
func (f *framer) advance(b []byte) (n int, why verdict) {
	for {
		var size int
		rest := b[n:]
		switch f.at {
		case inHead:
			if len(rest) == 0 {
				return n, more
			}
			if rest[0] != '\r' {
				size = f.headSize(rest)
			} else if len(rest) > 1 && f.emptyLine(rest[1]) {
				return n, skip
			}
		case inBody, inChunkData:
			size = int(min(f.left, int64(len(rest))))
			f.left -= int64(size)
			if f.left == 0 {
				f.bodyEnds()
			}
		case inChunkLine:
			size = f.chunkLine(rest)
		case inChunkEnd:
			size = f.chunkEnd(rest)
		case inTrailer:
			size, f.wrong = f.trailer.parse(rest)
			if size > 0 {
				f.requestEnds()
			}
		case undecided:
			return n, waiting
		case raw:
			return len(b), more
		}
		if f.wrong != nil {
			f.inABody = f.at != inHead
			return n, refused
		}
		if size == 0 {
			return n, more
		}
		n += size
	}
}

// emptyLine reports whether a CR before a head, and then c, are the one empty
// line that is allowed there (RFC 9112, section 2.2).
func (f *framer) emptyLine(c byte) bool {
	switch {
	case c != '\n':
		f.wrong = broken(ReasonBareCR, "there is a CR before the request")
	case f.skipped:
		f.wrong = broken(ReasonBadRequestLine, "there is more than one empty line before the request")
	default:
		f.skipped, f.h2c = true, false
	}
	return f.wrong == nil
}

// headSize is the size of the head at the start of b, zero while incomplete.
func (f *framer) headSize(b []byte) int {
	if f.h2c {
		k := min(len(b), len(preface))
		if string(b[:k]) == preface[:k] {
			if k < len(preface) {
				return 0
			}
			f.at = raw
			return k
		}
		f.h2c = false
	}
	var size int
	if size, f.wrong = f.head.parse(b, f.maxHead); size > 0 {
		f.headEnds()
	}
	return size
}

// headEnds decides what follows a head (RFC 9112, section 6.3).
func (f *framer) headEnds() {
	f.upgrade = f.head.upgrades()
	f.left = f.head.length
	switch {
	case f.head.coded:
		f.at = inChunkLine
	case f.left > 0:
		f.at = inBody
	default:
		f.requestEnds()
	}
}

func (f *framer) chunkLine(b []byte) (size int) {
	size, f.left, f.wrong = parseChunkLine(b)
	switch {
	case size == 0:
	case f.left == 0:
		f.at = inTrailer
	default:
		f.at = inChunkData
	}
	return size
}

func (f *framer) chunkEnd(b []byte) (size int) {
	switch {
	case len(b) > 0 && b[0] != '\r', len(b) > 1 && b[1] != '\n':
		f.wrong = broken(ReasonBadChunkEnd, "a chunk's data is not followed by CR LF")
	case len(b) > 1:
		f.at = inChunkLine
		return 2
	}
	return 0
}

func (f *framer) bodyEnds() {
	if f.at == inChunkData {
		f.at = inChunkEnd
		return
	}
	f.requestEnds()
}

func (f *framer) requestEnds() {
	f.head, f.trailer, f.skipped, f.h2c = head{}, trailer{}, false, false
	f.at = inHead
	if f.upgrade {
		f.at = undecided
	}
}

// upgraded tells that what follows is not HTTP/1.
func (f *framer) upgraded() { f.at = raw }

// notUpgraded tells that what follows an upgrade request is another request.
func (f *framer) notUpgraded() {
	if f.at == undecided {
		f.at = inHead
	}
}
