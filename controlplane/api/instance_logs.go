package api

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"signalbox/controlplane/logs"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// FollowInstanceLogs implements InstanceService. The caller is slow when its
// stream does not take lines as fast as they are said.
func (s *instances) FollowInstanceLogs(req *signalboxv1.FollowInstanceLogsRequest, stream grpc.ServerStreamingServer[signalboxv1.FollowInstanceLogsResponse]) error {
	var bad problems
	if req.GetTail() < 0 {
		bad.add("tail", "is %d; it must not be negative", req.GetTail())
	}
	if err := bad.err(); err != nil {
		return s.fail(err)
	}
	ctx := stream.Context()
	follower, err := s.listen(ctx, req)
	if err != nil {
		return s.fail(err)
	}
	defer follower.Close()
	// Over HTTP the caller is told that it follows before there is a line.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		line, missed, err := follower.Next(ctx)
		if errors.Is(err, logs.ErrGone) {
			err = notFound(instanceKey(req.GetName()))
		}
		if err != nil {
			return s.fail(err)
		}
		if err := stream.Send(&signalboxv1.FollowInstanceLogsResponse{Line: line, Missed: missed}); err != nil {
			return err
		}
	}
}

// listen begins to follow what was asked for, which must exist.
func (s *instances) listen(ctx context.Context, req *signalboxv1.FollowInstanceLogsRequest) (*logs.Follower, error) {
	// It may be removed right after it was found: what follows then is told of
	// that.
	follower := s.Logs.Follow(req.GetName(), int(req.GetTail()))
	view, err := s.current(ctx)
	if err == nil && req.GetName() != "" && view.Get(instanceKey(req.GetName())) == nil {
		err = notFound(instanceKey(req.GetName()))
	}
	if err != nil {
		follower.Close()
		return nil, err
	}
	return follower, nil
}
