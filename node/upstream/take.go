package upstream

import (
	"errors"
	"net/http"
	"time"
)

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
