// Package account is what a node says of its tunnel instances: what they
// carried, and how they stand.
//
// An [Instance] counts into one incarnation at a time, without a lock. A
// [Book] holds them all, and each stream to a control plane has a [Reader] of
// its own, which is told everything at first and then whatever changed. Counts
// only grow as long as the node process lives, also of an instance that ends
// here and comes back, so that hearing one twice changes nothing.
package account

import (
	"cmp"
	"slices"
	"sync"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxEnded bounds how many instances that do not run here any more are
// remembered. What is forgotten would count from zero if it came back.
const maxEnded = 50_000

// A Book holds the instances that run, or have run, on this node. It is safe
// for concurrent use.
type Book struct {
	mu        sync.Mutex
	instances map[string]*Instance
	// fresh are counters that changed and have no place in the order yet.
	fresh   []*counters
	changes uint64 // places given out so far
	ended   []*Instance
	readers map[*Reader]struct{}
}

// New returns an empty book.
func New() *Book {
	return &Book{instances: map[string]*Instance{}, readers: map[*Reader]struct{}{}}
}

// Begin returns the instance of a name, which is about to run: its state is
// STARTING. Its counts go on if it has run here before.
func (b *Book) Begin(name string, incarnation, starts int64) *Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.instances[name]
	if i == nil {
		i = &Instance{book: b, name: name}
		b.instances[name] = i
	}
	b.ended = slices.DeleteFunc(b.ended, func(e *Instance) bool { return e == i })
	i.run = &signalboxv1.InstanceRun{State: signalboxv1.InstanceState_INSTANCE_STATE_STARTING, Starts: starts}
	i.enter(incarnation)
	b.changed(i.current.Load())
	return i
}

// note is told of a change of c that follows a report of it.
func (b *Book) note(c *counters) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fresh = append(b.fresh, c)
}

// changed is note for those who hold the lock, whether or not c is noted.
func (b *Book) changed(c *counters) {
	if c.noted.CompareAndSwap(false, true) {
		b.fresh = append(b.fresh, c)
	}
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

// Changed returns a report of every instance's incarnation that changed since
// the last call, the longest unchanged first, or nil. An instance that has
// ended is in it once, with what it carried and without a run.
func (r *Reader) Changed() []*signalboxv1.InstanceReport {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	var changed []*counters
	for _, i := range b.instances {
		for _, c := range i.all {
			if c.at > r.read {
				changed = append(changed, c)
			}
		}
	}
	slices.SortFunc(changed, func(x, y *counters) int { return cmp.Compare(x.at, y.at) })
	var reports []*signalboxv1.InstanceReport
	for _, c := range changed {
		reports = append(reports, c.report())
	}
	r.read = b.changes
	b.forgetTold()
	return reports
}

// settle gives those that changed the newest places in the order.
func (b *Book) settle() {
	for _, c := range b.fresh {
		c.noted.Store(false) // before any reader reads its counts
		b.changes++
		c.at = b.changes
		if !slices.Contains(c.instance.all, c) { // counted late into what was forgotten
			c.instance.all = append([]*counters{c}, c.instance.all...)
		}
	}
	clear(b.fresh)
	b.fresh = b.fresh[:0]
}

// forgetTold drops what every reader has been told and nobody counts into any
// more: incarnations before the present one, and instances that ended long ago.
func (b *Book) forgetTold() {
	told := b.changes
	for r := range b.readers {
		told = min(told, r.read)
	}
	old := func(c *counters) bool { return c.at <= told && !c.noted.Load() }
	for _, i := range b.instances {
		if len(i.all) > 1 {
			now := i.current.Load()
			i.all = slices.DeleteFunc(i.all, func(c *counters) bool { return c != now && old(c) })
		}
	}
	for len(b.ended) > maxEnded && old(b.ended[0].current.Load()) {
		delete(b.instances, b.ended[0].name)
		b.ended = b.ended[1:]
	}
}
