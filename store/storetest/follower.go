package storetest

import (
	"context"
	"errors"
	"testing"

	"signalbox/store"
)

// errStopped ends the followers of a test.
var errStopped = errors.New("the test is over")

// A follower hands the changes of one Follow, or FollowNotes, to a test, one
// at a time: while the test does not ask, apply blocks.
type follower[C any] struct {
	t       *testing.T
	changes chan C
	stop    context.CancelCauseFunc
	done    chan error // what Follow returned
}

// follow follows a store's records until the test ends.
func follow(t *testing.T, s store.Records) *follower[store.Change] {
	return start(t, s.Follow)
}

// followNotes follows a store's notes until the test ends.
func followNotes(t *testing.T, s store.Notes, prefix string) *follower[store.NoteChange] {
	return start(t, func(ctx context.Context, apply func(store.NoteChange) error) error {
		return s.FollowNotes(ctx, prefix, apply)
	})
}

func start[C any](t *testing.T, run func(context.Context, func(C) error) error) *follower[C] {
	ctx, stop := context.WithCancelCause(t.Context())
	f := &follower[C]{t: t, changes: make(chan C), stop: stop, done: make(chan error, 1)}
	go func() {
		f.done <- run(ctx, func(c C) error {
			select {
			case f.changes <- c:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	t.Cleanup(func() { _ = f.end() })
	return f
}

// next returns the next change.
func (f *follower[C]) next() C {
	f.t.Helper()
	ctx := within(f.t)
	select {
	case c := <-f.changes:
		return c
	case err := <-f.done:
		f.done <- err
		f.t.Fatalf("the follower has stopped: %v", err)
	case <-ctx.Done():
		f.t.Fatalf("no change came: %v", context.Cause(ctx))
	}
	panic("not reached")
}

// end stops the follower and returns what Follow returned.
func (f *follower[C]) end() error {
	f.stop(errStopped)
	err := <-f.done
	f.done <- err
	return err
}

// whole returns the next change, which must be a whole state.
func whole(f *follower[store.Change]) store.Change {
	f.t.Helper()
	c := f.next()
	if !c.Whole {
		f.t.Fatalf("got a change to revision %d, want a whole state", c.Version.Revision)
	}
	return c
}

// step returns the next change, which must not be a whole state.
func step(f *follower[store.Change]) store.Change {
	f.t.Helper()
	c := f.next()
	if c.Whole {
		f.t.Fatalf("got a whole state at revision %d, want one change", c.Version.Revision)
	}
	return c
}

// wholeNotes returns the next change, which must be all notes there are.
func wholeNotes(f *follower[store.NoteChange]) store.NoteChange {
	f.t.Helper()
	c := f.next()
	if !c.Whole {
		f.t.Fatalf("got a change %v, want all notes", c)
	}
	return c
}

// a state is what a follower has put together.
type state struct {
	version store.Version
	records map[store.Key]store.Record
}

// apply takes a change up as every reader of Follow has to.
func (s *state) apply(c store.Change) {
	if c.Whole || s.records == nil {
		s.records = map[store.Key]store.Record{}
	}
	s.version = c.Version
	for _, r := range c.Put {
		s.records[r.Key] = r
	}
	for _, k := range c.Delete {
		delete(s.records, k)
	}
}

// reach applies changes until the state is at a revision or later.
func (s *state) reach(f *follower[store.Change], rev store.Revision) {
	f.t.Helper()
	for s.version.Revision < rev {
		s.apply(f.next())
	}
}

// targets is the routes of the state, by name.
func (s *state) targets() map[string]string {
	m := map[string]string{}
	for k, r := range s.records {
		m[k.Name] = target(&r)
	}
	return m
}
