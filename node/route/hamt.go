package route

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// A branch is one level of a persistent map from string to V: a hash array
// mapped trie. Five bits of a key's hash choose among 32 slots, of which only
// those in use are stored. A nil branch is the empty map. A branch is never
// changed once its edit is over, so any number of maps may share it.
type branch[V any] struct {
	owner *edit // the edit that made it and may still change it
	used  uint32
	slots []slot[V] // in order of the bits in used; below all bits, in no order
}

// A slot is one key, or all keys that share the hash bits so far.
type slot[V any] struct {
	key   string
	value V
	below *branch[V] // not nil: the keys are there, and key means nothing
}

// An edit is one change of a table. What it made itself it may change in
// place, which makes building a table from nothing fast; what it found it
// copies.
type edit struct {
	seed maphash.Seed // the table's, to hash keys that must move a level down
}

// levelBits are used up at each level. Keys whose hashes are equal in all
// levels lie side by side in the last one.
const (
	levelBits = 5
	lastShift = 60
)

// get returns the value of key, whose hash is h.
func (b *branch[V]) get(h uint64, key string) (v V, ok bool) {
	for shift := uint(0); b != nil; shift += levelBits {
		i := b.find(h, shift, key)
		if i < 0 {
			return v, false
		}
		s := &b.slots[i]
		if s.below != nil {
			b = s.below
			continue
		}
		if s.key != key {
			return v, false
		}
		return s.value, true
	}
	return v, false
}

// find returns the index of the slot that h falls into, or -1.
func (b *branch[V]) find(h uint64, shift uint, key string) int {
	if shift > lastShift {
		return slices.IndexFunc(b.slots, func(s slot[V]) bool { return s.key == key })
	}
	bit := uint32(1) << (h >> shift & 31)
	if b.used&bit == 0 {
		return -1
	}
	return bits.OnesCount32(b.used & (bit - 1))
}

// put returns the map with key set to v.
func (b *branch[V]) put(e *edit, key string, v V) *branch[V] {
	return b.putAt(e, maphash.String(e.seed, key), 0, key, v)
}

func (b *branch[V]) putAt(e *edit, h uint64, shift uint, key string, v V) *branch[V] {
	if b == nil {
		b = &branch[V]{owner: e}
	}
	i := b.find(h, shift, key)
	if i < 0 {
		return b.insert(e, h, shift, slot[V]{key: key, value: v})
	}
	b = b.owned(e)
	s := &b.slots[i]
	switch {
	case s.below != nil:
		s.below = s.below.putAt(e, h, shift+levelBits, key, v)
	case s.key == key:
		s.value = v
	default:
		var below *branch[V]
		below = below.putAt(e, maphash.String(e.seed, s.key), shift+levelBits, s.key, s.value)
		*s = slot[V]{below: below.putAt(e, h, shift+levelBits, key, v)}
	}
	return b
}

// insert returns b with a slot it did not have.
func (b *branch[V]) insert(e *edit, h uint64, shift uint, s slot[V]) *branch[V] {
	i, bit := len(b.slots), uint32(0)
	if shift <= lastShift {
		bit = 1 << (h >> shift & 31)
		i = bits.OnesCount32(b.used & (bit - 1))
	}
	if b.owner == e {
		b.slots = slices.Insert(b.slots, i, s)
		b.used |= bit
		return b
	}
	slots := append(make([]slot[V], 0, len(b.slots)+1), b.slots...) // room for one: most get no more
	return &branch[V]{owner: e, used: b.used | bit, slots: slices.Insert(slots, i, s)}
}

// owned returns b, or a copy of it that e may change.
func (b *branch[V]) owned(e *edit) *branch[V] {
	if b.owner == e {
		return b
	}
	return &branch[V]{owner: e, used: b.used, slots: slices.Clone(b.slots)}
}

// without returns the map without key, nil if nothing is left.
func (b *branch[V]) without(e *edit, key string) *branch[V] {
	return b.withoutAt(e, maphash.String(e.seed, key), 0, key)
}

func (b *branch[V]) withoutAt(e *edit, h uint64, shift uint, key string) *branch[V] {
	if b == nil {
		return nil
	}
	i := b.find(h, shift, key)
	if i < 0 || b.slots[i].below == nil && b.slots[i].key != key {
		return b
	}
	if old := b.slots[i].below; old != nil {
		below := old.withoutAt(e, h, shift+levelBits, key)
		if below == old && below.owner != e {
			return b // it had no such key
		}
		b = b.owned(e)
		switch {
		case len(below.slots) == 1 && below.slots[0].below == nil:
			b.slots[i] = below.slots[0] // a lone key belongs one level up
		default:
			b.slots[i].below = below
		}
		return b
	}
	if len(b.slots) == 1 {
		return nil
	}
	b = b.owned(e)
	b.slots = slices.Delete(b.slots, i, i+1)
	if shift <= lastShift {
		b.used &^= 1 << (h >> shift & 31)
	}
	return b
}

// all yields every key and value, in no order.
func (b *branch[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { b.each(yield) }
}

func (b *branch[V]) each(yield func(string, V) bool) bool {
	if b == nil {
		return true
	}
	for i := range b.slots {
		s := &b.slots[i]
		if s.below != nil {
			if !s.below.each(yield) {
				return false
			}
		} else if !yield(s.key, s.value) {
			return false
		}
	}
	return true
}
