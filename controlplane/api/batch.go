package api

import (
	"context"
	"errors"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A batch is a list of changes that go into one transaction or, when it may be
// split, into as few as hold them, in order.
type batch struct {
	// field is what the list is called in the request.
	field string
	size  int
	split bool
	// plan makes a transaction of elements, beginning with one of them: of all
	// that are left or, in a batch that may be split, of as many as fit. It
	// returns how many, and errNothing when they need no transaction.
	plan func(view *replica.View, from int) (txn store.Txn, n int, err error)
	// write commits what is planned.
	write func(context.Context, plan) (store.Version, error)
}

// A piece is one transaction of a batch: the elements from one to before
// another, and how many records it changed.
type piece struct {
	from, to, records int
	version           store.Version
}

// commit writes the batch and returns what it was written in. When a
// transaction fails, the error says what those before it have written.
func (b batch) commit(ctx context.Context) ([]piece, error) {
	var done []piece
	for from := 0; from < b.size; {
		var p piece
		v, err := b.write(ctx, func(view *replica.View) (store.Txn, error) {
			txn, n, err := b.plan(view, from)
			p = piece{from: from, to: from + n, records: len(txn.Put) + len(txn.Delete)}
			return txn, err
		})
		switch {
		case err == nil:
			p.version = v
			done = append(done, p)
		case !errors.Is(err, errNothing):
			return nil, partly(done, b.blame(err, from))
		}
		from = p.to
	}
	return done, nil
}

// check does everything that commit does but write.
func (b batch) check(ctx context.Context, c *core) error {
	view, err := c.current(ctx)
	if err != nil {
		return err
	}
	for from := 0; from < b.size; {
		txn, n, err := b.plan(view, from)
		if err == nil {
			_, err = txn.Encode()
		}
		if err != nil && !errors.Is(err, errNothing) {
			return b.blame(err, from)
		}
		from += n
	}
	return nil
}

// blame names the field that makes a transaction too large: an element, if it
// could have been sent alone.
func (b batch) blame(err error, from int) error {
	if b.split {
		return tooLarge(err, index(b.field, from), "")
	}
	return tooLarge(err, b.field, "; that is %d new or removed routes, or %d that keep their match, if they are small: set split to have more written in several transactions",
		store.MaxOps/2-1, store.MaxOps-1)
}

// batchResult is the result of what was written in pieces.
func (c *core) batchResult(ctx context.Context, done []piece, wait waiting, records ...written) *signalboxv1.WriteResult {
	if len(done) == 0 {
		return &signalboxv1.WriteResult{}
	}
	res := c.result(ctx, done[len(done)-1].version, wait, records...)
	if len(done) > 1 {
		for _, p := range done {
			res.Pieces = append(res.Pieces, int64(p.version.Revision))
		}
	}
	return res
}

// count is how many records the pieces changed.
func count(done []piece) (n int32) {
	for _, p := range done {
		n += int32(p.records)
	}
	return n
}
