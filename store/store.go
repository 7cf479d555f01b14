// Package store says what any keeper of Signalbox's records promises: typed
// records at revisions, written in transactions and followed in order.
//
// The records are the messages of proto/signalbox/v1; there is no second set
// of types. Two real keepers exist, store/etcd and store/mem, and
// store/storetest holds both to what is written here.
package store

import (
	"context"
	"io"
	"time"
)

// A Revision orders every change a store has accepted. It only grows, and all
// who read one store count by it: of two states the one with the higher
// revision is never the older. It need not grow by one. Zero is before
// everything.
type Revision int64

// A Version places a state in the history of one store: versions of different
// epochs cannot be compared. A store restored from a backup begins a new
// epoch.
type Version struct {
	Epoch    string
	Revision Revision
}

// A Txn is a set of changes that take effect together, at one revision, or
// not at all.
type Txn struct {
	// If must hold at the moment of the change, all of it. Each key once.
	// What does not hold is reported in this order, then that of Claim.
	If []Condition
	// Put writes records, Delete removes them; a key may appear once, in one
	// of them. Deleting what is not there is no error. A put's Created and
	// Modified, and those in its message's Meta, are ignored.
	Put    []Record
	Delete []Key
	// Claim takes names that must be free, for records written in this or an
	// earlier transaction; Release gives them back, and is no error for those
	// that are free. A name may appear once, in one of them.
	Claim   []Claim
	Release []string
}

// A Claim is a name that at most one record can hold, such as what a route
// matches. Claims are not followed: who may claim what follows from the
// records.
type Claim struct {
	Name   string
	Holder Key
}

// A Condition asks that a record was last modified at a revision; zero asks
// that there is none.
type Condition struct {
	Key      Key
	Modified Revision
}

// Records keeps records. Implementations are safe for concurrent use; they
// copy what they are given, and what they return belongs to nobody: it must
// not be changed by the caller, and is not changed by the store.
type Records interface {
	// Commit makes the changes of txn in one transaction and returns its
	// revision. It writes nothing and returns
	//   - *ConflictError when a condition does not hold,
	//   - *LimitError when the transaction is larger than the keeper takes,
	//   - ErrFull (wrapped) when the keeper has no room left,
	//   - ErrUnavailable (wrapped) when the keeper cannot be reached or has no
	//     quorum, or ctx ended first (then its cause is wrapped too); then,
	//     alone, it is unknown whether the changes were made.
	// A transaction that neither puts nor deletes is an error of the caller's.
	// One that only deletes what is not there is a change all the same.
	Commit(ctx context.Context, txn Txn) (Revision, error)

	// Read returns the records under the keys, in their order, nil for those
	// that do not exist, all at one version not older than the newest commit
	// answered before the call, by anyone. Or ErrUnavailable, wrapped.
	Read(ctx context.Context, keys ...Key) ([]*Record, Version, error)

	// Head returns the version of the newest change: once Follow has reported
	// it, the follower has seen everything committed before the call. Or
	// ErrUnavailable, wrapped, when that cannot be known for certain.
	Head(ctx context.Context) (Version, error)

	// Follow calls apply, from this goroutine, first with a whole state and
	// then with every later change in order, none missed and none twice. A
	// transaction is one change. When history is gone - compacted, restored
	// from a backup, replaced by another store - apply is given a fresh whole
	// state instead, and changes from there on; its version's epoch says
	// whether it is still the same history. Faults of the keeper are waited
	// out, and told to nobody: Head is how to learn of them.
	//
	// Records that cannot be decoded are left out, and named in the change.
	//
	// Follow returns when ctx ends, with its cause, or when apply fails, with
	// that error.
	Follow(ctx context.Context, apply func(Change) error) error
}

