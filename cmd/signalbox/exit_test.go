package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
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
		exitUnavailable: {status.Error(codes.Unavailable, "x"), fmt.Errorf("call: %w", status.Error(codes.DeadlineExceeded, "x")), fmt.Errorf("list: %w", context.DeadlineExceeded)},
		exitNotServed:   {errNotServed, errNotRunning, fmt.Errorf("x: %w", errNotServed)},
	} {
		for _, err := range errs {
			if got := exitCode(err); got != want {
				t.Errorf("%v exits with %d, want %d", err, got, want)
			}
		}
	}
}

// A write that waited fails for nodes that lag and for those that reject it,
// and says who; one that did not wait is done once it is written.
func TestWritesThatAreNotServed(t *testing.T) {
	lagging := &signalboxv1.WriteResult{Lagging: []string{"node-1"}}
	rejected := &signalboxv1.WriteResult{NodesLive: 3, NodesServing: 3, Rejections: []*signalboxv1.Rejection{
		{Node: "node-2", Name: "a", Reason: "no such scheme"}, {Node: "node-2", Name: "b", Reason: "no such scheme"},
	}}
	for _, c := range []struct {
		name   string
		wait   bool
		result *signalboxv1.WriteResult
		says   string
		code   int
	}{
		{"a node lags", true, lagging, "lagging: node-1", exitNotServed},
		{"a node rejects it", true, rejected, "rejected by node-2: no such scheme", exitNotServed},
		{"a node that rejects two records is one that does not serve it", true, rejected, "served by 2 of 3 nodes", exitNotServed},
		{"all serve it", true, new(signalboxv1.WriteResult), "served by", exitOK},
		{"nobody waited", false, lagging, "revision 0", exitOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			w := writeFlags{wait: c.wait}
			err := w.told(&out, &client{output: "table"}, "route r", &signalboxv1.PutRouteResponse{Result: c.result})
			if exitCode(err) != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("%v, after saying %q", err, out.String())
			}
		})
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
