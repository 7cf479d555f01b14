// Package report counts what a node carries, on its way back to the control
// planes.
//
// [Counters] belong to one incarnation of a route: its name and the revision
// at which it was created. They are held by pointer, so that counting needs
// no look-up and no lock, and they survive every change of the route.
//
// A [Book] holds all of them in the order of their last change. Each stream to
// a control plane has a [Reader] of its own, which is told everything at first
// and then whatever changed. Counts only grow as long as the node process
// lives, so that hearing one twice changes nothing.
package report

import (
	"slices"
	"sync"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxRemoved bounds how many removed routes are remembered while nobody
// listens, streams that still run apart.
const maxRemoved = 10_000

// A Book holds the counters of every route that the node serves, and those of
// removed routes until their streams have ended and all readers know. It is
// safe for concurrent use.
type Book struct {
	mu     sync.Mutex
	routes map[incarnation]*Counters
	// fresh are those that changed and have no place in the order yet.
	fresh []*Counters
	// oldest and newest are the ends of the list in order of the last change
	// looked at.
	oldest, newest *Counters
	changes        uint64 // places given out so far
	removed        map[*Counters]struct{}
	readers        map[*Reader]struct{}
}

// An incarnation is a route between being created and being removed.
type incarnation struct {
	name    string
	created int64
}

// New returns an empty book.
func New() *Book {
	return &Book{
		routes:  map[incarnation]*Counters{},
		removed: map[*Counters]struct{}{},
		readers: map[*Reader]struct{}{},
	}
}

// Route returns the counters of a route's incarnation: the same as long as the
// book remembers it.
func (b *Book) Route(name string, created int64) *Counters {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := incarnation{name, created}
	c := b.routes[key]
	if c == nil {
		c = &Counters{book: b, route: name, created: created}
		b.routes[key] = c
	}
	delete(b.removed, c)
	return c
}

// Remove says that the route of c is gone. Its open streams go on being counted.
func (b *Book) Remove(c *Counters) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removed[c] = struct{}{}
	if len(b.removed) > maxRemoved {
		b.forget(func(c *Counters) bool { return c.open.Load() == 0 })
	}
}

// note is told of a change of c that follows a report of it.
func (b *Book) note(c *Counters) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fresh = append(b.fresh, c)
}

// A Reader follows a book's changes. It belongs to one goroutine.
type Reader struct {
	book *Book
	read uint64 // the last place it was told of
}

// Reader returns a reader that has been told nothing. It must be closed.
func (b *Book) Reader() *Reader {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &Reader{book: b}
	b.readers[r] = struct{}{}
	return r
}

// Close ends the reader.
func (r *Reader) Close() {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	delete(r.book.readers, r)
}

// Changed returns the counters of every route that changed since the last
// call, the longest unchanged first, or nil.
func (r *Reader) Changed() []*signalboxv1.RouteReport {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	var changed []*signalboxv1.RouteReport
	for c := b.newest; c != nil && c.at > r.read; c = c.prev {
		changed = append(changed, c.report())
	}
	slices.Reverse(changed)
	r.read = b.changes
	b.forgetTold()
	return changed
}

// settle gives those that changed the newest places in the order.
func (b *Book) settle() {
	for _, c := range b.fresh {
		c.noted.Store(false) // before any reader reads its counts
		b.unlink(c)
		b.changes++
		c.at = b.changes
		c.prev, b.newest = b.newest, c
		if c.prev != nil {
			c.prev.next = c
		} else {
			b.oldest = c
		}
	}
	clear(b.fresh)
	b.fresh = b.fresh[:0]
}

// unlink takes c out of the list.
func (b *Book) unlink(c *Counters) {
	if c.at == 0 {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		b.oldest = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		b.newest = c.prev
	}
	c.prev, c.next, c.at = nil, nil, 0
}

// forgetTold drops removed routes that have come to rest, once every reader has
// been told.
func (b *Book) forgetTold() {
	told := b.changes
	for r := range b.readers {
		told = min(told, r.read)
	}
	b.forget(func(c *Counters) bool {
		return c.at <= told && !c.noted.Load() && c.open.Load() == 0
	})
}

// forget drops those removed routes that may be.
func (b *Book) forget(may func(*Counters) bool) {
	for c := range b.removed {
		if may(c) {
			b.unlink(c)
			delete(b.removed, c)
			delete(b.routes, incarnation{c.route, c.created})
		}
	}
}
