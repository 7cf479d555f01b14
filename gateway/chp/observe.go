package chp

import (
	"context"
	"net/http"
)

// A Call is what Config.Observe is told of one that was answered.
type Call struct {
	// Method and Path are the request's; the path is as it was sent, without
	// its query.
	Method, Path string
	// Status is the answer's.
	Status int
	// Key is the route's that it is about. Empty if there is none, as for what
	// is not below /api/routes.
	Key string
	// Table says that the whole table was asked for.
	Table bool
	// Target is what a POST asked for, empty where its body was not read.
	Target string
}

// callKey is the context key of a request's *Call.
type callKey struct{}

// observed has Config.Observe told of the call that serve answers.
func (h *Handler) observed(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request)) {
	call := &Call{Method: r.Method, Path: r.URL.EscapedPath()}
	answer := &noted{ResponseWriter: w, status: http.StatusOK}
	serve(answer, r.WithContext(context.WithValue(r.Context(), callKey{}, call)))
	call.Status = answer.status
	h.cfg.Observe(*call)
}

// note changes what is told of the call in ctx, if anything is.
func note(ctx context.Context, change func(*Call)) {
	if call, ok := ctx.Value(callKey{}).(*Call); ok {
		change(call)
	}
}

// A noted answer remembers its status.
type noted struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *noted) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *noted) Unwrap() http.ResponseWriter { return a.ResponseWriter }
