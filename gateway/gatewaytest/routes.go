package gatewaytest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// Put writes a route as an operator would, and returns it.
func (c *ControlPlane) Put(r *signalboxv1.Route) (*signalboxv1.Route, error) {
	res, err := c.PutRoute(context.Background(), &signalboxv1.PutRouteRequest{Route: r})
	return res.GetRoute(), err
}

// Active says when a route was last active.
func (c *ControlPlane) Active(name string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.routes[name]; e != nil {
		e.Observed.LastActivity = timestamppb.New(at)
	}
}

// Route returns a stored route, or nil.
func (c *ControlPlane) Route(name string) *signalboxv1.Route {
	c.mu.Lock()
	defer c.mu.Unlock()
	return proto.CloneOf(c.routes[name].GetRoute())
}

// PutRoute implements RouteService.
func (c *ControlPlane) PutRoute(_ context.Context, req *signalboxv1.PutRouteRequest) (*signalboxv1.PutRouteResponse, error) {
	if err := rules.Route(req.GetRoute()); err != nil {
		return nil, invalid("route.", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := proto.CloneOf(req.GetRoute())
	r.Match = rules.NormalMatch(r.GetMatch())
	old := c.routes[r.Name].GetRoute()
	if req.ExpectedRevision != nil && req.GetExpectedRevision() != old.GetMeta().GetRevision() {
		return nil, status.Errorf(codes.Aborted, "route %q is at revision %d", r.Name, old.GetMeta().GetRevision())
	}
	if holder, taken := c.claims[rules.MatchName(r.Match)]; taken && holder != r.Name {
		return nil, status.Errorf(codes.AlreadyExists, "route %q has this match", holder)
	}
	if req.GetValidateOnly() {
		return &signalboxv1.PutRouteResponse{Route: r, Result: &signalboxv1.WriteResult{}}, nil
	}
	c.revision++
	now := timestamppb.Now()
	r.Meta = &signalboxv1.Meta{Revision: c.revision, CreatedRevision: c.revision, CreateTime: now, UpdateTime: now}
	kind := signalboxv1.EventType_EVENT_TYPE_CREATED
	if old != nil {
		r.Meta.CreatedRevision, r.Meta.CreateTime = old.Meta.CreatedRevision, old.Meta.CreateTime
		kind = signalboxv1.EventType_EVENT_TYPE_UPDATED
	}
	if old != nil {
		delete(c.claims, rules.MatchName(old.Match))
	}
	c.claims[rules.MatchName(r.Match)] = r.Name
	c.routes[r.Name] = &signalboxv1.RouteEntry{Route: r, Observed: &signalboxv1.RouteObserved{LastActivity: now}}
	c.publish(&signalboxv1.Event{
		Type: kind, Kind: signalboxv1.Kind_KIND_ROUTE, Name: r.Name,
		Record: &signalboxv1.Event_Route{Route: proto.CloneOf(r)},
	})
	return &signalboxv1.PutRouteResponse{Route: proto.CloneOf(r), Result: c.result(req.GetWait())}, nil
}

// GetRoute implements RouteService.
func (c *ControlPlane) GetRoute(_ context.Context, req *signalboxv1.GetRouteRequest) (*signalboxv1.GetRouteResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.routes[req.GetName()]
	if e == nil {
		return nil, status.Errorf(codes.NotFound, "route %q does not exist", req.GetName())
	}
	e = proto.CloneOf(e)
	return &signalboxv1.GetRouteResponse{Route: e.Route, Observed: e.Observed}, nil
}

// ListRoutes implements RouteService. A page token is the last name given out.
func (c *ControlPlane) ListRoutes(_ context.Context, req *signalboxv1.ListRoutesRequest) (*signalboxv1.ListRoutesResponse, error) {
	if m := req.GetMatch(); m != nil {
		if err := rules.Match(m); err != nil {
			return nil, invalid("match.", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	size := int(req.GetPageSize())
	if size == 0 {
		size = 500
	}
	res := &signalboxv1.ListRoutesResponse{Version: c.version()}
	for _, name := range slices.Sorted(maps.Keys(c.routes)) {
		e := c.routes[name]
		if name <= req.GetPageToken() || !listed(e, req) {
			continue
		}
		if len(res.Routes) == size {
			res.NextPageToken = res.Routes[size-1].Route.Name
			break
		}
		res.Routes = append(res.Routes, proto.CloneOf(e))
	}
	return res, nil
}

// listed reports whether a route passes a list's filters.
func listed(e *signalboxv1.RouteEntry, req *signalboxv1.ListRoutesRequest) bool {
	since := req.GetInactiveSince()
	return strings.HasPrefix(e.Route.Name, req.GetNamePrefix()) &&
		(req.GetMatch() == nil || proto.Equal(e.Route.Match, rules.NormalMatch(req.GetMatch()))) &&
		(since == nil || e.Observed.LastActivity.AsTime().Before(since.AsTime()))
}

// DeleteRoute implements RouteService.
func (c *ControlPlane) DeleteRoute(_ context.Context, req *signalboxv1.DeleteRouteRequest) (*signalboxv1.DeleteRouteResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.routes[req.GetName()]
	switch {
	case e == nil:
		return nil, status.Errorf(codes.NotFound, "route %q does not exist", req.GetName())
	case req.ExpectedRevision != nil && req.GetExpectedRevision() != e.Route.Meta.Revision:
		return nil, status.Errorf(codes.Aborted, "route %q is at revision %d", req.GetName(), e.Route.Meta.Revision)
	}
	c.revision++
	delete(c.claims, rules.MatchName(e.Route.Match))
	delete(c.routes, req.GetName())
	c.publish(&signalboxv1.Event{
		Type: signalboxv1.EventType_EVENT_TYPE_REMOVED, Kind: signalboxv1.Kind_KIND_ROUTE, Name: req.GetName(),
	})
	return &signalboxv1.DeleteRouteResponse{Result: c.result(req.GetWait())}, nil
}

// result is the answer to a write at the present revision.
func (c *ControlPlane) result(wait signalboxv1.Wait) *signalboxv1.WriteResult {
	res := &signalboxv1.WriteResult{Version: c.version(), NodesLive: 3, NodesServing: int32(3 - len(c.late)), Lagging: c.late}
	if wait == signalboxv1.Wait_WAIT_NODES {
		res.Rejections = c.refused
	}
	return res
}

func (c *ControlPlane) version() *signalboxv1.Version {
	return &signalboxv1.Version{Epoch: "e1", Revision: c.revision}
}

// invalid is what a control plane makes of a broken rule.
func invalid(prefix string, err error) error {
	st := status.New(codes.InvalidArgument, err.Error())
	var inv *rules.Invalid
	if !errors.As(err, &inv) {
		return st.Err()
	}
	bad := &errdetails.BadRequest{}
	for _, v := range inv.Violations {
		bad.FieldViolations = append(bad.FieldViolations,
			&errdetails.BadRequest_FieldViolation{Field: prefix + v.Field, Description: v.Reason})
	}
	if detailed, derr := st.WithDetails(bad); derr == nil {
		st = detailed
	}
	return st.Err()
}
