package route_test

import (
	"net/url"
	"strings"
	"testing"

	"signalbox/node/route"
	"signalbox/proto/rules"
)

func TestAPathIsMatchedAsItIsForwarded(t *testing.T) {
	for _, c := range []struct{ sent, raw, clean string }{
		{"/", "/", "/"},
		{"/a/b", "/a/b", "/a/b"},
		// dot segments are resolved, in every spelling
		{"/user/bob/../alice/x", "/user/alice/x", "/user/alice/x"},
		{"/user/bob/%2e%2e/alice/x", "/user/alice/x", "/user/alice/x"},
		{"/user/bob/.%2E/alice/x", "/user/alice/x", "/user/alice/x"},
		{"/user/%2E/alice", "/user/alice", "/user/alice"},
		{"/../../a", "/a", "/a"},
		{"/user/alice/..", "/user/", "/user/"},
		{"/user/alice/.", "/user/alice/", "/user/alice/"},
		{"/..", "/", "/"},
		{"/a//../b", "/a/b", "/a/b"},
		{"/.//x", "//x", "//x"},
		// what only looks like one is not
		{"/.well-known/acme", "/.well-known/acme", "/.well-known/acme"},
		{"/a/...", "/a/...", "/a/..."},
		{"/a/..;/b", "/a/..;/b", "/a/..;/b"},
		{"/a/..%2fb", "/a/..%2fb", "/a/../b"},
		{"/a/%252e%252e/b", "/a/%252e%252e/b", "/a/%2e%2e/b"},
		// a backslash is a slash
		{`/user\alice`, "/user/alice", "/user/alice"},
		{`/user\..\alice`, "/alice", "/alice"},
		{`\a`, "/a", "/a"},
		{"/user%5Calice", "/user%5Calice", `/user\alice`},
		// everything else is forwarded as it came
		{"/user%2Falice/x", "/user%2Falice/x", "/user/alice/x"},
		{"/user/%61lice/%e4%bd%A0", "/user/%61lice/%e4%bd%A0", "/user/alice/你"},
		{"/user/foo@bar", "/user/foo@bar", "/user/foo@bar"},
		{"/user/foo%40bar", "/user/foo%40bar", "/user/foo@bar"},
		{"/user//alice", "/user//alice", "/user//alice"},
		{"//user/alice", "//user/alice", "//user/alice"},
		{"/user/alice;v=1", "/user/alice;v=1", "/user/alice;v=1"},
		{"/a%00%ff", "/a%00%ff", "/a\x00\xff"},
		{"/a|^'[]~{}", "/a|^'[]~{}", "/a|^'[]~{}"},
	} {
		p, ok := route.ParsePath(c.sent)
		if !ok || p.Raw != c.raw || p.Clean != c.clean {
			t.Errorf("%s: got %q, %q, %v; want %q, %q", c.sent, p.Raw, p.Clean, ok, c.raw, c.clean)
		}
	}
}

func TestWhatIsNoPathIsRefused(t *testing.T) {
	for _, s := range []string{"", "a", "*", "http://x/", "/%", "/%4", "/a%zz", "/a/%E", "/%2", "/..%g0/a"} {
		if p, ok := route.ParsePath(s); ok {
			t.Errorf("%q is taken for %q", s, p.Raw)
		}
	}
}

func TestAPlainPathIsNotCopied(t *testing.T) {
	for _, s := range []string{"/", "/user/alice/api/kernels?", "/.well-known/x", "/a..b/c."} {
		if n := testing.AllocsPerRun(100, func() { route.ParsePath(s) }); n > 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

// Normal form is reached in one step, and begins with a slash.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/a%2f..%2f", "/%2e%2E", `\\..\a`, "/a/./", "/..//..", "/%25%32%65"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, ok := route.ParsePath(raw)
		if !ok {
			return
		}
		again, ok := route.ParsePath(p.Raw)
		if !ok || again != p {
			t.Fatalf("%q became %q, and that %q", raw, p.Raw, again.Raw)
		}
		if p.Raw[0] != '/' {
			t.Fatalf("%q became %q", raw, p.Raw)
		}
		for seg := range strings.SplitSeq(p.Raw, "/") {
			if seg, _ := url.PathUnescape(seg); seg == "." || seg == ".." {
				t.Fatalf("%q became %q, which has dots left", raw, p.Raw)
			}
		}
		if clean, err := url.PathUnescape(p.Raw); err != nil || clean != p.Clean {
			t.Fatalf("%q decodes to %q, not to %q", p.Raw, clean, p.Clean)
		}
		for i := range p.Clean {
			if p.Clean[i] == '/' && !strings.HasPrefix(p.Below(i), "/") {
				t.Fatalf("%q below %d is %q", p.Raw, i, p.Below(i))
			}
		}
	})
}

