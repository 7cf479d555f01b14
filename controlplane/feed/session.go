package feed

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/observe"
	"signalbox/controlplane/presence"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A session is one node's stream. One goroutine receives, another sends; what
// they share is guarded by mu.
type session struct {
	*Server
	stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]
	hello  *signalboxv1.Hello
	link   *observe.Link
	log    *slog.Logger
	kick   chan struct{} // wakes the sender; holds one

	mu       sync.Mutex
	feeding  bool           // the node asked, and was not told to go elsewhere
	have     store.Version  // what the node acknowledged, or said it has
	inFlight store.Version  // what it was sent and has not acknowledged; zero if nothing
	held     presence.Token // by which this replica vouches for the node; zero if it does not
	goodbye  bool
}

func newSession(s *Server, stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse], hello *signalboxv1.Hello, link *observe.Link) *session {
	return &session{
		Server: s, stream: stream, hello: hello, link: link,
		log:  s.Log.With("node", hello.GetNode()),
		kick: make(chan struct{}, 1),
	}
}

// run serves the stream until either end closes it, or another has taken its
// place. A peer that does not read holds up only the sender: like the receiver,
// that ends with the stream, which gRPC ends when this returns.
func (ss *session) run() error {
	ss.log.Info("node connected", "rev", ss.hello.GetServing().GetRevision(), "version", ss.hello.GetSoftwareVersion())
	ss.Tally.Joined(ss.hello.GetNode(), ss.hello.GetEpoch())
	ss.Instances.Joined(ss.hello.GetNode(), ss.hello.GetEpoch())
	received, sent := make(chan error, 1), make(chan error, 1)
	go func() { received <- ss.receive() }()
	go func() { sent <- ss.send() }()
	err := ss.await(received, sent)
	goodbye := ss.leave()
	ss.log.Info("node disconnected", "err", err, "goodbye", goodbye)
	return err
}

// await waits for what ends the stream.
func (ss *session) await(received, sent <-chan error) error {
	select {
	case err := <-received:
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	case err := <-sent:
		return err
	case <-ss.link.Replaced():
		if ss.link.ByNewer(ss.hello.GetEpoch()) {
			return status.Error(codes.AlreadyExists, observe.ErrReplaced.Error())
		}
		return status.Error(codes.Aborted, "a newer stream of the same process has taken this one's place")
	case <-ss.stream.Context().Done():
		return context.Cause(ss.stream.Context())
	}
}

// leave takes the node's stream out of everything that counts on it, and
// reports whether the node said goodbye. The node itself may well serve on:
// whoever feeds it next vouches for it; until then this replica does, for as
// long as a lease lasts.
func (ss *session) leave() (goodbye bool) {
	ss.mu.Lock()
	ss.feeding = false // the sender vouches for it no more
	held, goodbye := ss.held, ss.goodbye
	ss.mu.Unlock()
	node, epoch := ss.hello.GetNode(), ss.hello.GetEpoch()
	ss.link.Leave(goodbye)
	if goodbye {
		ss.Tally.Ended(node, epoch)
		ss.Instances.Ended(node, epoch)
		ss.Presence.Release(node, held)
	} else {
		ss.Presence.Linger(node, held)
	}
	ss.Tally.Left(node, epoch)
	ss.Instances.Left(node, epoch)
	return goodbye
}

// receive takes in what the node says.
func (ss *session) receive() error {
	for {
		m, err := ss.stream.Recv()
		if err != nil {
			return err
		}
		switch m := m.GetMessage().(type) {
		case *signalboxv1.ConnectRequest_Ack:
			ss.Metrics.acks.Inc()
			ss.acked(m.Ack)
		case *signalboxv1.ConnectRequest_Report:
			ss.Metrics.reports.Inc()
			ss.reported(m.Report)
		case *signalboxv1.ConnectRequest_LogLines:
			if ss.Logs != nil {
				ss.Logs.Add(ss.hello.GetNode(), ss.hello.GetEpoch(), m.LogLines.GetLines())
			}
		case *signalboxv1.ConnectRequest_Feed:
			ss.asked(m.Feed)
		case *signalboxv1.ConnectRequest_Goodbye:
			ss.mu.Lock()
			ss.goodbye = true
			ss.mu.Unlock()
			return io.EOF
		case *signalboxv1.ConnectRequest_Hello:
			return status.Error(codes.InvalidArgument, "hello: is said once, as the first message of a stream")
		default:
			return status.Error(codes.InvalidArgument, "message: is missing, or of a kind that this control plane does not know")
		}
	}
}

// reported hands on what a report says. Who is told that an instance stands
// otherwise finds its counters up to date.
func (ss *session) reported(r *signalboxv1.Report) {
	node, epoch := ss.hello.GetNode(), ss.hello.GetEpoch()
	ss.link.Heard(r.GetReady(), r.OpenStreams)
	ss.Tally.Report(node, epoch, r.GetRoutes())
	if all := r.GetInstances(); len(all) > 0 {
		ss.Tally.ReportInstances(node, epoch, all)
		if ss.Instances.Report(node, epoch, all) {
			ss.Presence.Tell(node)
		}
	}
}

// asked begins the feeding, or begins it anew.
func (ss *session) asked(f *signalboxv1.Feed) {
	ss.mu.Lock()
	ss.feeding, ss.inFlight = true, store.Version{}
	ss.have = store.Version{Epoch: f.GetHave().GetEpoch(), Revision: store.Revision(f.GetHave().GetRevision())}
	ss.mu.Unlock()
	ss.wake()
}

// acked takes note of what the node serves now, and lets the next update go.
func (ss *session) acked(a *signalboxv1.Ack) {
	version := store.Version{Epoch: a.GetVersion().GetEpoch(), Revision: store.Revision(a.GetVersion().GetRevision())}
	ss.link.Ack(a)
	ss.Presence.Tell(ss.hello.GetNode())
	for _, k := range a.GetAccepted() {
		ss.log.Info("record accepted after all", "rev", a.GetVersion().GetRevision(), "record", k.GetKind().String()+"/"+k.GetName())
	}
	for _, r := range a.GetRejections() {
		ss.log.Warn("record rejected", "rev", r.GetRevision(), "record", r.GetKind().String()+"/"+r.GetName(), "reason", r.GetReason())
	}
	ss.mu.Lock()
	mine := ss.feeding && version == ss.inFlight
	if mine {
		ss.have, ss.inFlight = version, store.Version{}
	}
	ss.mu.Unlock()
	if !mine {
		return
	}
	ss.vouch()
	// Looked at only now: whoever waited for this ack may have written already,
	// and the sender, woken by that, still found this update in flight.
	if view, _ := ss.Views.Now(); view != nil && version != view.Version {
		ss.wake()
	}
}

// headTimeout bounds asking the store for its newest version.
const headTimeout = 2 * time.Second
