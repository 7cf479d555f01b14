package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"signalbox/node/tunnel/carry"
	"signalbox/node/tunnel/link"
)

// errFull says that as many users are served as the URL allows.
var errFull = errors.New("all slots are taken")

// An entry lets users in and carries what they send to the far side.
type entry struct {
	*run
	// tcp and udp return the far side of a user.
	tcp func(ctx context.Context, user *net.TCPConn) (link.Stream, error)
	udp func(ctx context.Context, user netip.AddrPort) (carry.Side, error)
	// asTarget makes TCP be counted as the target sees it.
	asTarget bool
}

// entry returns one that gives users to sessions.
func (r *run) entry() *entry {
	return &entry{
		run: r,
		tcp: func(ctx context.Context, user *net.TCPConn) (link.Stream, error) {
			return r.sessions.open(ctx, link.TCP, user.RemoteAddr().String())
		},
		udp: func(ctx context.Context, user netip.AddrPort) (carry.Side, error) {
			return r.sessions.open(ctx, link.UDP, user.String())
		},
	}
}

// serve lets users in at s until ctx ends, and closes it.
func (e *entry) serve(ctx context.Context, s *sockets) error {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, s.close)()
	defer s.close()
	if s.tcp != nil {
		g.Go(func() error { return e.acceptAll(ctx, s.tcp) })
	}
	if s.udp != nil {
		g.Go(func() error { return newUDPUsers(e, s.udp).serve(ctx) })
	}
	return g.Wait()
}

// acceptAll serves all TCP users.
func (e *entry) acceptAll(ctx context.Context, l *net.TCPListener) error {
	var users sync.WaitGroup
	defer users.Wait()
	for {
		c, err := e.accept(ctx, l)
		if err != nil {
			return err
		}
		users.Go(func() { e.user(ctx, c) })
	}
}

// accept accepts a connection. What passes, such as too many open files, is
// waited for.
func (r *run) accept(ctx context.Context, l *net.TCPListener) (*net.TCPConn, error) {
	for {
		c, err := l.AcceptTCP()
		if err == nil {
			r.log.over("accept")
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		r.log.repeat(slog.LevelError, "accept", fmt.Sprintf("Accept failed: %v", err))
		if !pause(ctx, 100*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
}

// user serves one TCP user.
func (e *entry) user(ctx context.Context, c *net.TCPConn) {
	defer c.Close()
	from := c.RemoteAddr()
	if !e.slots.Take() {
		e.log.user(slog.LevelWarn, fmt.Sprintf("Connection of %s refused: %v", from, errFull))
		return
	}
	defer e.slots.Give()
	e.inst.Opened(link.TCP)
	defer e.inst.Closed(link.TCP)
	far, err := e.tcp(ctx, c)
	if err != nil {
		_ = c.SetLinger(0) // a reset tells the user that nothing was served
		if ctx.Err() == nil {
			e.log.user(slog.LevelWarn, fmt.Sprintf("Connection of %s failed: %s", from, reasonOf(err)))
		}
		return
	}
	e.log.detail("Starting exchange: %s", from)
	received, sent := e.counts(link.TCP)
	if e.asTarget {
		received, sent = sent, received
	}
	err = e.carrier.TCP(ctx, e.block.Sieve(c), far, received, sent)
	e.ended(ctx, link.TCP, from, err)
}

// counts are the instance's counts of what is read from the near side, and of
// what is written there.
func (r *run) counts(kind link.Kind) (received, sent carry.Count) {
	return func(n int) { r.inst.Received(kind, n) }, func(n int) { r.inst.Sent(kind, n) }
}

// ended logs the end of what a user had.
func (r *run) ended(ctx context.Context, kind link.Kind, user fmt.Stringer, err error) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, carry.ErrBlocked):
		r.log.user(slog.LevelWarn, fmt.Sprintf("Connection of %s cut: its protocol is blocked", user))
	case kind == link.UDP:
		r.log.detail("Transfer complete: %s: %v", user, cause(err))
	default:
		r.log.detail("Exchange complete: %s: %v", user, cause(err))
	}
}

// cause is an error's text, "EOF" where there is none, as NodePass ends these
// lines.
func cause(err error) string {
	if err == nil {
		return "EOF"
	}
	return reasonOf(err)
}
