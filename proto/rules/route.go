package rules

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	maxUpstreams = 256
	maxData      = 256 << 10
	maxUpgrades  = 16
	maxDuration  = 24 * time.Hour
)

// A ParsedRoute is what a route says of which requests go where, taken apart.
type ParsedRoute struct {
	// Host and Prefix are the match in normal form, as of NormalMatch.
	Host, Prefix string
	// Upstreams are in the order of the record; there is at least one.
	Upstreams []Upstream
}

// Route returns nil, or an *Invalid naming every field that is wrong.
func Route(r *signalboxv1.Route) error {
	_, err := ParseRoute(r)
	return err
}

// ParseRoute takes a route apart, or returns an *Invalid naming every field
// that is wrong.
func ParseRoute(r *signalboxv1.Route) (p ParsedRoute, err error) {
	if r == nil {
		return p, &Invalid{Violations: []Violation{{Field: "route", Reason: "is missing"}}}
	}
	var f findings
	f.wrap("name", routeName(r.GetName()))
	p.Host, p.Prefix, err = parseMatch(r.GetMatch())
	f.wrap("match", err)
	switch n := len(r.GetUpstreams()); {
	case n == 0:
		f.add("upstreams", "needs at least one, as {\"url\": \"http://127.0.0.1:8080\"}")
	case n > maxUpstreams:
		f.add("upstreams", "holds %d; at most %d are allowed", n, maxUpstreams)
	}
	p.Upstreams = make([]Upstream, len(r.GetUpstreams()))
	for i, u := range r.GetUpstreams() {
		p.Upstreams[i], err = upstream(u)
		f.wrap(fmt.Sprintf("upstreams[%d]", i), err)
	}
	f.wrap("policy", policy(r.GetPolicy()))
	f.wrap("data", data(r.GetData()))
	labels(&f, "labels", r.GetLabels())
	return p, f.err()
}

func routeName(name string) error {
	if name == "" {
		return fmt.Errorf("must be 1 to %d bytes long", maxRouteName)
	}
	if strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") {
		return fmt.Errorf("must not begin or end with a slash")
	}
	return text(name, maxRouteName)
}

// data checks that free-form data is one JSON object.
func data(d string) error {
	if d == "" {
		return nil
	}
	if len(d) > maxData {
		return fmt.Errorf("is %d bytes long; at most %d are allowed", len(d), maxData)
	}
	if !json.Valid([]byte(d)) || strings.TrimLeft(d, " \t\r\n")[0] != '{' {
		return fmt.Errorf("must be one JSON object")
	}
	return nil
}

func policy(p *signalboxv1.RoutePolicy) error {
	var f findings
	if _, ok := signalboxv1.HostHeader_name[int32(p.GetHost())]; !ok {
		f.add("host", "%d is not a known value", p.GetHost())
	}
	if _, ok := signalboxv1.Removal_name[int32(p.GetRemoval())]; !ok {
		f.add("removal", "%d is not a known value", p.GetRemoval())
	}
	if len(p.GetUpgrades()) > maxUpgrades {
		f.add("upgrades", "holds %d; at most %d are allowed", len(p.GetUpgrades()), maxUpgrades)
	}
	for i, u := range p.GetUpgrades() {
		at := fmt.Sprintf("upgrades[%d]", i)
		switch {
		case u == "h2c":
			f.add(at, "\"h2c\" is never allowed: it would let requests past the routes")
		case u == "none" && len(p.GetUpgrades()) > 1:
			f.add(at, "\"none\" stands alone")
		case u == "" || u != strings.ToLower(u) || strings.ContainsFunc(u, notToken):
			f.add(at, "must be a protocol name in lower case, as \"websocket\"")
		}
	}
	if _, ok := signalboxv1.Forwarding_name[int32(p.GetForwarding())]; !ok {
		f.add("forwarding", "%d is not a known value", p.GetForwarding())
	}
	f.wrap("request_headers", headerChanges(p.GetRequestHeaders(), true))
	f.wrap("response_headers", headerChanges(p.GetResponseHeaders(), false))
	if s := p.GetLocation().GetScheme(); s != "" && s != "http" && s != "https" {
		f.add("location.scheme", "%q must be \"http\" or \"https\"", s)
	}
	duration(&f, "connect_timeout", p.GetConnectTimeout(), time.Millisecond)
	duration(&f, "response_timeout", p.GetResponseTimeout(), time.Millisecond)
	duration(&f, "idle_timeout", p.GetIdleTimeout(), time.Millisecond)
	duration(&f, "upgrade_idle_timeout", p.GetUpgradeIdleTimeout(), 0)
	duration(&f, "removal_grace", p.GetRemovalGrace(), 0)
	return f.err()
}

// duration checks a duration that is given.
func duration(f *findings, field string, d *durationpb.Duration, least time.Duration) {
	switch {
	case d == nil:
	case d.CheckValid() != nil:
		f.add(field, "is not a valid duration")
	case d.AsDuration() < least || d.AsDuration() > maxDuration:
		f.add(field, "is %s; it must be from %s to %s", d.AsDuration(), least, maxDuration)
	}
}

// notToken reports whether r may not stand in an HTTP token (RFC 9110,
// section 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}
