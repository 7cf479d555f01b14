package rules_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

func route() *signalboxv1.Route {
	return &signalboxv1.Route{
		Name:      "blog",
		Match:     &signalboxv1.Match{Host: "www.example.org", PathPrefix: "/blog"},
		Upstreams: []*signalboxv1.Upstream{{Url: "http://127.0.0.1:8080"}},
	}
}

// A bad route is refused with every field that is wrong, and what would be
// right.
func TestRoute(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*signalboxv1.Route)
		want   []string // the fields named, in order
	}{
		"a plain route is right":              {func(*signalboxv1.Route) {}, nil},
		"a name is needed":                    {func(r *signalboxv1.Route) { r.Name = "" }, []string{"name"}},
		"a name may hold slashes and unicode": {func(r *signalboxv1.Route) { r.Name = "chp/user/你好 @%2F" }, nil},
		"a name must not end with a slash":    {func(r *signalboxv1.Route) { r.Name = "a/" }, []string{"name"}},
		"a name must not hold control codes":  {func(r *signalboxv1.Route) { r.Name = "a\x00b" }, []string{"name"}},
		"a name must not be too long":         {func(r *signalboxv1.Route) { r.Name = strings.Repeat("x", 1025) }, []string{"name"}},
		"no match at all means everything":    {func(r *signalboxv1.Route) { r.Match = nil }, nil},
		"a host must not have a port":         {func(r *signalboxv1.Route) { r.Match.Host = "a.example:80" }, []string{"match.host"}},
		"a wildcard stands first and for all": {func(r *signalboxv1.Route) { r.Match.Host = "a.*.example" }, []string{"match.host"}},
		"a path begins with a slash":          {func(r *signalboxv1.Route) { r.Match.PathPrefix = "blog" }, []string{"match.path_prefix"}},
		"a path has no dot segments":          {func(r *signalboxv1.Route) { r.Match.PathPrefix = "/a/../b" }, []string{"match.path_prefix"}},
		"an upstream is needed":               {func(r *signalboxv1.Route) { r.Upstreams = nil }, []string{"upstreams"}},
		"an absent upstream is named":         {func(r *signalboxv1.Route) { r.Upstreams = append(r.Upstreams, nil) }, []string{"upstreams[1].url"}},
		"data must be JSON":                   {func(r *signalboxv1.Route) { r.Data = "{" }, []string{"data"}},
		"data must be an object":              {func(r *signalboxv1.Route) { r.Data = " [1]" }, []string{"data"}},
		"a label's key must not be empty":     {func(r *signalboxv1.Route) { r.Labels = map[string]string{"": "x"} }, []string{`labels[""]`}},
		"h2c upgrades are never allowed": {func(r *signalboxv1.Route) {
			r.Policy = &signalboxv1.RoutePolicy{Upgrades: []string{"websocket", "h2c"}}
		}, []string{"policy.upgrades[1]"}},
		"upgrades are in lower case": {func(r *signalboxv1.Route) { r.Policy = &signalboxv1.RoutePolicy{Upgrades: []string{"WebSocket"}} }, []string{"policy.upgrades[0]"}},
		"a timeout of nothing is no timeout": {func(r *signalboxv1.Route) {
			r.Policy = &signalboxv1.RoutePolicy{ConnectTimeout: &durationpb.Duration{}}
		}, []string{"policy.connect_timeout"}},
		"an unknown way of removal is named":    {func(r *signalboxv1.Route) { r.Policy = &signalboxv1.RoutePolicy{Removal: 9} }, []string{"policy.removal"}},
		"an unknown way of forwarding is named": {func(r *signalboxv1.Route) { r.Policy = &signalboxv1.RoutePolicy{Forwarding: 9} }, []string{"policy.forwarding"}},
		"headers of a connection are not changed": {func(r *signalboxv1.Route) {
			r.Policy = &signalboxv1.RoutePolicy{RequestHeaders: &signalboxv1.HeaderChanges{
				Set: map[string]string{"content-length": "1", "Host": "fine", "X-Fine": "ä\t1"}, Remove: []string{"UPGRADE", "host", "Cookie"},
			}}
		}, []string{`policy.request_headers.set["content-length"]`, "policy.request_headers.remove[0]", "policy.request_headers.remove[1]"}},
		"a response has no host, and no header twice": {func(r *signalboxv1.Route) {
			r.Policy = &signalboxv1.RoutePolicy{ResponseHeaders: &signalboxv1.HeaderChanges{Set: map[string]string{"Host": "h", "X-A": "1", "x-a": "2"}}}
		}, []string{`policy.response_headers.set["Host"]`, `policy.response_headers.set["x-a"]`}},
		"a header's value is on one line": {func(r *signalboxv1.Route) {
			r.Policy = &signalboxv1.RoutePolicy{RequestHeaders: &signalboxv1.HeaderChanges{Set: map[string]string{"A": "1\r\nB: 2", "C": " 1", "no header": "1"}}}
		}, []string{`policy.request_headers.set["A"]`, `policy.request_headers.set["C"]`, `policy.request_headers.set["no header"]`}},
		"how a certificate is checked makes sense": {func(r *signalboxv1.Route) {
			r.Upstreams = []*signalboxv1.Upstream{
				{Url: "http://a", Tls: new(signalboxv1.UpstreamTls)},
				{Url: "https://a", Tls: &signalboxv1.UpstreamTls{Insecure: true, ServerName: "b"}},
				{Url: "https://a", Tls: &signalboxv1.UpstreamTls{ServerName: "a b", Ca: "garbage"}},
				{Url: "https://a", Tls: &signalboxv1.UpstreamTls{ServerName: "10.0.0.1"}},
			}
		}, []string{"upstreams[0].tls", "upstreams[1].tls.insecure", "upstreams[2].tls.server_name", "upstreams[2].tls.ca"}},
		"a location's scheme is http or https": {func(r *signalboxv1.Route) {
			r.Policy = &signalboxv1.RoutePolicy{Location: &signalboxv1.LocationRewrite{Scheme: "HTTPS"}}
		}, []string{"policy.location.scheme"}},
		"everything wrong is named at once": {func(r *signalboxv1.Route) { r.Name, r.Upstreams = "", nil }, []string{"name", "upstreams"}},
		"a duration that overflows is not taken": {func(r *signalboxv1.Route) {
			r.Policy = &signalboxv1.RoutePolicy{IdleTimeout: &durationpb.Duration{Seconds: 1 << 60}}
		}, []string{"policy.idle_timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := route()
			c.change(r)
			if diff := cmp.Diff(c.want, fields(rules.Route(r))); diff != "" {
				t.Errorf("fields named (-want +got):\n%s", diff)
			}
		})
	}
}

