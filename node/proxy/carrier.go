package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// copySize is how much of a body is carried at a time.
	copySize = 32 << 10
	// flushDelay is how long a response's header, or a piece of a body of known
	// length, may wait for more to be sent along with it. A short answer is one
	// write that way, and one that drips is not held back for longer than this.
	flushDelay = 5 * time.Millisecond
)

// A carrier carries one response body to a client. What has arrived does not
// wait for what has not: if the upstream is slow, a timer sends what there is.
type carrier struct {
	buf   [copySize]byte
	timer *time.Timer // calls late

	mu    sync.Mutex // guards what follows, and the client's side of x
	x     *exchange  // nil between two bodies
	armed bool       // late has something to do
}

// carriers are used again and again, for the buffer and the timer.
var carriers = sync.Pool{New: func() any {
	c := &carrier{}
	c.timer = time.AfterFunc(time.Hour, c.late)
	c.timer.Stop()
	return c
}}

// carry copies the body of a response to x's client.
func carry(x *exchange, res *http.Response) *failure {
	c := carriers.Get().(*carrier)
	c.x = x
	bad := c.copy(res)
	c.mu.Lock()
	c.disarm()
	c.x = nil
	c.mu.Unlock()
	carriers.Put(c)
	return bad
}

// copy reads to the end of the body. Of unknown length it is sent on piece by
// piece; else the last piece is left for net/http to send.
func (c *carrier) copy(res *http.Response) *failure {
	left := res.ContentLength
	for {
		c.arm()
		n, err := res.Body.Read(c.buf[:])
		if left > 0 {
			left -= int64(n)
		}
		werr := c.pass(n, err, left)
		switch {
		case werr != nil && c.x.stopped():
			return c.x.explain(werr)
		case werr != nil:
			return &failure{status: statusClientGone, reason: ReasonClientGone, side: SideClient, err: werr}
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.x.explain(err)
		}
	}
}

// pass sends n bytes on, after which reading said err and so many are left,
// negative if that is not known. Bytes that came with a failure are not worth
// an answer of their own.
func (c *carrier) pass(n int, err error, left int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disarm()
	x := c.x
	if n == 0 || err != nil && !errors.Is(err, io.EOF) && !x.started {
		return nil
	}
	x.start()
	x.dirty = true
	m, werr := x.w.Write(c.buf[:n])
	x.gave(m)
	x.touch(x.isActivity())
	if werr == nil && left < 0 && err == nil {
		x.flush()
	}
	return werr
}

// arm makes sure that what is not sent will be, if nothing more arrives.
func (c *carrier) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.x.started || c.x.dirty {
		c.armed = true
		c.timer.Reset(flushDelay)
	}
}

// disarm undoes arm. The lock is held.
func (c *carrier) disarm() {
	if c.armed {
		c.armed = false
		c.timer.Stop() // if it is too late for that, late finds nothing to do
	}
}

// late is called by the timer.
func (c *carrier) late() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed {
		c.armed = false
		c.x.flush()
	}
}
