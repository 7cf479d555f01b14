package sse

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Waits between attempts to find a control plane again.
const (
	firstWait = 100 * time.Millisecond
	longest   = 2 * time.Second
)

// A Follower follows events across control planes that come and go. Its one
// goroutine belongs to whoever called Follow, who must call Stop.
type Follower struct {
	// Events are all there are, in order.
	Events <-chan *signalboxv1.Event
	// Opened is closed when the first stream is accepted.
	Opened <-chan struct{}
	// Done is closed at the end. Err says why, once it is.
	Done <-chan struct{}
	Err  error

	cancel context.CancelFunc
}

// Follow begins to follow. A control plane that is lost is looked for while
// there is patience.
func Follow(ctx context.Context, client signalboxv1.EventServiceClient, req *signalboxv1.FollowEventsRequest, patience time.Duration) *Follower {
	ctx, cancel := context.WithCancel(ctx)
	events, opened, done := make(chan *signalboxv1.Event), make(chan struct{}), make(chan struct{})
	f := &Follower{Events: events, Opened: opened, Done: done, cancel: cancel}
	run := &run{client: client, req: proto.CloneOf(req), events: events, opened: opened}
	go func() {
		defer close(done)
		f.Err = run.follow(ctx, patience)
	}()
	return f
}

// Stop ends the following, and waits until it has.
func (f *Follower) Stop() {
	f.cancel()
	<-f.Done
}

// run is the state of a follower's goroutine.
type run struct {
	client   signalboxv1.EventServiceClient
	req      *signalboxv1.FollowEventsRequest // its after is the last id seen
	events   chan<- *signalboxv1.Event
	opened   chan<- struct{} // nil once closed
	accepted bool            // the last stream was
}

// follow returns the error that ends the following. Whoever is not let in at
// first hears it at once; later on a control plane that is lost is looked for
// while there is patience, but only from an id, lest something be missed.
func (r *run) follow(ctx context.Context, patience time.Duration) error {
	err := r.stream(ctx)
	lost, wait := time.Now(), firstWait
	for r.opened == nil && r.req.GetAfter() != "" && !final(err) && time.Since(lost) < patience {
		if !pause(ctx, wait) {
			return err
		}
		r.accepted = false
		err = r.stream(ctx)
		if wait = min(2*wait, longest); r.accepted {
			lost, wait = time.Now(), firstWait
		}
	}
	return err
}

// pause waits, and reports whether it was let to.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stream follows one control plane to the stream's end, and returns why it
// ended. It is never nil.
func (r *run) stream(ctx context.Context) error {
	s, err := r.client.FollowEvents(ctx, r.req)
	if err != nil {
		return err
	}
	if md, err := s.Header(); err == nil && md != nil { // otherwise Recv knows why not
		r.accept()
	}
	for {
		res, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the control plane has ended the stream")
		}
		if err != nil {
			return err
		}
		r.accept()
		select {
		case r.events <- res.GetEvent():
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
		if id := res.GetEvent().GetId(); id != "" {
			r.req.After = id
		}
	}
}

// accept notes that the control plane has let us in.
func (r *run) accept() {
	r.accepted = true
	if r.opened != nil {
		close(r.opened)
		r.opened = nil
	}
}

// final reports whether no other control plane would do better.
func final(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.NotFound, codes.Unimplemented,
		codes.FailedPrecondition, codes.OutOfRange:
		return true
	}
	return false
}
