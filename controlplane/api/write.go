package api

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A plan makes a transaction of a view, with the conditions under which it is
// right. Its error says why there can be none in that state.
type plan func(*replica.View) (store.Txn, error)

// errNothing is a plan's error when there is nothing to change.
var errNothing = errors.New("nothing to change")

// maxTries is how often a write is planned before it is given up. Each time
// another's write of the same record went through.
const maxTries = 32

// write commits what p plans and returns its version. On the word of a view
// that may be old nothing is refused: p is then asked again.
func (c *core) write(ctx context.Context, p plan) (store.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, c.StoreTimeout)
	defer cancel()
	if view, _ := c.Replica.Now(); view != nil {
		if txn, err := allowed(ctx, view, p); err == nil {
			if v, err := c.commit(ctx, view, txn); !isConflict(err) && !isLimit(err) {
				return v, err
			}
		}
	}
	return c.writeCurrent(ctx, p)
}

// writeCurrent is write for plans that an old view could mislead unnoticed.
func (c *core) writeCurrent(ctx context.Context, p plan) (store.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, c.StoreTimeout)
	defer cancel()
	var conflict error
	for range maxTries {
		view, err := c.Replica.Current(ctx)
		if err != nil {
			return store.Version{}, err
		}
		txn, err := allowed(ctx, view, p)
		if err != nil {
			return store.Version{}, err
		}
		v, err := c.commit(ctx, view, txn)
		if !isConflict(err) {
			return v, err
		}
		conflict = err
	}
	return store.Version{}, conflict
}

// allowed is what p plans for a caller who is good in that view, under the
// condition that they are when it is committed: an ended key writes nothing, at
// no control plane.
func allowed(ctx context.Context, view *replica.View, p plan) (store.Txn, error) {
	while, err := auth.StillGood(ctx, view)
	if err != nil {
		return store.Txn{}, err
	}
	txn, err := p(view)
	if err != nil || while == nil {
		return txn, err
	}
	if !slices.ContainsFunc(txn.If, func(c store.Condition) bool { return c.Key == while.Key }) {
		txn.If = append(txn.If, *while)
	}
	return txn, nil
}

// commit commits a transaction planned on a view.
func (c *core) commit(ctx context.Context, view *replica.View, txn store.Txn) (store.Version, error) {
	rev, err := c.Store.Commit(ctx, txn)
	if errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnmade) {
		err = fmt.Errorf("%w: %w", errUnknown, err)
	}
	if err != nil {
		return store.Version{}, err
	}
	c.Log.Info("written", append(summary(txn), "rev", rev, "key", auth.Caller(ctx).GetName())...)
	return store.Version{Epoch: view.Version.Epoch, Revision: rev}, nil
}

// summary is what the log says of a transaction's records.
func summary(txn store.Txn) []any {
	switch {
	case len(txn.Put) == 1 && len(txn.Delete) == 0:
		return []any{"record", txn.Put[0].Key.String()}
	case len(txn.Put) == 0 && len(txn.Delete) == 1:
		return []any{"record", txn.Delete[0].String(), "removals", 1}
	}
	return []any{"upserts", len(txn.Put), "removals", len(txn.Delete)}
}

func isConflict(err error) bool {
	var conflict *store.ConflictError
	return errors.As(err, &conflict)
}

// isLimit reports whether a transaction was too large: one made of what is
// current may need less.
func isLimit(err error) bool {
	var limit *store.LimitError
	return errors.As(err, &limit)
}

// check does everything that write does but commit.
func (c *core) check(ctx context.Context, p plan) error {
	view, err := c.current(ctx)
	if err != nil {
		return err
	}
	txn, err := p(view)
	if err != nil {
		return err
	}
	_, err = txn.Encode()
	return err
}

// A written is a record at the revision a call gave it.
type written struct {
	key store.Key
	rev store.Revision
}

// result waits for nodes to serve a version, if that was asked, and says how
// things stand then. The caller may go away meanwhile: the write stands.
func (c *core) result(ctx context.Context, v store.Version, wait waiting, records ...written) *signalboxv1.WriteResult {
	if wait == nil {
		return answer(v, c.Nodes.Standing(v))
	}
	waitCtx, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	res := answer(v, c.Nodes.Wait(waitCtx, v))
	for _, w := range records {
		res.Rejections = append(res.Rejections, c.Nodes.Rejections(w.key, w.rev)...)
	}
	return res
}
