package proxy

import (
	"net/http"
	"sync"
	"time"

	"signalbox/node/upstream"
)

// soon is how long a request body waits for an answer to say whether it counts
// as activity. After that it counts.
const soon = time.Second

// touch says that something moves. It is activity of the route if it counts.
func (x *exchange) touch(counts bool) {
	now := time.Now()
	x.still.touch(now)
	if counts {
		x.used(now)
	}
}

// used says that somebody used the route at a moment.
func (x *exchange) used(at time.Time) {
	x.active.Store(true)
	x.served.life.counts.Touch(at)
}

// isActivity tells whether the exchange shows that somebody uses the route:
// strangers who are turned away do not.
func (x *exchange) isActivity() bool {
	s := x.status
	return s == http.StatusSwitchingProtocols || s >= 200 && s < 300 || s == http.StatusNotModified ||
		s < 400 && x.received.Load() > 0
}

// An uploading is a request body as activity of its route. What strangers send
// and are refused counts for nothing, so a body counts when the answer says so,
// when none comes soon, or when the client leaves before there is one; and then
// with the moment at which its last bytes came.
type uploading struct {
	x *exchange

	mu      sync.Mutex
	last    time.Time   // when bytes came that do not count yet; zero for none
	timer   *time.Timer // counts them; nil before the first
	decided bool        // the answer is there
	counts  bool        // and was no refusal
}

// came says that bytes of the body have come.
func (u *uploading) came() {
	now := time.Now()
	u.x.still.touch(now)
	u.mu.Lock()
	defer u.mu.Unlock()
	age := now.Sub(u.x.begun)
	switch {
	case u.decided && u.counts, !u.decided && age >= soon:
		u.last = time.Time{}
		u.x.used(now)
	case !u.decided:
		u.last = now
		if u.timer == nil {
			u.timer = time.AfterFunc(soon-age, u.count)
		}
	}
}

// count counts what has come, unless the answer has decided about it.
func (u *uploading) count() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.decided && !u.last.IsZero() {
		u.x.used(u.last)
		u.last = time.Time{}
	}
}

// decide says that there is an answer, and what it says of the body.
func (u *uploading) decide(counts bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.decided {
		return
	}
	u.decided, u.counts = true, counts
	if u.timer != nil {
		u.timer.Stop()
	}
}

// broken tells whether the exchange failed because the client left, with or
// without all of the body.
func (f *failure) broken() bool {
	return f.reason == ReasonClientGone || f.reason == Reason(upstream.ReasonClientBody)
}
