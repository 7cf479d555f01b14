//go:build e2e

package faults

import (
	"context"
	"sync"
	"time"
)

// A watch notes when this machine stood still, or was too busy to wake anyone:
// what took long then is not the product's doing alone.
type watch struct {
	mu     sync.Mutex
	stalls []span
}

const (
	watchEvery = 20 * time.Millisecond
	// stallFrom is how late a wake-up is that counts as a stall.
	stallFrom = 100 * time.Millisecond
)

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	last := time.Now()
	for pause(ctx, watchEvery) {
		now := time.Now()
		if now.Sub(last) > watchEvery+stallFrom {
			w.mu.Lock()
			w.stalls = append(w.stalls, span{last, now})
			w.mu.Unlock()
		}
		last = now
	}
}

// within is how long the machine was stalled between two moments.
func (w *watch) within(from, to time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum time.Duration
	for _, s := range w.stalls {
		sum += overlap(s, span{from, to})
	}
	return sum
}

// overlap is how long two spans, both with their ends, have in common.
func overlap(a, b span) time.Duration {
	from, to := a.from, a.to
	if b.from.After(from) {
		from = b.from
	}
	if b.to.Before(to) {
		to = b.to
	}
	return max(0, to.Sub(from))
}
