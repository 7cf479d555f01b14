package feed_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// A direct stream is a node that acknowledges at once, with no network between
// it and the server: what is measured is ours alone.
type direct struct {
	grpc.ServerStream
	ctx  context.Context //nolint:containedctx // a stream is one call
	says chan *signalboxv1.ConnectRequest
}

func (d *direct) Context() context.Context { return d.ctx }

func (d *direct) Recv() (*signalboxv1.ConnectRequest, error) {
	select {
	case m := <-d.says:
		return m, nil
	case <-d.ctx.Done():
		return nil, io.EOF
	}
}

func (d *direct) Send(*signalboxv1.ConnectResponse) error { return nil }

// SendMsg is called with what is encoded: updates.
func (d *direct) SendMsg(m any) error {
	bytes, err := feed.Codec().Marshal(m)
	if err != nil {
		return err
	}
	var res signalboxv1.ConnectResponse
	if err := proto.Unmarshal(bytes.Materialize(), &res); err != nil {
		return err
	}
	d.says <- &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: &signalboxv1.Ack{Version: res.GetUpdate().GetTo(), Ready: true}}}
	return nil
}

// One write until all nodes have acknowledged it, by a replica among ten.
func BenchmarkChangeFor200Nodes(b *testing.B) {
	const nodes, members = 200, 10
	keeper := mem.New()
	p := startPlane(b, keeper, "cp-0")
	for i := 1; i < members; i++ {
		s, err := keeper.Session(b.Context(), 1e9)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close(context.Background()) })
		if err := s.Put(b.Context(), fmt.Sprint("member/cp-", i), nil); err != nil {
			b.Fatal(err)
		}
	}
	server := feed.New(feed.Config{Views: p.replica, Head: keeper, Presence: p.stand, Nodes: p.nodes, Tally: noTally{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range nodes {
		d := &direct{ctx: ctx, says: make(chan *signalboxv1.ConnectRequest, 4)}
		d.says <- &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: fmt.Sprint("node-", i), Epoch: 1}}}
		d.says <- &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Feed{Feed: &signalboxv1.Feed{}}}
		running.Go(func() { _ = server.Connect(d) })
	}
	epoch := p.current().Version.Epoch
	for s := p.nodes.Standing(store.Version{}); s.Live < nodes; s = p.nodes.Standing(store.Version{}) {
		_, _, next := p.nodes.Changed(0)
		if p.nodes.Standing(store.Version{}).Live < nodes {
			<-next
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		v := store.Version{Epoch: epoch, Revision: p.put("a")}
		if s := p.nodes.Wait(ctx, v); s.Serving != nodes {
			b.Fatalf("waited in vain: %+v", s)
		}
	}
}
