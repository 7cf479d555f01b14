package listen

import "bytes"

const (
	// maxChunkLine bounds a chunk's size and extensions, in bytes with CRLF.
	// (net/http bounds what all extensions of a body may add up to.)
	maxChunkLine = 1 << 10
	// maxTrailer bounds a trailer section, in bytes. net/http reads no larger
	// one than its buffer.
	maxTrailer = 4 << 10
	// maxChunkDigits keeps sizes below 2^60, so that no arithmetic on them can
	// overflow.
	maxChunkDigits = 15
)

// parseChunkLine reads a chunk's first line (RFC 9112, section 7.1) at the
// start of b: its size in hex, then extensions, which are ignored. It returns
// how long the line is with its CRLF, or zero when b does not have all of it.
func parseChunkLine(b []byte) (line int, size int64, v *violation) {
	b = b[:min(len(b), maxChunkLine)]
	lf := bytes.IndexByte(b, '\n')
	switch {
	case lf < 0 && len(b) == maxChunkLine:
		return 0, 0, broken(ReasonChunkLineTooLong, "a chunk's size and extensions are longer than %d bytes", maxChunkLine)
	case lf < 0:
		return 0, 0, nil
	case lf == 0 || b[lf-1] != '\r':
		return 0, 0, broken(ReasonBareLF, "the chunk size line %s does not end in CR LF", quoted(b[:lf]))
	}
	text := b[:lf-1]
	digits := 0
	for digits < len(text) && class[text[digits]]&inHex != 0 {
		size = size<<4 | hexValue(text[digits])
		if digits++; digits > maxChunkDigits {
			return 0, 0, broken(ReasonBadChunkSize, "the chunk size %s has more than %d digits", quoted(text), maxChunkDigits)
		}
	}
	ext := text[digits:]
	if digits == 0 || len(ext) > 0 && ext[0] != ';' {
		return 0, 0, bareCR(text, broken(ReasonBadChunkSize, "the chunk size %s is not a hex number", quoted(text)))
	}
	if !consists(ext, inValue) {
		return 0, 0, bareCR(text, broken(ReasonBadChunkExt, "the chunk extension %s has a control character in it", quoted(ext)))
	}
	return lf + 1, size, nil
}

// hexValue is the value of a hex digit.
func hexValue(c byte) int64 {
	if c <= '9' {
		return int64(c - '0')
	}
	return int64(c|0x20-'a') + 10
}

// trailer checks the trailer section after the last chunk, in the manner of
// [head]. The zero value stands before its first line.
type trailer struct{ lines lines }

// parse looks at b, which starts with the section. It returns the section's
// size, with the empty line that ends it, or zero while b does not have it all.
func (t *trailer) parse(b []byte) (size int, v *violation) {
	for {
		line, ok, v := t.lines.next(b, bound{maxTrailer, ReasonTrailerTooLarge, "trailer section"})
		if v != nil || !ok {
			return 0, v
		}
		if len(line) == 0 {
			return t.lines.start, nil
		}
		name, _, v := cutField(line)
		if v != nil {
			return 0, bareCR(line, v)
		}
		if framesOrRoutes(name) {
			return 0, broken(ReasonBadTrailer, "the field %s may not be a trailer", quoted(name))
		}
	}
}
