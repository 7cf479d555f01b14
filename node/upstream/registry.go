package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Defaults of a Config's and a Timeouts' zero fields.
const (
	defaultConnect   = 3 * time.Second
	defaultTLS       = 5 * time.Second
	defaultHeader    = 60 * time.Second
	defaultContinue  = time.Second
	defaultIdle      = 90 * time.Second
	defaultLinger    = 15 * time.Second
	defaultMaxIdle   = 256
	defaultMaxHeader = 256 << 10
)

// Numbers of HTTP/2 that nobody has needed to set yet.
const (
	// pingAfter and pingTimeout find dead HTTP/2 connections.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	// streamWindow is how much of one response may wait in memory for a slow
	// client. The connection's window stays at net/http's 1 GiB, so that one
	// slow client does not hold up the other streams of its connection.
	streamWindow = 1 << 20
)

// Timeouts bound the steps of an exchange. Zero takes the registry's, or in a
// Config the default; negative is no limit.
type Timeouts struct {
	// Connect is for resolving the name and connecting, tried addresses
	// together. 3 s by default.
	Connect time.Duration
	// TLS is for the TLS handshake. 5 s by default.
	TLS time.Duration
	// Header is from the whole request having been sent to the final
	// response's header. 60 s by default.
	Header time.Duration
	// Continue is how long a request with "Expect: 100-continue" waits for the
	// upstream's word before its body is sent all the same. 1 s by default.
	Continue time.Duration
}

// or returns t with its zero fields taken from d.
func (t Timeouts) or(d Timeouts) Timeouts {
	return Timeouts{
		Connect:  cmp.Or(t.Connect, d.Connect),
		TLS:      cmp.Or(t.TLS, d.TLS),
		Header:   cmp.Or(t.Header, d.Header),
		Continue: cmp.Or(t.Continue, d.Continue),
	}
}

// Config is what all pools of a Registry have in common.
type Config struct {
	// Timeouts apply where a request does not bring its own.
	Timeouts Timeouts
	// IdleTimeout is how long an unused connection is kept. Zero means 90 s,
	// negative for ever.
	IdleTimeout time.Duration
	// Linger is how long unused HTTP/1.1 connections stay after the last Release,
	// at most IdleTimeout. Zero means 15 s, negative not at all. Whoever removes
	// a route often stops its server next, and a server that is told to stop in
	// the moment in which a connection ends may miss it: Tornado loses a
	// SIGINT that comes while it reads.
	Linger time.Duration
	// MaxIdle is how many unused HTTP/1.1 connections a pool keeps. Zero means
	// 256, negative none.
	MaxIdle int
	// MaxAge is how old a connection may grow before it takes no further
	// request, so that a name's new addresses come into use. Zero means no limit.
	MaxAge time.Duration
	// MaxHeaderBytes limits a response's header. Zero means 256 KiB.
	MaxHeaderBytes int64
	// AllowUnix allows targets that are unix sockets: whoever may write routes
	// can then reach every socket that the node's user can.
	AllowUnix bool
	// TLS holds trusted roots, client certificates and the like; nil means the
	// system's roots. It is copied for each connection; server name and ALPN
	// are the target's.
	TLS *tls.Config
	// Resolver resolves host names; nil means Go's own, never the C library's,
	// which takes odd spellings such as 127.1 for addresses.
	Resolver *net.Resolver
}

// ErrUnixNotAllowed is returned for a unix socket without Config.AllowUnix.
var ErrUnixNotAllowed = errors.New("unix socket targets are not allowed on this node")

// ErrClosed is returned by Acquire after Close.
var ErrClosed = errors.New("upstream registry is closed")

// A Registry holds a node's pools, one per target. It is safe for concurrent
// use.
type Registry struct {
	cfg  Config
	dial net.Dialer
	// plain carries HTTP/1.1 and, where ALPN chose it, HTTP/2 over TLS; h2c
	// carries HTTP/2 without TLS. They hold no connections: they only speak
	// HTTP on those they are handed.
	plain, h2c *http.Transport
	counts     counts

	mu     sync.Mutex // guards what follows; never held together with a pool's
	pools  map[Target]*Pool
	busy   map[*Pool]int // connections and attempts of every pool that has any
	closed bool
	empty  chan struct{} // closed when closed and busy is empty
}

