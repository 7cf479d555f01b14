package wirebox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

const (
	// pingEvery is how often a peer is asked whether it is there. One of which
	// nothing at all is read for silence is not.
	pingEvery = time.Second
	silence   = 4 * time.Second
	// writeTimeout bounds a write to a connection that takes nothing.
	writeTimeout = 30 * time.Second
	// window is how much of one stream is on its way at most, in bytes.
	window = 512 << 10
	// restEvery is how often streams of which everything was read give up the
	// memory that it came through.
	restEvery = time.Second
	// waiting is how many streams that the peer opened wait to be accepted.
	waiting = 256
)

// A heard is a connection that knows when something was last read from it.
type heard struct {
	net.Conn
	last atomic.Int64 // nanoseconds since 1970
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.last.Store(time.Now().UnixNano())
	return n, err
}

// A session implements [link.Session].
type session struct {
	conn     *heard
	mux      *yamux.Session
	role     tunnelurl.Role // our own
	receives tunnelurl.Role
	requests chan *link.Request
	begins   chan struct{} // one for each of beginnings
	ping     atomic.Int64  // nanoseconds
	queued   atomic.Int64  // bytes of datagrams that wait to be sent

	ctx    context.Context //nolint:containedctx // a session is a call that lasts
	cancel context.CancelCauseFunc

	mu    sync.Mutex // guards ended, and that nothing is added to work after it
	ended bool
	work  sync.WaitGroup

	busyMu sync.Mutex // guards busy
	busy   []*half    // those that were read since they last rested, once each
}

// newSession begins a session on a connection, which it then owns.
func newSession(secure net.Conn, role, receives tunnelurl.Role) (*session, error) {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false // its own takes no measure
	c.ConnectionWriteTimeout = writeTimeout
	c.MaxStreamWindowSize = window
	c.AcceptBacklog = waiting
	c.StreamOpenTimeout = 0 // the answer to TunnelOpen is waited for instead
	c.StreamCloseTimeout = drainTimeout
	c.LogOutput = io.Discard // what ends a session is told by Err
	begin := yamux.Server
	if role == tunnelurl.Client {
		begin = yamux.Client
	}
	conn := &heard{Conn: secure}
	conn.last.Store(time.Now().UnixNano())
	mux, err := begin(conn, c)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, mux: mux, role: role, receives: receives, requests: make(chan *link.Request),
		begins: make(chan struct{}, beginnings)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.run(s.watch)
	s.run(s.beat)
	s.run(s.answer)
	s.run(s.rest)
	return s, nil
}

// run runs a part of the session, which Close waits for. After the end there
// are no more parts.
func (s *session) run(part func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.work.Go(part)
	}
}

// errClosed is why a session ends that was closed here.
var errClosed = errors.New("closed")

// watch ends the session when the connection does, or is silent: the peer
// answers pings at least.
func (s *session) watch() {
	clock := time.NewTicker(pingEvery / 2)
	defer clock.Stop()
	for {
		select {
		case <-s.mux.CloseChan():
			s.end(fmt.Errorf("%w: the connection was closed", link.ErrEnded))
			return
		case now := <-clock.C:
			if now.Sub(time.Unix(0, s.conn.last.Load())) > silence {
				s.end(fmt.Errorf("%w: nothing was heard of it for %v", link.ErrEnded, silence))
				return
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// beat asks whether the peer is there, and how far away.
func (s *session) beat() {
	clock := time.NewTicker(pingEvery)
	defer clock.Stop()
	for {
		if took, err := s.mux.Ping(); err == nil {
			s.ping.Store(int64(took))
		}
		select {
		case <-clock.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// rest lets streams be small again. A stream keeps what its fullest moment
// needed; taking that from it at every pause would make it need it anew for
// every little that comes. Nobody else does this: it waits for whatever the
// peer is sending for a stream just then.
func (s *session) rest() {
	clock := time.NewTicker(restEvery)
	defer clock.Stop()
	for {
		select {
		case <-clock.C:
		case <-s.ctx.Done():
			return
		}
		s.busyMu.Lock()
		busy := s.busy
		s.busy = nil
		s.busyMu.Unlock()
		for _, h := range busy {
			h.busy.Store(false)
			h.raw.Shrink() // if it is empty
		}
	}
}

// wasRead says that a stream was, which rests when it is empty.
func (s *session) wasRead(h *half) {
	if h.busy.Swap(true) {
		return
	}
	s.busyMu.Lock()
	defer s.busyMu.Unlock()
	s.busy = append(s.busy, h)
}

// answer takes the streams that the peer opens.
func (s *session) answer() {
	for {
		raw, err := s.mux.AcceptStream()
		if err != nil {
			return // watch says why
		}
		if s.receives == s.role {
			_ = raw.Close() // it is not the peer's to open streams
			continue
		}
		s.run(func() { s.take(raw) })
	}
}

// take reads how a stream begins, and hands it on.
func (s *session) take(raw *yamux.Stream) {
	_ = raw.SetReadDeadline(time.Now().Add(patience))
	open := new(signalboxv1.TunnelOpen)
	if err := readMessage(raw, open); err != nil {
		_ = raw.Close()
		return
	}
	_ = raw.SetReadDeadline(time.Time{})
	r := &link.Request{User: open.GetUser()}
	if open.GetUdp() {
		r.Kind = link.UDP
	}
	stream := newStream(s, raw, r.Kind)
	r.Stream = stream
	r.Answer = func(err error) {
		said := new(signalboxv1.TunnelAnswer)
		if err != nil {
			said.Error = cut(err.Error(), maxMessage/2)
		}
		if writeMessage(raw, said) != nil || err != nil {
			_ = stream.Close()
		}
	}
	select {
	case s.requests <- r:
	case <-s.ctx.Done():
		_ = stream.Close()
	}
}

// cut shortens a text, and makes it one that a message can have.
func cut(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// why is what is said of a failure of the mux.
func (s *session) why(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return fmt.Errorf("%w: %w", link.ErrEnded, cause)
	}
	if errors.Is(err, yamux.ErrSessionShutdown) {
		return fmt.Errorf("%w: %w", link.ErrEnded, err)
	}
	return err
}

// Accept implements [link.Carrier].
func (s *session) Accept(ctx context.Context) (*link.Request, error) {
	select {
	case r := <-s.requests:
		return r, nil
	case <-s.ctx.Done():
		return nil, s.why(nil)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// end ends the session, for the first reason given.
func (s *session) end(why error) {
	s.cancel(why)
	_ = s.mux.Close()
}

// Close implements [link.Life].
func (s *session) Close() error {
	s.end(errClosed)
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.work.Wait()
	return nil
}

// Done implements [link.Life].
func (s *session) Done() <-chan struct{} { return s.ctx.Done() }

// Err implements [link.Life].
func (s *session) Err() error {
	if err := context.Cause(s.ctx); !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// Wire implements [link.Standing].
func (s *session) Wire() tunnelurl.Wire { return tunnelurl.Signalbox }

// Peer implements [link.Standing].
func (s *session) Peer() net.Addr { return s.conn.RemoteAddr() }

// Receives implements [link.Standing].
func (s *session) Receives() tunnelurl.Role { return s.receives }

// Stats implements [link.Standing]. There is no pool: a stream costs nothing to
// open.
func (s *session) Stats() link.Stats { return link.Stats{Ping: time.Duration(s.ping.Load())} }
