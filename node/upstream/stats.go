package upstream

import (
	"maps"
	"sync/atomic"
)

// Totals are over all pools there are and were, since the registry was made.
type Totals struct {
	// Open counts connections that are open, used and unused.
	Open int64
	// Opened counts connections that were made, Failed attempts that failed
	// but for those given up with their request, and Reused requests that were
	// sent on a connection which had carried one before.
	Opened, Failed, Reused uint64
}

// counts are what Totals are read from.
type counts struct {
	open                   atomic.Int64
	opened, failed, reused atomic.Uint64
}

// Totals returns the present counts.
func (r *Registry) Totals() Totals {
	c := &r.counts
	return Totals{Open: c.open.Load(), Opened: c.opened.Load(), Failed: c.failed.Load(), Reused: c.reused.Load()}
}

// PoolStats is the state of a pool at one moment.
type PoolStats struct {
	// Target is the pool's, with its empty fields filled in.
	Target Target
	// Open counts connections, used and unused, upgraded ones among them.
	Open int
	// Idle counts those that nothing uses.
	Idle int
	// InFlight counts exchanges, from RoundTrip's call to the end of the
	// response body or of the upgraded stream.
	InFlight int
	// Dials counts attempts to connect since the pool was made.
	Dials uint64
	// Failures counts exchanges that failed, by reason, since then.
	Failures map[Reason]uint64
}

// Stats returns the pool's state.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := len(p.idle)
	for _, c := range p.shared {
		if c.active == 0 {
			idle++
		}
	}
	return PoolStats{
		Target:   p.target,
		Open:     len(p.open),
		Idle:     idle,
		InFlight: int(p.inFlight.Load()),
		Dials:    p.dials.Load(),
		Failures: maps.Clone(p.failures),
	}
}
