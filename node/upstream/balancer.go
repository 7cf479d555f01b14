package upstream

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// A Balancer spreads a route's requests over its upstreams in turn. It is safe
// for concurrent use. This is the place for other policies and for health: who
// calls Next does not know how the choice is made.
type Balancer struct {
	turn atomic.Uint64 // of first attempts
	// again is the turn of further attempts. It is a count of its own, so that
	// the share of an upstream that fails falls to all others alike.
	again atomic.Uint64
}

// NewBalancer returns a balancer that begins at a random upstream, so that the
// nodes of a cluster do not walk in step.
func NewBalancer() *Balancer {
	b := &Balancer{}
	b.turn.Store(uint64(rand.Uint32()))
	b.again.Store(uint64(rand.Uint32()))
	return b
}

// Next returns the index of the upstream whose turn it is among n, leaving out
// those in tried. It returns -1 when none is left, or n is not positive.
func (b *Balancer) Next(n int, tried Tried) int {
	left := n - tried.below(n)
	if left <= 0 {
		return -1
	}
	if left == n {
		return int(b.turn.Add(1) % uint64(n))
	}
	k := int(b.again.Add(1) % uint64(left)) // the k-th of those left
	for i := range n {
		if tried.Has(i) {
			continue
		}
		if k == 0 {
			return i
		}
		k--
	}
	return -1 // not reached: left of them are not in tried
}

// Tried is the set of upstreams, by index, that a request has been sent to. The
// zero value is empty. A copy shares what it holds beyond index 63.
type Tried struct {
	low  uint64   // indexes 0 to 63, which nearly always is all
	high []uint64 // the others, in words of 64
}

// Add puts i into the set; a negative i is ignored.
func (t *Tried) Add(i int) {
	switch {
	case i < 0:
	case i < 64:
		t.low |= 1 << i
	default:
		word := i/64 - 1
		for len(t.high) <= word {
			t.high = append(t.high, 0)
		}
		t.high[word] |= 1 << (i % 64)
	}
}

// Has tells whether i is in the set.
func (t Tried) Has(i int) bool {
	switch {
	case i < 0:
		return false
	case i < 64:
		return t.low&(1<<i) != 0
	}
	word := i/64 - 1
	return word < len(t.high) && t.high[word]&(1<<(i%64)) != 0
}

// below counts the members less than n.
func (t Tried) below(n int) int {
	if n <= 0 {
		return 0
	}
	if n < 64 {
		return bits.OnesCount64(t.low & (1<<n - 1))
	}
	count := bits.OnesCount64(t.low)
	for i := 64; i < n; i++ {
		if t.Has(i) {
			count++
		}
	}
	return count
}
