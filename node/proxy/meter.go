package proxy

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// A meter counts what one listener carries. It is there several times over, so
// that processors which count at once do not wait for each other's cache lines;
// what it says is the sum.
type meter struct {
	open           atomic.Int64 // exchanges that run
	sum            atomic.Int64 // of all durations, in nanoseconds
	received, sent atomic.Uint64
	classes        [6]atomic.Uint64 // final statuses by their first digit; those that have none of 1 to 5 at 0
	retries        atomic.Uint64
	refused        atomic.Uint64 // heads
	took           [cells]atomic.Uint64
}

// meters is how often a meter is there.
const meters = 8

// pick returns one of a front's meters, for one exchange.
func (f *front) pick() *meter {
	return &f.meters[rand.Uint32()%meters] //nolint:gosec // only spreads the work
}

// status counts a final status.
func (m *meter) status(code int) {
	class := code / 100
	if class < 1 || class > 5 {
		class = 0
	}
	m.classes[class].Add(1)
}

// ended counts an exchange that is over. That of a switched protocol says
// nothing of how long requests take.
func (m *meter) ended(x *exchange) {
	m.open.Add(-1)
	if !x.counted {
		m.status(x.status)
	}
	if x.attempts > 1 {
		m.retries.Add(uint64(x.attempts - 1))
	}
	if x.bad != nil {
		m.refused.Add(1)
	}
	if x.status == http.StatusSwitchingProtocols {
		return
	}
	d := time.Since(x.begun)
	m.took[cellOf(d)].Add(1)
	m.sum.Add(int64(d))
}
