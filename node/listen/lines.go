package listen

import (
	"bytes"
	"iter"
)

// lines cuts a head or a trailer section into lines. It is given the same bytes
// again and again, each time with more at the end, and looks at each once. The
// zero value stands before the first line.
type lines struct {
	start int // where the line begins that next returns
	seen  int // there is no LF in [start, seen)
}

// A bound is the most bytes that lines may take together, and what is said of
// them when they take more.
type bound struct {
	bytes  int
	reason Reason
	what   string // for people
}

// next returns the next line of b without its CRLF. It returns false when the
// line has not ended yet. It refuses lines that end in a bare LF, or beyond the
// bound.
func (l *lines) next(b []byte, most bound) (line []byte, ok bool, v *violation) {
	i := bytes.IndexByte(b[l.seen:], '\n')
	end := l.seen + i
	if i < 0 {
		l.seen, end = len(b), len(b)
	}
	if end >= most.bytes {
		return nil, false, broken(most.reason, "the %s is larger than %d bytes", most.what, most.bytes)
	}
	if i < 0 {
		return nil, false, nil
	}
	line = b[l.start:end]
	l.start, l.seen = end+1, end+1
	if len(line) == 0 || line[len(line)-1] != '\r' {
		return nil, false, broken(ReasonBareLF, "the line %s does not end in CR LF", quoted(line))
	}
	return line[:len(line)-1], true, nil
}

// bareCR replaces v by what explains it better, if line has a CR in it.
func bareCR(line []byte, v *violation) *violation {
	if v == nil || bytes.IndexByte(line, '\r') < 0 {
		return v
	}
	return broken(ReasonBareCR, "the line %s has a CR in it", quoted(line))
}

// cutField cuts a header or trailer line, which has no CRLF and is not empty,
// into name and value (RFC 9112, section 5). The name is a token, the value has
// no white space around it.
func cutField(line []byte) (name, value []byte, v *violation) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, broken(ReasonObsFold, "the header line %s starts with white space", quoted(line))
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return nil, nil, broken(ReasonMissingColon, "the header line %s has no colon", quoted(line))
	}
	name, value = line[:colon], trim(line[colon+1:])
	if !isToken(name) {
		return nil, nil, badName(name)
	}
	if !consists(value, inValue) {
		return nil, nil, broken(ReasonBadHeaderValue, "the value of header %s has a control character in it", quoted(name))
	}
	return name, value, nil
}

func badName(name []byte) *violation {
	if trimmed := trim(name); len(trimmed) < len(name) && isToken(trimmed) {
		return broken(ReasonSpaceBeforeColon, "header %s has white space before its colon", quoted(trimmed))
	}
	return broken(ReasonBadHeaderName, "the header name %s is not a token", quoted(name))
}

// elements are the elements of a comma-separated list, without the white space
// around them. They may be empty.
func elements(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for more := true; more; {
			var e []byte
			if i := bytes.IndexByte(list, ','); i < 0 {
				e, more = list, false
			} else {
				e, list = list[:i], list[i+1:]
			}
			if !yield(trim(e)) {
				return
			}
		}
	}
}
