package tally

import (
	"slices"
	"sort"
	"sync"

	"signalbox/controlplane/tally/checkpoint"
	"signalbox/store"
)

// A bucket holds the routes and instances whose names have one hash.
type bucket struct {
	mu sync.Mutex
	// subjects in no order: they are few.
	subjects []slot
	// chunks in order of their sources' ids; that of the base, if any, first.
	chunks []chunk
	// folds are the processes that the base has taken in, and until when that
	// has to be remembered.
	folds checkpoint.Folds
	// sealed is whether the base could not be read, and must not be written.
	sealed bool
}

// A slot finds an incarnation without touching it: created revisions rarely
// are the same.
type slot struct {
	created int64
	*incarnation
}

// An incarnation is a route from one creation to its removal, or a tunnel
// instance until it is reset.
type incarnation struct {
	name checkpoint.Subject
	// base is what folded node processes carried, total that and all entries.
	base, total checkpoint.Counts
	// open is the sum over the entries that are counted.
	open uint64
	// entries in order of their sources' ids.
	entries []entry
}

// An entry is what one node process carried of an incarnation. It holds no
// pointer, so that the garbage collector need not look at the many there are.
type entry struct {
	source uint32
	// counted is whether open is in the incarnation's.
	counted bool
	open    uint64
	counts  checkpoint.Counts
}

// A chunk is how a source's part of a bucket stands in the store. The base has
// one too.
type chunk struct {
	source *source
	// rev is the revision of the note as last followed; zero if there is none.
	rev store.Revision
	// seen is the whole state in which the note was last seen.
	seen uint32
	// dirty is whether the note should be other than it was last seen, queued
	// whether the queue has it.
	dirty, queued bool
	// written is whether a write is on its way. It ends when the write fails
	// or is seen.
	written bool
}

// find returns an incarnation, or nil. The bucket's lock is held, here and in
// all that follows.
func (k *bucket) find(name checkpoint.Subject, created int64) *incarnation {
	for _, s := range k.subjects {
		if s.created == created && s.name == name {
			return s.incarnation
		}
	}
	return nil
}

// add returns an incarnation, new if need be.
func (k *bucket) add(name checkpoint.Subject, created int64) *incarnation {
	inc := k.find(name, created)
	if inc == nil {
		inc = &incarnation{name: name}
		k.subjects = append(k.subjects, slot{created, inc})
	}
	return inc
}

// folded reports whether what a source carried is in the base.
func (k *bucket) folded(s *source) bool {
	_, ok := k.folds[s.Process]
	return ok
}

// chunk returns a source's chunk, or nil. It is valid until chunks change.
func (k *bucket) chunk(s *source) *chunk {
	if i := k.place(s); i < len(k.chunks) && k.chunks[i].source == s {
		return &k.chunks[i]
	}
	return nil
}

// addChunk returns a source's chunk, new if need be.
func (k *bucket) addChunk(s *source) *chunk {
	if c := k.chunk(s); c != nil {
		return c
	}
	i := k.place(s)
	k.chunks = slices.Insert(k.chunks, i, chunk{source: s})
	s.chunks.Add(1)
	return &k.chunks[i]
}

// dropChunk forgets a source's chunk.
func (k *bucket) dropChunk(s *source) {
	if i := k.place(s); i < len(k.chunks) && k.chunks[i].source == s {
		k.chunks = slices.Delete(k.chunks, i, i+1)
		s.chunks.Add(-1)
	}
}

func (k *bucket) place(s *source) int {
	return sort.Search(len(k.chunks), func(i int) bool { return k.chunks[i].source.id >= s.id })
}

// dropEntries forgets what a source carried.
func (k *bucket) dropEntries(s *source) {
	for _, slot := range k.subjects {
		if i, ok := slot.place(s); ok {
			slot.entries = slices.Delete(slot.entries, i, i+1)
			slot.sum()
		}
	}
}

// count puts the open streams of a source in the sums while it is present, and
// takes them out when it is not.
func (k *bucket) count(s *source) {
	for _, slot := range k.subjects {
		if e := slot.entry(s); e != nil {
			slot.setOpen(e, e.open, s.present.Load())
		}
	}
}

// entry returns a source's entry, or nil. It is valid until entries change.
func (inc *incarnation) entry(s *source) *entry {
	if i, ok := inc.place(s); ok {
		return &inc.entries[i]
	}
	return nil
}

// addEntry returns a source's entry, new if need be.
func (inc *incarnation) addEntry(s *source) *entry {
	i, ok := inc.place(s)
	if !ok {
		inc.entries = slices.Insert(inc.entries, i, entry{source: s.id})
	}
	return &inc.entries[i]
}

func (inc *incarnation) place(s *source) (int, bool) {
	i := sort.Search(len(inc.entries), func(i int) bool { return inc.entries[i].source >= s.id })
	return i, i < len(inc.entries) && inc.entries[i].source == s.id
}

// raise joins what was heard into an entry, and reports whether that was more
// than was known.
func (inc *incarnation) raise(e *entry, heard *checkpoint.Counts) bool {
	before := e.counts
	if !e.counts.Join(heard) {
		return false
	}
	inc.total.Grow(&before, &e.counts)
	return true
}

// setOpen changes an entry's open streams, and whether they count.
func (inc *incarnation) setOpen(e *entry, open uint64, counted bool) {
	if e.counted {
		inc.open -= e.open
	}
	if e.open, e.counted = open, counted; counted {
		inc.open += open
	}
}

// sum works the totals out anew.
func (inc *incarnation) sum() {
	inc.total, inc.open = inc.base, 0
	for i := range inc.entries {
		e := &inc.entries[i]
		inc.total.Add(&e.counts)
		if e.counted {
			inc.open += e.open
		}
	}
}