func TestAHostIsComparedWithoutPortAndCase(t *testing.T) {
	for in, want := range map[string]string{
		"example.org":        "example.org",
		"Example.ORG:8080":   "example.org",
		"example.org.":       "example.org",
		"example.org.:80":    "example.org",
		"127.0.0.1:80":       "127.0.0.1",
		"[::1]:80":           "::1",
		"[0:0:0:0:0:0:0:1]":  "::1",
		"[2001:DB8::1]":      "2001:db8::1",
		"[no address]":       "no address",
		"":                   "",
		"x_y.example.org:80": "x_y.example.org",
	} {
		if got := route.Host(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

// The table of configurable-http-proxy 5, with its exceptions for a prefix
// that is cut off decoded, which are its own.
func TestTheTargetsPathAndQueryGoFirst(t *testing.T) {
	for _, c := range []struct {
		prefix, url, sent, query string
		keep, strip              string
	}{
		{"/bar", "http://b", "/bar/x", "", "/bar/x", "/x"},
		{"/bar", "http://b/foo", "/bar/x", "", "/foo/bar/x", "/foo/x"},
		{"/bar", "http://b/foo/", "/bar/x", "", "/foo/bar/x", "/foo/x"},
		{"/bar", "http://b/foo", "/bar", "", "/foo/bar", "/foo"},
		{"/bar", "http://b", "/bar", "", "/bar", "/"},
		{"/bar", "http://b/", "/bar", "", "/bar", "/"},
		{"/bar", "http://b", "/bar/", "", "/bar/", "/"},
		{"/bar", "http://b/foo?k=v", "/bar", "?q=1", "/foo/bar?k=v&q=1", "/foo?k=v&q=1"},
		{"/bar", "http://b?k=v", "/bar", "", "/bar?k=v", "/?k=v"},
		{"/bar", "http://b?k=v", "/bar", "?", "/bar?k=v", "/?k=v"},
		{"/", "http://b/foo", "/", "", "/foo/", "/foo/"},
		{"/", "http://b/foo", "/x", "", "/foo/x", "/foo/x"},
		{"/", "http://b", "/x", "?a=1;b=2&c", "/x?a=1;b=2&c", "/x?a=1;b=2&c"},
		{"/", "http://b", "/x", "?", "/x?", "/x?"},
		// a prefix is cut off in segments, however they were written
		{"/b@r/b r", "http://b", "/b%40r/b%20r/x", "", "/b%40r/b%20r/x", "/x"},
		{"/bar", "http://b", "/b%61r/a%2Fb//c", "", "/b%61r/a%2Fb//c", "/a%2Fb//c"},
		{"/bar", "http://b", "/bar%2Fx%2Fy", "", "/bar%2Fx%2Fy", "/x%2Fy"},
		{"/user/ana", "http://b", "/user%2fana%2F", "", "/user%2fana%2F", "/"},
	} {
		rec := record("r", 1, "", c.prefix)
		rec.Upstreams[0].Url = c.url
		p, _ := route.ParsePath(c.sent)
		r, ok := table(t, rec).Match("", p.Clean)
		if !ok {
			t.Fatalf("%s does not match %s", c.prefix, c.sent)
		}
		u, _ := rules.ParseUpstream(c.url)
		if got := r.Target(&u, p, c.query, new(route.Policy)); got != c.keep {
			t.Errorf("%s to %s: got %q, want %q", c.sent, c.url, got, c.keep)
		}
		if got := r.Target(&u, p, c.query, &route.Policy{StripPrefix: true}); got != c.strip {
			t.Errorf("%s stripped to %s: got %q, want %q", c.sent, c.url, got, c.strip)
		}
	}
}
