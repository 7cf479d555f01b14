package proxy

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/listen"
)

// grain is how much later than its time a connection is closed at most, as a
// part of that time: so that many connections are looked at together, and not
// all of them for each one's sake. It is never more than maxGrain.
const (
	grain    = 50
	maxGrain = time.Second
)

// An idleWatch closes client connections that wait for their next request
// longer than their listener's record says at that moment. http.Server's own
// bound could not change while it serves, and would set a timer per request.
//
// While there are connections the timer is set, and never for later than the
// first of them is due: one that begins to wait after it was set is due a whole
// time after that, and so no earlier than the timer runs out.
type idleWatch struct {
	front *front
	conns sync.Map // net.Conn to *waiting
	count atomic.Int64

	mu    sync.Mutex
	timer *time.Timer // runs sweep; nil before the first connection
	at    time.Time   // when it will; zero while it is not set
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
			w.look(time.Now().Add(w.front.rules.Load().idle))
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

// look has connections looked at when the time comes, or earlier.
func (w *idleWatch) look(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count.Load() == 0 || !w.at.IsZero() && !at.Before(w.at) {
		return
	}
	w.at = at
	if w.timer == nil {
		w.timer = time.AfterFunc(time.Until(at), w.sweep)
	} else {
		w.timer.Reset(time.Until(at))
	}
}

// changed says that the record is another, with perhaps a shorter time.
func (w *idleWatch) changed() { w.look(time.Now()) }

// sweep closes what has waited too long.
func (w *idleWatch) sweep() {
	w.mu.Lock()
	w.at = time.Time{} // before the record is looked at, which may change now
	w.mu.Unlock()
	idle, now := w.front.rules.Load().idle, time.Now()
	next := now.Add(idle)
	w.conns.Range(func(c, v any) bool {
		since := v.(*waiting).since.Load()
		if since == 0 {
			return true
		}
		due := time.Unix(0, since).Add(idle)
		switch {
		case !due.After(now):
			_ = c.(net.Conn).Close() // the server notices
		case due.Before(next):
			next = due
		}
		return true
	})
	if soonest := now.Add(min(idle/grain, maxGrain)); next.Before(soonest) {
		next = soonest
	}
	w.look(next)
}
