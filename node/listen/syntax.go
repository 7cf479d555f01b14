package listen

// What a byte may be part of.
const (
	inToken  uint8 = 1 << iota // a token: method, header name (RFC 9110, section 5.6.2)
	inValue                    // a header value or chunk extension: HTAB, SP, VCHAR, obs-text
	inTarget                   // a request target: VCHAR, without "#"
	inHost                     // a host name: letters, digits, "-", ".", "_", "~"
	inHex                      // a hex digit
)

// class tells for each byte what it may be part of.
var class = classes()

func classes() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		alnum := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		vchar := '!' <= c && c <= '~'
		if alnum {
			t[i] |= inToken | inHost
		}
		if vchar && c != '#' {
			t[i] |= inTarget
		}
		if vchar || c == ' ' || c == '\t' || c >= 0x80 {
			t[i] |= inValue
		}
		if '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' {
			t[i] |= inHex
		}
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= inToken
	}
	for _, c := range []byte("-._~") {
		t[c] |= inHost
	}
	return t
}

// consists reports whether every byte of b is of the class.
func consists(b []byte, of uint8) bool {
	for _, c := range b {
		if class[c]&of == 0 {
			return false
		}
	}
	return true
}

// isToken reports whether b is a token, which has at least one byte.
func isToken(b []byte) bool { return len(b) > 0 && consists(b, inToken) }

// equalFold reports whether b is lower, in any case. lower is in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// trim cuts optional white space (SP, HTAB) from both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
