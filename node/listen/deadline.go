package listen

import (
	"sync"
	"time"
)

// readDeadline is the earlier of two deadlines: the one the connection's user
// asked for, and the one for a head that has begun. The latter is needed because
// net/http starts its ReadHeaderTimeout when it sees the first bytes of a head,
// and here it sees them when the head is complete.
type readDeadline struct {
	mu    sync.Mutex
	asked time.Time // zero means none
	head  time.Time // zero means none
}

// SetReadDeadline implements [net.Conn].
func (c *checkedConn) SetReadDeadline(t time.Time) error {
	c.deadline.mu.Lock()
	defer c.deadline.mu.Unlock()
	c.deadline.asked = t
	return c.applyDeadline()
}

// SetDeadline implements [net.Conn].
func (c *checkedConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// boundHead starts the clock for the head being read, unless it runs.
func (c *checkedConn) boundHead() {
	if !c.bounded {
		c.bounded = true
		c.setHeadDeadline(time.Now().Add(c.headTimeout))
	}
}

func (c *checkedConn) unboundHead() {
	c.bounded = false
	c.setHeadDeadline(time.Time{})
}

// setHeadDeadline drops the error: a connection on which deadlines fail fails
// the next Read too.
func (c *checkedConn) setHeadDeadline(t time.Time) {
	c.deadline.mu.Lock()
	defer c.deadline.mu.Unlock()
	c.deadline.head = t
	_ = c.applyDeadline()
}

// applyDeadline must be called with the lock held.
func (c *checkedConn) applyDeadline() error {
	t := c.deadline.asked
	if head := c.deadline.head; t.IsZero() || !head.IsZero() && head.Before(t) {
		t = head
	}
	return c.Conn.SetReadDeadline(t)
}
