package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// halfOpen is how long nothing may come from one side once the other has
	// ended its direction.
	halfOpen = time.Minute
	// farewell bounds what is still said and heard when a stream is stopped.
	farewell = time.Second
)

// A stream joins two connections whose protocol was switched.
type stream struct {
	x                        *exchange
	upstream                 net.Conn
	upstreamEarly            []byte  // read already, to be sent on first
	fromClient, fromUpstream *frames // nil but for WebSockets

	client net.Conn // set once, with the lock held

	mu      sync.Mutex // guards what follows, and deadlines
	stopped error      // why the stream was stopped; nil while it was not
	half    bool       // one direction has ended
}

// run carries both directions until both have ended, or one has failed.
func (s *stream) run(early []byte) {
	var other sync.WaitGroup
	other.Go(func() {
		s.carry(s.upstream, s.client, s.upstreamEarly, s.fromUpstream, goingAway, s.x.gave)
	})
	s.carry(s.client, s.upstream, early, s.fromClient, goingAwayMasked, s.x.gotten)
	other.Wait()
	if s.cause() != nil {
		// Closing at once would reset the connection if the client is just
		// saying something, and the farewell might be lost.
		closeWrite(s.client)
		_ = s.client.SetReadDeadline(time.Now().Add(farewell))
		_, _ = io.Copy(io.Discard, io.LimitReader(s.client, burst))
	}
}

// carry copies one direction to its end. count is told of every byte, close is
// what to say at the end if the stream is stopped.
func (s *stream) carry(src, dst net.Conn, early []byte, f *frames, goodbye []byte, count func(int)) {
	d := direction{stream: s, src: src, dst: dst, frames: f, count: count}
	err := d.pass(early)
	if err == nil {
		err = d.copy()
	}
	switch {
	case errors.Is(err, io.EOF):
		closeWrite(dst)
		s.halve()
	case s.cause() != nil:
		if f != nil && f.mayAdd() {
			_, _ = dst.Write(goodbye) // whoever is gone need not be told
		}
	default:
		// One side is gone without a word; the other is told the same way.
		_ = s.client.Close()
		_ = s.upstream.Close()
	}
}

// stop ends the stream: after the bytes that are under way and, on a WebSocket
// that is between two frames, a farewell.
func (s *stream) stop(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped != nil {
		return
	}
	s.stopped = cause
	s.hurry()
}

// hurry ends all waiting, if the stream has come so far. The lock is held.
func (s *stream) hurry() {
	if s.client == nil {
		return
	}
	now := time.Now()
	for _, c := range [...]net.Conn{s.client, s.upstream} {
		_ = c.SetReadDeadline(now)
		_ = c.SetWriteDeadline(now.Add(farewell))
	}
}

// join makes c the client's connection. The stream may be stopped already.
func (s *stream) join(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = c
	if s.stopped != nil {
		s.hurry()
	}
}

// cause returns why the stream was stopped, or nil.
func (s *stream) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// halve says that one direction has ended. The other may go on while it does,
// but not wait for ever for a side that is not told of the end.
func (s *stream) halve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.half = true
	if s.stopped == nil {
		until := time.Now().Add(halfOpen)
		_ = s.client.SetReadDeadline(until)
		_ = s.upstream.SetReadDeadline(until)
	}
}

// wait bounds the next read from a connection, unless the stream is stopped;
// zero is no bound but that of a stream that is half closed.
func (s *stream) wait(c net.Conn, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.half && d == 0 {
		d = halfOpen
	}
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	if s.stopped == nil {
		_ = c.SetReadDeadline(t)
	}
}

// isHalf tells whether the other direction has ended.
func (s *stream) isHalf() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.half
}
