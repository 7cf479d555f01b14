package mem

import (
	"maps"
	"slices"
	"sync"

	"signalbox/store"
)

// state is one store, whatever the number of ways to it. All is guarded by mu.
type state struct {
	mu    sync.Mutex
	epoch string
	// rev counts every write, of notes too; head is that of the newest change
	// of records.
	rev, head store.Revision

	records map[store.Key]entry
	claims  map[string]store.Key
	changes history[store.Change]

	notes       map[string]note
	noteChanges history[store.NoteChange]
	// queues holds who stands in each election; the first one leads.
	queues map[string][]*session

	// moved is closed and replaced whenever something changed that somebody
	// may wait for.
	moved chan struct{}
}

// entry is a record as it is kept: decoded once, and never changed after.
type entry struct {
	record store.Record
	err    error // why it could not be decoded
}

// lock locks the state and returns how to unlock it.
func (s *state) lock() (unlock func()) {
	s.mu.Lock()
	return s.mu.Unlock
}

// wake lets everybody who waits look again.
func (s *state) wake() {
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *state) version() store.Version {
	return store.Version{Epoch: s.epoch, Revision: s.head}
}

// next returns the revision of a write that is about to be made.
func (s *state) next() store.Revision {
	s.rev++
	return s.rev
}

// conflict returns what does not hold of a transaction's conditions.
func (s *state) conflict(txn store.Txn) error {
	for _, c := range txn.If {
		if have := s.records[c.Key].record.Modified; have != c.Modified {
			return &store.ConflictError{Key: c.Key, Modified: have}
		}
	}
	for _, c := range txn.Claim {
		if holder, taken := s.claims[c.Name]; taken {
			return &store.ConflictError{Key: holder, Claim: c.Name}
		}
	}
	return nil
}

// put writes one record, and adds it to the change.
func (s *state) put(change *store.Change, key store.Key, value []byte, rev store.Revision) {
	created := rev
	if old, ok := s.records[key]; ok {
		created = old.record.Created
	}
	r, err := store.Decode(key, value, created, rev)
	if err != nil {
		r = store.Record{Key: key, Created: created, Modified: rev}
		change.Unreadable = append(change.Unreadable, store.Unreadable{Key: key, Err: err})
		change.Delete = append(change.Delete, key)
	} else {
		change.Put = append(change.Put, r)
	}
	s.records[key] = entry{record: r, err: err}
}

// drop removes one record if it is there, and adds that to the change.
func (s *state) drop(change *store.Change, key store.Key) {
	if _, ok := s.records[key]; ok {
		delete(s.records, key)
		change.Delete = append(change.Delete, key)
	}
}

// commit makes the change the newest.
func (s *state) commit(change store.Change, rev store.Revision) {
	s.head = rev
	change.Version = s.version()
	s.changes.add(rev, change)
	s.wake()
}

// whole returns all there is, as a change.
func (s *state) whole() store.Change {
	change := store.Change{Whole: true, Version: s.version()}
	for _, key := range slices.SortedFunc(maps.Keys(s.records), store.Key.Compare) {
		e := s.records[key]
		if e.err != nil {
			change.Unreadable = append(change.Unreadable, store.Unreadable{Key: key, Err: e.err})
			continue
		}
		change.Put = append(change.Put, e.record)
	}
	return change
}

// leave gives up a session's place in an election.
func (s *state) leave(election string, who *session) {
	queue := slices.DeleteFunc(s.queues[election], func(o *session) bool { return o == who })
	if len(queue) == 0 {
		delete(s.queues, election)
	} else {
		s.queues[election] = queue
	}
	s.wake()
}

// A Backup is the records and claims of a store at one moment.
type Backup struct {
	head    store.Revision
	records map[store.Key]entry
	claims  map[string]store.Key
}

// Backup returns what Restore takes.
func (k *Keeper) Backup() Backup {
	defer k.state.lock()()
	s := k.state
	return Backup{head: s.head, records: maps.Clone(s.records), claims: maps.Clone(s.claims)}
}

// Restore takes the store back to a backup, and its revisions with it: a new
// epoch begins. Notes and sessions stay as they are.
func (k *Keeper) Restore(b Backup) {
	defer k.state.lock()()
	s := k.state
	s.records, s.claims = maps.Clone(b.records), maps.Clone(b.claims)
	s.epoch, s.head = newEpoch(), b.head
	s.rev = max(b.head, s.noteChanges.newest())
	s.changes = history[store.Change]{limit: s.changes.limit, floor: b.head}
	s.wake()
}
