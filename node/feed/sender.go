package feed

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxMessage is about how large a message with a list is made, in bytes: well
// below what a gRPC server takes when nobody told it otherwise.
const maxMessage = 1 << 20

// Reports tell one control plane what the node carried. They belong to one
// goroutine.
type Reports interface {
	// Changed returns what every route that changed since the last call
	// carried since the process started. The first call returns all.
	Changed() []*signalboxv1.RouteReport
	// Instances does so for tunnel instances, with how they stand.
	Instances() []*signalboxv1.InstanceReport
	// Lines returns what instances logged since the last call.
	Lines() []*signalboxv1.LogLine
	// Close ends the reports.
	Close()
}

// A sender sends on one stream, from a goroutine of its own. It reports what
// was carried, and otherwise empties an outbox.
type sender struct {
	stream interface {
		Send(*signalboxv1.ConnectRequest) error
		CloseSend() error
	}
	out     *outbox
	reports Reports
	// ready is asked whenever something is sent that says so.
	ready func() bool
	// open is asked for what runs whenever a report is sent; nil if nobody knows.
	open func() int64
	// heartbeat is how long an idle node is silent at most.
	heartbeat time.Duration
	// since is when the message now being sent was begun, in nanoseconds
	// since 1970; 0 while none is.
	since atomic.Int64

	said     bool      // the ready last sent
	reported time.Time // when the last report was sent
}

// run sends until the stream fails, ctx ends or goodbye was said.
func (s *sender) run(ctx context.Context) {
	defer s.reports.Close()
	var ticker *time.Ticker
	var tick <-chan time.Time // nil until the control plane says how often
	for {
		m := s.out.take()
		if s.mail(m) != nil || m.goodbye != nil {
			return
		}
		if m.interval > 0 && ticker == nil {
			ticker = time.NewTicker(m.interval)
			defer ticker.Stop()
			tick = ticker.C
			if s.report(true) != nil {
				return
			}
		}
		select {
		case <-s.out.wake:
		case <-tick:
			if s.report(false) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// mail sends what was taken from the outbox. After goodbye nothing more is
// sent, so everything that was carried until then comes before it.
func (s *sender) mail(m mail) error {
	if m.hello != nil {
		if err := s.hello(m.hello); err != nil {
			return err
		}
	}
	if m.ack != nil {
		if err := s.ack(m.ack); err != nil {
			return err
		}
	}
	if m.feed != nil {
		if err := s.send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Feed{Feed: m.feed}}); err != nil {
			return err
		}
	}
	if m.report && !s.reported.IsZero() && s.ready() != s.said || m.goodbye != nil {
		if err := s.report(true); err != nil {
			return err
		}
	}
	if m.goodbye == nil {
		return nil
	}
	bye := &signalboxv1.ConnectRequest_Goodbye{Goodbye: m.goodbye}
	if err := s.send(&signalboxv1.ConnectRequest{Message: bye}); err != nil {
		return err
	}
	return s.stream.CloseSend()
}

// hello sends Hello. Rejections that would make it too large follow in Acks.
func (s *sender) hello(h *signalboxv1.Hello) error {
	h.Ready = s.ready()
	s.said = h.Ready
	first, rest := split(h.GetRejections())
	h.Rejections = first
	err := s.send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: h}})
	if err != nil || len(rest) == 0 {
		return err
	}
	return s.ack(&signalboxv1.Ack{Version: h.GetServing(), Rejections: rest})
}

// ack sends an Ack, in several when its lists are long: first what is
// accepted, then what is rejected. Each names the same version.
func (s *sender) ack(a *signalboxv1.Ack) error {
	for accepted, rejected := a.GetAccepted(), a.GetRejections(); ; {
		s.said = s.ready()
		part := &signalboxv1.Ack{Version: a.GetVersion(), Ready: s.said}
		if part.Accepted, accepted = split(accepted); len(accepted) == 0 {
			part.Rejections, rejected = split(rejected)
		}
		err := s.send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: part}})
		if err != nil || len(accepted)+len(rejected) == 0 {
			return err
		}
	}
}

// report sends what changed since the last report, in several messages when
// it is much. When nothing changed it sends nothing, unless it must or the
// heartbeat is due.
func (s *sender) report(must bool) error {
	if err := s.lines(s.reports.Lines()); err != nil {
		return err
	}
	routes, instances := s.reports.Changed(), s.reports.Instances()
	if !must && len(routes)+len(instances) == 0 && s.ready() == s.said && time.Since(s.reported) < s.heartbeat {
		return nil
	}
	for {
		s.said = s.ready()
		report := &signalboxv1.Report{Ready: s.said}
		if report.Routes, routes = split(routes); len(routes) == 0 {
			report.Instances, instances = split(instances)
		}
		if s.open != nil {
			report.OpenStreams = proto.Int64(s.open())
		}
		err := s.send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Report{Report: report}})
		if err != nil {
			return err
		}
		if len(routes)+len(instances) == 0 {
			break
		}
	}
	s.reported = time.Now()
	return nil
}

// lines sends what instances logged, in several messages when it is much.
func (s *sender) lines(rest []*signalboxv1.LogLine) error {
	for len(rest) > 0 {
		var first []*signalboxv1.LogLine
		first, rest = split(rest)
		lines := &signalboxv1.ConnectRequest_LogLines{LogLines: &signalboxv1.LogLines{Lines: first}}
		if err := s.send(&signalboxv1.ConnectRequest{Message: lines}); err != nil {
			return err
		}
	}
	return nil
}

// send sends one message, and lets stuck see how long that takes.
func (s *sender) send(m *signalboxv1.ConnectRequest) error {
	s.since.Store(time.Now().UnixNano())
	defer s.since.Store(0)
	return s.stream.Send(m)
}

// stuck is how long the message now being sent has been waiting.
func (s *sender) stuck(now time.Time) time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return now.Sub(time.Unix(0, since))
}

// split cuts a list where a message of maxMessage would be full.
func split[M proto.Message](list []M) (first, rest []M) {
	size := 0
	for i, m := range list {
		if size += proto.Size(m) + 4; size > maxMessage && i > 0 {
			return list[:i], list[i:]
		}
	}
	return list, nil
}
