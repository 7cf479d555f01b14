package main

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A liveActivity adds to lists of routes what the one node there is has not yet
// reported, so that the last activity is right at once, as CHP's is. Nodes
// report once a second: whoever culls by what is older might remove a route that
// was just used.
type liveActivity struct {
	// active is when a route was last active on the node, by its name and the
	// revision it was created at; nil until there is a node.
	active atomic.Pointer[func(route string, created int64) time.Time]
}

// over returns a connection whose lists of routes are up to date.
func (l *liveActivity) over(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return &liveConn{ClientConnInterface: conn, live: l}
}

// A liveConn is a connection that changes what was answered to a list.
type liveConn struct {
	grpc.ClientConnInterface
	live *liveActivity
}

// Invoke implements grpc.ClientConnInterface.
func (c *liveConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	req, asked := args.(*signalboxv1.ListRoutesRequest)
	res, listed := reply.(*signalboxv1.ListRoutesResponse)
	if active := c.live.active.Load(); err == nil && asked && listed && active != nil {
		c.update(req, res, *active)
	}
	return err
}

// update moves the activity of what is listed, and leaves out what the list is
// then not for.
func (c *liveConn) update(req *signalboxv1.ListRoutesRequest, res *signalboxv1.ListRoutesResponse, active func(string, int64) time.Time) {
	res.Routes = slices.DeleteFunc(res.GetRoutes(), func(e *signalboxv1.RouteEntry) bool {
		route := e.GetRoute()
		at := active(route.GetName(), route.GetMeta().GetCreatedRevision())
		if e.GetObserved() == nil || !at.After(e.GetObserved().GetLastActivity().AsTime()) {
			return false
		}
		e.Observed.LastActivity = timestamppb.New(at)
		return req.InactiveSince != nil && !at.Before(req.GetInactiveSince().AsTime())
	})
}
