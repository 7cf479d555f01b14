package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// breaking is an InstanceService whose streams of lines end again and again: the
// first tells one line, the next two, and so on.
type breaking struct {
	signalboxv1.UnimplementedInstanceServiceServer
	streams int
}

func (b *breaking) FollowInstanceLogs(req *signalboxv1.FollowInstanceLogsRequest, out grpc.ServerStreamingServer[signalboxv1.FollowInstanceLogsResponse]) error {
	b.streams++
	for place := range b.streams {
		if req.GetTail() == 0 && place < b.streams-1 {
			continue // it was said before
		}
		line := &signalboxv1.LogLine{Instance: "i", Text: "line " + strings.Repeat("x", place), Place: int64(place + 1)}
		if err := out.Send(&signalboxv1.FollowInstanceLogsResponse{Line: line}); err != nil {
			return err
		}
	}
	return nil
}

// linesWritten hands on what is written.
type linesWritten chan string

func (w linesWritten) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

func TestAMasterShowsEveryLineOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	signalboxv1.RegisterInstanceServiceServer(server, &breaking{streams: 1})
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	written := make(linesWritten, 100)
	m := &nodepassMaster{conn: conn, key: "k", log: &nodepassLog{out: written}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.tellLines(ctx)
	}()
	for _, want := range []string{"line  [i]", "line x [i]", "line xx [i]"} {
		select {
		case got := <-written:
			if !strings.HasSuffix(got, want+"\n") {
				t.Errorf("%q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatal("no line")
		}
	}
	cancel()
	<-ended
}
