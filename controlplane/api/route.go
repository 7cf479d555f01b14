package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/replica"
	"signalbox/controlplane/tally"
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
	return &put{field: field, key: routeKey(r.GetName()), message: r, meta: r.Meta, expected: expected}
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
// there is none, or it is leaving.
func vacant(view *replica.View, p *put, leaving func(name string) bool) error {
	holder := view.RouteMatching(p.message.(*signalboxv1.Route).GetMatch())
	if holder == nil || holder.Key == p.key || leaving != nil && leaving(holder.Name) {
		return nil
	}
	return matchTaken(p.key.Name, holder.Name)
}

// GetRoute implements RouteService.
func (s *routes) GetRoute(ctx context.Context, req *signalboxv1.GetRouteRequest) (*signalboxv1.GetRouteResponse, error) {
	r, err := s.find(ctx, routeKey(req.GetName()))
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.GetRouteResponse{Route: r.Message.(*signalboxv1.Route), Observed: s.carried(r)}, nil
}

// carried is what nodes report of a route. Being written is activity too.
func (s *routes) carried(r *store.Record) *signalboxv1.RouteObserved {
	o := s.totals(r).Observed()
	if o.LastActivity == nil || o.LastActivity.AsTime().Before(writtenAt(r)) {
		o.LastActivity = metaOf(r.Message).GetUpdateTime()
	}
	return o
}

// inactiveSince reports whether the last activity of a route is before a
// moment.
func (s *routes) inactiveSince(r *store.Record, moment time.Time) bool {
	return writtenAt(r).Before(moment) && s.totals(r).LastActivity().Before(moment)
}

func (s *routes) totals(r *store.Record) tally.Totals {
	if s.Totals == nil {
		return tally.Totals{}
	}
	return s.Totals.Totals(r.Name, int64(r.Created))
}

// writtenAt is when a record was last written.
func writtenAt(r *store.Record) time.Time { return metaOf(r.Message).GetUpdateTime().AsTime() }

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
