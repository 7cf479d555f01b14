package history

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Recorder gathers the operations of many clients. It is safe for concurrent
// use.
type Recorder struct {
	now   func() time.Time
	start time.Time

	mu      sync.Mutex
	clients int         // guarded by mu
	done    []Operation // guarded by mu
	open    int         // guarded by mu: calls that have not ended
	failed  int         // guarded by mu: of done, those not answered
}

// New returns a recorder without operations. All its times are read from now,
// which must be monotonic, as time.Now is.
func New(now func() time.Time) *Recorder { return &Recorder{now: now, start: now()} }

// Client returns a client of its own: what one goroutine does, one call after
// the other.
func (r *Recorder) Client() *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients++
	return &Client{recorder: r, id: r.clients - 1}
}

// An Open call was begun and has not ended.
type Open struct {
	client *Client
	call   Call
	began  time.Duration
}

// Begin records that the client is about to make a call.
func (c *Client) Begin(call Call) Open {
	r := c.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	return Open{c, call, r.now().Sub(r.start)}
}

// End records how the call ended. It is called once.
func (o Open) End(a Answer) {
	r := o.client.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	if a.Outcome == Refused || a.Outcome == Unknown {
		r.failed++
	}
	r.done = append(r.done, Operation{Client: o.client.id, Call: o.call, Answer: a, Began: o.began, Ended: r.now().Sub(r.start)})
}

// Operations returns what has ended, in order of its end.
func (r *Recorder) Operations() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.done)
}

// Count returns how many operations have ended so far: those that were
// answered, and those that were refused or whose outcome is unknown.
func (r *Recorder) Count() (answered, failed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.done) - r.failed, r.failed
}

// Check checks all operations, as the function of that name does. No call may
// be open: what it wrote would be missing.
func (r *Recorder) Check(dir string) error {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if open > 0 {
		return fmt.Errorf("%d calls have not ended: the history is not whole", open)
	}
	return Check(r.Operations(), dir, enough)
}

// enough is how long the check of one route may take. Those of a history as
// the package asks for take milliseconds.
const enough = 30 * time.Second
