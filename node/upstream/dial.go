package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// A flight is an attempt to connect that several requests wait for, made where
// its result can serve all of them. It belongs to none of them, so a client
// that leaves does not fail the others.
type flight struct {
	done chan struct{} // closed when the attempt is over
	err  error         // why it failed; readable once done is closed
}

// steps says how long the steps of connecting took.
type steps struct{ connect, tls time.Duration }

// join returns the pool's flight, starting one if none is under way. It returns
// nil when a connection made now would serve one request only. landed is
// p.landed from before the caller found no connection: if a flight has landed
// since, the one returned is over too, and the caller looks again.
func (p *Pool) join(t Timeouts, landed uint64) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.spoken == H1 || p.phase != serving:
		return nil
	case p.flight != nil:
	case p.landed.Load() != landed:
		over := &flight{done: make(chan struct{})}
		close(over.done)
		return over
	default:
		p.flight = &flight{done: make(chan struct{})}
		go p.fly(p.flight, t) // bounded by t; Registry.Close cuts it short and waits for it
	}
	return p.flight
}

// fly makes a flight's connection and leaves it in the pool.
func (p *Pool) fly(f *flight, t Timeouts) {
	c, _, err := p.connect(context.Background(), Auto, t)
	if err == nil && !p.admit(c, 0) {
		c.close()
	}
	p.mu.Lock()
	p.flight = nil
	p.landed.Add(1)
	p.mu.Unlock()
	f.err = err
	close(f.done)
}

// connect makes one connection. With want H1 it speaks HTTP/1.1 even where
// HTTP/2 could be had; otherwise want is Auto. The caller admits the connection
// to the pool. The error is an *Error.
func (p *Pool) connect(ctx context.Context, want Protocol, t Timeouts) (*conn, steps, error) {
	var took steps
	if err := p.registry.enter(p); err != nil {
		return nil, took, &Error{ReasonPoolClosed, err}
	}
	p.dials.Add(1)
	dctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	undo := p.cutBy(cancel)
	defer undo()

	c, err := p.reach(dctx, want, t, &took)
	if err != nil {
		p.registry.leave(p)
	} else if err = p.speak(dctx, c); err == nil {
		if want == Auto {
			p.mu.Lock()
			p.spoken = c.proto
			p.mu.Unlock()
		}
		return c, took, nil
	}
	// That the attempt was given up explains what it failed with.
	if errors.Is(context.Cause(dctx), errPoolClosed) {
		err = &Error{ReasonPoolClosed, errPoolClosed}
	} else if e := ended(ctx); e != nil {
		err = e
	} else {
		p.registry.counts.failed.Add(1)
	}
	return nil, took, err
}

