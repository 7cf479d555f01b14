package tally

import (
	"context"
	"errors"
	"slices"

	"signalbox/store"
)

// report logs that checkpoints fail, and that they do no more.
func (r *runner) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		r.book.metrics.failed.Inc()
	}
	switch {
	case err != nil && ctx.Err() == nil && !r.failing:
		r.failing = true
		r.book.config.Log.Warn("checkpoint not written, and tried again", "err", err)
	case err == nil && r.failing:
		r.failing = false
		r.book.config.Log.Info("checkpoint written again")
	}
}

// commit writes, several at a time. Those whose notes are not as they were
// followed are late: they are left for another time. Any other error ends it.
func (r *runner) commit(ctx context.Context, writes []write) (late int, err error) {
	conflicts := 0
	for len(writes) > 0 {
		n, put, gone, unless := pack(writes, batchBytes)
		err := r.put(ctx, put, gone, unless)
		var conflict *store.ConflictError
		switch {
		case err == nil:
			writes, conflicts = writes[n:], 0
		case errors.As(err, &conflict):
			again, left := r.part(writes[:n], conflict.Note)
			if conflicts++; conflicts > maxConflicts || len(left) == 0 {
				again, left, conflicts = nil, writes[:n], 0
			}
			r.book.failed(left)
			writes, late = slices.Concat(again, writes[n:]), late+len(left)
		default:
			r.book.failed(writes)
			return late, err
		}
	}
	return late, nil
}

// part parts the writes that are worth another try from those that ask
// something of a note which is not so, and from those that have been overtaken
// by another replica's.
func (r *runner) part(writes []write, note string) (again, left []write) {
	for _, w := range writes {
		asks := slices.ContainsFunc(w.unless, func(c store.NoteCondition) bool { return c.Name == note })
		if asks || r.book.overtaken(w) {
			left = append(left, w)
		} else {
			again = append(again, w)
		}
	}
	return again, left
}

func (r *runner) put(ctx context.Context, put []store.Note, gone []string, unless []store.NoteCondition) error {
	ctx, cancel := context.WithTimeout(ctx, 2*lastTime)
	defer cancel()
	err := r.notes.PutNotes(ctx, put, gone, unless...)
	if err == nil {
		r.book.metrics.written.Add(float64(sizeOf(put)))
	}
	return err
}

// pack returns how many of the writes fit into one transaction, at least one,
// and what they are together.
func pack(writes []write, limit int) (n int, put []store.Note, gone []string, unless []store.NoteCondition) {
	asked := map[string]store.Revision{}
	size := 0
	for _, w := range writes {
		var more []store.NoteCondition
		same := true // what is asked twice is the same
		for _, c := range w.unless {
			if rev, ok := asked[c.Name]; !ok {
				more = append(more, c)
			} else {
				same = same && rev == c.Modified
			}
		}
		size += w.size()
		changes := len(put) + len(gone) + len(w.put) + len(w.gone)
		if n > 0 && (!same || size > limit || changes > store.MaxOps || len(unless)+len(more) > store.MaxOps) {
			break
		}
		for _, c := range more {
			asked[c.Name] = c.Modified
		}
		n++
		put, gone, unless = append(put, w.put...), append(gone, w.gone...), append(unless, more...)
	}
	return n, put, gone, unless
}
