package wire4

import (
	"errors"
	"net"
	"os"
	"time"
)

// A member is one pool connection, from its id on.
type member struct {
	net.Conn // inside TLS where there is some
	id       string
	// first is what was read while it waited.
	first []byte
	// usable is when it may be used. See settle.
	usable time.Time

	// taken is closed when the member is to be used: its watcher must return.
	// watched is closed when the watcher has, after which first and ended are
	// nobody else's.
	taken, watched chan struct{}
	// ended is why the watcher could not read, or why it found the member to be
	// of no use.
	ended error
}

// settle is how old a connection is before the end that receives users uses it.
// The peer learns its id, and that it is used, over two connections, and NodePass
// 1.4 forgets a user whose id it has not learnt yet. And whoever is no pool
// connection mostly says something in that time.
const settle = 10 * time.Millisecond

// errEarly says that a peer spoke on a connection that waited, at the end that
// speaks first. So it is no pool connection, or no longer one.
var errEarly = errors.New("the peer spoke before its turn")

// watch waits until a member that nobody uses ends, or speaks, or is taken. It
// returns whether it is of no use any more. Where the peer speaks first, what
// it says is kept, and the signal that it belongs to must come within patience.
func (m *member) watch(peerFirst bool) (useless bool) {
	defer close(m.watched)
	var b [1]byte // the rest stays where it is, in one piece
	n, err := m.Conn.Read(b[:])
	switch {
	case n > 0 && !peerFirst:
		m.ended = errEarly
	case n > 0:
		m.first = b[:n]
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-m.taken:
		case <-timer.C:
			m.ended = errEarly
		}
	case !errors.Is(err, os.ErrDeadlineExceeded):
		m.ended = err
	}
	return m.ended != nil
}

// release ends the watching of a member that was taken out of its pool, when it
// has settled, and says whether it can be used.
func (m *member) release() bool {
	if early := time.Until(m.usable); early > 0 {
		<-time.After(early)
	}
	close(m.taken)
	_ = m.SetReadDeadline(time.Unix(1, 0)) // ends the watcher's Read
	<-m.watched
	return m.ended == nil && m.SetReadDeadline(time.Time{}) == nil
}

// Read takes first what was read while the member waited.
func (m *member) Read(p []byte) (int, error) {
	if len(m.first) > 0 && len(p) > 0 {
		n := copy(p, m.first)
		m.first = m.first[n:]
		return n, nil
	}
	return m.Conn.Read(p)
}

// CloseWrite ends the sending direction, inside TLS too.
func (m *member) CloseWrite() error {
	if half, ok := m.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return m.Close()
}
