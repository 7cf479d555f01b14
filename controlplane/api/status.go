package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	"signalbox/proto/rules"
	"signalbox/store"
)

// errUnknown says that a transaction was sent, and that nobody knows what
// became of it.
var errUnknown = errors.New("it is not known whether this was written; the same call may be repeated")

// fail is what every method returns its errors through. What statusOf does not
// know is logged, since the caller is told nothing about it.
func (c *core) fail(err error) error {
	st := statusOf(err)
	if status.Code(st) == codes.Internal {
		c.Log.Error("call failed", "err", err)
	}
	return st
}

// statusOf is the only place where our errors become gRPC codes. What it does
// not know is our fault.
func statusOf(err error) error {
	var (
		invalid  *rules.Invalid
		limit    *store.LimitError
		conflict *store.ConflictError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return badRequest(invalid.Violations)
	case errors.As(err, &limit):
		return status.Errorf(codes.InvalidArgument, "this is more than the store takes: %v", limit)
	case errors.As(err, &conflict):
		return crowded(conflict)
	case errors.Is(err, store.ErrFull):
		return detailed(codes.ResourceExhausted, "the store is full: etcd's quota of space is used up; nothing was written, and nothing can be until an operator makes room (signalbox etcd status, compact, defragment, disarm)", because(auth.NothingWritten))
	case errors.Is(err, store.ErrNoBackup):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, errUnknown):
		return detailed(codes.Unavailable, fmt.Sprintf("%v: %v", store.ErrUnavailable, errUnknown), because(maybeWritten))
	case errors.Is(err, store.ErrUnavailable):
		return detailed(codes.Unavailable, fmt.Sprintf("%v; nothing was done, since what this control plane knows may be old", store.ErrUnavailable), because(auth.NothingWritten))
	case errors.Is(err, replica.ErrBehind):
		return detailed(codes.Unavailable, fmt.Sprintf("%v in time; nothing was done", replica.ErrBehind), because(auth.NothingWritten))
	case isStatus(err): // one of ours: a store's own is wrapped in what is named above
		return err
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the call was canceled")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the call's deadline is over")
	}
	return status.Error(codes.Internal, "internal error")
}

// Reasons of google.rpc.ErrorInfo, beside auth.NothingWritten: they tell a
// program what the message tells people.
const (
	maybeWritten  = "MAYBE_WRITTEN"
	partlyWritten = "PARTLY_WRITTEN"
)

// because is the detail that gives a reason.
func because(reason string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: reason, Domain: "signalbox"}
}

// isStatus reports whether err is a gRPC status already.
func isStatus(err error) bool {
	var st interface{ GRPCStatus() *status.Status }
	return errors.As(err, &st)
}

// How much of what is wrong is told: all of a record's, not all of a batch's.
const (
	maxSentence = 5
	maxDetails  = 50
)

// badRequest blames fields.
func badRequest(all []rules.Violation) error {
	var sentences []string
	bad := &errdetails.BadRequest{}
	for i, v := range all {
		if i < maxSentence {
			sentences = append(sentences, v.String())
		}
		if i < maxDetails {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Reason})
		}
	}
	if more := len(all) - maxSentence; more > 0 {
		sentences = append(sentences, fmt.Sprintf("and %d more", more))
	}
	return detailed(codes.InvalidArgument, strings.Join(sentences, "; "), bad)
}

// detailed returns a status with a detail.
func detailed(code codes.Code, message string, detail protoadapt.MessageV1) error {
	st := status.New(code, message)
	if with, err := st.WithDetails(detail); err == nil {
		st = with
	}
	return st.Err()
}

// noun is how a kind of record is called in sentences.
func noun(kind store.Kind) string {
	switch kind {
	case store.KindAPIKey:
		return "API key"
	case store.KindRevocation:
		return "revocation of node"
	}
	return string(kind)
}

// tooLarge blames a field, and says what can be done, when a transaction is
// more than a store takes. Other errors it returns as they are.
func tooLarge(err error, field, cure string, args ...any) error {
	var limit *store.LimitError
	if !errors.As(err, &limit) {
		return err
	}
	return &rules.Invalid{Violations: []rules.Violation{{Field: field, Reason: "makes " + limit.Error() + fmt.Sprintf(cure, args...)}}}
}

// partly says of the error that ended a batch what was written before it.
func partly(done []piece, err error) error {
	if len(done) == 0 {
		return err
	}
	last := done[len(done)-1].version.Revision
	st := status.Convert(statusOf(err))
	info := because(partlyWritten)
	info.Metadata = map[string]string{
		"written":  strconv.Itoa(int(count(done))),
		"revision": strconv.FormatInt(int64(last), 10),
	}
	told := status.Newf(st.Code(), "of the routes %d were written, up to revision %d; then: %s", count(done), last, st.Message())
	if with, err := told.WithDetails(append([]protoadapt.MessageV1{info}, others(details(st))...)...); err == nil {
		told = with
	}
	return told.Err()
}

// others are the details of the error that ended a batch, without the one that
// is not true of the whole of it.
func others(all []protoadapt.MessageV1) []protoadapt.MessageV1 {
	return slices.DeleteFunc(all, func(d protoadapt.MessageV1) bool {
		info, ok := d.(*errdetails.ErrorInfo)
		return ok && info.GetReason() == auth.NothingWritten
	})
}

// details returns the details of a status in the form in which another takes
// them.
func details(st *status.Status) (all []protoadapt.MessageV1) {
	for _, d := range st.Details() {
		if m, ok := d.(protoadapt.MessageV1); ok {
			all = append(all, m)
		}
	}
	return all
}

// prefixed puts a field's path before the message of a status.
func prefixed(path string, err error) error {
	st := status.Convert(err)
	told := status.New(st.Code(), path+st.Message())
	if with, err := told.WithDetails(details(st)...); err == nil {
		told = with
	}
	return told.Err()
}

// notFound says that there is no such record.
func notFound(key store.Key) error {
	return status.Errorf(codes.NotFound, "%s %q does not exist", noun(key.Kind), key.Name)
}

// matchTaken says that another route has a route's match, and which.
func matchTaken(route, holder string) error {
	return detailed(codes.AlreadyExists, fmt.Sprintf("route %q has the match asked for route %q", holder, route),
		&errdetails.ResourceInfo{ResourceType: "route", ResourceName: holder})
}

// crowded says that others kept writing the same records.
func crowded(conflict *store.ConflictError) error {
	if conflict.Claim != "" {
		return status.Errorf(codes.AlreadyExists, "%s %q holds what must be its alone", noun(conflict.Key.Kind), conflict.Key.Name)
	}
	return status.Errorf(codes.Aborted, "%s %q is being written by others, and is at revision %d now; nothing was written",
		noun(conflict.Key.Kind), conflict.Key.Name, conflict.Modified)
}
