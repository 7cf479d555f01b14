package route

import (
	"net/textproto"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Policy says how requests of a route are sent on, with everything decided.
type Policy struct {
	// StripPrefix removes the matched prefix before sending on.
	StripPrefix bool
	// DropUpstreamPath sends requests without the upstream's own path and query.
	DropUpstreamPath bool
	// PassForwarding leaves the headers alone by which proxies tell who the
	// client is.
	PassForwarding bool
	// RequestHeader and ResponseHeader are changed so; nil is not at all. They
	// are shared and must not be changed.
	RequestHeader, ResponseHeader *HeaderChanges
	// LocationHost rewrites the host of redirections to the upstream to the one
	// the client asked for; LocationScheme, unless it is empty, their scheme.
	LocationHost   bool
	LocationScheme string
	// UpstreamHost sends the upstream's own host instead of the client's.
	UpstreamHost bool
	// Upgrades are the protocols that may be switched to, in lower case.
	// "h2c" is never among them. It is shared and must not be changed.
	Upgrades []string
	// Connect bounds reaching the upstream, without TLS.
	Connect time.Duration
	// Response bounds the wait for the response header; 0 is no bound.
	Response time.Duration
	// Idle ends an exchange on which nothing moved for this long, UpgradeIdle
	// one whose protocol was switched; 0 is never.
	Idle, UpgradeIdle time.Duration
	// upgradeSaid says that a record says UpgradeIdle; else it follows Idle.
	upgradeSaid bool
	// Close ends running exchanges Grace after the route was removed.
	// Otherwise they run to their end.
	Close bool
	Grace time.Duration
}

// HeaderChanges are changes of a header, by canonical names: Remove first.
type HeaderChanges struct {
	Remove []string
	Set    []Header
	// Host is what a request's Host is set to; empty when it is left alone.
	Host string
}

// A Header is one field of a header.
type Header struct {
	Name string
	// Values is the value alone, in the form that net/http wants.
	Values []string
}

// builtin is what holds where neither route nor listener says anything.
func builtin() Policy {
	return Policy{Upgrades: []string{"websocket"}, Connect: 3 * time.Second}
}

// Defaults returns the policy of a listener's route_defaults, which may be
// nil, over the built-in one. p must have passed rules.Listener.
func Defaults(p *signalboxv1.RoutePolicy) *Policy {
	d := builtin()
	if said := compilePolicy(p); said != nil {
		said.overlay(&d)
	}
	return &d
}

// Under returns the route's own policy over a listener's defaults. It copies
// nothing for a route that says nothing itself.
func (r *Route) Under(defaults *Policy) Policy {
	out := *defaults
	if r.policy != nil {
		r.policy.overlay(&out)
	}
	return out
}

// A saidPolicy is a record's policy, with what takes time worked out.
type saidPolicy struct {
	*signalboxv1.RoutePolicy
	request, response *HeaderChanges // nil where it says nothing of them
}

// compilePolicy returns nil for nil.
func compilePolicy(p *signalboxv1.RoutePolicy) *saidPolicy {
	if p == nil {
		return nil
	}
	return &saidPolicy{p, changes(p.GetRequestHeaders()), changes(p.GetResponseHeaders())}
}

// equal reports whether both say the same.
func (p *saidPolicy) equal(o *saidPolicy) bool {
	if p == nil || o == nil {
		return p == o
	}
	return proto.Equal(p.RoutePolicy, o.RoutePolicy)
}

func changes(c *signalboxv1.HeaderChanges) *HeaderChanges {
	if c == nil {
		return nil
	}
	out := new(HeaderChanges)
	for _, name := range c.GetRemove() {
		out.Remove = append(out.Remove, textproto.CanonicalMIMEHeaderKey(name))
	}
	for name, value := range c.GetSet() {
		if name = textproto.CanonicalMIMEHeaderKey(name); name == "Host" {
			out.Host = value
			continue
		}
		out.Set = append(out.Set, Header{name, []string{value}})
	}
	return out
}

// overlay sets in out what p says.
func (p *saidPolicy) overlay(out *Policy) {
	if p.StripPrefix != nil {
		out.StripPrefix = p.GetStripPrefix()
	}
	if p.DropUpstreamPath != nil {
		out.DropUpstreamPath = p.GetDropUpstreamPath()
	}
	if p.GetForwarding() != signalboxv1.Forwarding_FORWARDING_UNSPECIFIED {
		out.PassForwarding = p.GetForwarding() == signalboxv1.Forwarding_FORWARDING_PASS
	}
	if p.request != nil {
		out.RequestHeader = p.request
	}
	if p.response != nil {
		out.ResponseHeader = p.response
	}
	if l := p.GetLocation(); l != nil {
		out.LocationHost, out.LocationScheme = l.GetHost(), l.GetScheme()
	}
	if p.GetHost() != signalboxv1.HostHeader_HOST_HEADER_UNSPECIFIED {
		out.UpstreamHost = p.GetHost() == signalboxv1.HostHeader_HOST_HEADER_UPSTREAM
	}
	if u := p.GetUpgrades(); len(u) > 0 {
		out.Upgrades = u
	}
	if p.GetRemoval() != signalboxv1.Removal_REMOVAL_UNSPECIFIED {
		out.Close = p.GetRemoval() == signalboxv1.Removal_REMOVAL_CLOSE
	}
	given(p.GetConnectTimeout(), &out.Connect)
	given(p.GetResponseTimeout(), &out.Response)
	given(p.GetIdleTimeout(), &out.Idle)
	out.upgradeSaid = given(p.GetUpgradeIdleTimeout(), &out.UpgradeIdle) || out.upgradeSaid
	if !out.upgradeSaid {
		out.UpgradeIdle = out.Idle
	}
	given(p.GetRemovalGrace(), &out.Grace)
}

// given sets a duration that is there, and tells whether it is.
func given(d *durationpb.Duration, out *time.Duration) bool {
	if d != nil {
		*out = d.AsDuration()
	}
	return d != nil
}

// Allows tells whether a client may switch to a protocol, by its name in lower
// case and without a version.
func (p *Policy) Allows(protocol string) bool {
	return protocol != "h2c" && protocol != "none" && slices.Contains(p.Upgrades, protocol)
}