// reach connects the socket and, where the target wants it, does the TLS
// handshake. The conn it returns is not in the pool yet.
func (p *Pool) reach(ctx context.Context, want Protocol, t Timeouts, took *steps) (*conn, error) {
	start := time.Now()
	raw, err := p.socket(ctx, t.Connect)
	took.connect = time.Since(start)
	if err != nil {
		return nil, err
	}
	c := &conn{pool: p, raw: raw, proto: p.target.Protocol, addr: raw.RemoteAddr().String(), born: start}
	if p.target.TLS {
		err = p.secure(ctx, c, want, t.TLS)
		took.tls = time.Since(start) - took.connect
	} else {
		c.wire = &wire{Conn: raw}
		c.top = c.wire
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	c.wire.onClose = c.wireClosed
	c.wire.hearOut.Store(!c.multiplexed())
	return c, nil
}

// socket connects one, resolving the name anew and trying IPv6 and IPv4
// side by side (RFC 8305).
func (p *Pool) socket(ctx context.Context, limit time.Duration) (net.Conn, error) {
	ctx, cancel := within(ctx, limit, errConnectTimeout)
	defer cancel()
	nc, err := p.registry.dial.DialContext(ctx, p.target.Network, p.target.Address)
	if err != nil {
		return nil, &Error{dialReason(err), err}
	}
	return nc, nil
}

// secure does the TLS handshake on c.raw, settles what is spoken and sets c's
// wire and top.
func (p *Pool) secure(ctx context.Context, c *conn, want Protocol, limit time.Duration) error {
	ctx, cancel := within(ctx, limit, errTLSTimeout)
	defer cancel()
	cfg := p.registry.cfg.TLS.Clone()
	cfg.ServerName = p.target.ServerName
	if p.target.Insecure {
		cfg.InsecureSkipVerify = true
	}
	if p.roots != nil {
		cfg.RootCAs = p.roots
	}
	switch {
	case p.target.Protocol == H2:
		cfg.NextProtos = []string{"h2"}
	case p.target.Protocol == H1, want == H1:
		cfg.NextProtos = []string{"http/1.1"}
	default:
		cfg.NextProtos = []string{"h2", "http/1.1"}
	}

	below := &wire{Conn: c.raw, onClose: func() {}}
	secured := tls.Client(below, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		if errors.Is(context.Cause(ctx), errTLSTimeout) {
			return &Error{ReasonTLSTimeout, errTLSTimeout}
		}
		return &Error{ReasonTLSHandshake, err}
	}
	state := secured.ConnectionState()
	switch {
	case state.NegotiatedProtocol == "h2":
		c.proto, c.wire, c.top = H2, below, secured
	case p.target.Protocol == H2:
		return &Error{ReasonTLSHandshake, errNoH2}
	default:
		c.proto, c.tls = H1, &state
		c.wire = &wire{Conn: secured}
		c.top = c.wire
	}
	return nil
}

// speak puts HTTP on c, from now on one of the pool's open connections. When it
// fails, c is closed.
func (p *Pool) speak(ctx context.Context, c *conn) error {
	if !p.add(c) {
		c.close()
		return &Error{ReasonPoolClosed, errPoolClosed}
	}
	transport, scheme := p.registry.plain, "http"
	if p.target.TLS {
		scheme = "https"
	} else if c.proto == H2C {
		transport = p.registry.h2c
	}
	ctx = context.WithValue(ctx, handoverKey{}, c.top)
	// Of the address only the form is looked at: the connection is there.
	cc, err := transport.NewClientConn(ctx, scheme, "upstream:1")
	if err != nil {
		c.close()
		return &Error{ReasonClosedBeforeResponse, err} // HTTP/2's first frames could not be sent
	}
	c.cc = cc
	return nil
}

// handoverKey is the context key of the connection NewClientConn is to use.
type handoverKey struct{}

// handedOver is how the transports dial: the connection was made before.
func handedOver(ctx context.Context, _, _ string) (net.Conn, error) {
	nc, ok := ctx.Value(handoverKey{}).(net.Conn)
	if !ok {
		return nil, errors.New("no connection was handed over")
	}
	return nc, nil
}

// within is context.WithTimeoutCause with no limit for a negative d.
func within(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	if d < 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d, cause)
}

// dialReason finds the reason for err, an error of net.Dialer's.
func dialReason(err error) Reason {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return ReasonDNS
	}
	for _, known := range []struct {
		err    error
		reason Reason
	}{
		{syscall.ECONNREFUSED, ReasonDialRefused},
		{os.ErrNotExist, ReasonDialRefused}, // a unix socket's file
		{syscall.EHOSTUNREACH, ReasonDialUnreachable},
		{syscall.ENETUNREACH, ReasonDialUnreachable},
		{syscall.EHOSTDOWN, ReasonDialUnreachable},
		{syscall.ENETDOWN, ReasonDialUnreachable},
		{syscall.EMFILE, ReasonNoResources},
		{syscall.ENFILE, ReasonNoResources},
		{syscall.ENOBUFS, ReasonNoResources},
		{syscall.ENOMEM, ReasonNoResources},
		{syscall.EADDRNOTAVAIL, ReasonNoResources},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	if isTimeout(err) {
		return ReasonDialTimeout
	}
	return ReasonDialFailed
}
