package carry

import (
	"context"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// A Rate bounds bytes per second, over all that share it. Nil bounds nothing.
type Rate struct{ limiter *rate.Limiter }

// NewRate returns a bound of so many bytes per second; 0 is none. It lets a
// tenth of a second go at once, or as much as is copied at a time, which any
// datagram is less than.
func NewRate(bytes int64) *Rate {
	if bytes <= 0 {
		return nil
	}
	burst := int(max(bytes/10, gulp))
	return &Rate{rate.NewLimiter(rate.Limit(bytes), burst)}
}

// Wait waits until n bytes may go.
func (r *Rate) Wait(ctx context.Context, n int) error {
	if r == nil {
		return nil
	}
	return r.limiter.WaitN(ctx, n)
}

// Slots bound how many connections and sessions there are at a time. The zero
// value and nil do not.
type Slots struct {
	// Most there may be; 0 is no bound.
	Most int64
	used atomic.Int64
}

// Take takes one, unless all are taken.
func (s *Slots) Take() bool {
	if s == nil || s.Most <= 0 {
		return true
	}
	if s.used.Add(1) > s.Most {
		s.used.Add(-1)
		return false
	}
	return true
}

// Give gives one back.
func (s *Slots) Give() {
	if s != nil && s.Most > 0 {
		s.used.Add(-1)
	}
}
