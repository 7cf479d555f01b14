package proxy

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/listen"
)

// An idle connection is looked at idleSteps times before its time is over, and
// at least every maxStep, so that a record with a shorter time is not missed.
const (
	idleSteps = 4
	maxStep   = 5 * time.Second
)

// An idleWatch closes client connections that wait for their next request
// longer than their listener's record says at that moment. http.Server's own
// bound could not change while it serves, and would set a timer per request.
type idleWatch struct {
	front *front
	conns sync.Map // net.Conn to *waiting
	count atomic.Int64

	mu    sync.Mutex
	timer *time.Timer // runs sweep; nil before the first connection
	set   bool
}

// waiting is since when a connection waits, in nanoseconds since 1970; zero
// while it does not.
type waiting struct{ since atomic.Int64 }

// state is for http.Server.ConnState.
func (w *idleWatch) state(c net.Conn, s http.ConnState) {
	listen.ConnState(c, s)
	switch s {
	case http.StateNew:
		w.conns.Store(c, &waiting{})
		w.front.accepted.Add(1)
		w.front.conns.Add(1)
		if w.count.Add(1) == 1 {
			w.again()
		}
	case http.StateActive:
		if v, ok := w.conns.Load(c); ok {
			v.(*waiting).since.Store(0)
		}
	case http.StateIdle:
		if v, ok := w.conns.Load(c); ok {
			v.(*waiting).since.Store(time.Now().UnixNano())
		}
	case http.StateHijacked, http.StateClosed:
		if _, ok := w.conns.LoadAndDelete(c); ok {
			w.count.Add(-1)
			w.front.conns.Add(-1)
		}
	}
}

// again sets the timer while there is anything to look at.
func (w *idleWatch) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set || w.count.Load() == 0 {
		return
	}
	w.set = true
	step := min(w.front.rules.Load().idle/idleSteps, maxStep)
	if w.timer == nil {
		w.timer = time.AfterFunc(step, w.sweep)
	} else {
		w.timer.Reset(step)
	}
}

// sweep closes what has waited too long.
func (w *idleWatch) sweep() {
	before := time.Now().Add(-w.front.rules.Load().idle).UnixNano()
	w.conns.Range(func(c, v any) bool {
		if since := v.(*waiting).since.Load(); since != 0 && since <= before {
			_ = c.(net.Conn).Close() // the server notices
		}
		return true
	})
	w.mu.Lock()
	w.set = false
	w.mu.Unlock()
	w.again()
}
