package chp

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestNamesOfKeys(t *testing.T) {
	for key, want := range map[string]string{
		"/": "chp", "/user/ana": "chp/user/ana", "/a//b": "chp/a//b", "/pct/%": "chp/pct/%25", "/pct/%2F": "chp/pct/%252F",
		"/nul\x00x": "chp/nul%00x", "/\u0085": "chp/%C2%85", "/a/": "chp/a%2F", "/你 好": "chp/你 好",
		"/" + strings.Repeat("n", 1020): "chp/" + strings.Repeat("n", 1020),
	} {
		if got := routeName(key); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
	long := routeName("/" + strings.Repeat("n", 1021))
	if !strings.HasPrefix(long, "chp%") || len(long) != 4+64 || long == routeName("/"+strings.Repeat("n", 1022)) {
		t.Errorf("a long key's name is %q", long)
	}
}

func TestKeysAndMatchesWithHostRouting(t *testing.T) {
	k := keys{hosts: true}
	for key, want := range map[string]*signalboxv1.Match{
		"/":              {PathPrefix: "/"},
		"/h.example":     {Host: "h.example", PathPrefix: "/"},
		"/h.example/a/b": {Host: "h.example", PathPrefix: "/a/b"},
	} {
		m := k.match(key)
		if m.GetHost() != want.GetHost() || m.GetPathPrefix() != want.GetPathPrefix() {
			t.Errorf("%q: got %v, want %v", key, m, want)
		}
		if back, ok := k.key(m); !ok || back != key {
			t.Errorf("%v: got %q, %v, want %q", m, back, ok, key)
		}
	}
	if _, ok := k.key(&signalboxv1.Match{PathPrefix: "/a"}); ok {
		t.Error("a path for any host has a key")
	}
	if _, ok := (keys{}).key(&signalboxv1.Match{Host: "h", PathPrefix: "/a"}); ok {
		t.Error("without host routing a host has a key")
	}
	if key, ok := (keys{}).key(nil); !ok || key != "/" {
		t.Errorf("no match at all: got %q, %v", key, ok)
	}
}

// naiveKey is CHP's rule for a path below /api/routes, written another way: a
// byte at a time, with a stack of segments.
func naiveKey(raw string) (string, bool) {
	for i := range len(raw) {
		if raw[i] >= 0x80 {
			return "", false
		}
	}
	var out []string
	open := true // the last segment ended without a slash
	plain := strings.NewReplacer("%2e", ".", "%2E", ".")
	for raw != "" {
		seg := raw
		if i := strings.IndexAny(raw, `/\`); i >= 0 {
			seg, raw, open = raw[:i], raw[i+1:], false
		} else {
			raw, open = "", true
		}
		switch plain.Replace(seg) {
		case ".":
			open = false
		case "..":
			out, open = out[:max(0, len(out)-1)], false
		default:
			out = append(out, seg)
		}
	}
	joined := strings.Join(out, "/")
	if !open {
		joined += "/"
	}
	var key []byte
	for i := 0; i < len(joined); i++ {
		if joined[i] != '%' {
			key = append(key, joined[i])
			continue
		}
		if i+2 >= len(joined) {
			return "", false
		}
		hi, lo := strings.IndexByte("0123456789abcdef", lower(joined[i+1])), strings.IndexByte("0123456789abcdef", lower(joined[i+2]))
		if hi < 0 || lo < 0 {
			return "", false
		}
		key = append(key, byte(hi<<4|lo))
		i += 2
	}
	for len(key) > 0 && key[len(key)-1] == '/' {
		key = key[:len(key)-1]
	}
	if !utf8.Valid(key) {
		return "", false
	}
	return "/" + string(key), true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// FuzzRouteSpec reads paths as they come over the wire.
func FuzzRouteSpec(f *testing.F) {
	for _, s := range []string{
		"", "a//b", "user/foo%40bar", "user/%2Fslash", "tr2//", "dots/../up", "dots/%2e%2E/up2", "./.", "..", "a/..", "../api/routes/x",
		"pct/%25", "%252F", "nul%00x", "bs%5Cx", `bs\x`, "a%E4", "%zz", "%", "你好", "///", "a/./", "%2F%2F", ".%2e", "a\x7f%c2%85",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(base + "/" + raw)
		if err != nil || strings.ContainsAny(raw, "?#") {
			return // net/http answers it, or the path ends there
		}
		got, err := target(u)
		want, ok := naiveKey(raw)
		switch {
		case escapes(raw):
			return // its dot segments lead out of the routes
		case (err == nil) != ok:
			t.Fatalf("%q: got %v, the naive way says %v", raw, err, ok)
		case err != nil:
			return
		case got.key != want:
			t.Fatalf("%q: got %q, the naive way says %q", raw, got.key, want)
		}
		checkKey(t, got.key)
	})
}

// escapes reports whether dot segments lead above /api/routes/.
func escapes(raw string) bool {
	depth := 0
	for _, seg := range strings.Split(strings.ReplaceAll(raw, `\`, "/"), "/") {
		switch strings.ReplaceAll(strings.ToLower(seg), "%2e", ".") {
		case ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// checkKey holds what must hold for every key.
func checkKey(t *testing.T, key string) {
	t.Helper()
	if key[0] != '/' || key != "/" && key[len(key)-1] == '/' {
		t.Fatalf("%q is no key", key)
	}
	// A key that is encoded reads as itself again.
	again, err := target(&url.URL{RawPath: base + "/" + url.PathEscape(key[1:])})
	if err != nil || again.key != key {
		t.Fatalf("%q reads as %q, %v", key, again.key, err)
	}
	// Its name is one, and leads back.
	name := routeName(key)
	if len(name) > maxName || strings.HasSuffix(name, "/") || strings.ContainsFunc(name, unicode.IsControl) {
		t.Fatalf("%q is no name for %q", name, key)
	}
	back, err := url.PathUnescape(strings.TrimPrefix(name, "chp"))
	switch {
	case strings.HasPrefix(name, "chp%"): // too long: a hash
	case key == "/" && name == "chp":
	case err != nil || back != key:
		t.Fatalf("%q has the name %q, which leads back to %q", key, name, back)
	}
	// And so does its match.
	for _, k := range []keys{{}, {hosts: true}} {
		if k.check(key) != nil {
			continue
		}
		if back, ok := k.key(k.match(key)); !ok || back != key {
			t.Fatalf("%q matches %v, which has the key %q, %v", key, k.match(key), back, ok)
		}
	}
}
