package chp

import (
	"errors"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/gateway/apierror"
)

// refusal is an answer other than the one hoped for.
type refusal struct {
	code int
	text string // the whole body
}

func (r *refusal) Error() string { return r.text }

// notFound is the answer for a key that is not in the table.
func notFound() error { return &refusal{code: http.StatusNotFound} }

// fail answers with an error: a refusal of ours, or the control plane's. As in
// CHP, whoever is not let in is told nothing.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var ours *refusal
	if errors.As(err, &ours) {
		text(w, ours.code, ours.text)
		return
	}
	st := status.Convert(err)
	switch st.Code() {
	case codes.Unauthenticated, codes.PermissionDenied:
		w.WriteHeader(http.StatusForbidden)
	case codes.NotFound:
		w.WriteHeader(http.StatusNotFound)
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		text(w, http.StatusBadRequest, inCHPWords(st))
	case codes.Canceled:
		w.WriteHeader(499) // the client has gone and will not see it
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.AlreadyExists:
		// All of them pass. JupyterHub repeats a call that has a status of 500
		// or more, and no other.
		h.cfg.Log.Warn("request not served", "err", err, "addr", r.RemoteAddr)
		w.Header().Set("Retry-After", apierror.RetryAfter(st))
		text(w, http.StatusServiceUnavailable, apierror.Message(st))
	default:
		h.cfg.Log.Error("request failed", "err", err, "addr", r.RemoteAddr)
		text(w, http.StatusInternalServerError, st.Message())
	}
}

// inCHPWords is a control plane's complaint about a route with the names that
// CHP has for the fields.
func inCHPWords(st *status.Status) string {
	var all []string
	for _, v := range apierror.Violations(st) {
		field := strings.TrimPrefix(v.Field, "route.")
		switch field {
		case "upstreams[0].url", "upstreams[0]", "upstreams":
			field = "'target'"
		case "match.path_prefix", "match.host", "match", "name":
			field = "path"
		case "data":
			field = "body"
		}
		all = append(all, field+" "+v.Reason)
	}
	if all == nil {
		return st.Message()
	}
	return strings.Join(all, "; ")
}

// text answers with a status and a short text, or no body at all.
func text(w http.ResponseWriter, code int, body string) {
	if body != "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	w.WriteHeader(code)
	_, _ = w.Write([]byte(body)) // the client has gone, or reads it
}

// answerJSON answers 200.
func answerJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client has gone, or reads it
}
