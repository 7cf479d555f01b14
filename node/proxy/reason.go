package proxy

import (
	"errors"
	"maps"
	"net/http"
	"sync"

	"signalbox/node/listen"
	"signalbox/node/upstream"
)

// A Reason says what made an exchange fail. Its text is stable. Beside those
// here, the reasons of packages listen and upstream are used as they are.
type Reason string

// The reasons of this package.
const (
	// ReasonNotReady: the node knows no routes yet. 503.
	ReasonNotReady Reason = "not_ready"
	// ReasonNoRoute: no route matches. 404.
	ReasonNoRoute Reason = "no_route"
	// ReasonNoUpstream: none of the route's upstreams can be tried. 503.
	ReasonNoUpstream Reason = "no_upstream"
	// ReasonRouteRemoved: the route was removed, and its policy does not let
	// exchanges run to their end. 503.
	ReasonRouteRemoved Reason = "route_removed"
	// ReasonIdle: nothing moved for the policy's idle timeout. 504.
	ReasonIdle Reason = "idle_timeout"
	// ReasonShutdown: the node is shutting down. 503.
	ReasonShutdown Reason = "shutting_down"
	// ReasonBadUpgrade: the upstream switched to a protocol it was not asked
	// for. 502.
	ReasonBadUpgrade Reason = "bad_upgrade"
	// ReasonClientGone: the client left before the answer was complete. 499,
	// which only the log sees.
	ReasonClientGone Reason = "client_gone"
)

// A Side says at whose door a failure is laid.
type Side string

// The sides.
const (
	SideClient   Side = "client"
	SideNode     Side = "node"
	SideNetwork  Side = "network"
	SideUpstream Side = "upstream"
	SidePolicy   Side = "policy"
)

// statusClientGone is what logs call an answer nobody waited for.
const statusClientGone = 499

// A failure is what an exchange is answered with, or ends with.
type failure struct {
	status int
	reason Reason
	side   Side
	// text is a sentence for the client; empty means the status's own. It
	// tells nothing of the network behind the node.
	text string
	// err is the cause, for the log; may be nil.
	err error
}

// refused is a request head that is not acted on.
func refused(reason listen.Reason, text string) *failure {
	return &failure{status: http.StatusBadRequest, reason: Reason(reason), side: SideClient, text: text}
}

// The causes with which exchanges are ended from elsewhere.
var (
	errIdle     = errors.New("nothing moved for the policy's idle timeout")
	errRemoved  = errors.New("the route was removed")
	errShutdown = errors.New("the node is shutting down")
)

// ended returns the failure of an exchange that was ended with a cause of ours.
func ended(cause error) (failure, bool) {
	switch {
	case errors.Is(cause, errIdle):
		return failure{status: http.StatusGatewayTimeout, reason: ReasonIdle, side: SidePolicy, err: cause}, true
	case errors.Is(cause, errRemoved):
		return failure{status: http.StatusServiceUnavailable, reason: ReasonRouteRemoved, side: SidePolicy, err: cause}, true
	case errors.Is(cause, errShutdown):
		return failure{status: http.StatusServiceUnavailable, reason: ReasonShutdown, side: SideNode, err: cause}, true
	}
	return failure{}, false
}

// sendFailure explains an error of sending to an upstream or of reading its
// answer.
func sendFailure(err error) failure {
	var e *upstream.Error
	if !errors.As(err, &e) {
		return failure{status: http.StatusBadGateway, reason: "internal", side: SideNode, err: err}
	}
	f := failure{status: http.StatusBadGateway, reason: Reason(e.Reason), side: Side(e.Side()), err: e.Err}
	switch {
	case e.Timeout():
		f.status = http.StatusGatewayTimeout
	case e.Reason == upstream.ReasonClientBody:
		f.status, f.text = http.StatusBadRequest, "the request body could not be read"
	case e.Reason == upstream.ReasonCanceled:
		f.status, f.reason = statusClientGone, ReasonClientGone
	case e.Reason == upstream.ReasonPoolClosed:
		f.status, f.reason = http.StatusServiceUnavailable, ReasonShutdown
	case e.Reason == upstream.ReasonNoResources:
		f.status = http.StatusServiceUnavailable
	}
	return f
}

// A blame is a reason with the side it is laid at.
type blame struct {
	reason Reason
	side   Side
}

// failures counts by reason and side. Its zero value is empty.
type failures struct {
	mu     sync.Mutex
	counts map[blame]uint64
}

func (f *failures) count(one *failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = map[blame]uint64{}
	}
	f.counts[blame{one.reason, one.side}]++
}

// all returns the counts so far.
func (f *failures) all() map[blame]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// Failures returns how many exchanges failed since the node started, by
// reason, those without a route included.
func (h *Handler) Failures() map[Reason]uint64 {
	by := map[Reason]uint64{}
	for b, n := range h.failures.all() {
		by[b.reason] += n
	}
	return by
}
