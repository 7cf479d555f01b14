package route

import (
	"errors"
	"slices"
	"strings"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// A Route is a route's record, compiled. It never changes, except for Runtime;
// a record written again is another Route.
type Route struct {
	// Name identifies the record.
	Name string
	// Created and Revision are those of the record. A name with another
	// Created is another route.
	Created, Revision int64
	// Host and Prefix are the match in normal form: host in lower case or
	// empty, prefix decoded, "/" for all paths.
	Host, Prefix string
	// Upstreams are where requests go, in the order of the record.
	Upstreams []rules.Upstream
	// Runtime belongs to whoever serves the table and is nil until he sets it,
	// which he may do before the first table with this Route is published.
	Runtime any

	policy *saidPolicy // nil when the record has none
}

// errSocket is why a route to a unix socket is refused where a node's operator
// did not allow it: the node's own sockets must not be within reach of
// everyone who may write routes.
var errSocket = errors.New("upstreams: this node was not started to allow unix sockets")

// compile checks a record and takes it apart.
func compile(rec *signalboxv1.Route, sockets bool) (*Route, error) {
	p, err := rules.ParseRoute(rec)
	if err != nil {
		return nil, err
	}
	if !sockets && slices.ContainsFunc(p.Upstreams, func(u rules.Upstream) bool { return u.Unix }) {
		return nil, errSocket
	}
	return &Route{
		Name:      rec.GetName(),
		Created:   rec.GetMeta().GetCreatedRevision(),
		Revision:  rec.GetMeta().GetRevision(),
		Host:      p.Host,
		Prefix:    p.Prefix,
		Upstreams: p.Upstreams,
		policy:    compilePolicy(rec.GetPolicy()),
	}, nil
}

// same tells whether two routes of one name do the same and report as the
// same, so that the one may stay in the other's place.
func (r *Route) same(o *Route) bool {
	return r.Created == o.Created && r.Revision == o.Revision &&
		r.Host == o.Host && r.Prefix == o.Prefix &&
		slices.EqualFunc(r.Upstreams, o.Upstreams, rules.Upstream.Equal) && r.policy.equal(o.policy)
}

// before tells which of two routes with the same match and in order holds it:
// the one created first, whatever order they are heard of in.
func (r *Route) before(o *Route) bool {
	if r.Created != o.Created {
		return r.Created < o.Created
	}
	return r.Name < o.Name
}

// Target returns the path, and the query where there is one, with which a
// request goes to an upstream: the upstream's path, then the request's, with
// one slash at the seam; the upstream's query, then the request's. p must be
// what the route matched. Query is with its question mark, or empty when the
// request has none. The policy may leave parts out.
func (r *Route) Target(u *rules.Upstream, p Path, query string, policy *Policy) string {
	path := p.Raw
	if policy.StripPrefix && r.Prefix != "/" {
		path = p.Below(len(r.Prefix))
	}
	switch {
	case u.Path == "" || policy.DropUpstreamPath:
		if path == "" {
			path = "/"
		}
	case path == "":
		path = u.Path
	default:
		path = strings.TrimSuffix(u.Path, "/") + path
	}
	switch {
	case u.Query == "" || policy.DropUpstreamPath:
		return path + query
	case len(query) <= 1:
		return path + "?" + u.Query
	}
	return path + "?" + u.Query + "&" + query[1:]
}
