package route

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Policy says how requests of a route are sent on, with everything decided.
type Policy struct {
	// StripPrefix removes the matched prefix before sending on.
	StripPrefix bool
	// UpstreamHost sends the upstream's own host instead of the client's.
	UpstreamHost bool
	// Upgrades are the protocols that may be switched to, in lower case.
	// "h2c" is never among them. It is shared and must not be changed.
	Upgrades []string
	// Connect bounds reaching the upstream, without TLS.
	Connect time.Duration
	// Response bounds the wait for the response header; 0 is no bound.
	Response time.Duration
	// Idle ends an exchange on which nothing moved for this long; 0 is never.
	Idle time.Duration
	// Close ends running exchanges Grace after the route was removed.
	// Otherwise they run to their end.
	Close bool
	Grace time.Duration
}

// builtin is what holds where neither route nor listener says anything.
func builtin() Policy {
	return Policy{Upgrades: []string{"websocket"}, Connect: 3 * time.Second}
}

// Defaults returns the policy of a listener's route_defaults, which may be
// nil, over the built-in one. p must have passed rules.Listener.
func Defaults(p *signalboxv1.RoutePolicy) *Policy {
	d := builtin()
	overlay(p, &d)
	return &d
}

// Under returns the route's own policy over a listener's defaults. It copies
// nothing for a route that says nothing itself.
func (r *Route) Under(defaults *Policy) Policy {
	out := *defaults
	if r.policy != nil {
		overlay(r.policy, &out)
	}
	return out
}

// overlay sets in out what p says.
func overlay(p *signalboxv1.RoutePolicy, out *Policy) {
	if p == nil {
		return
	}
	if p.StripPrefix != nil {
		out.StripPrefix = p.GetStripPrefix()
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
	given(p.GetRemovalGrace(), &out.Grace)
}

// given sets a duration that is there.
func given(d *durationpb.Duration, out *time.Duration) {
	if d != nil {
		*out = d.AsDuration()
	}
}

// Allows tells whether a client may switch to a protocol, by its name in lower
// case and without a version.
func (p *Policy) Allows(protocol string) bool {
	return protocol != "h2c" && protocol != "none" && slices.Contains(p.Upgrades, protocol)
}
