package chp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// attempts is how often a write is tried when others write to the same route.
const attempts = 8

// post writes a route: over the one that has its match, whatever its name, or
// a new one.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, key string) error {
	found, err := h.find(r.Context(), key) // which also asks who is calling
	if err != nil {
		return err
	}
	p, err := h.read(w, r, key)
	if err != nil {
		return err
	}
	note(r.Context(), func(c *Call) { c.Target = p.target })
	name, taken := routeName(key), 0
	for range attempts {
		req := h.putRequest(key, name, p, found)
		var res *signalboxv1.PutRouteResponse
		res, err = h.routes.PutRoute(r.Context(), req)
		if err == nil {
			report(w, res.GetResult())
			w.WriteHeader(http.StatusCreated)
			return nil
		}
		if !raced(err) {
			return err
		}
		wasNew := found == nil
		if found, err = h.find(r.Context(), key); err != nil {
			return err
		}
		if wasNew && found == nil {
			// The name is another route's, renamed into our way. No key has a
			// name with a bare percent sign in it.
			taken++
			name = fmt.Sprintf("%s%%~%d", routeName(key), taken)
		}
	}
	return status.Error(codes.Aborted, "others keep writing this route; try again")
}

// read reads a POST's body.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, key string) (posted, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return posted{}, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("Body longer than %d bytes", long.Limit)}
	case err != nil:
		return posted{}, &refusal{http.StatusBadRequest, "Body not read: " + err.Error()}
	}
	return parsePosted(body, h.keys.host(key))
}

// putRequest asks for a route to be written in found's place, or under name
// when nothing was found. What CHP has no words for is found's still.
func (h *Handler) putRequest(key, name string, p posted, found *signalboxv1.RouteEntry) *signalboxv1.PutRouteRequest {
	route := &signalboxv1.Route{
		Name:      name,
		Match:     h.keys.match(key),
		Upstreams: []*signalboxv1.Upstream{{Url: p.url}},
		Data:      p.data,
	}
	if found != nil {
		route.Name = found.GetRoute().GetName()
		route.Policy = found.GetRoute().GetPolicy()
		route.Labels = found.GetRoute().GetLabels()
	}
	return &signalboxv1.PutRouteRequest{
		Route:            route,
		ExpectedRevision: proto.Int64(found.GetRoute().GetMeta().GetRevision()), // 0: there must be none
		Wait:             signalboxv1.Wait_WAIT_NODES,
		WaitTimeout:      durationpb.New(h.cfg.WaitTimeout),
	}
}

// delete removes the route of a key, whatever its name.
func (h *Handler) delete(w http.ResponseWriter, r *http.Request, key string) error {
	for range attempts {
		res, err := h.remove(r.Context(), key)
		if err == nil {
			report(w, res.GetResult())
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		if !raced(err) {
			return err
		}
	}
	return status.Error(codes.Aborted, "others keep writing this route; try again")
}

// remove finds a key's route and removes what it found, and nothing else.
func (h *Handler) remove(ctx context.Context, key string) (*signalboxv1.DeleteRouteResponse, error) {
	found, err := h.find(ctx, key)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, notFound()
	}
	return h.routes.DeleteRoute(ctx, &signalboxv1.DeleteRouteRequest{
		Name:             found.GetRoute().GetName(),
		ExpectedRevision: proto.Int64(found.GetRoute().GetMeta().GetRevision()),
		Wait:             signalboxv1.Wait_WAIT_NODES,
		WaitTimeout:      durationpb.New(h.cfg.WaitTimeout),
	})
}

// raced reports whether a write failed because another came between it and the
// read before it.
func raced(err error) bool {
	c := status.Code(err)
	return c == codes.Aborted || c == codes.AlreadyExists
}

// report says in headers where in history a write is, and who does not serve
// it.
func report(w http.ResponseWriter, res *signalboxv1.WriteResult) {
	h := w.Header()
	h.Set("signalbox-revision", strconv.FormatInt(res.GetVersion().GetRevision(), 10))
	if late := res.GetLagging(); len(late) > 0 {
		h.Set("signalbox-lagging", strings.Join(late, ","))
	}
	for _, rej := range res.GetRejections() {
		h.Add("signalbox-rejected", oneLine(rej.GetNode()+": "+rej.GetReason()))
	}
}

// oneLine makes a text fit for a header: what is not printable ASCII becomes
// "?".
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}
