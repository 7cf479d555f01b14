package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Exit codes mean what docs/running.md says.
func TestExitCodes(t *testing.T) {
	for want, errs := range map[int][]error{
		exitOK:          {nil, context.Canceled},
		exitFailed:      {errors.New("x"), status.Error(codes.Internal, "x")},
		exitUsage:       {&usageError{errors.New("x")}, status.Error(codes.InvalidArgument, "x")},
		exitRefused:     {status.Error(codes.Unauthenticated, "x"), status.Error(codes.PermissionDenied, "x")},
		exitNotFound:    {status.Error(codes.NotFound, "x")},
		exitConflict:    {status.Error(codes.AlreadyExists, "x"), status.Error(codes.Aborted, "x"), status.Error(codes.FailedPrecondition, "x")},
		exitUnavailable: {status.Error(codes.Unavailable, "x"), fmt.Errorf("call: %w", status.Error(codes.DeadlineExceeded, "x"))},
		exitLagging:     {errLagging, fmt.Errorf("x: %w", errLagging)},
	} {
		for _, err := range errs {
			if got := exitCode(err); got != want {
				t.Errorf("%v exits with %d, want %d", err, got, want)
			}
		}
	}
}

// What people read of a refusal names its fields.
func TestDescribe(t *testing.T) {
	s, err := status.New(codes.InvalidArgument, "the route is not valid").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "route.name", Description: "must not be empty"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "the route is not valid\n  route.name: must not be empty"
	if got := describe(s.Err()); got != want {
		t.Errorf("reads %q, want %q", got, want)
	}
}
