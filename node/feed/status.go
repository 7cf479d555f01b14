package feed

import (
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Status is how a client stands. It must not be changed.
type Status struct {
	// Ready says that the node serves what it should and is not draining;
	// Reason why it is not, empty when it is.
	Ready  bool
	Reason string
	// Serving is the version served, nil when there is none.
	Serving *signalboxv1.Version
	// ControlPlanes are all addresses that are known, in order.
	ControlPlanes []ControlPlane
	// Rejections are the records refused, in order of kind and name.
	Rejections []*signalboxv1.Rejection

	// Current is Ready, apart from draining.
	Current bool
}

// A ControlPlane is how a client stands with one address.
type ControlPlane struct {
	Addr string `json:"addr"`
	// ID of the replica there, empty when it never answered.
	ID string `json:"id,omitempty"`
	// Connected says that a stream is open and was welcomed, Feeds that it is
	// the one that was asked to feed.
	Connected bool `json:"connected"`
	Feeds     bool `json:"feeds"`
	// Err is why the last attempt ended, empty when none did.
	Err string `json:"err,omitempty"`
}

// unknown is why a node is not ready before any control plane has said what
// is current.
const unknown = "no control plane has said yet what is current"

// Status returns how the client stands now.
func (c *Client) Status() Status {
	s := *c.status.Load()
	if s.Current && c.draining.Load() {
		s.Ready, s.Reason = false, "draining"
	}
	return s
}

// Fed is when the control plane that feeds the node was last known to be there:
// the moment at which a probe was sent that it answered. Zero when none ever did.
// It is asked each second, so that this is newer while all is well.
func (c *Client) Fed() time.Time {
	if at := c.fed.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// publish makes the client's status that of the loop. When readiness changed,
// all control planes are told.
func (l *loop) publish() {
	s := l.status()
	l.client.status.Store(s)
	for number, a := range l.attempts {
		a.feeds.Store(number == l.machine.asked)
	}
	if ready := l.client.ready(); ready != l.ready {
		l.ready = ready
		l.log.Info("readiness changed", "ready", ready, "reason", l.client.Status().Reason)
	} else {
		return
	}
	for _, a := range l.attempts {
		a.out.put(func(m *mail) { m.report = true })
	}
}

// status is how the loop stands.
func (l *loop) status() *Status {
	if l.rejections == nil {
		l.rejections = l.machine.refused.all()
	}
	s := &Status{
		Serving: l.machine.assembly.Serving(), Rejections: l.rejections,
		Ready: l.machine.ready, Current: l.machine.ready,
	}
	switch {
	case s.Ready:
	case l.machine.first == nil:
		s.Reason = unknown
	default:
		s.Reason = "serving " + text(s.Serving) + ", while " + text(l.machine.first) + " was current when a control plane first answered"
	}
	for _, k := range l.links.sorted() {
		peer := l.machine.peers[k.stream]
		cp := ControlPlane{Addr: k.addr, ID: k.replica, Connected: peer != nil && peer.replica != ""}
		cp.Feeds = cp.Connected && l.machine.asked == k.stream
		if k.err != nil {
			cp.Err = k.err.Error()
		}
		s.ControlPlanes = append(s.ControlPlanes, cp)
	}
	return s
}
