package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/store"
)

// What is not surely refused may have been written, and must be said to.
func TestFaultsSayWhetherSomethingMayBeWritten(t *testing.T) {
	for _, c := range []struct {
		err         error
		unavailable bool
	}{
		{rpctypes.ErrGRPCNoLeader, true},
		{rpctypes.ErrGRPCTimeout, true},
		{rpctypes.ErrGRPCTimeoutDueToLeaderFail, true},
		{rpctypes.ErrGRPCLeaderChanged, true},
		{rpctypes.ErrGRPCStopped, true},
		{rpctypes.ErrGRPCRequestTooManyRequests, true},
		{rpctypes.ErrNoLeader, true}, // as the client translates it
		{status.Error(codes.Unavailable, "transport is closing"), true},
		{status.Error(codes.Unknown, "what is this"), true},
		{status.Error(codes.Internal, "stream terminated"), true},
		{errors.New("what is this"), true},
		{context.DeadlineExceeded, true},
		{rpctypes.ErrGRPCPermissionDenied, false},
		{rpctypes.ErrGRPCInvalidAuthToken, false},
		{rpctypes.ErrGRPCAuthFailed, false},
		{rpctypes.ErrGRPCCorrupt, false},
		{rpctypes.ErrGRPCNoSpace, false},
		{rpctypes.ErrGRPCRequestTooLarge, false},
		{rpctypes.ErrGRPCTooManyOps, false},
	} {
		got := limit(context.Background(), c.err, 100, 1000)
		if errors.Is(got, store.ErrUnavailable) != c.unavailable {
			t.Errorf("%v became %v", c.err, got)
		}
	}
	if fault(context.Background(), nil) != nil {
		t.Error("no error became one")
	}
	err := fault(context.Background(), rpctypes.ErrGRPCNoSpace)
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "quota") {
		t.Errorf("a full store: %v", err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	err = fault(ctx, status.Error(codes.Canceled, "context canceled"))
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, why) {
		t.Errorf("a caller who gave up: %v", err)
	}
	var e *store.LimitError
	if err := limit(context.Background(), rpctypes.ErrGRPCTooManyOps, 100, 1000); !errors.As(err, &e) || e.Got != 100 || e.Limit != 99 {
		t.Errorf("too many operations: %v", err)
	}
}

// A member without a leader refuses a call before it does anything. Where no
// other was found in time, the caller may know that nothing was written.
func TestACallThatNoMemberTookWasNotMade(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := led(ctx, func(context.Context) (*clientv3.TxnResponse, error) {
		if calls++; calls == 3 {
			cancel()
		}
		return nil, rpctypes.ErrNoLeader
	})
	if err := fault(ctx, err); !errors.Is(err, store.ErrUnmade) || !errors.Is(err, store.ErrUnavailable) || calls != 3 {
		t.Errorf("after %d calls: got %v, want %v", calls, err, store.ErrUnmade)
	}
	_, err = led(t.Context(), func(context.Context) (*clientv3.TxnResponse, error) { return nil, rpctypes.ErrLeaderChanged })
	if err := fault(t.Context(), err); errors.Is(err, store.ErrUnmade) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a call that a member took and lost: got %v", err)
	}
}
