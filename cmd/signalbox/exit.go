package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Exit codes, as docs/running.md lists them.
const (
	exitOK          = 0
	exitFailed      = 1 // anything not named below
	exitUsage       = 2 // the command line is wrong, or the input is
	exitRefused     = 3 // no key, a wrong one, or one without the scope
	exitNotFound    = 4
	exitConflict    = 5 // it exists already, or was changed by somebody else
	exitUnavailable = 6 // nobody answers, or the store has no quorum
	exitNotServed   = 7 // written, but some nodes lag or reject it
)

// A usageError says that the command line is wrong.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// errNotServed ends a command whose write stands, but which waited in vain for
// every live node to serve it; who lags or rejects it has been printed.
var errNotServed = errors.New("written, but not every live node serves it")

// errNotRunning is the same of an instance that no node runs as it should.
var errNotRunning = errors.New("written, but it does not run")

func exitCode(err error) int {
	var usage *usageError
	var said exitStatus
	switch {
	case errors.As(err, &said):
		return int(said)
	case err == nil, errors.Is(err, context.Canceled):
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errNotServed), errors.Is(err, errNotRunning):
		return exitNotServed
	case errors.Is(err, context.DeadlineExceeded):
		return exitUnavailable
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange:
		return exitUsage
	case codes.Unauthenticated, codes.PermissionDenied:
		return exitRefused
	case codes.NotFound:
		return exitNotFound
	case codes.AlreadyExists, codes.Aborted, codes.FailedPrecondition:
		return exitConflict
	case codes.Unavailable, codes.DeadlineExceeded:
		return exitUnavailable
	}
	return exitFailed
}

// describe is what people read of an error: of a gRPC status its message, and
// the fields it names.
func describe(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("nobody answered in time (--timeout): %v", err)
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() == codes.OK {
		return err.Error()
	}
	text := strings.Builder{}
	text.WriteString(s.Message())
	for _, d := range s.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				if line := v.GetField() + ": " + v.GetDescription(); !strings.Contains(s.Message(), line) {
					text.WriteString("\n  " + line)
				}
			}
		}
	}
	return text.String()
}
