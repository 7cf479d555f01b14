package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
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

// take finds or makes a connection for req and says in info which.
func (p *Pool) take(req *http.Request, opt Options, info *Info) (*conn, error) {
	want := Auto
	if wantsUpgrade(req) {
		if p.target.Protocol == H2 || p.target.Protocol == H2C {
			return nil, &Error{ReasonBadRequest, errors.New("an upgrade needs HTTP/1.1, the target speaks only HTTP/2")}
		}
		want = H1 // HTTP/2 has no Upgrade (RFC 9113, section 8.6)
	}
	if opt.Fresh {
		return p.connectFor(req, want, opt, info)
	}
	landed := p.landed.Load()
	if c := p.reuse(want, info); c != nil {
		return c, nil
	}
	if want == Auto {
		if c, err := p.await(req, opt, landed, info); c != nil || err != nil {
			return c, err
		}
	}
	return p.connectFor(req, want, opt, info)
}

// await waits for a connection that serves others too. It returns neither that
// nor an error where it is better to make one for req alone. landed is the
// pool's from before reuse found nothing.
func (p *Pool) await(req *http.Request, opt Options, landed uint64, info *Info) (*conn, error) {
	f := p.join(opt.Timeouts.or(p.registry.cfg.Timeouts), landed) //nolint:contextcheck // it dials for others too
	if f == nil {
		return nil, nil
	}
	start := time.Now()
	select {
	case <-f.done:
	case <-req.Context().Done():
		return nil, ended(req.Context())
	}
	info.Dial = time.Since(start)
	if f.err != nil {
		return nil, f.err
	}
	// Others may have taken all that the new connection had to give.
	return p.reuse(Auto, info), nil
}

// connectFor makes a connection for req, which may come to serve others.
func (p *Pool) connectFor(req *http.Request, want Protocol, opt Options, info *Info) (*conn, error) {
	start := time.Now()
	c, took, err := p.connect(req.Context(), want, opt.Timeouts.or(p.registry.cfg.Timeouts))
	info.Dial, info.TLS = info.Dial+time.Since(start), took.tls
	if err != nil {
		return nil, err
	}
	if c.multiplexed() {
		// Failing, it takes no stream for now, and the request waits for one.
		_ = c.cc.Reserve()
	}
	p.admit(c, 1)
	return c, nil
}

// reuse takes a connection that is there already, or returns nil. With want H1
// it has to speak that.
func (p *Pool) reuse(want Protocol, info *Info) *conn {
	now := time.Now()
	if want == Auto {
		if c := p.reserve(now, info); c != nil {
			return c
		}
	}
	for {
		c, used := p.pop()
		if c == nil {
			return nil
		}
		// net/http sees the upstream closing before the pool does.
		if c.cc.Available() > 0 && !p.tooOld(c, now) && !p.idleTooLong(c, now) {
			info.Reused = used
			return c
		}
		c.close()
	}
}

// pop takes the HTTP/1.1 connection that was used last, and tells whether it
// ever was.
func (p *Pool) pop() (c *conn, used bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil, false
	}
	c = p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	used, c.used = c.used, true
	return c, used
}

// reserve takes a place on an HTTP/2 connection.
func (p *Pool) reserve(now time.Time, info *Info) *conn {
	p.mu.Lock()
	shared := p.shared
	p.mu.Unlock()
	for _, c := range shared {
		if p.tooOld(c, now) {
			p.retireConn(c)
			continue
		}
		if c.cc.Reserve() != nil {
			continue // full, or closing
		}
		p.mu.Lock()
		refused := c.retire || c.gone
		if !refused {
			c.active++
			info.Reused, c.used = c.used, true
		}
		p.mu.Unlock()
		if !refused {
			return c
		}
		c.cc.Release()
	}
	return nil
}

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