// A Change is what Follow hands on.
type Change struct {
	// Whole says that Put is everything there is, in order of keys. Otherwise
	// the change is one transaction.
	Whole bool
	// Version of the state after the change.
	Version Version
	// Put holds records as they are now. Those of one transaction have
	// Modified equal to Version.Revision.
	Put []Record
	// Delete holds the keys of records that are gone.
	Delete []Key
	// Unreadable names records that could not be decoded and are treated as
	// if they did not exist; unless the change is a whole, their keys are in
	// Delete too.
	Unreadable []Unreadable
}

// Unreadable is a record that could not be decoded.
type Unreadable struct {
	Key Key
	Err error
}

// Notes keeps what is not wanted by an operator and followed by nobody's
// feed: leases, memberships, elections, checkpoints. They are bytes under
// names like "live/node-1", apart from all records: writing one moves no
// version that Records reports. The same promises of copying, safety, ErrFull
// and ErrUnavailable hold, but that ErrFull may come of a write that was made:
// whoever writes notes asks what they are, or does not mind.
type Notes interface {
	// Session begins a lease that lasts until it is closed or could not be
	// renewed for ttl (whole seconds, at least one; a keeper may make it
	// longer). Notes written under it vanish with it, wherever its holder has
	// gone.
	Session(ctx context.Context, ttl time.Duration) (Session, error)

	// PutNotes writes notes that stay until they are removed, and removes
	// those named in gone, in one transaction. It does so only if every note
	// in unless is still at the revision given (zero: does not exist);
	// otherwise it returns *ConflictError. May be split by nobody: LimitError
	// as for Commit.
	PutNotes(ctx context.Context, put []Note, gone []string, unless ...NoteCondition) error

	// FollowNotes calls apply as Records.Follow does, with the notes whose
	// names begin with prefix; but a whole state may come for no other reason
	// than that the connection was lost for a moment.
	FollowNotes(ctx context.Context, prefix string, apply func(NoteChange) error) error
}

// Backups copies a whole keeper.
type Backups interface {
	// Backup begins a copy of all there is, and returns the version of the
	// newest change when it began: the copy holds that and all before, at
	// least. The reader is read to its end, which alone says that the copy is
	// whole, or fails with ErrUnavailable, wrapped; it ends with ctx and must
	// be closed. Or ErrUnavailable, or ErrNoBackup where it is not possible,
	// wrapped.
	Backup(ctx context.Context) (io.ReadCloser, Version, error)
}

// A Session is a lease, kept up in the background until it is closed. Once it
// has ended its methods return ErrSessionEnded, wrapped.
type Session interface {
	// Put writes a note that lasts as long as the session. A note of another
	// session under the same name is taken over: it vanishes with this
	// session now, and not with that one.
	Put(ctx context.Context, name string, value []byte) error

	// Remove removes a note if it is held by this session.
	Remove(ctx context.Context, name string) error

	// Lead waits until this session is the one that leads the election of
	// this name, and returns; the lead lasts until the session ends. It
	// returns ctx's cause if that ends first. Faults of the keeper are waited
	// out. One call at a time for one election.
	Lead(ctx context.Context, election string) error

	// Lost is closed when the lease can no longer be counted on: it was
	// closed, ran out, or could not be renewed for so long that others may
	// see it as ended.
	Lost() <-chan struct{}

	// Close ends the lease and removes what was held under it, and waits for
	// the session's goroutines. It may take until ctx ends if the keeper does
	// not answer; the lease then runs out by itself.
	Close(ctx context.Context) error
}

// A Note is bytes under a name.
type Note struct {
	Name  string
	Value []byte
	// Modified is the keeper's revision of the note's last write: it orders
	// writes of this note, and is what NoteCondition compares. Ignored when
	// written.
	Modified Revision
}

// A NoteCondition asks that a note was last modified at a revision.
type NoteCondition struct {
	Name     string
	Modified Revision
}

// A NoteChange is what FollowNotes hands on.
type NoteChange struct {
	// Whole says that Put is everything there is under the prefix.
	Whole bool
	Put   []Note
	// Gone names notes that were removed, or whose session ended.
	Gone []string
}
