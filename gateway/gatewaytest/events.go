package gatewaytest

import (
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// publish adds a change at the present revision to the history.
func (c *ControlPlane) publish(e *signalboxv1.Event) {
	e.Id = fmt.Sprintf("e1.%d.0", c.revision)
	e.Version = c.version()
	c.history = append(c.history, e)
	close(c.changed)
	c.changed = make(chan struct{})
}

// Heartbeat sends all followers a heartbeat.
func (c *ControlPlane) Heartbeat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publish(&signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_HEARTBEAT})
}

// Forget drops the history: who follows from before is sent a reset.
func (c *ControlPlane) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = nil
}

// FollowEvents implements EventService.
func (c *ControlPlane) FollowEvents(req *signalboxv1.FollowEventsRequest, out grpc.ServerStreamingServer[signalboxv1.FollowEventsResponse]) error {
	c.mu.Lock()
	next, broken := len(c.history), c.broken
	id := fmt.Sprintf("e1.%d.0", c.revision)
	if after := req.GetAfter(); after != "" {
		next = slices.IndexFunc(c.history, func(e *signalboxv1.Event) bool { return e.Id == after }) + 1
	}
	c.mu.Unlock()
	if err := out.SendHeader(nil); err != nil {
		return err
	}
	if next == 0 && req.GetAfter() != "" {
		reset := &signalboxv1.Event{Id: id, Type: signalboxv1.EventType_EVENT_TYPE_RESET, Version: c.Version()}
		if err := out.Send(&signalboxv1.FollowEventsResponse{Event: reset}); err != nil {
			return err
		}
		c.mu.Lock()
		next = len(c.history)
		c.mu.Unlock()
	}
	for {
		c.mu.Lock()
		events, changed := slices.Clone(c.history[min(next, len(c.history)):]), c.changed
		next = len(c.history)
		c.mu.Unlock()
		for _, e := range events {
			if e.Kind != 0 && len(req.GetKinds()) > 0 && !slices.Contains(req.GetKinds(), e.Kind) {
				continue
			}
			if err := out.Send(&signalboxv1.FollowEventsResponse{Event: proto.CloneOf(e)}); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-broken:
			return status.Error(codes.Unavailable, "the control plane is going away")
		case <-out.Context().Done():
			return status.FromContextError(out.Context().Err()).Err()
		}
	}
}

// Version is the present one.
func (c *ControlPlane) Version() *signalboxv1.Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version()
}
