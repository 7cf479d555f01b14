package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/store"
)

// PutNotes implements store.Notes.
func (k *Keeper) PutNotes(ctx context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error {
	if err := store.CheckNotes(put, gone, unless); err != nil {
		return fmt.Errorf("put notes: %w", err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	var (
		conditions     []clientv3.Cmp
		found, changes []clientv3.Op
		size           int
	)
	for _, c := range unless {
		key := k.keys.note(c.Name)
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", int64(c.Modified)))
		found = append(found, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	}
	for _, n := range put {
		changes = append(changes, clientv3.OpPut(k.keys.note(n.Name), string(n.Value)))
		size += len(n.Value)
	}
	for _, name := range gone {
		changes = append(changes, clientv3.OpDelete(k.keys.note(name)))
	}
	resp, err := k.client.Txn(ctx).If(conditions...).Then(changes...).Else(found...).Commit()
	if err != nil {
		return fmt.Errorf("put notes: %w", limit(ctx, err, len(changes), size))
	}
	if resp.Succeeded {
		return nil
	}
	for i, c := range unless {
		var have store.Revision
		for _, kv := range resp.Responses[i].GetResponseRange().Kvs {
			have = store.Revision(kv.ModRevision)
		}
		if have != c.Modified {
			return fmt.Errorf("put notes: %w", &store.ConflictError{Note: c.Name, Modified: have})
		}
	}
	return errors.New("put notes: a condition did not hold")
}

// FollowNotes implements store.Notes. Notes are few, and have no version: after
// any fault they are read anew.
func (k *Keeper) FollowNotes(ctx context.Context, prefix string, apply func(store.NoteChange) error) error {
	f := noteFollower{k: k, all: under(k.keys.note(prefix)), apply: apply}
	return k.persist(ctx, "notes "+prefix, f.run)
}

// noteFollower is one call of FollowNotes.
type noteFollower struct {
	k     *Keeper
	all   span
	apply func(store.NoteChange) error
}

func (f *noteFollower) run(ctx context.Context, well func()) error {
	at, err := f.k.where(ctx)
	if err != nil {
		return err
	}
	change := store.NoteChange{Whole: true}
	err = f.k.list(ctx, f.all, at.now, func(kv *mvccpb.KeyValue) {
		change.Put = append(change.Put, f.note(kv))
	})
	if err != nil {
		return err
	}
	if err := f.hand(ctx, change); err != nil {
		return err
	}
	return f.k.watch(ctx, f.all, at.now, well, func(events []*mvccpb.Event, _ int64) error {
		return f.take(ctx, events)
	})
}

// take hands on events, a transaction at a time.
func (f *noteFollower) take(ctx context.Context, events []*mvccpb.Event) error {
	for _, some := range transactions(events) {
		var change store.NoteChange
		for _, e := range some {
			if e.Type == mvccpb.DELETE {
				change.Gone = append(change.Gone, f.k.keys.noteName(e.Kv.Key))
			} else {
				change.Put = append(change.Put, f.note(e.Kv))
			}
		}
		if err := f.hand(ctx, change); err != nil {
			return err
		}
	}
	return nil
}

func (f *noteFollower) note(kv *mvccpb.KeyValue) store.Note {
	return store.Note{Name: f.k.keys.noteName(kv.Key), Value: kv.Value, Modified: store.Revision(kv.ModRevision)}
}

// hand calls apply, and marks its error as such.
func (f *noteFollower) hand(ctx context.Context, change store.NoteChange) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := f.apply(change); err != nil {
		return applyError{err}
	}
	return nil
}
