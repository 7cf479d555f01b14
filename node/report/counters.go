package report

import (
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Counters is what one incarnation of a route carried since the node process
// started. It is safe for concurrent use, and takes no lock unless it is the
// first to count since the last report.
type Counters struct {
	book    *Book
	route   string
	created int64

	requests, received, sent, failures atomic.Uint64
	statuses                           [5]atomic.Uint64
	open                               atomic.Int64
	active                             atomic.Int64 // nanoseconds since 1970; 0 is never

	// noted says that the book knows of a change it has not looked at. It is
	// read after counting and cleared before reading, so that no count is
	// left behind.
	noted atomic.Bool

	// The book's lock guards these.
	at         uint64 // the place in the book's order of changes; 0 before the first
	prev, next *Counters
}

// Begin counts a request and an open stream.
func (c *Counters) Begin() {
	c.requests.Add(1)
	c.open.Add(1)
	c.note()
}

// End counts the end of an open stream, in whatever way it ended.
func (c *Counters) End() {
	c.open.Add(-1)
	c.note()
}

// Status counts a final status, 101 included.
func (c *Counters) Status(code int) {
	if code >= 100 && code < 600 {
		c.statuses[code/100-1].Add(1)
		c.note()
	}
}

// Fail counts an answer that the node gave, or broke off, because the upstream
// could not.
func (c *Counters) Fail() {
	c.failures.Add(1)
	c.note()
}

// Received counts bytes from a client.
func (c *Counters) Received(n int) {
	c.received.Add(uint64(n))
	c.note()
}

// Sent counts bytes to a client.
func (c *Counters) Sent(n int) {
	c.sent.Add(uint64(n))
	c.note()
}

// Touch says that at now something moved that counts as activity. Of several
// moments the newest stays, whatever order they are told of in.
func (c *Counters) Touch(now time.Time) {
	ns := now.UnixNano()
	for old := c.active.Load(); ns > old; old = c.active.Load() {
		if c.active.CompareAndSwap(old, ns) {
			c.note()
			return
		}
	}
}

// Open returns how many exchanges are running.
func (c *Counters) Open() int64 { return c.open.Load() }

// note makes sure that the book will look at c.
func (c *Counters) note() {
	if !c.noted.Load() && c.noted.CompareAndSwap(false, true) {
		c.book.note(c)
	}
}

// report returns the present counts.
func (c *Counters) report() *signalboxv1.RouteReport {
	r := &signalboxv1.RouteReport{
		Route:           c.route,
		CreatedRevision: c.created,
		Counters: &signalboxv1.RouteCounters{
			Requests:      c.requests.Load(),
			BytesReceived: c.received.Load(),
			BytesSent:     c.sent.Load(),
			Statuses:      make([]uint64, len(c.statuses)),
			NodeFailures:  c.failures.Load(),
		},
		OpenStreams: uint64(max(c.open.Load(), 0)),
	}
	for i := range c.statuses {
		r.Counters.Statuses[i] = c.statuses[i].Load()
	}
	if ns := c.active.Load(); ns != 0 {
		r.LastActivity = timestamppb.New(time.Unix(0, ns))
	}
	return r
}
