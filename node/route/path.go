package route

import "strings"

// A Path is the path of a request in normal form.
//
// Dot segments are resolved, "%2e" counting as a dot, and a backslash is the
// slash that browsers and many servers take it for, as in the WHATWG URL
// standard and in configurable-http-proxy 5. What is matched is what is
// forwarded, so an upstream cannot be reached by a path that another route was
// meant to guard. Everything else is forwarded byte for byte: escapes in
// whatever case, "%2F", empty segments, ";".
type Path struct {
	// Raw is what is forwarded. It begins with a slash.
	Raw string
	// Clean is Raw with its percent escapes decoded, which is what prefixes
	// are compared with. A "%2F" is a slash here.
	Clean string
}

// ParsePath brings the path of a request target, without its query, into
// normal form. It reports false for what is no path: without a slash in front,
// or with a percent sign that is no escape. It allocates nothing for a path
// without escapes, dot segments and backslashes.
func ParsePath(raw string) (Path, bool) {
	if raw == "" || raw[0] != '/' && raw[0] != '\\' {
		return Path{}, false
	}
	escaped, dotted := false, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '%':
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return Path{}, false
			}
			escaped = true
		case c == '\\':
			dotted = true
		case c == '/' && !dotted:
			dotted = dots(raw[i+1:]) > 0
		}
	}
	if dotted {
		raw = resolve(raw)
	}
	p := Path{Raw: raw, Clean: raw}
	if escaped {
		p.Clean = decode(raw)
	}
	return p, true
}

// Below returns what Raw has below the first n bytes of Clean, which must end
// on a segment border, as those of a matching prefix do: nothing, or a path.
// A border written "%2F" becomes a plain slash.
func (p Path) Below(n int) string {
	i := 0
	for ; n > 0; n-- {
		if p.Raw[i] == '%' {
			i += 2
		}
		i++
	}
	if rest := p.Raw[i:]; rest == "" || rest[0] == '/' {
		return rest
	}
	return "/" + p.Raw[i+len("%2F"):]
}

// resolve removes dot segments (RFC 3986, section 5.2.4) and turns backslashes
// into slashes. Segments keep their spelling.
func resolve(raw string) string {
	raw = strings.ReplaceAll(raw, `\`, "/")
	out := make([]byte, 0, len(raw))
	for rest := raw; rest != ""; {
		end := strings.IndexByte(rest[1:], '/') + 1
		if end == 0 {
			end = len(rest)
		}
		segment, last := rest[1:end], end == len(rest)
		rest = rest[end:]
		switch dots(segment) {
		case 0:
			out = append(out, '/')
			out = append(out, segment...)
			continue
		case 2:
			out = out[:max(0, strings.LastIndexByte(string(out), '/'))]
		}
		if last {
			out = append(out, '/')
		}
	}
	return string(out)
}

// dots returns 1 or 2 if the first segment of path, which has no slash in
// front, is "." or "..", in any spelling, else 0.
func dots(path string) int {
	n := 0
	for path != "" && !isSlash(path[0]) {
		switch {
		case path[0] == '.':
			path = path[1:]
		case len(path) >= 3 && path[:2] == "%2" && path[2]|0x20 == 'e':
			path = path[3:]
		default:
			return 0
		}
		if n++; n > 2 {
			return 0
		}
	}
	return n
}

// decode replaces percent escapes, all of which must be whole.
func decode(raw string) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			c = digit(raw[i+1])<<4 | digit(raw[i+2])
			i += 2
		}
		out = append(out, c)
	}
	return string(out)
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// digit returns the value of a hex digit.
func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}
