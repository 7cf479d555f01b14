package wire4

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
)

const (
	// longest is how many bytes of a datagram NodePass 1.4 reads.
	longest = 8192
	// answer is how long a datagram's answer is waited for.
	answer = 10 * time.Second
	// segment is what surely comes in one piece. Of a datagram that is longer,
	// more may be on its way; then the wire does not say where it ends, but that
	// nothing follows it, for pause.
	segment = 1024
	pause   = 10 * time.Millisecond
)

// fits says why a datagram cannot be carried, nil where it can.
func fits(p []byte) error {
	switch {
	case len(p) == 0:
		return errors.New("an empty datagram cannot be carried by NodePass 1.4")
	case len(p) > longest:
		return fmt.Errorf("a datagram of %d bytes cannot be carried by NodePass 1.4: at most %d", len(p), longest)
	}
	return nil
}

// datagram reads the one that a connection carries in this direction.
func datagram(m *pool.Member) ([]byte, error) {
	buf, until, early := make([]byte, 4096), time.Now().Add(answer), m.Early()
	_ = m.SetReadDeadline(until)
	n, err := m.Read(buf)
	for err == nil && n < link.MaxDatagram && (n >= segment || n == early) && time.Now().Before(until) {
		if n == len(buf) {
			buf = append(buf, make([]byte, min(n, link.MaxDatagram-n))...)
		}
		_ = m.SetReadDeadline(time.Now().Add(pause))
		var more int
		more, err = m.Read(buf[n:])
		n += more
	}
	if n > 0 {
		return buf[:n], nil
	}
	return nil, err
}

// datagrams is a user's address where users come in. Every datagram and the
// answer to it have a connection of their own, so that none waits for another.
type datagrams struct {
	session *session
	answers chan []byte
	next    []byte          // taken off answers, not yet read; the reader's alone
	ctx     context.Context //nolint:containedctx // a stream is one call, which Close ends
	close   context.CancelFunc
}

// openDatagrams begins what a user sends.
func (s *session) openDatagrams() (link.Stream, error) {
	select {
	case <-s.Done():
		return nil, s.Gone()
	default:
	}
	d := &datagrams{session: s, answers: make(chan []byte, 64)}
	d.ctx, d.close = context.WithCancel(context.Background())
	if !s.Track(d) {
		return nil, s.Gone()
	}
	return d, nil
}

// Write never waits: what becomes of a datagram is not known.
func (d *datagrams) Write(p []byte) (int, error) {
	s := d.session
	if err := fits(p); err != nil {
		return 0, err
	}
	select {
	case <-s.Done():
		return 0, s.Gone()
	default:
	}
	if d.ctx.Err() != nil {
		return 0, net.ErrClosed
	}
	select {
	case s.exchanges <- struct{}{}:
	default:
		return 0, fmt.Errorf("%d datagrams wait for their answers; this one is dropped", openings)
	}
	body := bytes.Clone(p)
	if !s.Spawn(func() {
		defer func() { <-s.exchanges }()
		d.exchange(body)
	}) {
		return 0, s.Gone()
	}
	return len(p), nil
}

// exchange carries one datagram to the peer, and back what it is answered.
func (d *datagrams) exchange(body []byte) {
	wait, cancel := context.WithTimeout(d.ctx, pool.Patience)
	m, err := d.session.use(wait, link.UDP)
	cancel()
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			d.session.log.Warn("no connection was free for a datagram; it is dropped")
		}
		return
	}
	defer func() { _ = m.Close() }()
	stop := context.AfterFunc(d.ctx, func() { _ = m.Close() })
	defer stop()
	_ = m.SetWriteDeadline(time.Now().Add(answer))
	if _, err := m.Write(body); err != nil {
		return
	}
	if p, err := datagram(m); err == nil {
		select {
		case d.answers <- p:
		default: // the user reads too slowly: datagrams are lost then
		}
	}
}

// Next waits for an answer and says how long it is, so that nobody holds a
// buffer meanwhile.
func (d *datagrams) Next() (int, error) {
	if d.next != nil {
		return len(d.next), nil
	}
	select {
	case d.next = <-d.answers:
		return len(d.next), nil
	default:
	}
	select {
	case d.next = <-d.answers:
		return len(d.next), nil
	case <-d.ctx.Done():
		return 0, net.ErrClosed
	case <-d.session.Done():
		return 0, d.session.Gone()
	}
}

// Read returns the answers as they come.
func (d *datagrams) Read(p []byte) (int, error) {
	if _, err := d.Next(); err != nil {
		return 0, err
	}
	n := copy(p, d.next)
	d.next = nil
	return n, nil
}

// CloseWrite does nothing.
func (d *datagrams) CloseWrite() error { return nil }

// Close is of link.Stream.
func (d *datagrams) Close() error {
	d.close()
	d.session.Untrack(d)
	return nil
}

// An exchange is a datagram that the peer sent, and the answer to it.
type exchange struct {
	*pool.Member
	forget   func()
	once     sync.Once
	got      bool // by whoever reads
	answered atomic.Bool
}

// acceptDatagram makes a member one that the session closes.
func (s *session) acceptDatagram(m *pool.Member) (link.Stream, error) {
	e := &exchange{Member: m}
	e.forget = func() { s.Untrack(e) }
	if !s.Track(e) {
		return nil, s.Gone()
	}
	return e, nil
}

// Read returns the datagram, and io.EOF when it has been answered or no answer
// can come any more.
func (e *exchange) Read(p []byte) (int, error) {
	if !e.got {
		e.got = true
		b, err := datagram(e.Member)
		if err != nil {
			return 0, io.EOF
		}
		_ = e.SetReadDeadline(time.Now().Add(answer))
		return copy(p, b), nil
	}
	_, _ = io.Copy(io.Discard, e.Conn) // until either end closes, or the deadline
	return 0, io.EOF
}

// Write sends the answer, the only one there can be.
func (e *exchange) Write(p []byte) (int, error) {
	if err := fits(p); err != nil {
		return 0, err
	}
	if !e.answered.CompareAndSwap(false, true) {
		return 0, errors.New("NodePass 1.4 carries one answer to a datagram; this one is dropped")
	}
	defer func() { _ = e.Close() }()
	_ = e.SetWriteDeadline(time.Now().Add(answer))
	return e.Conn.Write(p)
}

// CloseWrite does nothing.
func (e *exchange) CloseWrite() error { return nil }

// Close is of link.Stream.
func (e *exchange) Close() error {
	e.once.Do(e.forget)
	return e.Member.Close()
}
