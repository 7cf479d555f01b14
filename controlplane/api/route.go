package api

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// routes is the RouteService.
type routes struct {
	signalboxv1.UnimplementedRouteServiceServer
	*core
}

func routeKey(name string) store.Key { return store.Key{Kind: store.KindRoute, Name: name} }

// index is the path of an element of a list.
func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// route checks a route that is to be written and returns it in the form in
// which it is stored.
func (p *problems) route(field string, r *signalboxv1.Route, expected *int64) *put {
	if r == nil {
		p.add(field, "is missing")
		return nil
	}
	if err := rules.Route(r); err != nil {
		p.under(field, err)
		return nil
	}
	r = proto.CloneOf(r)
	r.Match, r.Meta = rules.NormalMatch(r.GetMatch()), &signalboxv1.Meta{}
	return &put{key: routeKey(r.GetName()), message: r, meta: r.Meta, expected: expected}
}

// PutRoute implements RouteService.
func (s *routes) PutRoute(ctx context.Context, req *signalboxv1.PutRouteRequest) (*signalboxv1.PutRouteResponse, error) {
	var bad problems
	p := bad.route("route", req.GetRoute(), req.ExpectedRevision)
	bad.expected(req.ExpectedRevision)
	wait := bad.wait(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	result, err := s.putOne(ctx, p, req.GetValidateOnly(), wait, func(view *replica.View) error {
		return vacant(view, p, nil)
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.PutRouteResponse{Route: p.message.(*signalboxv1.Route), Result: result}, nil
}

// vacant reports which route has the match that p is to have: an error unless
// there is none, or it is in leaving.
func vacant(view *replica.View, p *put, leaving map[string]bool) error {
	holder := view.RouteMatching(p.message.(*signalboxv1.Route).GetMatch())
	if holder == nil || holder.Key == p.key || leaving[holder.Name] {
		return nil
	}
	return matchTaken(p.key.Name, holder.Name)
}

// GetRoute implements RouteService.
func (s *routes) GetRoute(ctx context.Context, req *signalboxv1.GetRouteRequest) (*signalboxv1.GetRouteResponse, error) {
	r, _, err := s.find(ctx, routeKey(req.GetName()))
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.GetRouteResponse{Route: r.Message.(*signalboxv1.Route), Observed: s.carried(r)}, nil
}

// carried is what nodes report of a route. Being written is activity too.
func (s *routes) carried(r *store.Record) *signalboxv1.RouteObserved {
	var o *signalboxv1.RouteObserved
	if s.Totals != nil {
		o = s.Totals.Totals(r.Name, r.Created)
	}
	if o == nil {
		o = &signalboxv1.RouteObserved{}
	}
	if o.Counters == nil {
		o.Counters = &signalboxv1.RouteCounters{Statuses: make([]uint64, 5)}
	}
	written := metaOf(r.Message).GetUpdateTime()
	if o.GetLastActivity() == nil || o.GetLastActivity().AsTime().Before(written.AsTime()) {
		o.LastActivity = written
	}
	return o
}

// DeleteRoute implements RouteService.
func (s *routes) DeleteRoute(ctx context.Context, req *signalboxv1.DeleteRouteRequest) (*signalboxv1.DeleteRouteResponse, error) {
	result, err := s.deleteOne(ctx, deletion{
		key: routeKey(req.GetName()), expected: req.ExpectedRevision, validateOnly: req.GetValidateOnly(), waits: req,
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.DeleteRouteResponse{Result: result}, nil
}
