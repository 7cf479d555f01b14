package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// copyBuffers are for directions in which much moves.
var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

const (
	// idleRead is the buffer of a direction in which little moves, of which a
	// node may have tens of thousands.
	idleRead = 1 << 10
	// burst is how much is moved by the kernel at a time, at most for as long
	// as burstTime, so that counts are never older than that.
	burst     = 1 << 20
	burstTime = time.Second
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
	case err == io.EOF:
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

// A direction is one half of a stream.
type direction struct {
	stream   *stream
	src, dst net.Conn
	frames   *frames
	count    func(int)
	small    [idleRead]byte
}

// copy moves bytes until the source ends, with io.EOF, or something fails. It
// holds a large buffer only while much moves, and leaves the moving to the
// kernel where that can do it.
func (d *direction) copy() error {
	buf, large := d.small[:], (*[copySize]byte)(nil)
	defer func() {
		if large != nil {
			copyBuffers.Put(large)
		}
	}()
	for {
		if d.stream.isHalf() {
			d.stream.wait(d.src, 0)
		}
		n, err := d.src.Read(buf)
		if werr := d.pass(buf[:n]); werr != nil {
			return werr
		}
		if err != nil {
			return err
		}
		switch {
		case n == len(buf) && large == nil:
			large = copyBuffers.Get().(*[copySize]byte)
			buf = large[:]
		case n == len(buf):
			if err := d.splice(); err != nil {
				return err
			}
		case n < idleRead && large != nil:
			copyBuffers.Put(large)
			buf, large = d.small[:], nil
		}
	}
}

// pass sends on what was read.
func (d *direction) pass(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := d.dst.Write(p)
	if d.frames != nil {
		d.frames.pass(p[:n])
	}
	d.moved(n)
	return err
}

func (d *direction) moved(n int) {
	d.count(n)
	d.stream.x.touch(true)
}

// splice lets the kernel move bytes between two TCP connections for a while; of
// a WebSocket only the rest of a large frame, so that its borders stay known.
func (d *direction) splice() error {
	src, ok := d.src.(*net.TCPConn)
	dst, ok2 := d.dst.(*net.TCPConn)
	n := int64(burst)
	if d.frames != nil {
		n = int64(min(uint64(n), d.frames.rest))
	}
	if !ok || !ok2 || n < copySize {
		return nil
	}
	d.stream.wait(d.src, burstTime)
	moved, err := dst.ReadFrom(&io.LimitedReader{R: src, N: n})
	if d.frames != nil {
		d.frames.skip(moved)
	}
	d.moved(int(moved))
	d.stream.wait(d.src, 0)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && d.stream.cause() == nil:
		return nil
	case err == nil && moved < n:
		return io.EOF
	}
	return err
}

// streams are all that a handler has. Its zero value is empty.
type streams struct {
	mu     sync.Mutex
	all    map[*stream]struct{}
	closed bool          // no more are let in
	empty  chan struct{} // closed when all is empty; nil while nobody waits
}

// add lets a stream in, or returns false when it is too late.
func (s *streams) add(one *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.all == nil {
		s.all = map[*stream]struct{}{}
	}
	s.all[one] = struct{}{}
	return true
}

func (s *streams) remove(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, one)
	if s.empty != nil && len(s.all) == 0 {
		close(s.empty)
		s.empty = nil
	}
}

// close waits until all streams have ended, or ctx; then it stops the rest.
func (s *streams) close(ctx context.Context) error {
	empty := make(chan struct{})
	s.mu.Lock()
	if len(s.all) == 0 {
		s.closed = true
		s.mu.Unlock()
		return nil
	}
	s.empty = empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.closed = true
	rest := make([]*stream, 0, len(s.all))
	for one := range s.all {
		rest = append(rest, one)
	}
	s.mu.Unlock()
	for _, one := range rest {
		one.stop(errShutdown)
	}
	<-empty
	return context.Cause(ctx)
}
