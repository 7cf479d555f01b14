package main

import (
	"context"
	"path"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A control plane that hangs, with its machine or its disk, keeps its
// connections, and gRPC does not ask a server more often than every 10 s
// whether it is there. Until it has been found out, reads need not wait for
// it.
const (
	hedgeAfter = time.Second // without an answer
	hedgeTries = 3           // in all
)

// hedge returns an interceptor that sends a read once more, which in turn is
// to another control plane, when there is no answer after so long, or when it
// could not be answered. The first answer is taken. Writes are sent once.
func hedge(after time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		into, ok := reply.(proto.Message)
		if !ok || !isRead(method) {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		r := &read{answers: make(chan answer, hedgeTries)}
		ctx, r.cancel = context.WithCancel(ctx)
		defer r.end()
		// The caller's own reply and options are the first try's. The others
		// must not write there at the same time.
		r.try(into, func() error { return invoke(ctx, method, req, reply, cc, opts...) })
		again := func() {
			if r.started < hedgeTries {
				other := into.ProtoReflect().New().Interface()
				r.try(other, func() error { return invoke(ctx, method, req, other, cc, unshared(opts)...) })
			}
		}
		patience := time.NewTicker(after)
		defer patience.Stop()
		for {
			select {
			case a := <-r.answers:
				r.ended++
				if status.Code(a.err) != codes.Unavailable {
					return r.take(a, into)
				}
				if again(); r.ended == r.started {
					return a.err
				}
			case <-patience.C:
				again()
			}
		}
	}
}

// isRead reports whether a method changes nothing.
func isRead(method string) bool {
	name := path.Base(method)
	return strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List") || name == "Check"
}

// unshared leaves out the options that have the call write to its caller.
func unshared(opts []grpc.CallOption) []grpc.CallOption {
	var own []grpc.CallOption
	for _, o := range opts {
		switch o.(type) {
		case grpc.HeaderCallOption, grpc.TrailerCallOption:
		default:
			own = append(own, o)
		}
	}
	return own
}

// A read is the tries of one call.
type read struct {
	cancel         context.CancelFunc
	running        sync.WaitGroup
	answers        chan answer // of all that were started; it has room for them
	started, ended int
}

type answer struct {
	reply proto.Message
	err   error
}

func (r *read) try(reply proto.Message, call func() error) {
	r.started++
	r.running.Go(func() { r.answers <- answer{reply, call()} })
}

// end ends the tries that still run, and waits for them.
func (r *read) end() {
	r.cancel()
	r.running.Wait()
}

// take makes an answer the caller's.
func (r *read) take(a answer, into proto.Message) error {
	r.end()
	if a.err == nil && a.reply != into {
		proto.Reset(into)
		proto.Merge(into, a.reply)
	}
	return a.err
}
