package upstream

import (
	"slices"
	"time"
)

// keep puts an HTTP/1.1 connection among the unused ones, or returns false if
// it is not wanted.
func (p *Pool) keep(c *conn) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != serving || c.gone || len(p.idle) >= p.registry.cfg.MaxIdle || p.tooOld(c, now) {
		return false
	}
	c.since = now
	p.idle = append(p.idle, c)
	if d := p.registry.cfg.IdleTimeout; d > 0 && !p.sweeping {
		p.sweepIn(d)
	}
	return true
}

// tooOld tells whether c has reached Config.MaxAge.
func (p *Pool) tooOld(c *conn, now time.Time) bool {
	d := p.registry.cfg.MaxAge
	return d > 0 && now.Sub(c.born) >= d
}

// idleTooLong tells whether c should have been swept. The wall clock decides,
// which goes on while the machine sleeps.
func (p *Pool) idleTooLong(c *conn, now time.Time) bool {
	d := p.registry.cfg.IdleTimeout
	return d > 0 && now.Round(0).Sub(c.since.Round(0)) >= d
}

// sweepIn sets the sweeper. The lock is held.
func (p *Pool) sweepIn(d time.Duration) {
	p.sweeping = true
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(d, p.sweep)
	} else {
		p.sweeper.Reset(d)
	}
}

// sweep closes the connections that have been unused too long, which are the
// first ones, and sets itself for the next. Of a released pool it closes all.
func (p *Pool) sweep() {
	now := time.Now()
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && (p.phase != serving || p.idleTooLong(p.idle[n], now)) {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.sweeping = false
	if len(p.idle) > 0 {
		p.sweepIn(max(p.registry.cfg.IdleTimeout-now.Sub(p.idle[0].since), time.Millisecond))
	}
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}
