package tally

import (
	"time"

	"signalbox/controlplane/tally/checkpoint"
	"signalbox/store"
)

// How long a base remembers what it has folded. A process that cannot come
// back may still have reports on their way, or be known to a replica that is
// cut off from the store; should one be cut off for longer, and know of a dead
// process what nobody else was told, that is counted twice. A process that was
// only lost may come back.
const (
	rememberFinal = 48 * time.Hour
	rememberLost  = 90 * 24 * time.Hour
)

// foldAtOnce is how many chunks one transaction folds: with the base's, their
// conditions fit into it.
const foldAtOnce = store.MaxOps - 28

// folds returns writes that fold the due sources, about as many bytes as the
// budget says. What is returned must be written or given to failed.
func (b *Book) folds(now time.Time, budget int, due map[*source]time.Time) (writes []write) {
	if len(due) == 0 {
		return nil
	}
	for i := range b.buckets {
		if budget <= 0 {
			break
		}
		if w := b.foldBucket(i, now, due); w != nil {
			writes = append(writes, *w)
			budget -= w.size()
		}
	}
	return writes
}

// foldBucket returns the one write that takes the due sources into a bucket's
// base: the base with their counters added and their names noted, and their
// chunks gone. It is nil when there is nothing to fold, or when something of it
// is on its way.
func (b *Book) foldBucket(i int, now time.Time, due map[*source]time.Time) *write {
	k := &b.buckets[i]
	k.mu.Lock()
	defer k.mu.Unlock()
	base := k.chunk(b.base)
	dead := k.dead(due)
	if len(dead) == 0 || k.sealed || base != nil && base.written {
		return nil
	}
	taken := checkpoint.Folds{}
	for _, s := range dead {
		if k.chunk(s).written {
			return nil
		}
		taken[s.Process] = due[s]
	}
	baseName := checkpoint.Address{Bucket: i, Base: true}.Name()
	value, err := checkpoint.EncodeBase(k.sums(dead), k.folds.With(taken, now))
	w := &write{
		put:    []store.Note{{Name: baseName, Value: value}},
		unless: []store.NoteCondition{{Name: baseName, Modified: revOf(base)}},
		chunks: []ref{{i, b.base}},
	}
	for _, s := range dead {
		c := k.chunk(s)
		name := c.address(i).Name()
		w.gone = append(w.gone, name)
		w.unless = append(w.unless, store.NoteCondition{Name: name, Modified: c.rev})
		w.chunks = append(w.chunks, ref{i, s})
	}
	if err == nil {
		err = store.CheckNotes(w.put, w.gone, w.unless)
	}
	if err != nil {
		b.tooLarge(baseName, err)
		return nil
	}
	k.addChunk(b.base)
	for _, r := range w.chunks {
		k.chunk(r.source).written = true
	}
	return w
}

// dead returns the due sources that have a chunk here, as many as one
// transaction takes.
func (k *bucket) dead(due map[*source]time.Time) []*source {
	var dead []*source
	for _, c := range k.chunks {
		if _, ok := due[c.source]; ok {
			dead = append(dead, c.source)
		}
	}
	return dead[:min(len(dead), foldAtOnce)]
}

// sums returns the base with the entries of the dead added.
func (k *bucket) sums(dead []*source) []checkpoint.Entry {
	var all []checkpoint.Entry
	for _, slot := range k.subjects {
		sum := slot.base
		for _, s := range dead {
			if e := slot.entry(s); e != nil {
				sum.Add(&e.counts)
			}
		}
		if sum != (checkpoint.Counts{}) {
			all = append(all, checkpoint.Entry{Subject: slot.name, Created: slot.created, Counts: sum})
		}
	}
	return all
}
