// Package chp serves the REST API of configurable-http-proxy 5 over the public
// RouteService, as anyone could. Here alone is known what a CHP route is: a
// key, which is a path or, with host routing, a host and a path; a target,
// which is the route's first upstream; and extra JSON fields, which are the
// route's data.
//
//	GET    /api/routes           the table, in order of creation
//	GET    /api/routes/{key}     one route
//	POST   /api/routes/{key}     write a route; answers when every live node serves it
//	DELETE /api/routes/{key}     remove a route; likewise
//	GET    /api                  who answers
//
// Statuses and bodies are CHP's. Where we differ, we mean to:
//
//   - the key is checked before the body is read: 403, not 400, for strangers;
//   - escapes that are malformed or not UTF-8 are 400, and DELETE /api/routes
//     removes the root route: CHP answers neither, ever;
//   - a target that no proxy could use is 400, not a route that always fails;
//   - GET /api and /api/ are 200 with version information, for which CHP's
//     documentation has an entry and CHP a 404;
//   - bodies are bounded (413), and an unreachable store is 503;
//   - all slashes at a key's end are dropped, not two at most, as they mean
//     nothing when requests are matched;
//   - hosts are compared as DNS does, in lower case;
//   - error texts are sent as text/plain, so that no browser guesses;
//   - a write over a route keeps what CHP cannot express: its name, policy and
//     labels.
//
// Writes answer with two or three headers of ours: signalbox-revision; when
// nodes are late signalbox-lagging, their ids; and signalbox-rejected, once for
// each node that refuses the route, with its reason.
package chp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"signalbox/gateway/credential"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Config is what a handler can be told.
type Config struct {
	// HostRouting makes the first segment of a key a host, as CHP's flag
	// --host-routing does. Default: keys are paths, for any host.
	HostRouting bool
	// WaitTimeout bounds how long a write waits for the nodes. Default 5 s:
	// JupyterHub gives up on a call after 10.
	WaitTimeout time.Duration
	// MaxBody bounds a POST's body, in bytes. Default 8 MiB.
	MaxBody int64
	// AnonymousKey is the API key of all requests, for CHP's mode without a
	// token: whatever they bring is passed over, as CHP does, for JupyterHub
	// brings something in any case. Default: each must bring its own.
	AnonymousKey string
	// Observe is told of every call once it was answered. Nil means that nobody
	// is.
	Observe func(Call)
	// Version is the software version GET /api answers.
	Version string
	// Log hears of failures that are not the client's. Default: nobody does.
	Log *slog.Logger
}

// Handler serves the API.
type Handler struct {
	routes signalboxv1.RouteServiceClient
	cfg    Config
	keys   keys
}

// New returns a handler over the RouteService that conn reaches.
func New(conn grpc.ClientConnInterface, cfg Config) *Handler {
	if cfg.WaitTimeout <= 0 {
		cfg.WaitTimeout = 5 * time.Second
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 8 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{
		routes: signalboxv1.NewRouteServiceClient(conn),
		cfg:    cfg,
		keys:   keys{hosts: cfg.HostRouting},
	}
}

// patience is how much longer than its wait a write may take, in all. With the
// default wait a call ends before JupyterHub's 10 s.
const patience = 4 * time.Second

// maxAnswer bounds one page of routes, in bytes: pageSize of them that all carry
// the most data they may stay below it.
const maxAnswer = 320 << 20

// ServeHTTP answers one request. It must not stand behind an http.ServeMux,
// which redirects the paths that keys may have.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.cfg.Observe != nil {
		h.observed(w, r, h.serve)
		return
	}
	h.serve(w, r)
}

// serve answers one request.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	spec, err := target(r.URL)
	if err == nil {
		err = h.keys.check(spec.key)
	}
	switch {
	case errors.Is(err, errNotOurs):
		text(w, http.StatusNotFound, "Not Found")
		return
	case err != nil:
		text(w, http.StatusBadRequest, err.Error())
		return
	}
	if !spec.root {
		note(r.Context(), func(c *Call) { c.Key, c.Table = spec.key, spec.table })
	}
	do := h.method(r.Method, spec)
	if do == nil {
		text(w, http.StatusMethodNotAllowed, "Method not supported")
		return
	}
	ctx, ok := h.asCaller(r.Context(), r.Header)
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.WaitTimeout+patience)
	defer cancel()
	if err := do(w, r.WithContext(ctx), spec.key); err != nil {
		h.fail(w, r, err)
	}
}

// asCaller returns the context of calls that are made in a request's name, and
// false if it brings no key that it needs.
func (h *Handler) asCaller(ctx context.Context, header http.Header) (context.Context, bool) {
	if h.cfg.AnonymousKey != "" {
		header = http.Header{credential.RequestID: header[credential.RequestID]}
	}
	return credential.Outgoing(ctx, header, h.cfg.AnonymousKey)
}

// method says what to do for a method, or nothing.
func (h *Handler) method(method string, spec spec) func(http.ResponseWriter, *http.Request, string) error {
	switch {
	case spec.root && method == http.MethodGet:
		return h.about
	case spec.root:
		return nil
	case method == http.MethodGet && spec.table:
		return h.table
	case method == http.MethodGet:
		return h.get
	case method == http.MethodPost:
		return h.post
	case method == http.MethodDelete:
		return h.delete
	}
	return nil
}

// about answers who we are, to those who may read routes.
func (h *Handler) about(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := h.list(r.Context(), &signalboxv1.ListRoutesRequest{PageSize: 1}); err != nil {
		return err
	}
	out, err := json.Marshal(map[string]string{
		"server": "signalbox", "version": h.cfg.Version, "compatible": "configurable-http-proxy 5",
	})
	if err != nil {
		return err
	}
	answerJSON(w, out)
	return nil
}

// list asks for one page of routes.
func (h *Handler) list(ctx context.Context, req *signalboxv1.ListRoutesRequest) (*signalboxv1.ListRoutesResponse, error) {
	return h.routes.ListRoutes(ctx, req, grpc.MaxCallRecvMsgSize(maxAnswer))
}