func fields(err error) []string {
	var invalid *rules.Invalid
	if !errors.As(err, &invalid) {
		return nil
	}
	var names []string
	for _, v := range invalid.Violations {
		names = append(names, v.Field)
	}
	return names
}

// A match is stored in one form, and that form passes as it is.
func TestNormalMatch(t *testing.T) {
	for _, c := range []struct{ host, path, wantHost, wantPath string }{
		{"", "", "", "/"},
		{"WWW.Example.ORG.", "/Blog/", "www.example.org", "/Blog"},
		{"*.Example.org", "/", "*.example.org", "/"},
		{"bücher.example", "/你好", "xn--bcher-kva.example", "/你好"},
		{"[::1]", "/a//b//", "::1", "/a//b"},
		{"my_service.internal", "/", "my_service.internal", "/"},
	} {
		m := &signalboxv1.Match{Host: c.host, PathPrefix: c.path}
		if err := rules.Match(m); err != nil {
			t.Errorf("Match(%q, %q) = %v", c.host, c.path, err)
			continue
		}
		n := rules.NormalMatch(m)
		if n.Host != c.wantHost || n.PathPrefix != c.wantPath {
			t.Errorf("NormalMatch(%q, %q) = %q, %q, want %q, %q", c.host, c.path, n.Host, n.PathPrefix, c.wantHost, c.wantPath)
		}
		if again := rules.NormalMatch(n); rules.MatchName(again) != rules.MatchName(n) {
			t.Errorf("NormalMatch is not its own normal form: %q, then %q", rules.MatchName(n), rules.MatchName(again))
		}
	}
}

