package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// beNodes keeps count streams to a control plane, each on a connection of its
// own, and acknowledges every update.
func beNodes(ctx context.Context, address, key string, count int) error {
	g, ctx := errgroup.WithContext(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key))
	for i := range count {
		g.Go(func() error { return beNode(ctx, address, fmt.Sprintf("node-%03d", i)) })
	}
	return g.Wait()
}

func beNode(ctx context.Context, address, name string) error {
	const window = 4 << 20 // as node/feed has it
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
	if err := stream.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: name, Epoch: 1}}}); err != nil {
		return err
	}
	if err := stream.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Feed{Feed: &signalboxv1.Feed{}}}); err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		up := m.GetUpdate()
		if up == nil || up.GetPart() != up.GetParts() {
			continue
		}
		if err := stream.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: &signalboxv1.Ack{Version: up.GetTo(), Ready: true}}}); err != nil {
			return err
		}
	}
}
