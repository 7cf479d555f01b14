package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"signalbox/proto/rules"

	"signalbox/node/report"
	"signalbox/node/route"
	"signalbox/node/upstream"
)

// A served is what hangs on a compiled route while it is in the table.
type served struct {
	registry *upstream.Registry
	route    *route.Route
	life     *life
	balance  *upstream.Balancer
	// pools are acquired at first use, so that a route that is never asked
	// for costs none. Those acquired belong to the served.
	pools []atomic.Pointer[upstream.Pool]

	mu       sync.Mutex // guards acquiring against release
	released bool
}

// attach gives a route that is about to be served its runtime; what of it the
// old one's already has is carried over.
func (h *Handler) attach(r, old *route.Route) {
	s := &served{
		registry: h.cfg.Pools,
		route:    r,
		balance:  upstream.NewBalancer(),
		pools:    make([]atomic.Pointer[upstream.Pool], len(r.Upstreams)),
	}
	if old != nil && old.Created == r.Created {
		s.life = old.Runtime.(*served).life
	} else {
		s.life = &life{counts: h.cfg.Book.Route(r.Name, r.Created), all: &h.running}
	}
	if old != nil {
		s.inherit(old.Runtime.(*served))
	}
	r.Runtime = s
}

// inherit acquires the pools that the old one has for the same targets, so
// that they are not closed between its release and their next use.
func (s *served) inherit(old *served) {
	for i := range s.route.Upstreams {
		for j := range old.route.Upstreams {
			if old.pools[j].Load() != nil && target(&s.route.Upstreams[i]) == target(&old.route.Upstreams[j]) {
				_, _ = s.pool(i) // what fails now fails again when it is asked for
				break
			}
		}
	}
}

// detach takes a route out of service; now is what its name stands for
// afterwards, nil if nothing.
func (h *Handler) detach(r, now *route.Route) {
	s := r.Runtime.(*served)
	s.release()
	if now == nil || now.Runtime.(*served).life != s.life {
		h.cfg.Book.Remove(s.life.counts)
		s.life.retire(r)
	}
}

// target says how an upstream is connected to.
func target(u *rules.Upstream) upstream.Target {
	t := upstream.Target{Address: u.Address, TLS: u.Scheme == "https"}
	if t.TLS {
		t.Insecure, t.ServerName, t.CA = u.TLS.GetInsecure(), u.TLS.GetServerName(), u.TLS.GetCa()
	}
	if u.Unix {
		t.Network = "unix"
	}
	if u.Scheme == "h2c" {
		t.Protocol = upstream.H2C
	}
	return t
}

// pool returns the connections to the i-th upstream.
func (s *served) pool(i int) (*upstream.Pool, error) {
	if p := s.pools[i].Load(); p != nil {
		return p, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[i].Load(); p != nil {
		return p, nil
	}
	p, err := s.registry.Acquire(target(&s.route.Upstreams[i]))
	if err != nil {
		return nil, err
	}
	if s.released {
		p.Release() // it still serves this one request
		return p, nil
	}
	s.pools[i].Store(p)
	return p, nil
}

// release gives the pools back.
func (s *served) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	for i := range s.pools {
		if p := s.pools[i].Swap(nil); p != nil {
			p.Release()
		}
	}
}

// A life is a route between being created and being removed, however often it
// is written in between: its counters and its running exchanges.
type life struct {
	counts *report.Counters
	all    *tally // of all routes

	mu      sync.Mutex
	running *exchange // the first of a list
	// last is the route as it was when it was removed; nil before.
	last *route.Route
}

// begin enters an exchange.
func (l *life) begin(x *exchange) {
	l.all.now.Add(1)
	l.all.begun.Add(1)
	l.counts.Begin()
	l.mu.Lock()
	defer l.mu.Unlock()
	x.next = l.running
	if x.next != nil {
		x.next.prev = x
	}
	l.running = x
	if l.last != nil { // it was matched a moment ago
		l.doom(x)
		l.all.keep(l)
	}
}

// end takes it out.
func (l *life) end(x *exchange) {
	l.mu.Lock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		l.running = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
	if x.doomed != nil {
		x.doomed.Stop()
	}
	if l.last != nil && l.running == nil {
		l.all.drop(l)
	}
	l.mu.Unlock()
	l.all.now.Add(-1) // before a report can say that it ended
	l.counts.End()
}

// exchanges are those that run now.
func (l *life) exchanges() (all []*exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := l.running; x != nil; x = x.next {
		all = append(all, x)
	}
	return all
}

// retire says that the route is removed, and does with its running exchanges
// what its policy says.
func (l *life) retire(last *route.Route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = last
	if l.running != nil {
		l.all.keep(l)
	}
	for x := l.running; x != nil; x = x.next {
		l.doom(x)
	}
}

// doom ends x after the policy's grace if it says so. The lock is held.
func (l *life) doom(x *exchange) {
	p := l.last.Under(x.rules.defaults)
	if p.Close {
		x.doomed = time.AfterFunc(p.Grace, func() { x.stop(errRemoved) })
	}
}
