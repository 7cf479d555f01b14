package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Listener returns nil, or an *Invalid naming every field that is wrong.
func Listener(l *signalboxv1.Listener) error {
	if l == nil {
		return &Invalid{Violations: []Violation{{Field: "listener", Reason: "is missing"}}}
	}
	var f findings
	f.wrap("name", simple(l.GetName()))
	for i, p := range l.GetTrustedProxies() {
		if p == UnixPeers {
			continue
		}
		_, err := Prefix(p)
		f.wrap(fmt.Sprintf("trusted_proxies[%d]", i), err)
	}
	f.wrap("route_defaults", policy(l.GetRouteDefaults()))
	for i, h := range l.GetAllowedHeaderNames() {
		if h == "" || strings.ContainsFunc(h, notToken) {
			f.add(fmt.Sprintf("allowed_header_names[%d]", i), "%q is not a header name", h)
		}
	}
	duration(&f, "idle_timeout", l.GetIdleTimeout(), time.Second)
	f.wrap("error_pages", errorPages(l.GetErrorPages()))
	if s := l.GetUpstreamFailureStatus(); s != 0 && (s < 500 || s > 599) {
		f.add("upstream_failure_status", "is %d; it must be from 500 to 599, or 0 for 502 and 504", s)
	}
	if p := l.GetHealthPath(); p != "" && (!strings.HasPrefix(p, "/") || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || r == '?' || r == '#' })) {
		f.add("health_path", "must be a path as it is sent, as \"/healthz\"")
	}
	if p := l.GetHttpsRedirect().GetPort(); p > 65535 {
		f.add("https_redirect.port", "%d is not a port", p)
	}
	return f.err()
}

// UnixPeers stands among a listener's trusted proxies for peers on unix sockets.
const UnixPeers = "unix"

// Prefix reads an address or CIDR prefix; an address is a prefix of itself.
func Prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q must be an address or a prefix, as \"10.0.0.0/8\"", s)
	}
	return p.Masked(), nil
}

// Node returns nil, or an *Invalid naming every field that is wrong.
func Node(n *signalboxv1.Node) error {
	if n == nil {
		return &Invalid{Violations: []Violation{{Field: "node", Reason: "is missing"}}}
	}
	var f findings
	f.wrap("name", NodeName(n.GetName()))
	w := n.GetWanted()
	labels(&f, "wanted.labels", w.GetLabels())
	duration(&f, "wanted.drain_timeout", w.GetDrainTimeout(), 0)
	if w.GetDrainTimeout() != nil && !w.GetDrain() {
		f.add("wanted.drain_timeout", "is for a drain: set drain too, or leave it out")
	}
	switch {
	case w.GetStopEpoch() < 0:
		f.add("wanted.stop_epoch", "must be a process's epoch, as it is observed, or 0 for none")
	case w.GetStopEpoch() > 0 && !w.GetDrain():
		f.add("wanted.stop_epoch", "is for a drain: set drain too, or leave it out")
	}
	return f.err()
}

// NodeName reports what is wrong with a node's name.
func NodeName(name string) error {
	if name == "" || len(name) > maxNodeName {
		return fmt.Errorf("must be 1 to %d characters long", maxNodeName)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r) {
			return fmt.Errorf("may only hold letters, digits, \"-\", \".\" and \"_\", not %q", r)
		}
	}
	return nil
}

// scopes are all there are, in the order they are listed to people.
var scopes = []string{
	"admin", "node",
	"routes:read", "routes:write",
	"listeners:read", "listeners:write",
	"instances:read", "instances:write",
	"nodes:read", "nodes:write",
	"keys:read", "keys:write",
	"events:read",
}

// Scopes returns every scope there is.
func Scopes() []string { return slices.Clone(scopes) }

// Implies reports whether a holder of scope have may do what needs want.
// Admin implies everything, and writing a kind implies reading it; any scope
// will do for "any".
func Implies(have, want string) bool {
	if have == "admin" || have == want || want == "any" {
		return true
	}
	kind, write := strings.CutSuffix(have, ":write")
	return write && want == kind+":read"
}

// APIKey returns nil, or an *Invalid naming every field that is wrong.
func APIKey(k *signalboxv1.ApiKey) error {
	if k == nil {
		return &Invalid{Violations: []Violation{{Field: "key", Reason: "is missing"}}}
	}
	var f findings
	f.wrap("name", simple(k.GetName()))
	if len(k.GetScopes()) == 0 {
		f.add("scopes", "needs at least one of %s", strings.Join(scopes, ", "))
	}
	for i, s := range k.GetScopes() {
		if !slices.Contains(scopes, s) {
			f.add(fmt.Sprintf("scopes[%d]", i), "%q is not one of %s", s, strings.Join(scopes, ", "))
		}
	}
	if t := k.GetExpireTime(); t != nil && t.CheckValid() != nil {
		f.add("expire_time", "is not a valid time")
	}
	if k.GetNode() != "" {
		f.wrap("node", NodeName(k.GetNode()))
		if !slices.Equal(k.GetScopes(), []string{"node"}) {
			f.add("node", "restricts a key whose one scope is \"node\"")
		}
	}
	return f.err()
}
