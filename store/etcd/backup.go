package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	"signalbox/store"
)

const (
	// reachTimeout bounds how long one member is tried before the next.
	reachTimeout = 4 * time.Second
	// stallTimeout bounds how long a member may say nothing in the middle.
	stallTimeout = 30 * time.Second
)

var _ store.Backups = (*Keeper)(nil)

// Backup implements store.Backups.
func (k *Keeper) Backup(ctx context.Context) (io.ReadCloser, store.Version, error) {
	if k.keys.prefix != "" {
		return nil, store.Version{}, fmt.Errorf("%w: its etcd is shared under a prefix, and a snapshot of it would hold what others keep there, too; use etcdctl snapshot save",
			store.ErrNoBackup)
	}
	if !k.owned { // by one way to one member
		return k.copy(ctx, k.Close)
	}
	// A snapshot is of one member, and is behind if the member is. So it is
	// asked of a member that has just answered what all members agree on.
	endpoints := k.client.Endpoints()
	var failed []error
	for _, i := range rand.Perm(len(endpoints)) {
		r, v, err := k.copyFrom(ctx, endpoints[i])
		if err == nil || errors.Is(err, store.ErrNoBackup) || ctx.Err() != nil {
			return r, v, err
		}
		failed = append(failed, err)
	}
	return nil, store.Version{}, errors.Join(failed...)
}

// copyFrom is copy of one of several members.
func (k *Keeper) copyFrom(ctx context.Context, endpoint string) (io.ReadCloser, store.Version, error) {
	cfg := k.config
	cfg.Endpoints = []string{endpoint}
	one, err := Open(cfg)
	if err != nil {
		return nil, store.Version{}, err
	}
	r, v, err := one.copy(ctx, one.Close)
	if err != nil {
		_ = one.Close() // it was only asked
	}
	return r, v, err
}

// copy begins a snapshot of the member that the client reaches. done is called
// when the reader is closed.
func (k *Keeper) copy(ctx context.Context, done func() error) (io.ReadCloser, store.Version, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stall := time.AfterFunc(reachTimeout, func() { cancel(fmt.Errorf("%w: it says nothing", store.ErrUnavailable)) })
	end := func() error {
		stall.Stop()
		cancel(context.Canceled)
		return done()
	}
	at, err := k.where(ctx)
	if err == nil {
		snapshot, openErr := k.client.SnapshotWithVersion(ctx)
		if openErr == nil {
			stall.Reset(stallTimeout)
			return &backup{ctx: ctx, from: snapshot.Snapshot, stall: stall, end: end}, at.version, nil
		}
		err = fault(ctx, openErr)
	}
	stall.Stop()
	cancel(context.Canceled)
	if codeOf(err) == codes.PermissionDenied {
		err = fmt.Errorf("%w: etcd lets only a user with its role root make one, and this control plane logs in as another", store.ErrNoBackup)
	}
	return nil, store.Version{}, err
}

// A backup is a snapshot that is being read.
type backup struct {
	ctx   context.Context //nolint:containedctx // it ends the stream that is read
	from  io.ReadCloser
	stall *time.Timer // ends the stream
	end   func() error
}

// Read implements io.Reader.
func (b *backup) Read(p []byte) (int, error) {
	b.stall.Reset(stallTimeout)
	n, err := b.from.Read(p)
	b.stall.Stop() // what the reader takes is not etcd's fault
	if err != nil && !errors.Is(err, io.EOF) {
		err = fault(b.ctx, err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *backup) Close() error { return errors.Join(b.from.Close(), b.end()) }
