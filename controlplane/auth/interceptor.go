package auth

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Unary lets unary calls in.
func (k *Keys) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	record, err := k.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handler(withCaller(ctx, record.GetKey()), req)
}

// Stream lets streams in. A stream's context ends when the key it was opened
// with is deleted, changed or expires, so a handler must return when its
// context ends, even while it waits for a message.
func (k *Keys) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	record, err := k.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if record == nil {
		return handler(srv, ss)
	}
	ctx, end, err := k.watched(ss.Context(), record)
	if err != nil {
		return err
	}
	defer end()
	err = handler(srv, &admitted{ServerStream: ss, ctx: withCaller(ctx, record.GetKey())})
	if errors.Is(context.Cause(ctx), errWho) {
		return errWho
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
	hash []byte
	end  context.CancelCauseFunc
}

// watched returns a context that ends with its parent, or, with errWho as its
// cause, when the key does. The function must be called when the stream is
// over.
func (k *Keys) watched(parent context.Context, record *signalboxv1.ApiKeyRecord) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := func() { cancel(context.Canceled) }
	if expiry := record.GetKey().GetExpireTime(); expiry != nil {
		var release context.CancelFunc
		ctx, release = context.WithDeadlineCause(ctx, expiry.AsTime(), errWho)
		stop = func() {
			release()
			cancel(context.Canceled)
		}
	}
	c := &call{hash: record.GetHash(), end: cancel}
	k.mu.Lock()
	k.calls[c] = struct{}{}
	k.mu.Unlock()
	end := func() {
		stop()
		k.mu.Lock()
		delete(k.calls, c)
		k.mu.Unlock()
	}
	// The key may have ended before the call was among those that are watched.
	view, _ := k.views.Now()
	if _, err := lookup(view, c.hash); err != nil {
		end()
		return nil, nil, err
	}
	return ctx, end, nil
}
