package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/store"
)

// fault makes of an etcd error what package store promises. Only what etcd
// surely refused is passed on as it is; of all else it is unknown whether it
// was done. ctx is the call's.
func fault(ctx context.Context, err error) error {
	err = rpctypes.Error(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: etcd's quota is used up; compact and defragment it, or raise the quota, and disarm its alarm",
			store.ErrFull)
	case errors.Is(err, rpctypes.ErrNoLeader): // it was refused unseen, see led
		return fmt.Errorf("%w: no member that answers has a leader", store.ErrUnmade)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, context.Cause(ctx))
	case refused(codeOf(err)):
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// refused reports whether a code says for certain that nothing was done.
func refused(c codes.Code) bool {
	switch c {
	case codes.InvalidArgument, codes.NotFound, codes.OutOfRange, codes.FailedPrecondition,
		codes.PermissionDenied, codes.Unauthenticated, codes.DataLoss, codes.Unimplemented:
		return true
	}
	return false
}

func codeOf(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}

// limit is fault for a transaction: etcd may have been given lower limits than
// its defaults. It does not say which, only that this was too much.
func limit(ctx context.Context, err error, changes, size int) error {
	switch err := rpctypes.Error(err); {
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return &store.LimitError{What: "changes", Got: changes, Limit: changes - 1}
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return &store.LimitError{What: "bytes", Got: size, Limit: size - 1}
	}
	return fault(ctx, err)
}
