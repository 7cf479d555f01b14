//go:build e2e

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/cmd/e2e/history"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A door is one way into the API: a control plane's gRPC, or the REST of a
// gateway.
type door struct {
	at *part
	// do makes a call and says what came of it.
	do func(ctx context.Context, c history.Call) reply
}

// A reply is what a door answers. An error that says of a write for certain
// whether it was made, or that nobody knows, is clear: by the product's own
// word for it, in which a broken connection or a deadline cannot be dressed.
type reply struct {
	history.Answer
	clear bool
	late  bool // no reply at all: the client's own patience was at its end
}

// reasons are the words for it.
var reasons = []string{"NOTHING_WRITTEN", "MAYBE_WRITTEN"}

// doors are gRPC through every control plane, and REST through every gateway.
func (l *lab) doors() (grpc, rest []door) {
	for _, p := range l.of(plane) {
		grpc = append(grpc, door{p, func(ctx context.Context, c history.Call) reply {
			return l.byGRPC(ctx, l.routes(p), c)
		}})
	}
	for _, p := range append(l.of(plane), l.of(gateway)...) {
		rest = append(rest, door{p, func(ctx context.Context, c history.Call) reply {
			return l.byREST(ctx, l.api(p)+"/v1/routes/"+c.Route, c)
		}})
	}
	return grpc, rest
}

// route is the route that a put writes: whoever asks for it is answered with
// the value.
func (l *lab) route(c history.Call) *signalboxv1.Route {
	return &signalboxv1.Route{
		Name: c.Route, Match: &signalboxv1.Match{PathPrefix: "/" + c.Route},
		Upstreams: []*signalboxv1.Upstream{{Url: l.up.url(c.Value)}},
	}
}

// valueOf is the value that a route was written with.
func valueOf(upstream string) string {
	u, err := url.Parse(upstream)
	if err != nil {
		return upstream
	}
	return path.Base(u.Path)
}

func (l *lab) byGRPC(ctx context.Context, api signalboxv1.RouteServiceClient, c history.Call) reply {
	var a history.Answer
	var err error
	found := func(r *signalboxv1.Route) {
		a.Revision, a.Created = r.GetMeta().GetRevision(), r.GetMeta().GetCreatedRevision()
		if u := r.GetUpstreams(); c.Kind == history.Get && len(u) > 0 {
			a.Found = valueOf(u[0].GetUrl())
		}
	}
	switch c.Kind {
	case history.Put:
		var res *signalboxv1.PutRouteResponse
		res, err = api.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: l.route(c)})
		found(res.GetRoute())
	case history.Delete:
		var res *signalboxv1.DeleteRouteResponse
		res, err = api.DeleteRoute(ctx, &signalboxv1.DeleteRouteRequest{Name: c.Route})
		a.Revision = res.GetResult().GetVersion().GetRevision()
	case history.Get:
		var res *signalboxv1.GetRouteResponse
		res, err = api.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: c.Route})
		found(res.GetRoute())
	}
	if a.Outcome = history.Of(c, err); a.Outcome != history.Done {
		a = history.Answer{Outcome: a.Outcome, Said: status.Convert(err).Message()}
	}
	return reply{a, slices.Contains(reasons, reasonOf(err)) || status.Code(err) == codes.Aborted, ctx.Err() != nil}
}

// reasonOf is the reason that a control plane gives with an error.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "signalbox" {
			return info.GetReason()
		}
	}
	return ""
}

// said is what REST answers, of all calls.
type said struct {
	Route  restRoute
	Result struct{ Version struct{ Revision string } }
	Error  struct{ Status, Message, Reason string }
}

// restRoute is a route in JSON.
type restRoute struct {
	Name      string                                     `json:"name"`
	Match     struct{ PathPrefix string }                `json:"match"`
	Upstreams []struct{ Url string }                     `json:"upstreams"` //nolint:revive // as in the field's name
	Meta      struct{ Revision, CreatedRevision string } `json:"meta"`
}

func (l *lab) byREST(ctx context.Context, url string, c history.Call) reply {
	method, body := map[history.Kind]string{history.Put: "PUT", history.Delete: "DELETE", history.Get: "GET"}[c.Kind], ""
	if c.Kind == history.Put {
		body = fmt.Sprintf(`{"match":{"pathPrefix":%q},"upstreams":[{"url":%q}]}`, "/"+c.Route, l.up.url(c.Value))
	}
	got, err := send(ctx, l.http, method, url, body, "Authorization", "Bearer "+l.admin)
	var s said
	if err == nil {
		err = json.Unmarshal([]byte(got.body), &s)
	}
	if err != nil {
		return reply{history.Answer{Outcome: history.Unknown, Said: err.Error()}, false, ctx.Err() != nil}
	}
	a := history.Answer{Said: s.Error.Message}
	if got.status == http.StatusOK {
		a = history.Answer{Outcome: history.Done, Revision: number(s.Route.Meta.Revision), Created: number(s.Route.Meta.CreatedRevision)}
		if c.Kind == history.Delete {
			a.Revision = number(s.Result.Version.Revision)
		}
		if c.Kind == history.Get && len(s.Route.Upstreams) > 0 {
			a.Found = valueOf(s.Route.Upstreams[0].Url)
		}
		return reply{Answer: a}
	}
	a.Outcome = ofREST(c, s.Error.Status, s.Error.Message)
	if a.Outcome == history.Unknown && s.Error.Reason == "NOTHING_WRITTEN" {
		a.Outcome = history.Refused
	}
	return reply{Answer: a, clear: slices.Contains(reasons, s.Error.Reason) || got.status == http.StatusConflict}
}

// number reads a number of 64 bits, which JSON has as text.
func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // what is none is zero, as if it were not told
	return n
}

// ofREST is history.Of for an error that came by REST, without its reason.
func ofREST(c history.Call, name, message string) history.Outcome {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if strings.EqualFold(name, strings.ReplaceAll(snake(code.String()), " ", "_")) {
			return history.Of(c, status.Error(code, message))
		}
	}
	return history.Unknown
}

// snake is NotFound as not_found.
func snake(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && 'A' <= r && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isCertain reports whether an error says that it did nothing.
func isCertain(message string) bool {
	return strings.Contains(message, "nothing was done") || strings.Contains(message, "nothing was written")
}

// How long clients wait for a reply: who goes to another door then, and who
// stays, for longer than an answer may take.
const (
	tryPatience  = 2 * time.Second
	stayPatience = 6 * time.Second
)
