package nodepass

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/gateway/sse"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Bounds of what a follower waits for.
const (
	// beginTimeout is for each of two steps before the response begins: panels
	// give up on it after 10 s.
	beginTimeout = 4 * time.Second
	// listTimeout is for the list of all instances.
	listTimeout = 10 * time.Second
	// again is the wait before something that failed is tried again.
	again = time.Second
)

// begin fills a mirror: first it is known where in history the events stand,
// and then what is, so that nothing falls between.
func (h *Handler) begin(ctx context.Context, f *sse.Follower, m *mirror) error {
	ctx, cancel := context.WithTimeout(ctx, 2*beginTimeout)
	defer cancel()
	late := time.NewTimer(beginTimeout)
	defer late.Stop()
	select {
	case e := <-f.Events:
		m.apply(e)
	case <-f.Done:
		return f.Err
	case <-late.C:
		return status.Error(codes.Unavailable, "the control plane does not answer; try again")
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	l, err := h.all(ctx)
	if err != nil {
		return err
	}
	m.key.Config = masterID(l.version)
	m.sync(l, true)
	return nil
}

// gather keeps a mirror up to date until its follower has gone or no control
// plane lets it go on, and returns why.
func (h *Handler) gather(ctx context.Context, f *sse.Follower, m *mirror) error {
	poll := time.NewTicker(h.cfg.poll)
	defer poll.Stop()
	var retry <-chan time.Time // a whole state could not be had, and is asked for then
	for {
		whole := false
		select {
		case e := <-f.Events:
			m.apply(e)
			if whole = e.GetType() == signalboxv1.EventType_EVENT_TYPE_RESET; !whole {
				continue
			}
		case <-retry:
			whole = true
		case <-poll.C:
		case <-f.Done:
			return f.Err
		case <-ctx.Done():
			return ctx.Err()
		}
		err := h.refresh(ctx, m, whole)
		if code := status.Code(err); code == codes.Unauthenticated || code == codes.PermissionDenied {
			return err
		}
		if whole {
			if retry = nil; err != nil {
				retry = time.After(again)
			}
		}
	}
}

// refresh asks for all instances. Counters are not told of in events, so that
// panels hear of them by this; and they take a master for dead that says
// nothing of what runs.
func (h *Handler) refresh(ctx context.Context, m *mirror, whole bool) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	l, err := h.all(ctx)
	if err == nil {
		m.sync(l, whole)
		m.remind(time.Now().Add(-h.cfg.most))
	}
	return err
}

// tail is how many lines of each instance are asked for again when following
// them was interrupted.
const tail = 100

// listen passes on what instances log, until ctx ends. Of what was logged
// before the follower came it is told nothing, as by NodePass.
func (h *Handler) listen(ctx context.Context, m *mirror) {
	req := &signalboxv1.FollowInstanceLogsRequest{}
	heard := lastHeard{since: time.Now(), at: map[[2]string]time.Time{}}
	for {
		err := h.hear(ctx, m, req, &heard)
		switch status.Code(err) {
		case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.InvalidArgument:
			return // the events end of themselves, where they must
		}
		t := time.NewTimer(again)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		req.Tail = tail
	}
}

// hear passes on lines until the stream ends, and returns why it did.
func (h *Handler) hear(ctx context.Context, m *mirror, req *signalboxv1.FollowInstanceLogsRequest, heard *lastHeard) error {
	s, err := h.instances.FollowInstanceLogs(ctx, req)
	if err != nil {
		return err
	}
	for {
		res, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the control plane has ended the stream")
		}
		if err != nil {
			return err
		}
		if l := res.GetLine(); l != nil && heard.isNew(l, req.GetTail() > 0) {
			m.log(l, res.GetMissed())
		}
	}
}

// maxHeard bounds what is remembered of instances that log, on nodes.
const maxHeard = 10_000

// lastHeard tells lines that are heard again from new ones.
type lastHeard struct {
	since time.Time               // when hearing began
	at    map[[2]string]time.Time // newest line, by instance and node
}

// isNew reports whether a line has not been heard yet, which can only be after
// some were asked for again.
func (h *lastHeard) isNew(l *signalboxv1.LogLine, repeated bool) bool {
	who, at := [2]string{l.GetInstance(), l.GetNode()}, l.GetTime().AsTime()
	last, known := h.at[who]
	if !known {
		last = h.since
	}
	if repeated && !at.After(last) {
		return false
	}
	if len(h.at) >= maxHeard { // most of them are long gone
		clear(h.at)
		h.since = at
	}
	h.at[who] = at
	return true
}
