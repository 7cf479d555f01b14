package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// phase says how far a pool's life has come; it only grows.
type phase int

const (
	serving phase = iota
	retired       // released: requests that still come are served, nothing is kept
	closed        // the registry is closed: requests fail, exchanges finish
	severed       // the registry's patience is over: nothing goes on
)

// A Pool holds the connections to one target. It is safe for concurrent use.
// A request that still holds a pool after its last Release is served, on a
// connection that is closed afterwards.
type Pool struct {
	registry *Registry
	target   Target
	roots    *x509.CertPool // of the target's own; nil for the registry's
	refs     int            // guarded by the registry's lock

	inFlight atomic.Int64
	dials    atomic.Uint64
	landed   atomic.Uint64 // flights that are over

	mu       sync.Mutex // guards what follows
	phase    phase
	open     map[*conn]struct{}
	cuts     map[*context.CancelCauseFunc]struct{} // end attempts to connect
	idle     []*conn                               // HTTP/1.1; the last used is last
	shared   []*conn                               // HTTP/2; never changed in place
	spoken   Protocol                              // of the newest connection; Auto before the first
	flight   *flight                               // nil when none is under way
	sweeper  *time.Timer                           // closes connections that idled too long; made at first use
	sweeping bool                                  // sweeper is set
	failures map[Reason]uint64
}

// newPool returns a pool without connections.
func newPool(r *Registry, t Target) *Pool {
	p := &Pool{registry: r, target: t, spoken: t.Protocol}
	if t.CA != "" {
		p.roots = x509.NewCertPool()
		p.roots.AppendCertsFromPEM([]byte(t.CA)) // what is none signs nothing
	}
	return p
}

// Target returns what the pool connects to, with its empty fields filled in.
func (p *Pool) Target() Target { return p.target }

// Release gives back one Acquire. After the last one unused connections stay for
// Config.Linger, and those in use close when their exchange is over.
func (p *Pool) Release() { p.registry.release(p) }

// giveBack ends an exchange's hold on c.
func (p *Pool) giveBack(c *conn) {
	if !c.multiplexed() {
		// It is available when both messages are complete and neither side
		// wants to close.
		if c.cc.Available() == 0 || c.wire.broken.Load() || !p.keep(c) {
			c.close()
		}
		return
	}
	p.mu.Lock()
	c.active--
	over := c.active == 0 && (c.retire || p.phase != serving)
	p.mu.Unlock()
	if over {
		c.close()
	}
}

// add makes c one of the pool's open connections, or returns false when there
// must be none any more.
func (p *Pool) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == severed {
		return false
	}
	if p.open == nil {
		p.open = make(map[*conn]struct{})
	}
	p.open[c] = struct{}{}
	p.registry.counts.opened.Add(1)
	p.registry.counts.open.Add(1)
	return true
}

// admit puts c, fresh from connect, to use: by none or by one exchange for
// now, and if it speaks HTTP/2 by others too. It returns false when nobody has
// a use for it.
func (p *Pool) admit(c *conn, uses int) bool {
	if uses == 0 && !c.multiplexed() {
		return p.keep(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.active, c.used = uses, uses > 0
	if c.multiplexed() && !c.gone && p.phase == serving {
		p.shared = append(slices.Clip(p.shared), c)
		return true
	}
	return uses > 0
}

// retireConn keeps further exchanges from an HTTP/2 connection.
func (p *Pool) retireConn(c *conn) {
	p.mu.Lock()
	c.retire = true
	unused := c.active == 0
	p.unshare(c)
	p.mu.Unlock()
	if unused {
		c.close()
	}
}

// unshare takes c out of the shared connections. The lock is held.
func (p *Pool) unshare(c *conn) {
	if i := slices.Index(p.shared, c); i >= 0 {
		p.shared = slices.Concat(p.shared[:i], p.shared[i+1:])
	}
}

// forget drops c, whose socket is closed, from every list.
func (p *Pool) forget(c *conn) {
	p.mu.Lock()
	c.gone = true
	if _, ok := p.open[c]; ok {
		delete(p.open, c)
		p.registry.counts.open.Add(-1)
	}
	p.unshare(c)
	if i := slices.Index(p.idle, c); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.mu.Unlock()
	p.registry.leave(p)
}

// cutBy lets cut end an attempt to connect by cancel, until undo is called.
func (p *Pool) cutBy(cancel context.CancelCauseFunc) (undo func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == severed {
		cancel(errPoolClosed)
	}
	if p.cuts == nil {
		p.cuts = make(map[*context.CancelCauseFunc]struct{})
	}
	p.cuts[&cancel] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.cuts, &cancel)
	}
}

// stopKeeping moves the pool to a later phase of its life and closes what is
// unused: at once, or in the sweep that ends the lingering of a released pool.
func (p *Pool) stopKeeping(to phase) {
	p.mu.Lock()
	p.phase = max(p.phase, to)
	var unused []*conn
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	if d := p.registry.cfg.Linger; p.phase == retired && d > 0 && len(p.idle) > 0 {
		p.sweepIn(d)
	} else {
		unused, p.idle = p.idle, nil
	}
	for _, c := range p.shared {
		c.retire = true
		if c.active == 0 {
			unused = append(unused, c)
		}
	}
	p.shared = nil
	p.mu.Unlock()
	for _, c := range unused {
		c.close()
	}
}

// cut ends everything at once: connections and attempts to make one.
func (p *Pool) cut() {
	p.mu.Lock()
	p.phase = severed
	open := slices.Collect(maps.Keys(p.open))
	for cancel := range p.cuts {
		(*cancel)(errPoolClosed)
	}
	p.mu.Unlock()
	for _, c := range open {
		c.killed.Store(true)
		c.abort()
	}
}

// fail counts err, which is an *Error, and returns it.
func (p *Pool) fail(err error) error {
	var e *Error
	if errors.As(err, &e) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.failures == nil {
			p.failures = make(map[Reason]uint64)
		}
		p.failures[e.Reason]++
	}
	return err
}
