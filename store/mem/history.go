package mem

import (
	"slices"

	"signalbox/store"
)

// history remembers the newest changes, so that followers can be given those
// that came after what they have.
type history[T any] struct {
	limit int
	// floor is the newest revision that is forgotten.
	floor store.Revision
	past  []moment[T]
}

// moment is a change and its place.
type moment[T any] struct {
	rev    store.Revision
	change T
}

func (h *history[T]) add(rev store.Revision, change T) {
	h.past = append(h.past, moment[T]{rev, change})
	// Forgetting a half at a time makes it cheap.
	if len(h.past) >= 2*h.limit {
		h.forget(h.past[len(h.past)-h.limit-1].rev)
	}
}

// forget drops the changes up to a revision.
func (h *history[T]) forget(upTo store.Revision) {
	h.floor = upTo
	h.past = slices.Clone(h.past[h.index(upTo):])
}

// after returns the changes later than a revision, or false when some of them
// are forgotten.
func (h *history[T]) after(rev store.Revision) ([]T, bool) {
	if rev < h.floor {
		return nil, false
	}
	later := h.past[h.index(rev):]
	changes := make([]T, len(later))
	for i, m := range later {
		changes[i] = m.change
	}
	return changes, true
}

// index is where the changes later than a revision begin.
func (h *history[T]) index(rev store.Revision) int {
	i, _ := slices.BinarySearchFunc(h.past, rev+1, func(m moment[T], r store.Revision) int {
		return int(m.rev - r)
	})
	return i
}

// newest is the highest revision there ever was.
func (h *history[T]) newest() store.Revision {
	if len(h.past) == 0 {
		return h.floor
	}
	return h.past[len(h.past)-1].rev
}
