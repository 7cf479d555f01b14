package upstream

import "maps"

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
