package tunnel

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// server is one attempt of a server. It returns when what it listens with
// fails; clients may come and go.
func (r *run) server(ctx context.Context) error {
	var conf net.ListenConfig
	l, err := conf.Listen(ctx, "tcp", r.url.Tunnel)
	if err != nil {
		return err
	}
	defer l.Close()
	certificate, err := r.certificate()
	if err != nil {
		return err
	}
	mode, at, err := r.serverMode(ctx)
	if err != nil {
		return err
	}
	receives := tunnelurl.Client
	if mode == serverReceives {
		receives = tunnelurl.Server
	}
	servers, err := r.servers(receives, certificate)
	if err != nil {
		at.close()
		return err
	}
	r.found(mode)
	r.waiting()
	r.log.say(slog.LevelInfo, fmt.Sprintf("Tunnel listening: %s, waiting for clients", l.Addr()))
	r.warnOfPort(l.Addr())

	g, ctx := errgroup.WithContext(ctx)
	d := newDoor(r, servers)
	var clients sync.WaitGroup
	g.Go(func() error { return d.serve(ctx, l.(*net.TCPListener)) })
	g.Go(func() error { return r.samples(ctx) })
	if at != nil {
		g.Go(func() error { return r.entry().serve(ctx, at) })
	}
	for _, s := range servers {
		g.Go(func() error { return r.clients(ctx, s.Sessions(), &clients) })
	}
	g.Go(func() error {
		<-ctx.Done()
		_ = l.Close()
		for _, s := range servers {
			s.Close()
		}
		return nil
	})
	err = g.Wait()
	clients.Wait()
	if r.worked.Load() {
		r.mode = mode
	}
	return err
}

// unable is what a wire's server may have: it says why no client can be served,
// such as a key that cannot be told in its language.
type unable interface{ Err() error }

// servers are those of all wires that the URL allows.
func (r *run) servers(receives tunnelurl.Role, certificate func() (*tls.Certificate, error)) (map[tunnelurl.Wire]Server, error) {
	servers := map[tunnelurl.Wire]Server{}
	for name, w := range r.cfg.Wires {
		if r.url.Wire != tunnelurl.Auto && r.url.Wire != name {
			continue
		}
		conf := r.link(name)
		conf.Receives, conf.TLS, conf.Certificate = receives, r.url.TLS, certificate
		s := w.Serve(conf)
		if u, ok := s.(unable); ok && u.Err() != nil {
			s.Close()
			if r.url.Wire == name {
				return nil, fmt.Errorf("wire=%s: %w", name, u.Err())
			}
			r.log.say(slog.LevelWarn, fmt.Sprintf("No client can speak wire %s: %s", name, reasonOf(u.Err())))
			continue
		}
		servers[name] = s
	}
	if len(servers) == 0 {
		return nil, r.notSpoken(r.url.Wire)
	}
	return servers, nil
}

// notSpoken says that a wire is not.
func (r *run) notSpoken(w tunnelurl.Wire) error {
	return fmt.Errorf("wire=%s is not spoken by this version", w)
}

// link is what a wire needs to know, for either role.
func (r *run) link(w tunnelurl.Wire) link.Config {
	return link.Config{Secret: r.url.Secret(w), Min: r.url.Min, Max: r.url.Max, Log: r.log.wire}
}

// clients takes sessions until ctx ends, each with a goroutine of its own.
func (r *run) clients(ctx context.Context, fresh <-chan link.Session, running *sync.WaitGroup) error {
	for {
		select {
		case s, ok := <-fresh:
			if !ok {
				<-ctx.Done()
				return nil
			}
			running.Go(func() { r.attendClient(ctx, s) })
		case <-ctx.Done():
			return nil
		}
	}
}

// attendClient serves one client until it is gone. Without any the server does not
// do what it should.
func (r *run) attendClient(ctx context.Context, s link.Session) {
	r.warnOfClient(s)
	r.joined(s)
	err := r.session(ctx, s)
	left := r.left(s)
	if ctx.Err() != nil {
		return
	}
	gone := fmt.Errorf("the client at %s is gone, waiting for one: %w", s.Peer(), err)
	if left == 0 {
		r.failed(gone)
		return
	}
	r.log.say(slog.LevelWarn, reasonOf(gone))
}
