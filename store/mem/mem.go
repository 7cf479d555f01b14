// Package mem keeps Signalbox's records in memory. It makes the promises that
// store/etcd makes, for tests and for processes that are to keep nothing, as
// the drop-in for configurable-http-proxy; what it keeps ends with the process.
package mem

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"signalbox/store"
)

// defaultHistory is how many changes are kept for followers that lag.
const defaultHistory = 10_000

// Config is how a store is made. The zero value is useful.
type Config struct {
	// History is how many transactions are remembered: a follower further
	// behind is given a whole state. Default 10 000.
	History int
}

// A Keeper is a way to a store in memory. All ways to one store see the same
// records; each can be cut off by itself.
type Keeper struct {
	state *state
	// up is guarded by state.mu.
	up bool
}

var (
	_ store.Records = (*Keeper)(nil)
	_ store.Notes   = (*Keeper)(nil)
)

// New returns an empty store.
func New() *Keeper { return Config{}.New() }

// New returns an empty store.
func (c Config) New() *Keeper {
	if c.History <= 0 {
		c.History = defaultHistory
	}
	s := &state{
		epoch:   newEpoch(),
		rev:     1, // a state, if an empty one: zero is before everything
		head:    1,
		records: map[store.Key]entry{},
		claims:  map[string]store.Key{},
		notes:   map[string]note{},
		queues:  map[string][]*session{},
		moved:   make(chan struct{}),
	}
	s.changes.limit, s.noteChanges.limit = c.History, c.History
	s.changes.floor, s.noteChanges.floor = s.rev, s.rev
	return &Keeper{state: s, up: true}
}

// Another returns another way to the same store, which is available whether
// or not k is: as a second control plane has a connection of its own.
func (k *Keeper) Another() *Keeper { return &Keeper{state: k.state, up: true} }

// SetAvailable cuts this way to the store off, or mends it. While it is cut
// off, followers stall, sessions are not renewed and all else returns
// store.ErrUnavailable.
func (k *Keeper) SetAvailable(up bool) {
	defer k.state.lock()()
	k.up = up
	k.state.wake()
}

// Compact forgets all changes made so far: followers that have not seen them
// are given a whole state.
func (k *Keeper) Compact() {
	defer k.state.lock()()
	k.state.changes.forget(k.state.changes.newest())
	k.state.noteChanges.forget(k.state.noteChanges.newest())
	k.state.wake()
}

// PutRaw writes bytes under a key, decodable or not, as somebody would who
// uses the keeper's own tools.
func (k *Keeper) PutRaw(key store.Key, value []byte) store.Revision {
	defer k.state.lock()()
	rev := k.state.next()
	change := store.Change{}
	k.state.put(&change, key, value, rev)
	k.state.commit(change, rev)
	return rev
}

// Commit implements store.Records.
func (k *Keeper) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	values, err := txn.Encode()
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	s := k.state
	defer s.lock()()
	if err := k.reachable(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	if err := s.conflict(txn); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	rev := s.next()
	var change store.Change
	for i, r := range txn.Put {
		s.put(&change, r.Key, values[i], rev)
	}
	for _, key := range txn.Delete {
		s.drop(&change, key)
	}
	for _, c := range txn.Claim {
		s.claims[c.Name] = c.Holder
	}
	for _, name := range txn.Release {
		delete(s.claims, name)
	}
	s.commit(change, rev)
	return rev, nil
}

// Read implements store.Records.
func (k *Keeper) Read(ctx context.Context, keys ...store.Key) ([]*store.Record, store.Version, error) {
	defer k.state.lock()()
	if err := k.reachable(ctx); err != nil {
		return nil, store.Version{}, fmt.Errorf("read: %w", err)
	}
	found := make([]*store.Record, len(keys))
	for i, key := range keys {
		if e, ok := k.state.records[key]; ok && e.err == nil {
			found[i] = &e.record
		}
	}
	return found, k.state.version(), nil
}

// Head implements store.Records.
func (k *Keeper) Head(ctx context.Context) (store.Version, error) {
	defer k.state.lock()()
	if err := k.reachable(ctx); err != nil {
		return store.Version{}, fmt.Errorf("head: %w", err)
	}
	return k.state.version(), nil
}

// Follow implements store.Records.
func (k *Keeper) Follow(ctx context.Context, apply func(store.Change) error) error {
	var at store.Version // what was handed on; zero before the first state
	return follow(ctx, apply, func() ([]store.Change, <-chan struct{}) {
		s := k.state
		defer s.lock()()
		if !k.up {
			return nil, s.moved
		}
		changes, ok := s.changes.after(at.Revision)
		if at.Epoch != s.epoch || !ok {
			changes = []store.Change{s.whole()}
		}
		at = s.version()
		return changes, s.moved
	})
}

// follow applies what next returns, again and again. When that is nothing it
// waits until the channel that came with it is closed.
func follow[T any](ctx context.Context, apply func(T) error, next func() ([]T, <-chan struct{})) error {
	for {
		changes, moved := next()
		for _, c := range changes {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := apply(c); err != nil {
				return err
			}
		}
		if len(changes) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}

// reachable says why the store cannot be reached, if it cannot. The caller
// holds the lock.
func (k *Keeper) reachable(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, context.Cause(ctx))
	}
	if !k.up {
		return store.ErrUnavailable
	}
	return nil
}

func newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
