package history

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Client makes calls of RouteService, one after the other, and records them.
// Its methods return the errors of the calls.
type Client struct {
	// Upstream is where the routes it writes send requests. Default: nowhere
	// that anybody listens.
	Upstream string

	recorder *Recorder
	id       int
	values   int
}

// Value returns a value that nobody has written before.
func (c *Client) Value() string {
	c.values++
	return fmt.Sprintf("v%d.%d", c.id, c.values)
}

// Put writes a route, whatever there is, and returns its revision.
func (c *Client) Put(ctx context.Context, plane signalboxv1.RouteServiceClient, route, value string) (int64, error) {
	return c.PutAt(ctx, plane, route, value, Any)
}

// Create writes a route that is not to exist yet, and returns its revision.
func (c *Client) Create(ctx context.Context, plane signalboxv1.RouteServiceClient, route, value string) (int64, error) {
	return c.PutAt(ctx, plane, route, value, 0)
}

// PutAt writes a route that is to be at a revision, and returns its new one.
func (c *Client) PutAt(ctx context.Context, plane signalboxv1.RouteServiceClient, route, value string, expected int64) (int64, error) {
	call := Call{Kind: Put, Route: route, Value: value, Expected: expected}
	req := &signalboxv1.PutRouteRequest{Route: c.route(route, value)}
	if expected != Any {
		req.ExpectedRevision = &expected
	}
	open := c.Begin(call)
	res, err := plane.PutRoute(ctx, req)
	meta := res.GetRoute().GetMeta()
	open.End(answer(call, err, Answer{Revision: meta.GetRevision(), Created: meta.GetCreatedRevision()}))
	return meta.GetRevision(), err
}

// Delete removes a route.
func (c *Client) Delete(ctx context.Context, plane signalboxv1.RouteServiceClient, route string) error {
	return c.DeleteAt(ctx, plane, route, Any)
}

// DeleteAt removes a route that is to be at a revision.
func (c *Client) DeleteAt(ctx context.Context, plane signalboxv1.RouteServiceClient, route string, expected int64) error {
	call := Call{Kind: Delete, Route: route, Expected: expected}
	req := &signalboxv1.DeleteRouteRequest{Name: route}
	if expected != Any {
		req.ExpectedRevision = &expected
	}
	open := c.Begin(call)
	res, err := plane.DeleteRoute(ctx, req)
	open.End(answer(call, err, Answer{Revision: res.GetResult().GetVersion().GetRevision()}))
	return err
}

// Get reads a route and returns its revision, zero if there is none.
func (c *Client) Get(ctx context.Context, plane signalboxv1.RouteServiceClient, route string) (int64, error) {
	call := Call{Kind: Get, Route: route, Expected: Any}
	open := c.Begin(call)
	res, err := plane.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: route})
	a := answer(call, err, found(res.GetRoute()))
	open.End(a)
	if a.Outcome == Absent {
		err = nil
	}
	return a.Revision, err
}

// List reads the given routes by listing all: which is, for each, as if it
// were read while the list was. All must fit on one page.
func (c *Client) List(ctx context.Context, plane signalboxv1.RouteServiceClient, routes ...string) error {
	var open []Open
	for _, r := range routes {
		open = append(open, c.Begin(Call{Kind: Get, Route: r, Expected: Any}))
	}
	res, err := plane.ListRoutes(ctx, &signalboxv1.ListRoutesRequest{PageSize: 5000})
	if err == nil && res.GetNextPageToken() != "" {
		err = errors.New("there are more routes than fit on a page")
	}
	listed := map[string]*signalboxv1.Route{}
	for _, e := range res.GetRoutes() {
		listed[e.GetRoute().GetName()] = e.GetRoute()
	}
	for _, o := range open {
		switch r := listed[o.call.Route]; {
		case err != nil:
			o.End(answer(o.call, err, Answer{}))
		case r == nil:
			o.End(Answer{Outcome: Absent})
		default:
			o.End(answer(o.call, nil, found(r)))
		}
	}
	return err
}

// answer is what a call is recorded to have been answered: a, if it was done.
func answer(call Call, err error, a Answer) Answer {
	if a.Outcome = Of(call, err); a.Outcome != Done {
		a = Answer{Outcome: a.Outcome, Said: status.Convert(err).Message()}
	}
	return a
}

// found is what a get found.
func found(r *signalboxv1.Route) Answer {
	return Answer{Found: r.GetLabels()[label], Revision: r.GetMeta().GetRevision(), Created: r.GetMeta().GetCreatedRevision()}
}

// label is the label of a route that holds its value.
const label = "value"

// route is a route with a match of its own.
func (c *Client) route(name, value string) *signalboxv1.Route {
	to := c.Upstream
	if to == "" {
		to = "http://192.0.2.1" // RFC 5737: for documentation
	}
	return &signalboxv1.Route{
		Name: name, Labels: map[string]string{label: value},
		Match:     &signalboxv1.Match{PathPrefix: "/" + name},
		Upstreams: []*signalboxv1.Upstream{{Url: to}},
	}
}
