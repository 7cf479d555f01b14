package wire4

import (
	"context"
	"errors"
	"sync"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
)

// Open is of link.Session. A user's address cannot be said. Whether the target
// was reached is not known, a peer that could not closes the stream.
func (s *session) Open(ctx context.Context, kind link.Kind, _ string) (link.Stream, error) {
	if !s.entry() {
		return nil, errors.New("users come in at the other end of the tunnel")
	}
	if kind == link.UDP {
		return s.openDatagrams()
	}
	m, err := s.use(ctx, kind)
	if err != nil {
		return nil, err
	}
	return s.stream(m)
}

// use takes a connection and tells the peer what for.
func (s *session) use(ctx context.Context, kind link.Kind) (*pool.Member, error) {
	m, err := s.pool.Take(ctx, "")
	if errors.Is(err, link.ErrEnded) {
		return nil, s.Gone()
	}
	if err != nil {
		return nil, err
	}
	if !s.send(signal{what: open, id: m.ID, kind: kind}) {
		_ = m.Close()
		return nil, s.Gone()
	}
	return m, nil
}

// stream makes a member one that the session closes.
func (s *session) stream(m *pool.Member) (link.Stream, error) {
	st := &stream{Member: m}
	st.forget = func() { s.Untrack(st) }
	if !s.Track(st) {
		return nil, s.Gone()
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

// opened does what the peer's signal asks for, without letting others wait.
func (s *session) opened(ctx context.Context, sig signal) {
	if s.entry() {
		return // nobody who speaks this wire sends it there
	}
	select {
	case s.opening <- struct{}{}:
	default:
		s.log.Warn("users come faster than they are taken care of; one is dropped")
		s.pool.Drop(sig.id)
		return
	}
	s.Spawn(func() {
		defer func() { <-s.opening }()
		s.request(ctx, sig)
	})
}

// request hands a stream that the peer opened to whoever accepts it. The
// connection may be known here only after the signal that names it.
func (s *session) request(ctx context.Context, sig signal) {
	ctx, cancel := context.WithTimeout(ctx, pool.Patience)
	defer cancel()
	m, err := s.pool.Take(ctx, sig.id)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			s.log.Warn("the peer used a connection that is not there; its user is lost")
		}
		return
	}
	st, err := s.accepted(m, sig.kind)
	if err != nil {
		return
	}
	r := &link.Request{Kind: sig.kind, Stream: st, Answer: func(err error) {
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

// accepted is the stream on a connection that the peer uses.
func (s *session) accepted(m *pool.Member, kind link.Kind) (link.Stream, error) {
	if kind == link.UDP {
		return s.acceptDatagram(m)
	}
	return s.stream(m)
}