// New returns a registry without pools.
func New(cfg Config) *Registry {
	cfg.Timeouts = cfg.Timeouts.or(Timeouts{defaultConnect, defaultTLS, defaultHeader, defaultContinue})
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, defaultIdle)
	cfg.Linger = cmp.Or(cfg.Linger, defaultLinger)
	if cfg.IdleTimeout > 0 {
		cfg.Linger = min(cfg.Linger, cfg.IdleTimeout)
	}
	cfg.MaxIdle = cmp.Or(cfg.MaxIdle, defaultMaxIdle)
	cfg.MaxHeaderBytes = cmp.Or(cfg.MaxHeaderBytes, defaultMaxHeader)
	if cfg.Resolver == nil {
		cfg.Resolver = &net.Resolver{PreferGo: true}
	}
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{}
	}
	cfg.TLS = cfg.TLS.Clone()
	if cfg.TLS.ClientSessionCache == nil {
		cfg.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	r := &Registry{
		cfg:   cfg,
		dial:  net.Dialer{Resolver: cfg.Resolver, KeepAlive: 30 * time.Second},
		pools: make(map[Target]*Pool),
		busy:  make(map[*Pool]int),
		empty: make(chan struct{}),
	}
	var h1h2, h2c http.Protocols
	h1h2.SetHTTP1(true)
	h1h2.SetHTTP2(true)
	h2c.SetUnencryptedHTTP2(true)
	r.plain, r.h2c = transport(cfg, h1h2), transport(cfg, h2c)
	return r
}

// transport returns what speaks HTTP on connections made by Pool.dial. Its
// Proxy stays nil whatever the environment says. Its ExpectContinueTimeout
// stays zero, since request bodies themselves wait for the upstream's word.
func transport(cfg Config, protocols http.Protocols) *http.Transport {
	return &http.Transport{
		DialContext:            handedOver,
		DialTLSContext:         handedOver,
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: cfg.MaxHeaderBytes,
		IdleConnTimeout:        max(cfg.IdleTimeout, 0), // HTTP/2 connections time themselves
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:           pingAfter,
			PingTimeout:               pingTimeout,
			MaxReceiveBufferPerStream: streamWindow,
		},
	}
}

// Acquire returns the pool of t and counts a reference to it, which the caller
// gives back with Pool.Release. To keep pools across a change of the route
// table, acquire for the new table before releasing the old one's.
func (r *Registry) Acquire(t Target) (*Pool, error) {
	t, err := t.normal()
	if err != nil {
		return nil, err
	}
	if t.Network == networkUnix && !r.cfg.AllowUnix {
		return nil, ErrUnixNotAllowed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	p := r.pools[t]
	if p == nil {
		p = newPool(r, t)
		r.pools[t] = p
	}
	p.refs++
	return p, nil
}

// release takes one reference from p.
func (r *Registry) release(p *Pool) {
	r.mu.Lock()
	p.refs--
	last := p.refs == 0
	if last {
		delete(r.pools, p.target)
	}
	r.mu.Unlock()
	if last {
		p.stopKeeping(retired)
	}
}

// enter counts a connection that p is about to make.
func (r *Registry) enter(p *Pool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errPoolClosed
	}
	r.busy[p]++
	return nil
}

// leave takes back an enter: the connection is closed, or was never made.
func (r *Registry) leave(p *Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[p]--; r.busy[p] > 0 {
		return
	}
	delete(r.busy, p)
	if r.closed && len(r.busy) == 0 {
		close(r.empty)
	}
}

// Close ends the registry: unused connections close at once, new requests fail
// with ReasonPoolClosed, and exchanges that are under way, upgraded streams
// among them, may finish until ctx is done. Then they are cut, and Close
// returns the cause of ctx's end. When it returns every connection is closed.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		if len(r.busy) == 0 {
			close(r.empty)
		}
	}
	r.mu.Unlock()

	for _, p := range r.all() {
		p.stopKeeping(closed)
	}
	select {
	case <-r.empty:
		return nil
	case <-ctx.Done():
	}
	for _, p := range r.all() {
		p.cut()
	}
	<-r.empty
	return context.Cause(ctx)
}

// all returns the pools of the present and those of the past that still have
// connections.
func (r *Registry) all() []*Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Pool, 0, len(r.pools))
	for _, p := range r.pools {
		all = append(all, p)
	}
	for p := range r.busy {
		if r.pools[p.target] != p {
			all = append(all, p)
		}
	}
	return all
}

// Stats returns the state of every pool that is acquired or still has
// connections, ordered by target. A target may be there twice: the second is
// one that was released and is finishing.
func (r *Registry) Stats() []PoolStats {
	var all []PoolStats
	for _, p := range r.all() {
		all = append(all, p.Stats())
	}
	slices.SortStableFunc(all, func(a, b PoolStats) int {
		return cmp.Or(cmp.Compare(a.Target.String(), b.Target.String()),
			cmp.Compare(a.Target.ServerName, b.Target.ServerName),
			cmp.Compare(a.Target.Protocol, b.Target.Protocol))
	})
	return all
}
