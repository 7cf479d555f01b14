package wire14

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"signalbox/proto/tunnelurl"
)

const (
	// longest is how many bytes of a datagram NodePass 1.14 reads, and how many
	// fit into a record of TLS.
	longest = 16384
	// firstRecord is how many bytes fit into the first record of peers that send
	// short ones to begin with, as Go does where it is not told otherwise. Each
	// record is longer than the last by as much.
	firstRecord = 1186
	// rest is how long the rest of a datagram is waited for that such a peer has
	// cut, or of which the first byte came early.
	rest = 10 * time.Millisecond
)

// datagrams are those of a user's address. Read is for one goroutine at a time,
// as is Write.
type datagrams struct {
	*stream
	// records is how many have come on the connection with TLS, the one with the
	// id among them; they can be cut while there were few.
	records int
	secure  bool
	buf     []byte // for who reads into less than longest
}

// newDatagrams returns those on a stream at the end with that role.
func newDatagrams(st *stream, role tunnelurl.Role) *datagrams {
	d := &datagrams{stream: st}
	_, d.secure = st.Conn.(*tls.Conn)
	if role == tunnelurl.Client {
		d.records = 1
	}
	return d
}

// Write sends a datagram in one piece.
func (d *datagrams) Write(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, errors.New("an empty datagram cannot be carried by NodePass 1.14")
	case len(p) > longest:
		return 0, fmt.Errorf("a datagram of %d bytes cannot be carried by NodePass 1.14: at most %d", len(p), longest)
	}
	return d.stream.Write(p)
}

// CloseWrite does nothing.
func (d *datagrams) CloseWrite() error { return nil }

// Read returns what comes in one piece.
func (d *datagrams) Read(p []byte) (int, error) {
	if len(p) >= longest {
		return d.read(p[:longest])
	}
	if d.buf == nil {
		d.buf = make([]byte, longest)
	}
	n, err := d.read(d.buf)
	return copy(p, d.buf[:n]), err
}

// read fills p, which has room for the longest.
func (d *datagrams) read(p []byte) (int, error) {
	early := d.Early() > 0
	n, err := d.stream.Read(p)
	if err != nil {
		return n, err
	}
	if early {
		n += d.more(p[n:])
	}
	d.records++
	for last := n; d.cut(last); d.records++ {
		if last = d.more(p[n:]); last == 0 {
			break
		}
		n += last
	}
	return n, nil
}

// cut tells whether the last record that came is as long as the peer can make
// it, so that the rest of its datagram follows. By chance that is so of few.
func (d *datagrams) cut(last int) bool {
	return d.secure && last == firstRecord*d.records && last < longest
}

// more reads what follows at once, if anything does.
func (d *datagrams) more(p []byte) int {
	_ = d.SetReadDeadline(time.Now().Add(rest))
	n, _ := d.stream.Read(p) // what went wrong does so again
	_ = d.SetReadDeadline(time.Time{})
	return n
}
