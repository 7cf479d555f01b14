package wire14

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
)

// Open is of link.Session. With TLS it waits until the peer has compared
// certificates too. Whether the target was reached is not known, a peer that
// could not closes the stream.
func (s *session) Open(ctx context.Context, kind link.Kind, user string) (link.Stream, error) {
	if !s.entry() {
		return nil, errors.New("users come in at the other end of the tunnel")
	}
	select {
	case <-s.prints.verified:
	case <-s.Done():
		return nil, s.Gone()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the peer to compare certificates: %w", context.Cause(ctx))
	}
	m, err := s.pool.Take(ctx, "")
	if errors.Is(err, link.ErrEnded) {
		return nil, s.Gone()
	}
	if err != nil {
		return nil, err
	}
	sig := signal{Action: open, Remote: user, ID: m.ID}
	if kind == link.UDP {
		sig.Action = openU
	}
	if !s.send(sig) {
		_ = m.Close()
		return nil, s.Gone()
	}
	return s.stream(m, kind)
}

// stream makes a member one that the session closes.
func (s *session) stream(m *pool.Member, kind link.Kind) (link.Stream, error) {
	st := &stream{Member: m}
	st.forget = func() { s.Untrack(st) }
	if !s.Track(st) {
		return nil, s.Gone()
	}
	if kind == link.UDP {
		return newDatagrams(st, s.role), nil
	}
	return st, nil
}

// A stream is a user's TCP connection.
type stream struct {
	*pool.Member
	forget func()
	once   sync.Once
}

// Close is of link.Stream.
func (s *stream) Close() error {
	s.once.Do(s.forget)
	return s.Member.Close()
}

// Accept is of link.Session.
func (s *session) Accept(ctx context.Context) (*link.Request, error) {
	select {
	case <-s.Done(): // first, where there is a request too
		return nil, s.Gone()
	default:
	}
	select {
	case r := <-s.requests:
		return r, nil
	case <-s.Done():
		return nil, s.Gone()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// request hands a stream that the peer opened to whoever accepts it. The
// connection may be known here only after the signal that names it.
func (s *session) request(sig signal) {
	ctx, cancel := context.WithTimeout(context.Background(), pool.Patience)
	m, err := s.pool.Take(ctx, sig.ID)
	cancel()
	if err != nil {
		if !errors.Is(err, link.ErrEnded) {
			s.log.Warn("the peer used a connection that is not there; its user is lost")
		}
		return
	}
	kind := link.TCP
	if sig.Action == openU {
		kind = link.UDP
	}
	st, err := s.stream(m, kind)
	if err != nil {
		return
	}
	r := &link.Request{Kind: kind, User: sig.Remote, Stream: st, Answer: func(err error) {
		if err != nil { // there is no other word for it
			_ = st.Close()
		}
	}}
	select {
	case s.requests <- r:
	case <-s.Done():
		_ = st.Close()
	}
}
