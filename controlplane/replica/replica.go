// Package replica keeps a control plane's copy of the store: what is, at
// which version, what changed since an earlier one, and the recent changes one
// by one. It is written by one goroutine, the store's follower, and read by
// all without a lock.
package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"signalbox/store"
)

// Source is what a replica reads of a store.
type Source interface {
	Head(ctx context.Context) (store.Version, error)
	Follow(ctx context.Context, apply func(store.Change) error) error
}

// A Replica follows a store. Before its first whole state it has no view.
type Replica struct {
	source Source
	log    *slog.Logger
	view   atomic.Pointer[View]
	recent recent

	mu   sync.Mutex
	next chan struct{} // closed and replaced whenever view is
}

// New returns a replica of what source holds. It does nothing until Run.
func New(source Source, log *slog.Logger) *Replica {
	return &Replica{source: source, log: log, next: make(chan struct{})}
}

// Run follows the store until ctx ends, and returns its cause.
func (r *Replica) Run(ctx context.Context) error {
	return r.source.Follow(ctx, func(ch store.Change) error {
		for _, u := range ch.Unreadable {
			r.log.Error("record unreadable, left out", "rev", ch.Version.Revision, "record", u.Key.String(), "err", u.Err)
		}
		next := r.view.Load().apply(ch)
		r.recent.add(ch)
		if ch.Whole {
			r.log.Info("whole state read", "rev", ch.Version.Revision, "epoch", ch.Version.Epoch, "records", next.Len())
		} else {
			r.log.Debug("change read", "rev", ch.Version.Revision, "upserts", len(ch.Put), "removals", len(ch.Delete))
		}
		r.publish(next)
		return nil
	})
}

func (r *Replica) publish(v *View) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.Store(v)
	close(r.next)
	r.next = make(chan struct{})
}

// Now returns the newest view, nil before the first, and a channel that is
// closed when there is a newer one.
func (r *Replica) Now() (*View, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.Load(), r.next
}

// ErrBehind says that the replica could not catch up with the store in time.
var ErrBehind = errors.New("this control plane has not caught up with the store")

// Reach waits for a view that holds everything up to a version, or one of
// another epoch, which came later. It returns ErrBehind, wrapped with ctx's
// cause, when ctx ends first.
func (r *Replica) Reach(ctx context.Context, want store.Version) (*View, error) {
	for {
		v, next := r.Now()
		if v != nil && (v.Version.Revision >= want.Revision || v.Version.Epoch != want.Epoch) {
			return v, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, errors.Join(ErrBehind, context.Cause(ctx))
		}
	}
}

// Current returns a view that holds every write answered before the call, by
// any control plane. It returns store.ErrUnavailable, wrapped, when that
// cannot be known for certain: an old view is never passed off as new.
func (r *Replica) Current(ctx context.Context) (*View, error) {
	head, err := r.source.Head(ctx)
	for err == nil {
		v, next := r.Now()
		if v != nil && v.Version.Epoch == head.Epoch && v.Version.Revision >= head.Revision {
			return v, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, errors.Join(ErrBehind, context.Cause(ctx))
		}
		// A view of another history than the head's: which of them is older
		// only the store can tell.
		if v, _ := r.Now(); v.Version.Epoch != head.Epoch {
			head, err = r.source.Head(ctx)
		}
	}
	return nil, err
}
