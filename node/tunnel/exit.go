package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"signalbox/node/tunnel/carry"
	"signalbox/node/tunnel/link"
)

// errNotCarried says that the other end asked for what this one leaves out.
var errNotCarried = errors.New("this end of the tunnel does not carry it")

// session runs one until it or ctx ends, and says why it did. Users are given
// to it, or it is served, as it says itself.
func (r *run) session(ctx context.Context, s link.Session) error {
	defer s.Close()
	if s.Receives() != r.url.Role {
		return r.exit(ctx, s)
	}
	defer r.sessions.add(s)()
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
	return whyEnded(ctx, s)
}

// whyEnded is why a session did, or ctx.
func whyEnded(ctx context.Context, s link.Session) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.Err(); err != nil {
		return err
	}
	return link.ErrEnded
}

// exit serves the requests of a session until it ends.
func (r *run) exit(ctx context.Context, s link.Session) error {
	within, cancel := context.WithCancel(ctx)
	var requests sync.WaitGroup
	defer requests.Wait()
	defer cancel()
	for {
		req, err := s.Accept(within)
		if errors.Is(err, link.ErrEnded) || ctx.Err() != nil {
			return whyEnded(ctx, s)
		}
		if err != nil {
			return err
		}
		requests.Go(func() { r.serve(within, req) })
	}
}

// serve serves one request: it dials a target and carries.
func (r *run) serve(ctx context.Context, req *link.Request) {
	defer req.Stream.Close()
	refused := func(err error) {
		req.Answer(err)
		if ctx.Err() == nil {
			r.log.user(slog.LevelWarn, fmt.Sprintf("Connection of %s failed: %s", named(req.User), reasonOf(err)))
		}
	}
	if req.Kind == link.TCP && r.url.NoTCP || req.Kind == link.UDP && r.url.NoUDP {
		refused(fmt.Errorf("%s: %w", req.Kind, errNotCarried))
		return
	}
	if !r.slots.Take() {
		refused(errFull)
		return
	}
	defer r.slots.Give()
	r.inst.Opened(req.Kind)
	defer r.inst.Closed(req.Kind)
	received, sent := r.counts(req.Kind)
	var err error
	if req.Kind == link.UDP {
		target, failed := r.targets.UDP(ctx)
		if failed != nil {
			refused(failed)
			return
		}
		req.Answer(nil)
		err = r.carrier.UDP(ctx, target, req.Stream, received, sent, r.lost(target.RemoteAddr()))
	} else {
		target, failed := r.target(ctx, req.User, "")
		if failed != nil {
			refused(failed)
			return
		}
		req.Answer(nil)
		r.log.detail("Target connection: %s <-> %s", target.LocalAddr(), target.RemoteAddr())
		err = r.carrier.TCP(ctx, target, r.block.Sieve(req.Stream), received, sent)
	}
	r.ended(ctx, req.Kind, named(req.User), err)
}

// target dials the next target over TCP, and tells it who the user is where
// that is wanted. server is the address that the user connected to, where it
// is known.
func (r *run) target(ctx context.Context, user, server string) (*net.TCPConn, error) {
	c, err := r.targets.TCP(ctx)
	if err != nil || !r.url.Proxy {
		return c, err
	}
	if server == "" {
		server = c.RemoteAddr().String()
	}
	_ = c.SetWriteDeadline(time.Now().Add(headerTimeout))
	_, err = c.Write([]byte(carry.ProxyHeader(user, server)))
	if err := errors.Join(err, c.SetWriteDeadline(time.Time{})); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// headerTimeout bounds the writing of a PROXY header, which fits into any
// socket's buffer.
const headerTimeout = 5 * time.Second

// named is a user, of whom perhaps nothing is known.
type named string

func (n named) String() string {
	if n == "" {
		return "a user"
	}
	return string(n)
}
