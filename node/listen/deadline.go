package listen

import (
	"sync"
	"time"
)

// readDeadline is the earlier of two deadlines: the one the connection's user
// asked for, and the one for a head that has begun. The latter is needed because
// net/http starts its ReadHeaderTimeout when it sees the first bytes of a head,
// and here it sees them when the head is complete.
//
// The accepted connection is told of it only for a Read: net/http sets and clears
// deadlines several times for each request while nothing is read.
type readDeadline struct {
	mu      sync.Mutex
	asked   time.Time // zero means none
	head    time.Time // zero means none
	told    time.Time // what the accepted connection was told
	reading bool      // a Read is going on
}

// SetReadDeadline implements [net.Conn]. A Read that is going on is bound by it
// too.
func (c *checkedConn) SetReadDeadline(t time.Time) error {
	c.deadline.mu.Lock()
	defer c.deadline.mu.Unlock()
	c.deadline.asked = t
	if !c.deadline.reading {
		return nil
	}
	return c.tellDeadline()
}

// reading says whether a Read is going on. It drops the error: a connection on
// which deadlines fail fails the Read too.
func (c *checkedConn) reading(on bool) {
	c.deadline.mu.Lock()
	defer c.deadline.mu.Unlock()
	c.deadline.reading = on
	if on {
		_ = c.tellDeadline()
	}
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

// setHeadDeadline is called while a Read is going on. It drops the error, as
// reading does.
func (c *checkedConn) setHeadDeadline(t time.Time) {
	c.deadline.mu.Lock()
	defer c.deadline.mu.Unlock()
	c.deadline.head = t
	_ = c.tellDeadline()
}

// tellDeadline must be called with the lock held.
func (c *checkedConn) tellDeadline() error {
	t := c.deadline.asked
	if head := c.deadline.head; t.IsZero() || !head.IsZero() && head.Before(t) {
		t = head
	}
	if t == c.deadline.told {
		return nil
	}
	c.deadline.told = t
	return c.Conn.SetReadDeadline(t)
}
