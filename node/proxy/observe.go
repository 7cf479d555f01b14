package proxy

import "time"

// An Exchange is what Config.Observe is told of one that is over.
type Exchange struct {
	// Listener is the name of the one it came in by.
	Listener string
	// Method and Path are the request's; the path is without its query. Of a
	// head that was refused they are what it seems to ask for.
	Method, Path string
	// Status is the final one; 499 when the client did not wait for it.
	Status int
	// Upgrade says that the client asked to switch protocols.
	Upgrade bool
	// Builtin says that the listener answered before any route was looked for.
	Builtin bool
	// Route is the name of the route, empty if there is none, and Upstream the
	// URL of the upstream that was tried last.
	Route, Upstream string
	// Match is how long finding the route took; 0 if it was not looked for.
	Match time.Duration
	// Active says that the exchange counted as activity of its route.
	Active bool
	// Reason is why it failed; empty if it did not. Err says more, and may be
	// nil.
	Reason Reason
	Err    error
}

// observe tells of the exchange, which is over.
func (x *exchange) observe(tell func(Exchange)) {
	o := Exchange{
		Listener: x.front.name, Method: x.r.Method, Path: x.path.Raw, Status: x.status,
		Upgrade: x.asked != "" || x.r.Header["Upgrade"] != nil, Builtin: x.answeredEarly, Match: x.matching, Active: x.active.Load(),
	}
	if x.bad != nil {
		o.Method, o.Path = x.bad.Method, x.bad.Path
	}
	if x.route != nil {
		o.Route = x.route.Name
	}
	if x.to != nil {
		o.Upstream = x.to.Scheme + "://" + x.to.Host + x.to.Path
	}
	if x.failed != nil {
		o.Reason, o.Err = x.failed.reason, x.failed.err
	}
	tell(o)
}
