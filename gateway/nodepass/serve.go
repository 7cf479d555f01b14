package nodepass

import (
	"context"
	"net/http"
	"path"
	"strings"
	"time"

	"signalbox/gateway/credential"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// The headers that let pages of any origin call the API, on every answer of a
// path there is. Panels in browsers depend on them, and send the key in a
// header that they must set themselves, so "*" is harmless.
const (
	corsHeaders = "Content-Type, Authorization, X-API-Key, Cache-Control"
	corsMethods = "GET, PATCH, POST, PUT, DELETE, OPTIONS"
)

// callTimeout bounds what the control plane is asked for one request.
const callTimeout = 10 * time.Second

// names are the first segments of NodePass's paths.
var names = map[string]bool{
	"instances": true, "events": true, "info": true, "tcping": true, "openapi.json": true, "docs": true,
}

// split returns the base that a path is below, a prefix or its "/v1", and what
// follows it. False means that the path is another API's.
func (h *Handler) split(p string) (base, rest string, ok bool) {
	for _, prefix := range h.cfg.Prefixes {
		rest, found := under(p, prefix)
		if !found {
			continue
		}
		if after, versioned := under(rest, "/v1"); versioned {
			return prefix + "/v1", after, true
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		if prefix != general || names[first] {
			return prefix, rest, true
		}
	}
	return "", "", false
}

// Serves reports whether a path is NodePass's.
func (h *Handler) Serves(p string) bool {
	_, _, ok := h.split(p)
	return ok
}

// Streams reports whether a path is that of events.
func (h *Handler) Streams(p string) bool {
	_, rest, ok := h.split(p)
	return ok && rest == "/events"
}

// clean is a path without empty and dot segments. A slash at its end stays.
func clean(p string) string {
	c := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && c != "/" {
		c += "/"
	}
	return c
}

// An action answers a request that is let in, for an instance or for none.
type action func(w http.ResponseWriter, r *http.Request, id string) error

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	base, rest, ok := h.split(r.URL.Path)
	if sent := r.URL.EscapedPath(); ok && clean(sent) != sent {
		to := clean(sent)
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return
	}
	actions, id, known := h.actions(rest)
	file, isFile := strings.CutPrefix(rest, "/docs/")
	if !ok || !known && (!isFile || !h.files.Has(file)) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Methods", corsMethods)
	w.Header().Set("Access-Control-Allow-Headers", corsHeaders)
	switch {
	case r.Method == http.MethodOptions: // a browser's question, without a key
		w.WriteHeader(http.StatusOK)
	case isFile:
		h.files.Serve(w, r, file)
	case rest == "/docs":
		h.files.Serve(w, r, "index.html")
	case rest == "/openapi.json":
		h.describe(w, base)
	default:
		h.protected(w, r, actions[r.Method], id)
	}
}

// actions are what is done for the methods of a path, and the id in it. False
// means that there is nothing at the path.
func (h *Handler) actions(rest string) (byMethod map[string]action, id string, known bool) {
	switch rest {
	case "/instances":
		return map[string]action{http.MethodGet: h.list, http.MethodPost: h.create}, "", true
	case "/events":
		return map[string]action{http.MethodGet: h.follow}, "", true
	case "/info":
		return map[string]action{http.MethodGet: h.info, http.MethodPost: h.rename}, "", true
	case "/tcping":
		return map[string]action{http.MethodGet: h.tcping}, "", true
	case "/docs", "/openapi.json":
		return nil, "", true
	}
	id, known = strings.CutPrefix(rest, "/instances/")
	switch {
	case !known:
		return nil, "", false
	case id == "":
		return nil, "", true
	case id == keyID:
		return map[string]action{
			http.MethodGet: h.getKey, http.MethodPatch: h.patchKey,
			http.MethodPut: h.keepKey, http.MethodDelete: h.keepKey,
		}, id, true
	}
	return map[string]action{
		http.MethodGet: h.get, http.MethodPatch: h.patch, http.MethodPut: h.put, http.MethodDelete: h.delete,
	}, id, true
}

// protected answers a request that needs a key. What is wrong with the key is
// said before anything else.
func (h *Handler) protected(w http.ResponseWriter, r *http.Request, do action, id string) {
	ctx, err := entering(r.Context(), r.Header)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if do == nil || !h.Streams(r.URL.Path) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	if do == nil {
		if _, err = h.look(ctx); err == nil {
			err = noAction(id, r.URL.Path)
		}
	} else {
		err = do(w, r.WithContext(ctx), id)
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

// noAction says why nothing is done for a method.
func noAction(id, path string) error {
	if id == "" && strings.HasSuffix(path, "/instances/") {
		return &refusal{http.StatusBadRequest, "Instance ID is required"}
	}
	return &refusal{http.StatusMethodNotAllowed, "Method not allowed"}
}

// secret is the key that a request has. NodePass knows this one header only.
func secret(h http.Header) string { return strings.TrimSpace(h.Get("X-API-Key")) }

// entering returns the context for calls in a request's name.
func entering(ctx context.Context, h http.Header) (context.Context, error) {
	key := secret(h)
	if key == "" {
		return nil, &refusal{http.StatusUnauthorized, "Unauthorized: API key required"}
	}
	said := http.Header{"X-Api-Key": {key}}
	said.Set(credential.RequestID, h.Get(credential.RequestID))
	ctx, ok := credential.Outgoing(ctx, said, "")
	if !ok {
		return nil, invalidKey()
	}
	return ctx, nil
}

// look asks who is calling: whoever may list instances is let in. It returns
// the master's id, as masterID.
func (h *Handler) look(ctx context.Context) (string, error) {
	res, err := h.instances.ListInstances(ctx, &signalboxv1.ListInstancesRequest{PageSize: 1})
	return masterID(res.GetVersion()), err
}
