package proxy

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/listen"
	"signalbox/node/route"
	"signalbox/proto/rules"
)

// An exchange is one request and what becomes of it. It belongs to the
// handler's goroutine, but for the fields that say otherwise.
type exchange struct {
	front *front
	rules *listener // the listener's record when the request came
	meter *meter
	w     http.ResponseWriter
	r     *http.Request
	begun time.Time
	// handshake says that a WebSocket is asked for, allowed or not.
	handshake bool

	// What accept finds out.
	bad    *listen.BadHead // nil unless the head was refused
	path   route.Path
	query  string // with its question mark; empty when there is none
	star   bool   // the target is "*", of a server and not of a resource
	route  *route.Route
	served *served
	policy route.Policy
	from   origin

	// ctx ends with the client's connection or the exchange.
	ctx    context.Context //nolint:containedctx // an exchange is one call
	cancel context.CancelCauseFunc
	// asked is the protocol the client wants to switch to, as it was spelled;
	// empty for none.
	asked string
	body  *clientBody // nil without a request body
	// forwarded backs the values of the forwarding headers.
	forwarded [4]string

	// What is known of the answer.
	to       *rules.Upstream // that was tried last
	addr     string          // of it, as it was dialed
	attempts int
	status   int
	phrase   string // the upstream's for it; empty where there is no answer of its
	// answeredEarly says that no route was looked for, matching how long that
	// took, active that the exchange counted as its route's activity.
	answeredEarly bool
	matching      time.Duration
	active        atomic.Bool

	counted bool // the meter knows the status
	started bool // the response's header is written, if perhaps not sent
	dirty   bool // something is written and not sent
	failed  *failure
	aborted bool // the client's stream was ended abruptly

	received, sent atomic.Int64
	still          stillness

	// early guards informational responses, which come from other goroutines:
	// none is written once the final one may be.
	early   sync.Mutex
	final   bool
	earlies int
	over    bool // w is net/http's again
	hurried bool // there is a deadline on writing to w

	// The life's lock guards these.
	prev, next *exchange
	doomed     *time.Timer

	stream atomic.Pointer[stream] // once the protocol was switched
}

// ServeHTTP carries one exchange.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{front: f, rules: f.rules.Load(), meter: f.pick(), w: w, r: r, begun: time.Now(), handshake: wantsWebSocket(r)}
	x.meter.open.Add(1)
	defer x.end() //nolint:contextcheck // x holds the context
	if bad := x.admit(); bad != nil {
		x.fail(bad) //nolint:contextcheck // x holds the context
		return
	}
	if x.builtin() {
		x.answeredEarly = true
		return
	}
	if bad := x.accept(); bad != nil {
		x.fail(bad) //nolint:contextcheck // x holds the context
		return
	}
	x.rewriteRequest()
	x.watchStillness()
	if x.asked != "" && f.handler.noUpgrades.Load() {
		x.fail(&failure{status: http.StatusServiceUnavailable, reason: ReasonShutdown, side: SideNode, text: "the node is drained: try another"}) //nolint:contextcheck // x holds the context
		return
	}
	res, bad := x.send() //nolint:contextcheck // x holds the context
	x.early.Lock()
	x.final = true
	x.early.Unlock()
	switch {
	case bad != nil:
		x.fail(bad) //nolint:contextcheck // x holds the context
	case res.StatusCode == http.StatusSwitchingProtocols:
		x.switchProtocols(res) //nolint:contextcheck // x holds the context
	default:
		x.answer(res) //nolint:contextcheck // x holds the context
	}
}

// admit tells why the request is not looked at, if it is not.
func (x *exchange) admit() *failure {
	if bad := listen.Violation(x.r); bad != nil {
		x.bad = bad
		return &failure{status: bad.Status, reason: Reason(bad.Reason), side: SideClient, text: bad.Text}
	}
	if ready := x.front.handler.cfg.Ready; ready != nil && !ready() {
		return &failure{status: http.StatusServiceUnavailable, reason: ReasonNotReady, side: SideNode, text: "not ready: no table yet"}
	}
	return nil
}

// accept finds the route for the request, or why there is none.
func (x *exchange) accept() *failure {
	if bad := x.parseTarget(); bad != nil {
		return bad
	}
	r, ok := x.match()
	if !ok {
		return &failure{status: http.StatusNotFound, reason: ReasonNoRoute, side: SideClient, text: "nothing is served here"}
	}
	x.route, x.served = r, r.Runtime.(*served)
	x.policy = r.Under(x.rules.defaults)
	x.ctx, x.cancel = context.WithCancelCause(x.r.Context())
	x.served.life.begin(x)
	return nil
}

// match finds the route, and how long that takes if somebody wants to know.
func (x *exchange) match() (*route.Route, bool) {
	var begun time.Time
	if x.front.handler.cfg.Observe != nil {
		begun = time.Now()
		defer func() { x.matching = time.Since(begun) }()
	}
	return x.front.handler.table.Load().Match(route.Host(x.r.Host), x.path.Clean)
}

// end is called when the exchange is over, however it ended.
func (x *exchange) end() {
	if x.served != nil {
		x.still.end()
		x.served.life.end(x)
		x.cancel(nil)
	}
	x.meter.ended(x)
	x.log()
	if tell := x.front.handler.cfg.Observe; tell != nil {
		x.observe(tell)
	}
	if x.body != nil && !x.aborted {
		x.body.linger()
	}
	x.early.Lock()
	defer x.early.Unlock()
	x.over = true
	if x.hurried && !x.aborted { // stopped too late to matter
		x.writeBy(time.Time{})
	}
}

// stop ends an exchange from another goroutine. A client that does not read is
// given a moment to take the node's answer.
func (x *exchange) stop(cause error) {
	if s := x.stream.Load(); s != nil {
		s.stop(cause)
		return
	}
	x.cancel(cause)
	x.early.Lock()
	defer x.early.Unlock()
	if !x.over {
		x.hurried = true
		x.writeBy(time.Now().Add(farewell))
	}
}

// writeBy bounds writing to the client; zero is no bound.
func (x *exchange) writeBy(t time.Time) {
	if d, ok := x.w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(t) // a connection that has none is gone
	}
}

// stopped tells whether stop was called.
func (x *exchange) stopped() bool {
	if x.served == nil {
		return false
	}
	_, ours := ended(context.Cause(x.ctx))
	return ours
}

// gotten counts bytes from the client.
func (x *exchange) gotten(n int) {
	x.received.Add(int64(n))
	x.meter.received.Add(uint64(n))
	x.served.life.counts.Received(n)
}

// gave counts bytes to the client.
func (x *exchange) gave(n int) {
	x.sent.Add(int64(n))
	x.meter.sent.Add(uint64(n))
	x.served.life.counts.Sent(n)
}

// answered notes the final status.
func (x *exchange) answered(status int) {
	x.status, x.counted = status, true
	x.meter.status(status)
	if x.served != nil {
		x.served.life.counts.Status(status)
	}
}
