package proxy

import (
	"net/http"
	"time"
)

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
