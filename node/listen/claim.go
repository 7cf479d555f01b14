package listen

import "bytes"

// maxPath is how much is shown of the path of a refused head, in bytes.
const maxPath = 200

// claim is what b, the start of a head that was refused, seems to ask for. b
// may be anything: both are empty unless it begins with a token, and the path
// unless it begins with a slash. Authorities are left out, which may have a
// password in them.
func claim(b []byte) (method, path string) {
	line, _, _ := bytes.Cut(b[:min(len(b), maxMethod+1+maxTarget)], []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	first, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	if method = shortMethod(first); method == "" {
		return "", ""
	}
	return method, shortPath(target)
}

// maxTarget is how much is looked at of a target, in bytes: more than is shown,
// so that a whole URI's path is seen.
const maxTarget = 1 << 10

func shortMethod(b []byte) string {
	if !isToken(b) {
		return ""
	}
	return string(b[:min(len(b), maxMethod)])
}

func shortPath(target []byte) string {
	if rest, ok := cutScheme(target); ok {
		i := bytes.IndexAny(rest, "/?#")
		if i < 0 {
			return ""
		}
		target = rest[i:]
	}
	if len(target) == 0 || target[0] != '/' {
		return ""
	}
	path, _, _ := bytes.Cut(target, []byte("?"))
	path, _, _ = bytes.Cut(path, []byte("#"))
	return string(path[:min(len(path), maxPath)])
}
