package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A crowd is the configuration of the part "nodes".
type crowd struct {
	// Address is whom they connect to, Key what they join with.
	Address, Key string
	Count        int
}

// window is as in a real node: see package node/feed.
const window = 4 << 20

// beNodes keeps streams, each on a connection of its own, and acknowledges
// every update until there are no more questions. Then the nodes say goodbye.
func beNodes(ctx context.Context, config []byte, serve func(func(string) (any, error)) error) error {
	var c crowd
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.Key))
	leave := make(chan struct{})
	for i := range c.Count {
		g.Go(func() error { return beNode(ctx, c.Address, fmt.Sprintf("node-%03d", i), leave) })
	}
	err := serve(func(question string) (any, error) { return nil, fmt.Errorf("nodes have no answer to %q", question) })
	close(leave)
	return errors.Join(err, g.Wait())
}

func beNode(ctx context.Context, address, name string, leave <-chan struct{}) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(ctx)
	if err != nil {
		return err
	}
	for _, m := range []*signalboxv1.ConnectRequest{
		{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: name, Epoch: time.Now().UnixNano()}}},
		{Message: &signalboxv1.ConnectRequest_Feed{Feed: &signalboxv1.Feed{}}},
	} {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	var sending sync.Mutex
	send := func(m *signalboxv1.ConnectRequest) error {
		sending.Lock()
		defer sending.Unlock()
		return stream.Send(m)
	}
	ended := make(chan struct{})
	var leaving sync.WaitGroup
	leaving.Go(func() {
		select {
		case <-leave:
			_ = send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Goodbye{Goodbye: &signalboxv1.Goodbye{}}})
		case <-ended:
		}
	})
	err = acknowledge(stream, send)
	close(ended)
	leaving.Wait()
	return err
}

// acknowledge answers every update until the stream ends.
func acknowledge(stream signalboxv1.FeedService_ConnectClient, send func(*signalboxv1.ConnectRequest) error) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		up := m.GetUpdate()
		if up == nil || up.GetPart() != up.GetParts() {
			continue
		}
		ack := &signalboxv1.Ack{Version: up.GetTo(), Ready: true}
		if err := send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: ack}}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}
