package route_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/route"
)

func TestTheLongestPrefixOnSegmentBordersWins(t *testing.T) {
	tab := table(t,
		record("root", 1, "", "/"), record("a", 2, "", "/a"), record("user", 3, "", "/user"),
		record("alice", 4, "", "/user/alice"), record("deep", 5, "", "/user/alice/deep/er"),
		record("at", 6, "", "/user/foo@bar"), record("space", 7, "", "/user/b c"), record("you", 8, "", "/user/你"),
		record("proto", 9, "", "/__proto__"),
	)
	for sent, want := range map[string]string{
		"/ab": "root", "/user/alicex": "user", "/user/alice/deep/erx": "alice", "/A": "root", "/users": "root",
		"/user%2Falice/x": "alice", "/user/%61lice/x": "alice", "/user/foo@bar/x": "at", "/user/foo%40bar/x": "at",
		"/user//alice": "user", "/a//b": "a", "//user/alice": "root", "///user/alice": "root", "//a": "root",
		"/user/bob/../alice/x": "alice", "/../../a": "a", "/user/alice/..": "user", `/user\alice`: "alice",
		"/user/alice;v=1": "user", "/user/b%20c": "space", "/user/%E4%BD%A0/": "you", "/user/alice/deep/er/": "deep",
		"/": "root", "/user/": "user", "/__proto__/x": "proto", "/constructor": "root",
	} {
		p, ok := route.ParsePath(sent)
		if !ok {
			t.Fatalf("%s is no path", sent)
		}
		if r, ok := tab.Match("any.example.org", p.Clean); !ok || r.Name != want {
			t.Errorf("%s: got %v, want %s", sent, r, want)
		}
	}
}

func TestTheMostSpecificHostThatHasAMatchWins(t *testing.T) {
	tab := table(t,
		record("exact", 1, "www.example.org", "/only"), record("wild", 2, "*.example.org", "/"),
		record("any", 3, "", "/"), record("anydeep", 4, "", "/only/deeper"), record("v6", 5, "[::1]", "/"),
	)
	for _, c := range []struct{ host, path, want string }{
		{"www.example.org", "/only/deeper", "exact"}, // the host goes before the prefix
		{"www.example.org", "/else", "wild"},         // and does not hide the others
		{"WWW.Example.org.:80", "/only", "exact"},
		{"api.example.org", "/only", "wild"},
		{"a.b.example.org", "/only", "any"}, // a wildcard is one label
		{"example.org", "/", "any"},
		{".example.org", "/", "wild"},
		{"", "/only/deeper", "anydeep"},
		{"[0::1]:8080", "/", "v6"},
	} {
		r, ok := tab.Match(route.Host(c.host), c.path)
		if !ok || r.Name != c.want {
			t.Errorf("%s%s: got %v, want %s", c.host, c.path, r, c.want)
		}
	}
	if r, ok := table(t, record("x", 1, "www.example.org", "/a")).Match("www.example.org", "/b"); ok {
		t.Errorf("/b is sent to %s, which is for /a", r.Name)
	}
}

func TestAMatchAllocatesNothing(t *testing.T) {
	tab := table(t, append(users(1000), record("h", 5, "*.example.org", "/x"), record("e", 6, "www.example.org", "/y"))...)
	n := testing.AllocsPerRun(100, func() {
		p, _ := route.ParsePath("/user/name-000123/api/kernels")
		if _, ok := tab.Match(route.Host("www.example.org:80"), p.Clean); !ok {
			t.Fatal("no match")
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// naive is the matcher as the .proto tells it.
func naive(recs []*signalboxv1.Route, host, path string) string {
	best, bestHost, bestLen := "", -1, -1
	for _, r := range recs {
		spec := -1
		switch h := r.Match.Host; {
		case h == "":
			spec = 0
		case h == host:
			spec = 2
		case strings.HasPrefix(h, "*.") && strings.Contains(host, ".") && host[strings.Index(host, "."):] == h[1:]:
			spec = 1
		}
		prefix := strings.TrimRight(r.Match.PathPrefix, "/")
		if spec < 0 || path != prefix && !strings.HasPrefix(path, prefix+"/") {
			continue
		}
		if spec > bestHost || spec == bestHost && len(prefix) > bestLen {
			best, bestHost, bestLen = r.Name, spec, len(prefix)
		}
	}
	return best
}

// randomRecords are routes with different matches, over few words so that
// they get in each other's way.
func randomRecords(rng *rand.Rand, n int) []*signalboxv1.Route {
	words := []string{"a", "b", "ab", "", "%2F", "你", "a b"}
	hosts := []string{"", "", "x.test", "y.x.test", "*.test", "*.x.test"}
	taken := map[string]bool{}
	var recs []*signalboxv1.Route
	for i := range n {
		prefix := ""
		for range rng.IntN(5) {
			prefix += "/" + words[rng.IntN(len(words))]
		}
		host := hosts[rng.IntN(len(hosts))]
		if key := host + strings.TrimRight(prefix, "/"); !taken[key] {
			taken[key] = true
			recs = append(recs, record(fmt.Sprintf("r%d", i), int64(i+1), host, prefix))
		}
	}
	return recs
}

func FuzzMatch(f *testing.F) {
	f.Add(uint64(1), uint8(10), "x.test", "/a/b")
	f.Add(uint64(2), uint8(200), "y.x.test", "/a//b/你/a b")
	f.Fuzz(func(t *testing.T, seed uint64, n uint8, host, path string) {
		rng := rand.New(rand.NewPCG(seed, 0))
		recs := randomRecords(rng, int(n))
		tab := table(t, recs...)
		hosts := []string{host, "x.test", "y.x.test", "z.x.test", "test", "other"}
		for _, h := range hosts {
			for _, r := range append(recs, &signalboxv1.Route{Match: &signalboxv1.Match{PathPrefix: path}}) {
				p, ok := route.ParsePath(r.Match.PathPrefix + "/b")
				if !ok {
					continue
				}
				got := ""
				if r, ok := tab.Match(h, p.Clean); ok {
					got = r.Name
				}
				if want := naive(recs, h, p.Clean); got != want {
					t.Fatalf("%q %q: got %q, want %q", h, p.Clean, got, want)
				}
			}
		}
	})
}
