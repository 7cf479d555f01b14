package tally

import (
	"sync"
	"time"

	"signalbox/controlplane/tally/checkpoint"
	"signalbox/store"
)

// A ref names a source's chunk in a bucket.
type ref struct {
	bucket int
	source *source
}

// The queue holds the chunks that may have to be written, oldest first, each
// once.
type queue struct {
	mu   sync.Mutex
	refs []ref
}

func (q *queue) push(r ref) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refs = append(q.refs, r)
}

func (q *queue) take() []ref {
	q.mu.Lock()
	defer q.mu.Unlock()
	refs := q.refs
	q.refs = nil
	return refs
}

// putBack puts refs before all others.
func (q *queue) putBack(refs []ref) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refs = append(refs, q.refs...)
}

// touch says that a chunk should be written. The bucket's lock is held.
func (b *Book) touch(bucket int, c *chunk) {
	c.dirty = true
	if !c.queued {
		c.queued = true
		b.queue.push(ref{bucket, c.source})
	}
}

// A write is changes of notes that make sense only together.
type write struct {
	put    []store.Note
	gone   []string
	unless []store.NoteCondition
	// chunks are those on whose way this is, and parts those among them that
	// are dirty again should it fail.
	chunks, parts []ref
}

// size is about what the write takes in a transaction.
func (w *write) size() int {
	n := 0
	for _, note := range w.put {
		n += len(note.Name) + len(note.Value)
	}
	for _, name := range w.gone {
		n += len(name)
	}
	return n + 64*len(w.unless)
}

// address says what the note of a chunk is called.
func (c *chunk) address(bucket int) checkpoint.Address {
	if c.source.id == baseID {
		return checkpoint.Address{Bucket: bucket, Base: true}
	}
	return checkpoint.Address{Bucket: bucket, Process: c.source.Process}
}

// changed returns writes for the chunks that are not in the store as they
// should be, oldest first and about as many bytes as the budget says, and
// whether some have to wait for what is on its way. Those of sources that may
// not be written are left for another time; nil: all may. What is returned must
// be written or given to failed.
func (b *Book) changed(now time.Time, budget int, may func(*source) bool) (writes []write, waiting bool) {
	refs := b.queue.take()
	var kept []ref
	for len(refs) > 0 && budget > 0 {
		r := refs[0]
		refs = refs[1:]
		w, wait := b.chunkWrite(r, now, may)
		if wait {
			kept = append(kept, r)
			waiting = waiting || may == nil || may(r.source)
		}
		if w != nil {
			writes = append(writes, *w)
			budget -= w.size()
		}
	}
	b.queue.putBack(append(kept, refs...))
	return writes, waiting
}

// chunkWrite returns the write of one chunk, if there is anything to write
// now, or whether the chunk has to wait in the queue.
func (b *Book) chunkWrite(r ref, now time.Time, may func(*source) bool) (w *write, wait bool) {
	k := &b.buckets[r.bucket]
	k.mu.Lock()
	defer k.mu.Unlock()
	c, base := k.chunk(r.source), k.chunk(b.base)
	switch {
	case c == nil:
		return nil, false
	case !c.dirty, c == base && k.sealed:
		c.queued = false
		return nil, false
	case c.written, base != nil && base.written, may != nil && !may(r.source):
		return nil, true
	}
	c.dirty, c.queued = false, false
	name := c.address(r.bucket).Name()
	value, err := k.encode(c.source, now)
	if err == nil && value == nil && c.rev == 0 {
		if k.entriesOf(c.source) == 0 {
			k.dropChunk(c.source)
		}
		return nil, false
	}
	w = &write{chunks: []ref{r}, parts: []ref{r}}
	w.unless = append(w.unless, store.NoteCondition{Name: name, Modified: c.rev})
	if c != base {
		baseName := checkpoint.Address{Bucket: r.bucket, Base: true}.Name()
		w.unless = append(w.unless, store.NoteCondition{Name: baseName, Modified: revOf(base)})
	}
	if value == nil {
		w.gone = []string{name}
	} else {
		w.put = []store.Note{{Name: name, Value: value}}
	}
	if err == nil {
		err = store.CheckNotes(w.put, w.gone, w.unless)
	}
	if err != nil {
		b.tooLarge(name, err)
		return nil, false
	}
	c.written = true
	return w, false
}

// tooLarge complains of a note that no store takes: its counters stay in the
// replicas' memory and end with them. It is tried again when it changes.
func (b *Book) tooLarge(name string, err error) {
	b.config.Log.Error("checkpoint note cannot be written: its counters are in memory only", "note", name, "err", err)
}

// encode returns the value of a source's note, or nil when there should be
// none. The bucket's lock is held.
func (k *bucket) encode(s *source, now time.Time) ([]byte, error) {
	var all []checkpoint.Entry
	if s.id == baseID {
		folds := k.folds.With(nil, now)
		for _, slot := range k.subjects {
			if slot.base != (checkpoint.Counts{}) {
				all = append(all, checkpoint.Entry{Subject: slot.name, Created: slot.created, Counts: slot.base})
			}
		}
		if len(all)+len(folds) == 0 {
			return nil, nil
		}
		return checkpoint.EncodeBase(all, folds)
	}
	for _, slot := range k.subjects {
		if e := slot.entry(s); e != nil {
			all = append(all, checkpoint.Entry{Subject: slot.name, Created: slot.created, Counts: e.counts})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return checkpoint.EncodeChunk(all)
}

// failed takes back writes that were not made, or of which it is not known.
func (b *Book) failed(writes []write) {
	for _, w := range writes {
		for _, r := range w.chunks {
			k := &b.buckets[r.bucket]
			k.mu.Lock()
			if c := k.chunk(r.source); c != nil {
				c.written = false
			}
			k.mu.Unlock()
		}
		for _, r := range w.parts {
			k := &b.buckets[r.bucket]
			k.mu.Lock()
			if c := k.chunk(r.source); c != nil {
				b.touch(r.bucket, c)
			}
			k.mu.Unlock()
		}
	}
}

// overtaken reports whether a note that a write is about has changed since.
func (b *Book) overtaken(w write) bool {
	for _, r := range w.chunks {
		k := &b.buckets[r.bucket]
		k.mu.Lock()
		c := k.chunk(r.source)
		overtaken := c == nil || !c.written
		k.mu.Unlock()
		if overtaken {
			return true
		}
	}
	return false
}
