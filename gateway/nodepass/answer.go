package nodepass

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/gateway/apierror"
)

// A refusal is an answer other than the one hoped for.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

// invalidKey is the answer to a key that is not known.
func invalidKey() error { return &refusal{http.StatusUnauthorized, "Unauthorized: Invalid API key"} }

// fail answers with an error: a refusal of ours, or the control plane's.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	ours := refused(err)
	switch st := status.Convert(err); {
	case ours.code == http.StatusInternalServerError:
		h.cfg.Log.Error("request failed", "err", err, "addr", r.RemoteAddr)
	case ours.code > http.StatusInternalServerError:
		h.cfg.Log.Warn("request not served", "err", err, "addr", r.RemoteAddr)
		w.Header().Set("Retry-After", apierror.RetryAfter(st))
	}
	answer(w, ours.code, map[string]string{"error": ours.text})
}

// refused is what an error is answered with.
func refused(err error) *refusal {
	var ours *refusal
	if errors.As(err, &ours) {
		return ours
	}
	st := status.Convert(err)
	said := apierror.Message(st)
	switch st.Code() {
	case codes.Unauthenticated:
		_ = errors.As(invalidKey(), &ours) // it is one
		return ours
	case codes.PermissionDenied:
		return &refusal{http.StatusForbidden, "Forbidden: " + said}
	case codes.NotFound:
		return &refusal{http.StatusNotFound, "Instance not found"}
	case codes.AlreadyExists:
		return &refusal{http.StatusConflict, "Instance ID already exists"}
	case codes.Aborted:
		return &refusal{http.StatusConflict, "Others keep changing this instance; try again"}
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return &refusal{http.StatusBadRequest, invalid(st)}
	case codes.Canceled:
		return &refusal{499, "the client has gone"} // and will not see it
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return &refusal{http.StatusServiceUnavailable, "Service unavailable: " + said}
	}
	return &refusal{http.StatusInternalServerError, "Internal error: " + said}
}

// invalid is a control plane's complaint about an instance.
func invalid(st *status.Status) string {
	var all []string
	for _, v := range apierror.Violations(st) {
		field := strings.TrimPrefix(v.Field, "instance.")
		if field == "url" {
			return "Invalid URL format: " + v.Reason
		}
		all = append(all, field+" "+v.Reason)
	}
	if all == nil {
		return st.Message()
	}
	return strings.Join(all, "; ")
}

// answer sends JSON, on one line.
func answer(w http.ResponseWriter, code int, v any) {
	var b bytes.Buffer
	err := json.NewEncoder(&b).Encode(v)
	if err != nil { // texts and numbers: it cannot fail
		code = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":"Internal error"}` + "\n")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // the client has gone, or reads it
}

// read reads a request's body as NodePass does: the first JSON value in it, by
// names in upper or lower case; what it does not know, and what follows, is
// ignored. False means that it is no such value.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, v any) (bool, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return false, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("Request body longer than %d bytes", long.Limit)}
	case err != nil:
		return false, &refusal{http.StatusBadRequest, "Request body not read"}
	}
	return json.NewDecoder(bytes.NewReader(body)).Decode(v) == nil, nil
}
