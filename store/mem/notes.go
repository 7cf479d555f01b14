package mem

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"signalbox/store"
)

// note is a note as it is kept.
type note struct {
	store.Note
	session *session // under which it lasts; nil if it stays
}

// PutNotes implements store.Notes.
func (k *Keeper) PutNotes(ctx context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error {
	if err := store.CheckNotes(put, gone, unless); err != nil {
		return fmt.Errorf("put notes: %w", err)
	}
	s := k.state
	defer s.lock()()
	if err := k.reachable(ctx); err != nil {
		return fmt.Errorf("put notes: %w", err)
	}
	for _, c := range unless {
		if have := s.notes[c.Name].Modified; have != c.Modified {
			return fmt.Errorf("put notes: %w", &store.ConflictError{Note: c.Name, Modified: have})
		}
	}
	s.writeNotes(nil, put, gone)
	return nil
}

// FollowNotes implements store.Notes.
func (k *Keeper) FollowNotes(ctx context.Context, prefix string, apply func(store.NoteChange) error) error {
	at := store.Revision(-1) // what was handed on; before the floor at first
	return follow(ctx, apply, func() ([]store.NoteChange, <-chan struct{}) {
		s := k.state
		defer s.lock()()
		if !k.up {
			return nil, s.moved
		}
		changes, ok := s.noteChanges.after(at)
		if ok {
			changes = under(prefix, changes)
		} else {
			changes = []store.NoteChange{s.wholeNotes(prefix)}
		}
		at = s.noteChanges.newest()
		return changes, s.moved
	})
}

// writeNotes writes and removes notes in one change; holder is the session
// under which they last, nil for none. The caller holds the lock.
func (s *state) writeNotes(holder *session, put []store.Note, gone []string) {
	rev := s.next()
	var change store.NoteChange
	for _, n := range put {
		n.Value, n.Modified = bytes.Clone(n.Value), rev
		s.notes[n.Name] = note{Note: n, session: holder}
		change.Put = append(change.Put, n)
	}
	for _, name := range gone {
		if _, ok := s.notes[name]; ok {
			delete(s.notes, name)
			change.Gone = append(change.Gone, name)
		}
	}
	s.noteChanges.add(rev, change)
	s.wake()
}

// wholeNotes returns all notes under a prefix, as a change.
func (s *state) wholeNotes(prefix string) store.NoteChange {
	change := store.NoteChange{Whole: true}
	for _, name := range slices.Sorted(maps.Keys(s.notes)) {
		if strings.HasPrefix(name, prefix) {
			change.Put = append(change.Put, s.notes[name].Note)
		}
	}
	return change
}

// under returns what of the changes is about notes under the prefix.
func under(prefix string, changes []store.NoteChange) []store.NoteChange {
	var seen []store.NoteChange
	for _, c := range changes {
		var part store.NoteChange
		for _, n := range c.Put {
			if strings.HasPrefix(n.Name, prefix) {
				part.Put = append(part.Put, n)
			}
		}
		for _, name := range c.Gone {
			if strings.HasPrefix(name, prefix) {
				part.Gone = append(part.Gone, name)
			}
		}
		if len(part.Put)+len(part.Gone) > 0 {
			seen = append(seen, part)
		}
	}
	return seen
}
