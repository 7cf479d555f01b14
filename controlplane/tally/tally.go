// Package tally keeps what nodes carried, route by route, merged exactly over
// nodes and over control plane replicas.
//
// Nodes report to every replica, and what they report is cumulative under the
// node's epoch. Of one node process, then, the higher number holds: views are
// joined by taking the greater of each, and hearing a report twice, late, out
// of order or on two replicas changes nothing. What a route carried is the sum
// over all node processes there ever were.
//
// So that this survives every replica, it is written to notes in the store,
// and every replica follows them. A chunk is what one process carried of the
// routes in one bucket; the base of a bucket is what dead processes carried
// there. A dead process is folded: one transaction adds its chunk to the base,
// removes the chunk and notes in the base that this was done; from then on
// nothing that is still heard of it is added.
//
// A chunk is written by the replica that feeds its node, since that is sure to
// hear all the node reports; so each is written once, and a node that reaches
// one replica only is known to all. What nobody feeds is written, and all that
// is dead folded, by an elected leader. Every write asks that the chunk and the
// base are still what this replica has seen, so nothing depends on who believes
// to feed or to lead.
//
//   - Book is the memory. It has neither clock nor goroutine.
//   - Book.Run follows the notes and writes them.
package tally

import (
	"log/slog"
	"sync"
	"time"

	"signalbox/controlplane/tally/checkpoint"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Config is how a Book is made. The zero value is useful.
type Config struct {
	// Exists reports whether there is a route of this name and created
	// revision, or a tunnel instance of that incarnation. It must say yes of a route that may have been written since
	// this replica last read the store: no means that it was removed, and that
	// its counters may go. Nil: all exist. It is called without locks held.
	Exists func(name checkpoint.Subject, created int64) bool
	// Running reports whether a node process that has no stream to this
	// replica is known to run all the same, as by a lease. Nil: none is. It is
	// called without locks held.
	Running func(node string, epoch int64) bool
	// ID is this replica's, among those that Feeder tells.
	ID string
	// Feeder tells which replica feeds a node process, empty if none is known
	// to. Nil: none ever is. It is called without locks held.
	Feeder func(node string, epoch int64) string
	// Every is the time between two checkpoints. Default 5 s.
	Every time.Duration
	// Lost is how long a process must have been gone before it is folded when
	// nobody knows that it is dead: it may have been cut off, and serve.
	// Should it come back after that, what it carries is not counted until it
	// is started anew; the longer, the more is remembered of processes that
	// crashed. Those that said goodbye and those replaced by a newer one do
	// not wait for it. Default 24 h.
	Lost time.Duration
	// Log is where to complain. Default: nowhere.
	Log *slog.Logger
}

// A Book knows what was carried. It is safe for concurrent use; New makes one.
type Book struct {
	config  Config
	metrics metrics
	buckets [checkpoint.Buckets]bucket
	base    *source // stands for the bases in chunks
	queue   queue
	whole   uint32        // counts whole states; only Apply uses it
	loaded  chan struct{} // closed after the first

	// mu guards what follows, and some fields of the sources. It is never held
	// together with a bucket's.
	mu      sync.Mutex
	sources map[checkpoint.Process]*source
	lastID  uint32
}

// New returns a Book in which nothing was carried yet.
func New(c Config) *Book {
	if c.Every <= 0 {
		c.Every = 5 * time.Second
	}
	if c.Lost <= 0 {
		c.Lost = 24 * time.Hour
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Book{config: c, metrics: newMetrics(), base: &source{}, loaded: make(chan struct{}), sources: map[checkpoint.Process]*source{}}
}

// Joined says that a node process has opened a stream to this replica. Until
// as many calls of Left it is present: its open streams count, and it is not
// folded.
func (b *Book) Joined(node string, epoch int64) {
	s := b.acquire(node, epoch)
	defer b.release(s)
	b.join(s, 1)
}

// Left is what ends Joined. What the process carried stays counted.
func (b *Book) Left(node string, epoch int64) {
	s := b.acquire(node, epoch)
	defer b.release(s)
	b.join(s, -1)
}

// Ended says that a process has announced its exit, and so will not come back
// once it has left.
func (b *Book) Ended(node string, epoch int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.source(node, epoch).ended = true
}

// join changes the number of a source's streams, and counts its open streams
// accordingly.
func (b *Book) join(s *source, streams int) {
	b.mu.Lock()
	s.joins = max(0, s.joins+streams)
	present := s.joins > 0
	changed := s.present.Swap(present) != present
	if present {
		s.ended, s.away = false, time.Time{}
	}
	b.mu.Unlock()
	if !changed {
		return
	}
	// A report that comes meanwhile reads present under the bucket's lock, as
	// count does: whoever is second in a bucket sees what holds.
	for i := range b.buckets {
		k := &b.buckets[i]
		k.mu.Lock()
		if k.chunk(s) != nil {
			k.count(s)
		}
		k.mu.Unlock()
	}
}

// Report joins what a node process says it carried. Reports of one process
// should come in order, because of the open streams the last one holds; for
// everything else it does not matter.
func (b *Book) Report(node string, epoch int64, routes []*signalboxv1.RouteReport) {
	s := b.acquire(node, epoch)
	defer b.release(s)
	for _, r := range routes {
		b.report(s, r.GetOpenStreams(), checkpoint.Entry{
			Subject: checkpoint.Subject(r.GetRoute()), Created: r.GetCreatedRevision(),
			Counts: checkpoint.CountsOf(r.GetCounters(), r.GetLastActivity()),
		})
	}
}

// ReportInstances joins what a node process says its tunnel instances carried.
func (b *Book) ReportInstances(node string, epoch int64, instances []*signalboxv1.InstanceReport) {
	s := b.acquire(node, epoch)
	defer b.release(s)
	for _, r := range instances {
		b.report(s, 0, checkpoint.Entry{
			Subject: checkpoint.Instance(r.GetInstance()), Created: r.GetIncarnation(),
			Counts: checkpoint.CountsOfInstance(r.GetCounters(), r.GetLastActivity()),
		})
	}
}

// report joins what was heard of one subject, and how many streams are open.
func (b *Book) report(s *source, open uint64, heard checkpoint.Entry) {
	if !heard.Subject.Valid() || heard.Created <= 0 {
		return
	}
	i := heard.Subject.Bucket()
	k := &b.buckets[i]
	k.mu.Lock()
	defer k.mu.Unlock()
	inc := k.find(heard.Subject, heard.Created)
	if inc == nil {
		if !b.existsUnlocked(k, heard.Subject, heard.Created) {
			return
		}
		inc = k.add(heard.Subject, heard.Created)
	}
	e := inc.entry(s)
	if e == nil {
		if k.folded(s) {
			b.refuse(s)
			return
		}
		e = inc.addEntry(s)
		k.addChunk(s)
	}
	if present := s.present.Load(); e.open != open || e.counted != present {
		inc.setOpen(e, open, present)
	}
	if inc.raise(e, &heard.Counts) {
		b.touch(i, k.chunk(s))
	}
}

// existsUnlocked asks whether an incarnation exists, with the bucket's lock
// given back meanwhile: the answer may need another's.
func (b *Book) existsUnlocked(k *bucket, name checkpoint.Subject, created int64) bool {
	if b.config.Exists == nil {
		return true
	}
	k.mu.Unlock()
	defer k.mu.Lock()
	return b.config.Exists(name, created)
}

// refuse logs, once, that a process is not counted.
func (b *Book) refuse(s *source) {
	if !s.refused.Swap(true) {
		b.config.Log.Warn("report comes too late: this node process was taken for dead and folded; what it carries is not counted until it is started anew",
			"node", s.Node, "epoch", s.Epoch)
	}
}

// Totals returns what was carried of a route since it was created. Of a route
// that nobody reported it is zero.
func (b *Book) Totals(route string, created int64) Totals {
	return b.totals(checkpoint.Subject(route), created)
}

// InstanceTotals returns what was carried of a tunnel instance since it was
// reset, or created.
func (b *Book) InstanceTotals(name string, incarnation int64) Totals {
	return b.totals(checkpoint.Instance(name), incarnation)
}

func (b *Book) totals(name checkpoint.Subject, created int64) Totals {
	k := &b.buckets[name.Bucket()]
	k.mu.Lock()
	defer k.mu.Unlock()
	inc := k.find(name, created)
	if inc == nil {
		return Totals{}
	}
	return Totals{counts: inc.total, open: inc.open}
}

// Prune forgets the routes and instances that no longer exist; what the notes hold of them
// goes with the next checkpoint. Run calls it now and then.
func (b *Book) Prune() {
	if b.config.Exists == nil {
		return
	}
	for i := range b.buckets {
		k := &b.buckets[i]
		k.mu.Lock()
		subjects := append([]slot(nil), k.subjects...)
		k.mu.Unlock()
		for _, s := range subjects {
			if !b.config.Exists(s.name, s.created) {
				b.forget(i, s)
			}
		}
	}
}

// forget drops an incarnation, and queues the chunks that told of it.
func (b *Book) forget(i int, gone slot) {
	k := &b.buckets[i]
	k.mu.Lock()
	defer k.mu.Unlock()
	for j, s := range k.subjects {
		if s == gone {
			last := len(k.subjects) - 1
			k.subjects[j] = k.subjects[last]
			k.subjects[last] = slot{}
			k.subjects = k.subjects[:last]
			break
		}
	}
	for j := range k.chunks {
		c := &k.chunks[j]
		if c.source == b.base && gone.base != (checkpoint.Counts{}) || gone.entry(c.source) != nil {
			b.touch(i, c)
		}
	}
}

// Loaded is closed once the newest checkpoint was joined: before that, totals
// lack what only the store knows.
func (b *Book) Loaded() <-chan struct{} { return b.loaded }

// revOf is the revision of a chunk that may not exist.
func revOf(c *chunk) store.Revision {
	if c == nil {
		return 0
	}
	return c.rev
}
