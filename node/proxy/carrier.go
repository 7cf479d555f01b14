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
// Until then the first bytes of a known length are held, with the header, so
// that an upstream which dies right after them is answered with a clean 502.
type carrier struct {
	buf   [copySize]byte
	timer *time.Timer // calls late

	mu     sync.Mutex // guards what follows, and the client's side of x
	x      *exchange  // nil between two bodies
	armed  bool       // late has something to do
	held   int        // bytes at the start of buf that are not passed on yet
	failed error      // how passing on failed, if late did it
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
	if c.armed {
		c.timer.Stop() // if it is too late for that, late finds nothing to do
	}
	c.x, c.armed, c.held, c.failed = nil, false, 0, nil
	c.mu.Unlock()
	carriers.Put(c)
	return bad
}

// copy reads to the end of the body. Of unknown length it is sent on piece by
// piece; else the last piece is left for net/http to send.
func (c *carrier) copy(res *http.Response) *failure {
	left := res.ContentLength
	for {
		at := c.arm()
		n, err := res.Body.Read(c.buf[at:])
		if left > 0 {
			left -= int64(n)
		}
		werr := c.pass(at, n, err, left)
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

// arm makes sure that what is not sent will be, if nothing more arrives in
// time, and returns where in the buffer to read to.
func (c *carrier) arm() (at int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.armed && (!c.x.started || c.x.dirty) {
		c.armed = true
		c.timer.Reset(flushDelay)
	}
	return c.held
}

// pass sends on the n bytes that were read to buf[at:] and what is held before
// them, or holds them. Reading said err with them, and so many are left,
// negative if that is not known. Nothing that comes before a failure is worth
// an answer of its own.
func (c *carrier) pass(at, n int, err error, left int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	x := c.x
	piece := c.buf[at-c.held : at+n] // late may have sent what was held
	switch {
	case !x.started && err != nil && !errors.Is(err, io.EOF):
		return nil
	case !x.started && err == nil && left > 0 && len(piece) < len(c.buf):
		c.held = len(piece)
		return nil
	}
	c.held = 0
	werr := c.write(piece)
	if werr == nil && left < 0 && err == nil {
		x.flush()
	}
	return werr
}

// write gives bytes to net/http. The lock is held.
func (c *carrier) write(piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	x := c.x
	x.start()
	x.dirty = true
	n, err := x.w.Write(piece)
	x.gave(n)
	x.touch(x.isActivity())
	return err
}

// late is called by the timer.
func (c *carrier) late() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed {
		c.armed = false
		c.failed = c.write(c.buf[:c.held])
		c.held = 0
		c.x.flush()
	}
}
