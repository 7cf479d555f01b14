package gatewaytest

import (
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// publish adds a change at the present revision to the history.
func (c *ControlPlane) publish(e *signalboxv1.Event) {
	e.Id = fmt.Sprintf("e1.%d.0", c.revision)
	e.Version = c.version()
	c.history = append(c.history, e)
	c.wake()
}

// Heartbeat sends all followers a heartbeat.
func (c *ControlPlane) Heartbeat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publish(&signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_HEARTBEAT})
}

// Greet has streams of events begin with a heartbeat. Without, a follower has no
// id before the first event.
func (c *ControlPlane) Greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greets = true
}

// Forget drops the history: who follows from before is sent a reset.
func (c *ControlPlane) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history, c.forgotten = nil, true
}

// FollowEvents implements EventService.
func (c *ControlPlane) FollowEvents(req *signalboxv1.FollowEventsRequest, out grpc.ServerStreamingServer[signalboxv1.FollowEventsResponse]) error {
	c.mu.Lock()
	broken := c.broken
	next, first := c.position(req.GetAfter())
	silent := first.Type == signalboxv1.EventType_EVENT_TYPE_HEARTBEAT && !c.greets
	c.mu.Unlock()
	if err := out.SendHeader(nil); err != nil {
		return err
	}
	if !silent {
		if err := out.Send(&signalboxv1.FollowEventsResponse{Event: first}); err != nil {
			return err
		}
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
		if err := c.wait(out.Context(), changed, broken); err != nil {
			return err
		}
	}
}

// position is where in history a follower begins, and the event that tells it
// so.
func (c *ControlPlane) position(after string) (int, *signalboxv1.Event) {
	head := fmt.Sprintf("e1.%d.0", c.revision)
	told := &signalboxv1.Event{Id: head, Type: signalboxv1.EventType_EVENT_TYPE_HEARTBEAT, Version: c.version()}
	if after == "" || after == head && !c.forgotten {
		return len(c.history), told
	}
	for i := len(c.history) - 1; i >= 0; i-- {
		if c.history[i].Id == after {
			told.Id = after
			return i + 1, told
		}
	}
	told.Type = signalboxv1.EventType_EVENT_TYPE_RESET
	return len(c.history), told
}

// Version is the present one.
func (c *ControlPlane) Version() *signalboxv1.Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version()
}