// Every normal form is valid and normal.
func FuzzNormalMatch(f *testing.F) {
	f.Add("a.b", "/x/")
	f.Add("*.é", "//")
	f.Add("[::1%eth0]", "/..")
	f.Fuzz(func(t *testing.T, host, path string) {
		m := &signalboxv1.Match{Host: host, PathPrefix: path}
		if rules.Match(m) != nil {
			return
		}
		n := rules.NormalMatch(m)
		if err := rules.Match(n); err != nil {
			t.Fatalf("normal form of %q %q is not valid: %v", host, path, err)
		}
		if a, b := rules.MatchName(n), rules.MatchName(rules.NormalMatch(n)); a != b {
			t.Errorf("normal form of %q %q is %q and then %q", host, path, a, b)
		}
	})
}

// Scopes grant what their names say and nothing else.
func TestImplies(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"admin", "node", true}, {"admin", "keys:write", true},
		{"routes:write", "routes:read", true}, {"routes:read", "routes:write", false},
		{"routes:write", "keys:read", false}, {"node", "nodes:read", false}, {"nodes:write", "node", false},
		{"", "routes:read", false}, {"routes:read", "", false},
	} {
		if got := rules.Implies(c.have, c.want); got != c.ok {
			t.Errorf("Implies(%q, %q) = %t", c.have, c.want, got)
		}
	}
}

// Keys, nodes and listeners are held to their fields as well.
func TestOthers(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"a key needs scopes":                   {rules.APIKey(&signalboxv1.ApiKey{Name: "ci"}), []string{"scopes"}},
		"a key's scopes are known":             {rules.APIKey(&signalboxv1.ApiKey{Name: "ci", Scopes: []string{"routes"}}), []string{"scopes[0]"}},
		"only a node's key is bound to a node": {rules.APIKey(&signalboxv1.ApiKey{Name: "ci", Scopes: []string{"admin"}, Node: "n"}), []string{"node"}},
		"a key bound to a node is right":       {rules.APIKey(&signalboxv1.ApiKey{Name: "n", Scopes: []string{"node"}, Node: "n"}), nil},
		"a drain may end": {rules.Node(&signalboxv1.Node{Name: "n", Wanted: &signalboxv1.NodeWanted{
			Drain: true, DrainTimeout: &durationpb.Duration{}, StopEpoch: 1,
		}}), nil},
		"what does not drain is not stopped": {rules.Node(&signalboxv1.Node{Name: "n", Wanted: &signalboxv1.NodeWanted{
			DrainTimeout: durationpb.New(time.Second), StopEpoch: 1,
		}}), []string{"wanted.drain_timeout", "wanted.stop_epoch"}},
		"a time to drain is not negative": {rules.Node(&signalboxv1.Node{Name: "n", Wanted: &signalboxv1.NodeWanted{
			Drain: true, DrainTimeout: durationpb.New(-1), StopEpoch: -1,
		}}), []string{"wanted.drain_timeout", "wanted.stop_epoch"}},
		"a node's name is a host name": {rules.Node(&signalboxv1.Node{Name: "a/b"}), []string{"name"}},
		"a listener's name is simple":  {rules.Listener(&signalboxv1.Listener{Name: "A"}), []string{"name"}},
		"trusted proxies are prefixes": {rules.Listener(&signalboxv1.Listener{Name: "a", TrustedProxies: []string{"10.0.0.0/8", "10.0.0"}}), []string{"trusted_proxies[1]"}},
	} {
		if diff := cmp.Diff(c.want, fields(c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
