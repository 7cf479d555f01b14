package etcd

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"signalbox/store"
)

const (
	// A page of a list holds as many keys as make about pageBytes, judged by
	// the page before. With small records that is maxPage: more of them take
	// no less time, and fewer take longer, since etcd counts the rest for
	// each page.
	firstPage, maxPage = 100, 5000
	pageBytes          = 4 << 20
	// pageTimeout bounds the wait for one page.
	pageTimeout = 30 * time.Second
	// progressInterval is how often a watcher asks how far it has seen, and
	// silence how long a member may say nothing to that: then it hangs, and
	// another is asked. It is well below the time for which history is kept, or
	// a follower of a quiet store that reconnects would have to begin anew.
	progressInterval = time.Second
	silence          = 4 * time.Second
)

// span is a range of keys, by its first key and the one after its last.
type span struct{ first, end string }

func under(prefix string) span { return span{prefix, clientv3.GetPrefixRangeEnd(prefix)} }

// list calls each with all of a span as it is at a revision, in order of keys.
func (k *Keeper) list(ctx context.Context, s span, rev int64, each func(*mvccpb.KeyValue)) error {
	size := firstPage
	for {
		ctx, cancel := context.WithTimeout(ctx, pageTimeout)
		page, err := k.client.Get(ctx, s.first, clientv3.WithRange(s.end), clientv3.WithRev(rev), clientv3.WithLimit(int64(size)))
		err = fault(ctx, err)
		cancel()
		if err != nil {
			return err
		}
		bytes := 1
		for _, kv := range page.Kvs {
			each(kv)
			bytes += len(kv.Key) + len(kv.Value)
		}
		if !page.More {
			return nil
		}
		n := len(page.Kvs)
		s.first = string(page.Kvs[n-1].Key) + "\x00"
		size = min(max(n*pageBytes/bytes, 1), maxPage)
	}
}

// watch gives take all events of a span after a revision, those of one
// transaction never in two calls; and, now and then without events, how far it
// has seen. It returns when ctx ends, when take fails, or with the fault of
// the connection; errLost when etcd does not have all these events any more.
// It calls opened once the watch stands.
//
// The stream is etcd's own and not the client's, which would resume it by
// itself, and so never notice that it was connected to another history. And
// what is not taken yet holds up the server, instead of filling our memory.
func (k *Keeper) watch(ctx context.Context, s span, after int64, opened func(), take func([]*mvccpb.Event, int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	// A member that has lost its leader ends the stream.
	stream, err := k.streams.Watch.Watch(clientv3.WithRequireLeader(ctx),
		grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		cancel()
		return rpctypes.Error(err)
	}
	silent := time.AfterFunc(silence, cancel)
	defer silent.Stop()
	asking := make(chan struct{})
	go func() {
		defer close(asking)
		ask(ctx, stream, create(s, after+1))
	}()
	defer func() {
		cancel()
		<-asking
	}()
	var events []*mvccpb.Event
	for {
		silent.Reset(silence)
		resp, err := stream.Recv()
		if !silent.Stop() { // it ran out, whatever came then
			return fmt.Errorf("%w: the member says nothing", store.ErrUnavailable)
		}
		if err != nil {
			return rpctypes.Error(err)
		}
		switch {
		case resp.CompactRevision != 0:
			return errLost
		case resp.Canceled:
			return fmt.Errorf("etcd ended the watch: %s", resp.CancelReason)
		case resp.Created:
			opened()
			continue
		}
		events = append(events, resp.Events...)
		if resp.Fragment {
			continue
		}
		seen := int64(0)
		if len(events) == 0 { // then etcd has sent all up to here
			seen = resp.Header.Revision
		}
		if err := take(events, seen); err != nil {
			return err
		}
		events = nil
	}
}

// create asks for a watch of a span from a revision on.
func create(s span, from int64) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{
			Key:            []byte(s.first),
			RangeEnd:       []byte(s.end),
			StartRevision:  from,
			ProgressNotify: true,
			Fragment:       true,
		},
	}}
}

// ask sends a request, and then asks for progress until ctx or the stream
// ends; the receiving side learns of the latter.
func ask(ctx context.Context, stream pb.Watch_WatchClient, req *pb.WatchRequest) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for stream.Send(req) == nil {
		req = &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
			ProgressRequest: &pb.WatchProgressRequest{},
		}}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// transactions divides events, which are in order, by their revisions.
func transactions(events []*mvccpb.Event) iter.Seq2[int64, []*mvccpb.Event] {
	return func(yield func(int64, []*mvccpb.Event) bool) {
		for len(events) > 0 {
			rev, n := events[0].Kv.ModRevision, 1
			for n < len(events) && events[n].Kv.ModRevision == rev {
				n++
			}
			if !yield(rev, events[:n]) {
				return
			}
			events = events[n:]
		}
	}
}
