package carry

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// A UDPTarget is a socket that is connected to a target.
type UDPTarget struct {
	*net.UDPConn
	// others says that there are more targets.
	others bool
	look   look
}

// newUDPTarget returns one on a socket, which it then owns.
func newUDPTarget(c *net.UDPConn, others bool) (*UDPTarget, error) {
	t := &UDPTarget{UDPConn: c, others: others}
	if err := t.look.at(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// Next waits for a datagram and says how long it is.
func (t *UDPTarget) Next() (int, error) {
	n, err := t.look.next()
	return n, t.gone(err)
}

// Read returns the next datagram. Where there are others it ends when nobody is
// at this target, as Next does, so that the user's next session is with one of
// those.
func (t *UDPTarget) Read(p []byte) (int, error) {
	n, err := t.UDPConn.Read(p)
	return n, t.gone(err)
}

// gone is what an error of reading means.
func (t *UDPTarget) gone(err error) error {
	if t.others && errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("target %s: %w", t.RemoteAddr(), errNobody)
	}
	return err
}

// errNobody says that a target's machine refuses datagrams.
var errNobody = errors.New("connection refused")
