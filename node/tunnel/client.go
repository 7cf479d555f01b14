package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"signalbox/node/tunnel/link"
)

// client is one attempt of a client.
func (r *run) client(ctx context.Context) error {
	single, at, err := r.clientMode(ctx)
	if err != nil {
		return err
	}
	if single {
		return r.single(ctx, at)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.samples(ctx) })
	g.Go(func() error { return r.connected(ctx, g) })
	return g.Wait()
}

// connected keeps a session with the server, and returns when that fails. Users
// are let in as long as it runs, by goroutines of g, also between two sessions.
func (r *run) connected(ctx context.Context, g *errgroup.Group) error {
	inside := false
	for {
		s, err := r.dial(ctx)
		if err == nil {
			begun := time.Now()
			err = r.attend(ctx, g, s, &inside)
			if ctx.Err() == nil && time.Since(begun) >= r.cfg.Retry {
				r.failed(err)
				continue // at once: it worked until now
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !inside || r.mode != clientReceives {
			return err
		}
		r.failed(err)
		if !pause(ctx, r.cfg.Retry) {
			return context.Cause(ctx)
		}
	}
}

// attend serves a session until it ends. inside says whether users are let in
// already, which they are from the first session that wants it.
func (r *run) attend(ctx context.Context, g *errgroup.Group, s link.Session, inside *bool) error {
	mode := modeOf(s.Receives())
	r.found(mode)
	if mode == clientReceives && !*inside {
		at, err := r.bind(ctx, r.url.Targets[0])
		if err != nil {
			_ = s.Close()
			return err
		}
		*inside = true
		g.Go(func() error { return r.entry().serve(ctx, at) })
	}
	if mode == serverReceives && *inside { // the server has changed its mind
		_ = s.Close()
		r.mode = mode
		return errors.New("the server now receives users itself")
	}
	r.mode = mode
	r.joined(s)
	err := r.session(ctx, s)
	r.left(s)
	return fmt.Errorf("the server at %s is gone: %w", s.Peer(), err)
}

// dialServer connects to the tunnel's address. The name is looked up each time,
// and its addresses are tried in order.
func (r *run) dialServer(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: serverTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: serverAlive, Interval: serverAlive, Count: 3}}
	return dialer.DialContext(ctx, "tcp", r.url.Tunnel)
}

const (
	// serverTimeout bounds connecting to a server, as in NodePass.
	serverTimeout = 10 * time.Second
	// serverAlive is how often a silent server is asked whether it is there.
	serverAlive = 5 * time.Second
)
