package pool

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A Member is one connection of a pool, from its id on.
type Member struct {
	net.Conn // inside TLS where there is some
	// ID as the wire's signals write it.
	ID string
	// first is what was read while it waited.
	first []byte
	// usable is when it may be used. See settle.
	usable time.Time
	// torn says that Close must not look like a good end.
	torn atomic.Bool

	// taken is closed when the member is to be used: its watcher must return.
	// watched is closed when the watcher has, after which first and ended are
	// nobody else's.
	taken, watched chan struct{}
	// ended is why the watcher could not read, or why it found the member to be
	// of no use.
	ended error
}

const (
	// settle is how old a connection is before the end that receives users uses
	// it. The peer learns its id, and that it is used, over two connections, and
	// NodePass 1.4 forgets a user whose id it has not learnt yet. And whoever is
	// no pool connection mostly says something in that time.
	settle = 10 * time.Millisecond
	// overtaken is by how much the end of what a user sends may be ahead of the
	// word that his connection is used.
	overtaken = 500 * time.Millisecond
)

// errEarly says that a peer spoke on a connection that waited, at the end that
// speaks first. So it is no pool connection, or no longer one.
var errEarly = errors.New("the peer spoke before its turn")

// watch waits until a member that nobody uses ends, or speaks, or is taken. It
// returns whether it is of no use any more. Where the peer speaks first, what
// it says is kept, and the signal that it belongs to must come within Patience.
func (m *Member) watch(peerFirst bool) (useless bool) {
	defer close(m.watched)
	var b [1]byte // the rest stays where it is, in one piece
	n, err := m.Conn.Read(b[:])
	switch {
	case n > 0 && !peerFirst:
		m.ended = errEarly
	case n > 0:
		m.first = b[:n]
		if !m.claimed(Patience) {
			m.ended = errEarly
		}
	case errors.Is(err, os.ErrDeadlineExceeded): // it is taken
	case errors.Is(err, io.EOF) && peerFirst && m.claimed(overtaken):
	default:
		m.ended = err
	}
	return m.ended != nil
}

// claimed waits for the member to be taken, and says whether it was.
func (m *Member) claimed(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-m.taken:
		return true
	case <-timer.C:
		return false
	}
}

// release ends the watching of a member that was taken out of its pool, when it
// has settled, and says whether it can be used.
func (m *Member) release() bool {
	if early := time.Until(m.usable); early > 0 {
		<-time.After(early)
	}
	close(m.taken)
	_ = m.SetReadDeadline(time.Unix(1, 0)) // ends the watcher's Read
	<-m.watched
	return m.ended == nil && m.SetReadDeadline(time.Time{}) == nil
}

// drop closes a member that was taken out of its pool and is not used after all.
func (m *Member) drop() {
	close(m.taken) // ends its watcher, which may wait for a signal
	_ = m.Close()
}

// Early is how many bytes were read while the member waited; Read returns them
// alone.
func (m *Member) Early() int { return len(m.first) }

// Read takes first what was read while the member waited.
func (m *Member) Read(p []byte) (int, error) {
	if len(m.first) > 0 && len(p) > 0 {
		n := copy(p, m.first)
		m.first = m.first[n:]
		return n, nil
	}
	return m.Conn.Read(p)
}

// CloseWrite ends the sending direction, inside TLS too.
func (m *Member) CloseWrite() error {
	if half, ok := m.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return m.Close()
}

// SetLinger says, with 0, that Close cuts what the peer has not got yet: it
// shall not take that for the end.
func (m *Member) SetLinger(sec int) error {
	m.torn.Store(sec == 0)
	if l, ok := m.raw().(interface{ SetLinger(sec int) error }); ok {
		return l.SetLinger(sec)
	}
	return errors.ErrUnsupported
}

// raw is the connection outside of TLS.
func (m *Member) raw() net.Conn {
	if t, ok := m.Conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return m.Conn
}

// Close is of net.Conn.
func (m *Member) Close() error {
	if m.torn.Load() {
		return m.raw().Close()
	}
	return m.Conn.Close()
}
