package auth

import (
	"context"
	"errors"

	"google.golang.org/grpc"
)

// Unary lets unary calls in.
func (k *Keys) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	who, err := k.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handler(who.with(ctx), req)
}

// Stream lets streams in. A stream's context ends when what it was opened with
// is no longer good, a key that is deleted, changed or expires, so a handler
// must return when its context ends, even while it waits for a message.
func (k *Keys) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	who, err := k.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if who.key == nil {
		return handler(srv, ss)
	}
	ctx, end, err := k.watched(ss.Context(), who)
	if err != nil {
		return err
	}
	defer end()
	err = handler(srv, &admitted{ServerStream: ss, ctx: who.with(ctx)})
	if why := context.Cause(ctx); errors.Is(why, errWho) || errors.Is(why, errRevoked) {
		return why
	}
	return err
}

// admitted is a stream that knows its caller.
type admitted struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream is one call, and has one by its interface
}

func (s *admitted) Context() context.Context { return s.ctx }

// call is an open stream.
type call struct {
	by  credential
	end context.CancelCauseFunc
}

// watched returns a context that ends with its parent, or, with errWho or
// errRevoked as its cause, when the caller's credential does. The function must
// be called when the stream is over.
func (k *Keys) watched(parent context.Context, who caller) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := func() { cancel(context.Canceled) }
	if expiry := who.key.GetExpireTime(); expiry != nil {
		var release context.CancelFunc
		ctx, release = context.WithDeadlineCause(ctx, expiry.AsTime(), errWho)
		stop = func() {
			release()
			cancel(context.Canceled)
		}
	}
	c := &call{by: who.by, end: cancel}
	k.mu.Lock()
	k.calls[c] = struct{}{}
	k.mu.Unlock()
	end := func() {
		stop()
		k.mu.Lock()
		delete(k.calls, c)
		k.mu.Unlock()
	}
	// It may have ended before the call was among those that are watched.
	view, _ := k.views.Now()
	if _, err := c.by.in(view); err != nil {
		end()
		return nil, nil, err
	}
	return ctx, end, nil
}
