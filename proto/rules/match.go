package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const maxPath = 4096

// Match returns nil, or an *Invalid naming what is wrong with a match.
func Match(m *signalboxv1.Match) error {
	_, _, err := parseMatch(m)
	return err
}

// NormalMatch returns the match in the form in which it is stored and
// compared: host in lower case without a trailing dot, path prefix with its
// leading slash and without any at the end. m must have passed Match.
func NormalMatch(m *signalboxv1.Match) *signalboxv1.Match {
	host, _ := Host(m.GetHost())
	return &signalboxv1.Match{Host: host, PathPrefix: pathPrefix(m.GetPathPrefix())}
}

// parseMatch returns a match's host and path prefix in normal form, or what is
// wrong with them.
func parseMatch(m *signalboxv1.Match) (host, prefix string, err error) {
	var f findings
	host, err = Host(m.GetHost())
	f.wrap("host", err)
	if p := m.GetPathPrefix(); p != "" {
		switch {
		case p[0] != '/':
			f.add("path_prefix", "must begin with a slash")
		case len(p) > maxPath:
			f.add("path_prefix", "is %d bytes long; at most %d are allowed", len(p), maxPath)
		case hasDots(p):
			f.add("path_prefix", "must not hold \".\" or \"..\" segments: requests never do")
		}
	}
	return host, pathPrefix(m.GetPathPrefix()), f.err()
}

// MatchName is the name a normal match is claimed by. Two matches have the
// same name only if they are the same.
func MatchName(m *signalboxv1.Match) string {
	return "match/" + m.GetHost() + m.GetPathPrefix()
}

// pathPrefix brings a path prefix into its stored form.
func pathPrefix(p string) string {
	if p = strings.TrimRight(p, "/"); p == "" {
		return "/"
	}
	return p
}

// hasDots reports whether a path has a "." or ".." segment.
func hasDots(p string) bool {
	for seg := range strings.SplitSeq(p, "/") {
		if seg == "." || seg == ".." {
			return true
		}
	}
	return false
}

// Host brings a host to match by into its stored form: a DNS name in lower
// case ASCII without a trailing dot, "*." before it for one further label, an
// IP address without brackets, or nothing for any host.
func Host(h string) (string, error) {
	if h == "" {
		return "", nil
	}
	if a, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
		return a.String(), nil
	}
	name, wild := strings.CutPrefix(strings.TrimSuffix(h, "."), "*.")
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil || ascii == "" {
		ascii, err = plainHost(name)
	}
	if err != nil {
		return "", err
	}
	if wild {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// plainHost accepts names that IDNA does not, such as those with an
// underscore, which are common inside networks.
func plainHost(name string) (string, error) {
	if name == "" || len(name) > 253 {
		return "", errors.New("must be a DNS name of at most 253 characters, as \"www.example.org\" or \"*.example.org\"")
	}
	name = strings.ToLower(name)
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", fmt.Errorf("%q must consist of labels of 1 to 63 characters", name)
		}
	}
	for _, r := range name {
		if r != '.' && notHost(r) {
			return "", fmt.Errorf("holds %q; a host is a name or address without port, as \"www.example.org\"", r)
		}
	}
	return name, nil
}
