package replica

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"signalbox/store"
)

// Changes are remembered one by one for those who follow events; feeding needs
// none of them. The oldest are forgotten, a tenth at a time, when there are
// more than maxRecent, or their records take more than maxRecentBytes on the
// wire: one may be as large as the store's limit for a transaction.
const (
	maxRecent      = 10_000
	maxRecentBytes = 64 << 20
)

// recent is the newest changes in order, with positions that only grow.
type recent struct {
	mu      sync.Mutex
	first   uint64         // position of changes[0]
	changes []store.Change // no whole states among them
	bytes   int            // of their records
	whole   store.Version  // of the whole state, or forgotten change, before changes[0]
	next    chan struct{}  // closed and replaced when there is something new
}

// add remembers a change. A whole state ends what can be told of before it.
func (r *recent) add(ch store.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ch.Whole:
		r.first += uint64(len(r.changes)) + 1 // one position is skipped: a gap for everyone
		r.changes, r.bytes, r.whole = nil, 0, ch.Version
	default:
		r.changes, r.bytes = append(r.changes, ch), r.bytes+size(ch)
		if len(r.changes) > maxRecent || r.bytes > maxRecentBytes {
			r.forget()
		}
	}
	if r.next != nil {
		close(r.next)
		r.next = nil
	}
}

// forget drops the oldest changes until a tenth of the room is free.
func (r *recent) forget() {
	n := 0
	for len(r.changes)-n > maxRecent/10*9 || r.bytes > maxRecentBytes/10*9 {
		r.bytes -= size(r.changes[n])
		n++
	}
	r.whole = r.changes[n-1].Version
	r.changes = slices.Clone(r.changes[n:])
	r.first += uint64(n)
}

// size is about what a change's records take on the wire.
func size(ch store.Change) (bytes int) {
	for _, r := range ch.Put {
		bytes += proto.Size(r.Message)
	}
	return bytes
}

// A Cursor reads changes one by one. It belongs to one goroutine.
type Cursor struct {
	recent   *recent
	position uint64
}

// Follow returns a cursor behind the newest change, and that change's version.
func (r *Replica) Follow() (*Cursor, store.Version) {
	q := &r.recent
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.whole
	if n := len(q.changes); n > 0 {
		at = q.changes[n-1].Version
	}
	return &Cursor{recent: q, position: q.first + uint64(len(q.changes))}, at
}

// FollowAfter returns a cursor behind the change of a version, and true; or
// false when what came after it can no longer be told, or it has not come yet.
func (r *Replica) FollowAfter(v store.Version) (*Cursor, bool) {
	q := &r.recent
	q.mu.Lock()
	defer q.mu.Unlock()
	if v == q.whole {
		return &Cursor{recent: q, position: q.first}, true
	}
	for i := len(q.changes) - 1; i >= 0; i-- {
		if q.changes[i].Version == v {
			return &Cursor{recent: q, position: q.first + uint64(i) + 1}, true
		}
	}
	return nil, false
}

// FollowFrom returns a cursor before the change of a version, which it gives
// again, and true; or false when that change can no longer be told, or has not
// come yet.
func (r *Replica) FollowFrom(v store.Version) (*Cursor, bool) {
	q := &r.recent
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := len(q.changes) - 1; i >= 0; i-- {
		if q.changes[i].Version == v {
			return &Cursor{recent: q, position: q.first + uint64(i)}, true
		}
	}
	return nil, false
}

// Next waits for the next change. When changes were missed - a whole state
// came, or the reader was too slow - it returns lost with only the version
// that it goes on from.
func (c *Cursor) Next(ctx context.Context) (ch store.Change, lost bool, err error) {
	q := c.recent
	for {
		q.mu.Lock()
		switch {
		case c.position < q.first:
			c.position = q.first
			v := q.whole
			q.mu.Unlock()
			return store.Change{Version: v}, true, nil
		case c.position < q.first+uint64(len(q.changes)):
			ch := q.changes[c.position-q.first]
			c.position++
			q.mu.Unlock()
			return ch, false, nil
		}
		if q.next == nil {
			q.next = make(chan struct{})
		}
		next := q.next
		q.mu.Unlock()
		select {
		case <-next:
		case <-ctx.Done():
			return store.Change{}, false, context.Cause(ctx)
		}
	}
}
