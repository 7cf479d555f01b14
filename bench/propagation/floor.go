package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A floor is the least that any control plane on gRPC must do: send a message,
// marshalled once, to every node, and hear one back from each. One goroutine a
// stream sends, another receives, as in package controlplane/feed.
type floor struct {
	signalboxv1.UnimplementedFeedServiceServer
	address string
	end     func() error

	joined atomic.Int64

	mu    sync.Mutex
	next  chan struct{} // closed and replaced when there is something to send
	round *round
}

// A round is one message to all, and their answers.
type round struct {
	message []byte
	missing atomic.Int64
	done    chan struct{} // closed when none is missing
}

// newFloor serves on an address of its own.
func newFloor(ctx context.Context) (*floor, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	const window = 1 << 20 // as in package controlplane
	server := grpc.NewServer(grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(grpcproto.Name)}),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window))
	f := &floor{address: ln.Addr().String(), next: make(chan struct{})}
	signalboxv1.RegisterFeedServiceServer(server, f)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	f.end = func() error {
		server.Stop()
		return <-ended
	}
	return f, nil
}

// codec sends bytes as they are.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Connect is a node's stream.
func (f *floor) Connect(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) error {
	received := make(chan error, 1)
	go func() { received <- f.receive(stream) }()
	_, next := f.current()
	f.joined.Add(1)
	defer f.joined.Add(-1)
	for {
		select {
		case <-next:
		case err := <-received:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var r *round
		r, next = f.current()
		if err := stream.SendMsg(r.message); err != nil {
			return err
		}
	}
}

func (f *floor) receive(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) error {
	for {
		m, err := stream.Recv()
		switch {
		case err != nil:
			return err
		case m.GetGoodbye() != nil:
			return io.EOF
		case m.GetAck() == nil:
			continue
		}
		r, _ := f.current()
		if r.missing.Add(-1) == 0 {
			close(r.done)
		}
	}
}

func (f *floor) current() (*round, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.round, f.next
}

// send sends an update of one route to all nodes and waits for all answers.
func (f *floor) send(ctx context.Context, i, nodes int) error {
	version := &signalboxv1.Version{Epoch: "0123456789abcdef", Revision: int64(i)}
	bytes, err := proto.Marshal(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Update{Update: &signalboxv1.Update{
		From: version, To: version, Part: 1, Parts: 1,
		Upserts: []*signalboxv1.Record{{Record: &signalboxv1.Record_Route{Route: request(i).GetRoute()}}},
	}}})
	if err != nil {
		return err
	}
	r := &round{message: bytes, done: make(chan struct{})}
	r.missing.Store(int64(nodes))
	f.mu.Lock()
	f.round = r
	close(f.next)
	f.next = make(chan struct{})
	f.mu.Unlock()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
