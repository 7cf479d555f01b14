package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/proto/probe"
	"signalbox/store"
)

// Follow implements store.Records.
func (k *Keeper) Follow(ctx context.Context, apply func(store.Change) error) error {
	f := &follower{k: k, apply: apply}
	return k.persist(ctx, "records", f.run)
}

// follower is one call of Follow.
type follower struct {
	k     *Keeper
	apply func(store.Change) error
	// at is the state handed on, at.now etcd's revision up to which it has
	// seen everything; at.epochAt is not used. Zero before a whole state.
	at place
}

// run hands on a whole state, unless it can continue from what was handed on
// before, and then every change, until something fails. It calls well
// once it follows.
func (f *follower) run(ctx context.Context, well func()) error {
	if f.at != (place{}) {
		if err := f.verify(ctx); errors.Is(err, errLost) {
			f.at = place{}
		} else if err != nil {
			return err
		}
	}
	if f.at == (place{}) {
		if err := f.list(ctx); err != nil {
			return err
		}
	}
	err := f.k.watch(ctx, under(f.k.keys.records()), f.at.now, well, func(events []*mvccpb.Event, seen int64) error {
		return f.take(ctx, events, seen)
	})
	if errors.Is(err, errLost) {
		f.at = place{}
	}
	return err
}

// verify returns errLost if the store is not, or not surely, one in whose
// history f.at was. If that is because of a backup that brought the old epoch
// with it, a new one begins.
func (f *follower) verify(ctx context.Context) error {
	at, err := f.k.where(ctx)
	if err != nil {
		return err
	}
	if at.version.Epoch != f.at.version.Epoch {
		return errLost
	}
	if at.now >= f.at.now {
		ctx, cancel := bounded(ctx)
		then, err := f.k.read(ctx, []clientv3.Op{clientv3.OpGet(f.k.keys.head(), clientv3.WithRev(f.at.now))})
		cancel()
		if errors.Is(err, rpctypes.ErrCompacted) {
			return errLost
		}
		if err != nil {
			return err
		}
		for _, kv := range then.Responses[0].GetResponseRange().Kvs {
			if string(kv.Value) == f.at.stamp {
				return nil
			}
		}
	}
	f.k.log.Warn("the store has another history: a new epoch begins", "rev", at.now)
	if err := f.k.renew(ctx, at); err != nil {
		return err
	}
	return errLost
}

// list hands on a whole state.
func (f *follower) list(ctx context.Context) error {
	// All pages are of the revision at which the store was found; what comes
	// after it is watched for.
	at, err := f.k.where(ctx)
	if err != nil {
		return err
	}
	change := store.Change{Whole: true, Version: at.version}
	err = f.k.list(ctx, under(f.k.keys.records()), at.now, func(kv *mvccpb.KeyValue) {
		if key, ok := f.k.keys.recordKey(kv.Key); ok {
			put(&change, key, kv)
			change.Version.Revision = max(change.Version.Revision, store.Revision(kv.ModRevision))
		}
	})
	if err != nil {
		return err
	}
	if err := f.hand(ctx, change); err != nil {
		return err
	}
	f.at = at
	return nil
}

// take hands on events, a transaction at a time; seen is etcd's revision up to
// which there are no others, or zero.
func (f *follower) take(ctx context.Context, events []*mvccpb.Event, seen int64) error {
	for rev, some := range transactions(events) {
		change := store.Change{Version: store.Version{Epoch: f.at.version.Epoch, Revision: store.Revision(rev)}}
		stamp := f.at.stamp
		for _, e := range some {
			switch key := string(e.Kv.Key); {
			case key == f.k.keys.epoch(), key == f.k.keys.head() && e.Type == mvccpb.DELETE:
				return errLost
			case key == f.k.keys.head():
				stamp = string(e.Kv.Value)
			default:
				f.add(&change, e)
			}
		}
		if err := f.hand(ctx, change); err != nil {
			return err
		}
		// Only now: who is interrupted continues with this change.
		f.at.stamp, f.at.now = stamp, rev
	}
	f.at.now = max(f.at.now, seen)
	f.k.seen.raise(f.at.version.Epoch, f.at.now)
	return nil
}

// add adds what happened to one record to a change.
func (f *follower) add(change *store.Change, e *mvccpb.Event) {
	key, ok := f.k.keys.recordKey(e.Kv.Key)
	switch {
	case !ok: // is no record
	case e.Type == mvccpb.DELETE:
		change.Delete = append(change.Delete, key)
	default:
		put(change, key, e.Kv)
	}
}

// put adds a record that was written to a change.
func put(change *store.Change, key store.Key, kv *mvccpb.KeyValue) {
	r, err := decode(key, kv)
	switch {
	case err == nil:
		change.Put = append(change.Put, r)
		return
	case !change.Whole:
		change.Delete = append(change.Delete, key)
	}
	change.Unreadable = append(change.Unreadable, store.Unreadable{Key: key, Err: err})
}

// hand calls apply, and marks its error as such.
func (f *follower) hand(ctx context.Context, change store.Change) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := f.apply(change); err != nil {
		return applyError{err}
	}
	return nil
}

// applyError is an error of who follows.
type applyError struct{ err error }

func (e applyError) Error() string { return e.err.Error() }

const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
	// troubleTimeout bounds the question why there is no connection; while an
	// attempt to make one is under way, it has no answer.
	troubleTimeout = 500 * time.Millisecond
)

// persist runs once again and again until it is done, ctx ends or apply fails,
// with pauses that grow as long as nothing goes well. what is followed is for
// the log.
func (k *Keeper) persist(ctx context.Context, what string, once func(ctx context.Context, well func()) error) error {
	pause, lost := firstPause, false
	well := func() {
		if lost {
			k.log.Info("in touch with the store again", "followed", what)
		}
		pause, lost = firstPause, false
	}
	for {
		err := once(ctx, well)
		var theirs applyError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &theirs):
			return theirs.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, store.ErrSessionEnded):
			return err
		case errors.Is(err, errLost): // is no fault, and needs no pause
			k.log.Info("reading the store anew", "followed", what, "reason", err)
			continue
		case !lost:
			k.log.Warn("lost touch with the store", "followed", what, "err", k.explained(ctx, err))
			lost = true
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(jitter(pause)):
		}
		pause = min(2*pause, lastPause)
	}
}

// explained adds to an error why there is no connection, if there is none.
func (k *Keeper) explained(ctx context.Context, err error) error {
	conn := k.client.ActiveConnection()
	if conn == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, troubleTimeout)
	defer cancel()
	if why := probe.Trouble(ctx, conn); why != "" && !strings.Contains(err.Error(), why) {
		return fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// jitter keeps those who lost the store together from coming back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }
