package tally

import (
	"signalbox/controlplane/tally/checkpoint"
	"signalbox/store"
)

// Apply joins what another replica, or this one earlier, wrote. It is called
// with every change of the notes under the checkpoint's checkpoint.Prefix, in order, from
// one goroutine at a time.
func (b *Book) Apply(change store.NoteChange) {
	if change.Whole {
		b.whole++
	}
	// A base comes before the chunks, so that what it took in is never joined
	// again on top of it.
	for _, n := range change.Put {
		if checkpoint.IsBase(n.Name) {
			b.applyNote(n)
		}
	}
	for _, n := range change.Put {
		if !checkpoint.IsBase(n.Name) {
			b.applyNote(n)
		}
	}
	for _, name := range change.Gone {
		if a, err := checkpoint.ParseName(name); err == nil {
			b.removed(a)
		}
	}
	if change.Whole {
		b.sweep()
		if b.whole == 1 {
			close(b.loaded)
		}
	}
}

func (b *Book) applyNote(n store.Note) {
	a, err := checkpoint.ParseName(n.Name)
	switch {
	case err != nil:
	case a.Base:
		err = b.applyBase(a.Bucket, n)
	default:
		s := b.acquire(a.Node, a.Epoch)
		defer b.release(s)
		err = b.applyChunk(a.Bucket, s, n)
	}
	if err != nil {
		b.config.Log.Error("checkpoint note left out", "note", n.Name, "rev", n.Modified, "err", err)
	}
}

// applyChunk joins what a node process carried. One that cannot be read is
// taken for empty: whoever knows better, and leads, writes it again.
func (b *Book) applyChunk(i int, s *source, n store.Note) error {
	all, err := checkpoint.DecodeChunk(i, n.Value)
	k := &b.buckets[i]
	exist, asked := b.existing(k, all)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.addChunk(s)
	c.rev, c.written, c.seen = n.Modified, false, b.whole
	if k.folded(s) {
		b.touch(i, c) // what is left of it has to go
		return err
	}
	same := err == nil && asked
	for _, e := range exist {
		inc := k.add(e.Subject, e.Created)
		at := inc.addEntry(s)
		inc.raise(at, &e.Counts)
		same = same && at.counts == e.Counts
	}
	if c.dirty = !same || k.entriesOf(s) != len(exist); c.dirty {
		b.touch(i, c)
	}
	return err
}

// applyBase replaces what folded processes carried. While a base cannot be
// read, what was known of it stays, and nothing is folded into it: it may have
// been written by somebody who knows more.
func (b *Book) applyBase(i int, n store.Note) error {
	all, folds, err := checkpoint.DecodeBase(i, n.Value)
	k := &b.buckets[i]
	exist, asked := b.existing(k, all)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.addChunk(b.base)
	c.rev, c.written, c.seen, c.dirty = n.Modified, false, b.whole, false
	if k.sealed = err != nil; k.sealed {
		return err
	}
	k.rebase(exist, folds)
	if !asked {
		b.touch(i, k.chunk(b.base))
	}
	for j := range k.chunks {
		// A chunk goes in the transaction that folds it; should one have
		// stayed, it is removed before the fold is forgotten.
		if c := &k.chunks[j]; c.source != b.base && k.folded(c.source) {
			b.touch(i, c)
		}
	}
	return nil
}

// rebase makes all and folds the base.
func (k *bucket) rebase(all []checkpoint.Entry, folds checkpoint.Folds) {
	k.folds = folds
	for _, s := range k.subjects {
		s.base = checkpoint.Counts{}
	}
	for _, e := range all {
		inc := k.add(e.Subject, e.Created)
		inc.base.Join(&e.Counts)
	}
	var settled []*source
	for _, c := range k.chunks {
		if c.source.id != baseID && k.folded(c.source) {
			settled = append(settled, c.source)
		}
	}
	for _, s := range settled {
		k.dropEntries(s)
		if k.chunk(s).rev == 0 {
			k.dropChunk(s)
		}
	}
	for _, s := range k.subjects {
		s.sum()
	}
}

// removed takes note that a note is gone. Chunks go when they were folded,
// which the base says, and when none of their routes exists. What was known
// from the chunk alone goes with it; what this replica was told itself, by a
// process that is there or in a report that is not written yet, stays.
func (b *Book) removed(a checkpoint.Address) {
	k := &b.buckets[a.Bucket]
	s := b.base
	if !a.Base {
		s = b.acquire(a.Node, a.Epoch)
		defer b.release(s)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.chunk(s)
	if c == nil {
		return
	}
	own := s.present.Load() || c.dirty || c.written
	c.rev, c.written = 0, false
	switch {
	case a.Base:
		k.sealed = false
		k.rebase(nil, nil)
		k.dropChunk(s)
	case own && k.entriesOf(s) > 0:
		b.touch(a.Bucket, c)
	default:
		k.dropEntries(s)
		k.dropChunk(s)
	}
}

// sweep takes note of what a whole state did not have. A write of this
// replica's may be among that: made, and undone by another's, all unseen.
func (b *Book) sweep() {
	for i := range b.buckets {
		k := &b.buckets[i]
		k.mu.Lock()
		var gone []checkpoint.Address
		for _, c := range k.chunks {
			if (c.rev != 0 || c.written) && c.seen != b.whole {
				gone = append(gone, c.address(i))
			}
		}
		k.mu.Unlock()
		for _, a := range gone {
			b.removed(a)
		}
	}
}

// existing returns those of a note's routes that exist, and whether all did.
// Those that are known already are not asked for: Prune does that.
func (b *Book) existing(k *bucket, all []checkpoint.Entry) (exist []checkpoint.Entry, asked bool) {
	if b.config.Exists == nil {
		return all, true
	}
	k.mu.Lock()
	known := make([]bool, len(all))
	for i, e := range all {
		known[i] = k.find(e.Subject, e.Created) != nil
	}
	k.mu.Unlock()
	for i, e := range all {
		if known[i] || b.config.Exists(e.Subject, e.Created) {
			exist = append(exist, e)
		}
	}
	return exist, len(exist) == len(all)
}

// entriesOf counts the entries of a source.
func (k *bucket) entriesOf(s *source) int {
	n := 0
	for _, slot := range k.subjects {
		if slot.entry(s) != nil {
			n++
		}
	}
	return n
}
