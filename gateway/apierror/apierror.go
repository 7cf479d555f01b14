// Package apierror writes errors as the JSON APIs answer them, all in one
// shape:
//
//	{"error": {"code": 404, "status": "NOT_FOUND", "message": "...",
//	           "details": [{"field": "route.name", "reason": "..."}]}}
//
// Code is the HTTP status, status the name of the gRPC code, message a
// sentence for people. Details is there when fields are to blame, in the
// .proto files' names. Reason is there when the control plane gives one, such
// as NOTHING_WRITTEN: a word for programs.
package apierror

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is an error with an HTTP status that its gRPC code does not imply,
// such as 405 or 413.
type Error struct {
	// HTTP is the status to answer with.
	HTTP int
	// Err is a gRPC status.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the gRPC status.
func (e *Error) Unwrap() error { return e.Err }

// GRPCStatus lets status.FromError find the gRPC status.
func (e *Error) GRPCStatus() *status.Status { return status.Convert(e.Err) }

// New returns an error with a gRPC code, answered with an HTTP status.
func New(http int, c codes.Code, message string) error {
	return &Error{HTTP: http, Err: status.Error(c, message)}
}

// Violation is one field and what is wrong with it.
type Violation struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// Invalid returns an INVALID_ARGUMENT that blames fields.
func Invalid(violations ...Violation) error {
	var all []string
	bad := &errdetails.BadRequest{}
	for _, v := range violations {
		all = append(all, v.Field+": "+v.Reason)
		bad.FieldViolations = append(bad.FieldViolations,
			&errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Reason})
	}
	st := status.New(codes.InvalidArgument, strings.Join(all, "; "))
	if detailed, err := st.WithDetails(bad); err == nil {
		st = detailed
	}
	return st.Err()
}

// body is the shape.
type body struct {
	Code    int         `json:"code"`
	Status  string      `json:"status"`
	Message string      `json:"message"`
	Reason  string      `json:"reason,omitempty"`
	Details []Violation `json:"details,omitempty"`
}

// JSON returns err in the shape of the package, on one line.
func JSON(err error) []byte {
	st := status.Convert(err)
	b := body{Code: HTTPStatus(err), Status: name(st.Code()), Message: Message(st), Reason: reason(st), Details: Violations(st)}
	out, merr := json.Marshal(map[string]body{"error": b})
	if merr != nil { // strings and numbers: it cannot fail
		return fmt.Appendf(nil, `{"error":{"code":%d,"status":%q}}`, b.Code, b.Status)
	}
	return out
}

// Write answers a request with err.
func Write(w http.ResponseWriter, err error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	st := status.Convert(err)
	switch st.Code() {
	case codes.Unauthenticated:
		h.Set("WWW-Authenticate", `Bearer realm="signalbox"`)
	case codes.Unavailable, codes.ResourceExhausted:
		h.Set("Retry-After", RetryAfter(st))
	}
	w.WriteHeader(HTTPStatus(err))
	_, _ = w.Write(append(JSON(err), '\n')) // the client has gone, or reads it
}

// What gRPC's own errors about connections look like: unsent of calls that no
// control plane can have seen, unserving of those because none that is there
// serves, inside of all.
var (
	unsent    = regexp.MustCompile(`Error while dialing|waiting for connections|name resolver|zero addresses|health check failure`)
	unserving = regexp.MustCompile(`health check failure`)
	inside    = regexp.MustCompile(unsent.String() + `|connection error|transport|error reading from server|\b(tcp|unix) `)
)

// Message returns a status's message as a client may see it. That a connection
// failed, and to which address, is for the log: whoever asks may be anyone.
func Message(st *status.Status) string {
	late := st.Code() == codes.DeadlineExceeded
	switch {
	case !late && st.Code() != codes.Unavailable || !inside.MatchString(st.Message()):
		return st.Message()
	case unserving.MatchString(st.Message()):
		return "no control plane that was reached has touch with its store; try again"
	case unsent.MatchString(st.Message()):
		return "no control plane was reached; try again"
	}
	return "the connection to the control plane broke, and it is not known whether this was done; try again"
}

// Ours reports whether an error is not the client's fault, and belongs into the
// log.
func Ours(err error) bool { return HTTPStatus(err) >= http.StatusInternalServerError }

// Violations returns the fields a status blames.
func Violations(st *status.Status) []Violation {
	var all []Violation
	for _, d := range st.Details() {
		bad, _ := d.(*errdetails.BadRequest)
		for _, v := range bad.GetFieldViolations() {
			all = append(all, Violation{Field: v.GetField(), Reason: v.GetDescription()})
		}
	}
	return all
}

// What a gateway itself can say of a call that no control plane answered, in
// the control planes' words.
const (
	nothingWritten = "NOTHING_WRITTEN"
	maybeWritten   = "MAYBE_WRITTEN"
)

// Late is the error for a call that a control plane did not answer within the
// time that the gateway gives it: err is what gRPC says of it then.
func Late(err error) error {
	said, reason := "the control plane does not answer, and it is not known whether this was done; try again", maybeWritten
	if unsent.MatchString(status.Convert(err).Message()) {
		said, reason = "no control plane was reached; try again", nothingWritten
	}
	st := status.New(codes.Unavailable, said)
	if with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "signalbox"}); err == nil {
		st = with
	}
	return st.Err()
}

// reason returns the first reason of ours that a status gives, or what follows
// from how the connection failed; empty for none.
func reason(st *status.Status) string {
	switch late := st.Code() == codes.DeadlineExceeded; {
	case !late && st.Code() != codes.Unavailable:
	case unsent.MatchString(st.Message()):
		return nothingWritten
	case inside.MatchString(st.Message()):
		return maybeWritten
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "signalbox" {
			return info.GetReason()
		}
	}
	return ""
}

// RetryAfter returns when to try again, in seconds as the header of that name
// wants them: what the status says, or 1.
func RetryAfter(st *status.Status) string {
	wait := time.Second
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			wait = max(wait, info.GetRetryDelay().AsDuration())
		}
	}
	return strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
}

// name is a code's name as in google/rpc/code.proto.
func name(c codes.Code) string {
	if n, ok := code.Code_name[int32(c)]; ok {
		return n
	}
	return "UNKNOWN"
}

// HTTPStatus returns the HTTP status err is answered with.
func HTTPStatus(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.HTTP
	}
	switch status.Code(err) {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return 499 // the client has gone and will not see it
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.ResourceExhausted:
		if strings.Contains(status.Convert(err).Message(), "message larger than max") {
			return http.StatusRequestEntityTooLarge // gRPC's limit, of one message
		}
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}
