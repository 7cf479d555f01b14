package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ledPause is how long a call that came to a member without a leader waits
// before it is made again: an election takes a second or so.
const ledPause = 50 * time.Millisecond

// led makes a call at a member that has a leader. One that has lost touch with
// the others would keep the call for seven seconds; asked so, it refuses the
// call unseen, before it does anything, and even a write may go to the next.
// When ctx ends first, the last error stands.
func led(ctx context.Context, call func(context.Context) (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	asked := clientv3.WithRequireLeader(ctx)
	for {
		resp, err := call(asked)
		if !errors.Is(rpctypes.Error(err), rpctypes.ErrNoLeader) {
			return resp, err
		}
		select {
		case <-time.After(ledPause):
		case <-ctx.Done():
			return resp, err
		}
	}
}
