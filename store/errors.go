package store

import (
	"errors"
	"fmt"
)

// ErrUnavailable says that the keeper could not be reached, or has no quorum.
// Of a write it is then unknown whether it was made.
var ErrUnavailable = errors.New("the store cannot be reached or has no quorum")

// ErrUnmade is ErrUnavailable of a write that was certainly not made.
var ErrUnmade = fmt.Errorf("%w; nothing was written", ErrUnavailable)

// ErrFull says that the keeper has no room left. Nothing was written, and
// nothing can be until an operator makes room; reading goes on.
var ErrFull = errors.New("the store is full")

// ErrNoBackup says that a keeper cannot be copied as it is used here.
var ErrNoBackup = errors.New("the store cannot be backed up from here")

// ErrSessionEnded says that a session can do no more: it was closed, or its
// lease ran out. Whoever still needs one begins another.
var ErrSessionEnded = errors.New("the session has ended")

// What a transaction may hold, by etcd's defaults; every keeper has the same
// limits, so that what works on one works on the other.
const (
	// MaxOps bounds what a transaction changes: records put and deleted,
	// claims taken and released, and one for the store's own use, so that
	// MaxOps-1 are left. It bounds the conditions too; a claim is also one.
	MaxOps = 128
	// MaxBytes bounds the encoded size of a transaction, names and values
	// together, those of conditions and claims as often as they are sent, and
	// a little for each operation; a record alone can be a little smaller than this.
	MaxBytes = 1_500_000
)

// A ConflictError says that a condition did not hold, and what was found.
type ConflictError struct {
	// Key and Modified are a record's, with Modified zero when there is none;
	// of a claim that was taken, Key is its holder and Claim its name; of a
	// note, Note is its name.
	Key      Key
	Modified Revision
	Claim    string
	Note     string
}

func (e *ConflictError) Error() string {
	switch {
	case e.Claim != "":
		return fmt.Sprintf("%q is held by %s", e.Claim, e.Key)
	case e.Note != "":
		return fmt.Sprintf("note %q is at revision %d", e.Note, e.Modified)
	case e.Modified == 0:
		return fmt.Sprintf("%s does not exist", e.Key)
	}
	return fmt.Sprintf("%s is at revision %d", e.Key, e.Modified)
}

// A LimitError says that a transaction is larger than a store takes.
type LimitError struct {
	What       string // "changes", "conditions" or "bytes"
	Got, Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%d %s in one transaction; the limit is %d", e.Got, e.What, e.Limit)
}
