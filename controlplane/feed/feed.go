// Package feed is the sending end of a node's stream. For each node that asks
// to be fed it knows one thing: the version the node acknowledged. What the
// node lacks follows from that and from the replica's view, whenever it can be
// sent; so there is no queue, a slow node holds up nobody, and what changed
// meanwhile is merged by itself. One update is in flight to a node at a time.
package feed

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/observe"
	"signalbox/controlplane/presence"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// Views is what the feed reads of a replica.
type Views interface {
	Now() (*replica.View, <-chan struct{})
}

// Head tells the store's newest version for certain.
type Head interface {
	Head(ctx context.Context) (store.Version, error)
}

// Presence is what the feed needs of this replica's standing.
type Presence interface {
	ID() string
	Standing() (canFeed bool, members *signalboxv1.Members, changed <-chan struct{})
	Hold(node string, lease *signalboxv1.NodeLease) presence.Token
	Tell(node string)
	Linger(node string, token presence.Token)
	Release(node string, token presence.Token)
}

// Tally takes in what nodes carried. Joined and Left enclose a stream; Ended
// is for a process that said goodbye.
type Tally interface {
	Joined(node string, epoch int64)
	Report(node string, epoch int64, routes []*signalboxv1.RouteReport)
	ReportInstances(node string, epoch int64, instances []*signalboxv1.InstanceReport)
	Ended(node string, epoch int64)
	Left(node string, epoch int64)
}

// Logs takes in what instances on a node had to say.
type Logs interface {
	Add(node string, epoch int64, lines []*signalboxv1.LogLine)
}

// Config is what a Server is made of.
type Config struct {
	Views    Views
	Head     Head
	Presence Presence
	Nodes    *observe.Nodes
	Tally    Tally
	// Instances is told how instances stand. Nil: nobody is.
	Instances *observe.Instances
	// Logs is told what instances say. Nil: nobody is.
	Logs Logs
	// MayJoin says whether the caller may be the node of this name; its error
	// is a gRPC status. Nil means that every caller may.
	MayJoin func(ctx context.Context, node string) error
	// ReportInterval is how often nodes are asked to report. Default 1 s.
	ReportInterval time.Duration
	// Metrics count for several servers. Nil: this one counts for nobody.
	Metrics *Metrics
	Log     *slog.Logger
}

// Server is the FeedService of one replica.
type Server struct {
	signalboxv1.UnimplementedFeedServiceServer
	Config
	encoder encoder
}

// New returns a server. Its streams end with their contexts.
func New(c Config) *Server {
	if c.ReportInterval == 0 {
		c.ReportInterval = time.Second
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.Instances == nil {
		c.Instances = observe.NewInstances()
	}
	return &Server{Config: c}
}

// Connect is a node's stream.
func (s *Server) Connect(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) error {
	hello, err := firstHello(stream)
	if err != nil {
		return err
	}
	if err := rules.NodeName(hello.GetNode()); err != nil {
		return status.Errorf(codes.InvalidArgument, "hello.node: %v", err)
	}
	if s.MayJoin != nil {
		if err := s.MayJoin(stream.Context(), hello.GetNode()); err != nil {
			return err
		}
	}
	link, err := s.Nodes.Join(hello)
	if err != nil {
		return status.Error(codes.AlreadyExists, err.Error())
	}
	ss := newSession(s, stream, hello, link)
	return ss.run()
}

// helloTimeout is how long a stream may be silent at its beginning.
const helloTimeout = 10 * time.Second

// firstHello waits for a stream's Hello. The one that receives it ends at the
// latest with the stream, which gRPC ends when Connect returns.
func firstHello(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) (*signalboxv1.Hello, error) {
	type first struct {
		m   *signalboxv1.ConnectRequest
		err error
	}
	received := make(chan first, 1)
	go func() {
		m, err := stream.Recv()
		received <- first{m, err}
	}()
	late := time.NewTimer(helloTimeout)
	defer late.Stop()
	select {
	case f := <-received:
		if f.err == nil && f.m.GetHello() == nil {
			return nil, status.Error(codes.InvalidArgument, "hello: must be the first message of a stream")
		}
		return f.m.GetHello(), f.err
	case <-late.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "hello: was not said within %s", helloTimeout)
	case <-stream.Context().Done():
		return nil, context.Cause(stream.Context())
	}
}
