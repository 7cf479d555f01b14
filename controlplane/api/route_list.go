package api

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// ListRoutes implements RouteService.
func (s *routes) ListRoutes(ctx context.Context, req *signalboxv1.ListRoutesRequest) (*signalboxv1.ListRoutesResponse, error) {
	var bad problems
	pg, labelled := bad.page(req), bad.labels(req.GetLabels())
	idle := req.GetInactiveSince()
	if idle != nil && idle.CheckValid() != nil {
		bad.add("inactive_since", "is not a valid time")
	}
	if req.GetMatch() != nil {
		bad.under("match", rules.Match(req.GetMatch()))
	}
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	res := &signalboxv1.ListRoutesResponse{Version: version(view.Version)}
	candidates(view, req, pg.from, func(r *store.Record) bool {
		route := r.Message.(*signalboxv1.Route)
		if !labelled(route.GetLabels()) || idle != nil && !s.inactiveSince(r, idle.AsTime()) {
			return true
		}
		entry := &signalboxv1.RouteEntry{Route: route, Observed: s.carried(r)}
		if !pg.takes(r.Name, proto.Size(entry)) {
			return false
		}
		res.Routes = append(res.Routes, entry)
		return true
	})
	res.NextPageToken = pg.next()
	return res, nil
}

// candidates visits the routes with the match or name prefix asked for, in
// order of their names.
func candidates(view *replica.View, req *signalboxv1.ListRoutesRequest, from string, visit func(*store.Record) bool) {
	if m := req.GetMatch(); m != nil {
		r := view.RouteMatching(rules.NormalMatch(m))
		if r != nil && r.Name >= from && strings.HasPrefix(r.Name, req.GetNamePrefix()) {
			visit(r)
		}
		return
	}
	view.Ascend(store.KindRoute, req.GetNamePrefix(), from, visit)
}
