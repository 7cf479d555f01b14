package chp

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// base is where the routes are.
const base = "/api/routes"

// errNotOurs means that CHP has nothing at a path.
var errNotOurs = errors.New("not a path of this API")

// errPath means that a path is no text.
var errPath = errors.New("the path must be UTF-8 in percent escapes")

// spec is what a request's path asks for.
type spec struct {
	root  bool   // the API itself
	table bool   // no key was given: the whole table, or for a write the root
	key   string // begins with a slash, and ends with one only if it is one
}

// target reads a request's path as CHP does: as a URL, so that its dot
// segments are resolved while its escapes stand, and then decoded once.
func target(u *url.URL) (spec, error) {
	raw := u.RawPath // as it was sent, if net/url would spell it differently
	if raw == "" {
		raw = u.EscapedPath()
	}
	if !ascii(raw) {
		return spec{}, errPath // CHP's HTTP parser takes no such bytes either
	}
	path := resolve(raw)
	if path == "/api" || path == "/api/" {
		return spec{root: true}, nil
	}
	rest, ok := strings.CutPrefix(path, base)
	if !ok || rest != "" && rest[0] != '/' {
		return spec{}, errNotOurs
	}
	key, err := decode(rest)
	return spec{table: rest == "" || rest == "/", key: key}, err
}

// ascii reports whether s has no byte that a URL must escape for being none.
func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// decode turns what follows /api/routes into a key.
func decode(rest string) (string, error) {
	key, err := url.PathUnescape(rest)
	if err != nil || !utf8.ValidString(key) {
		return "", errPath
	}
	return "/" + strings.TrimRight(strings.TrimPrefix(key, "/"), "/"), nil
}

// resolve removes the dot segments of a path, whose escapes still stand, as
// the WHATWG's URL standard says: a backslash is a slash, and a dot may be
// written %2e. Empty segments stay.
func resolve(path string) string {
	in := strings.Split(strings.ReplaceAll(path, `\`, "/"), "/")
	out := in[:1] // what is before the first slash: nothing
	for i, seg := range in[1:] {
		last := i == len(in)-2
		switch strings.ReplaceAll(strings.ToLower(seg), "%2e", ".") {
		case "..":
			out = out[:max(1, len(out)-1)]
			fallthrough
		case ".":
			if last {
				out = append(out, "") // a directory ends with a slash
			}
		default:
			out = append(out, seg)
		}
	}
	return strings.Join(out, "/")
}

// keys translates between CHP's keys and matches.
type keys struct {
	hosts bool // the first segment of every key but the root is a host
}

// check refuses keys that no match has.
func (k keys) check(key string) error {
	if k.hosts && strings.HasPrefix(key, "//") {
		return errors.New("with host routing the path must begin with a host")
	}
	return nil
}

// match is what the route of a key matches.
func (k keys) match(key string) *signalboxv1.Match {
	if !k.hosts || key == "/" {
		return &signalboxv1.Match{PathPrefix: key}
	}
	host, path, _ := strings.Cut(key[1:], "/")
	return &signalboxv1.Match{Host: host, PathPrefix: "/" + path}
}

// host is the host in a key, as it was written; empty if there is none.
func (k keys) host(key string) string {
	if !k.hosts {
		return ""
	}
	host, _, _ := strings.Cut(key[1:], "/")
	return host
}

// key is the key of a match, and false for one that CHP cannot express.
func (k keys) key(m *signalboxv1.Match) (string, bool) {
	path := m.GetPathPrefix()
	if path == "" {
		path = "/"
	}
	if !k.hosts {
		return path, m.GetHost() == ""
	}
	switch {
	case m.GetHost() == "":
		return path, path == "/"
	case path == "/":
		return "/" + m.GetHost(), true
	}
	return "/" + m.GetHost() + path, true
}

// maxName bounds a route's name, in bytes.
const maxName = 1024

// routeName is the name of the route that a POST makes for a key, when its
// match has none yet: "chp" and the key, with percent signs, control
// characters and a slash at the end percent-escaped; or, when that is too long
// for a name, "chp%" and the key's SHA-256. No two keys have the same name.
func routeName(key string) string {
	name := "chp" + escape(key)
	switch {
	case key == "/":
		return "chp"
	case len(name) > maxName:
		return fmt.Sprintf("chp%%%x", sha256.Sum256([]byte(key)))
	}
	return name
}

// escape escapes what a name cannot hold, and the escape itself.
func escape(key string) string {
	var b strings.Builder
	for i, r := range key {
		switch {
		case r == '%', r < 0x20, r >= 0x7f && r < 0xa0, r == '/' && i == len(key)-1:
			for _, c := range []byte(string(r)) {
				b.WriteByte('%')
				b.WriteByte("0123456789ABCDEF"[c>>4])
				b.WriteByte("0123456789ABCDEF"[c&15])
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
