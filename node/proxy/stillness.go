package proxy

import (
	"sync"
	"sync/atomic"
	"time"
)

// stillness ends an exchange on which nothing moves for too long. Its zero
// value never does.
type stillness struct {
	limit time.Duration // 0 is none, and then there is no timer
	moved atomic.Int64  // when something did, in nanoseconds since 1970

	mu    sync.Mutex // of those who set the timer
	timer *time.Timer
	over  bool // the exchange is; the timer is not set again
}

// watchStillness begins to watch x, once it is known whether the client wants
// to switch protocols. Who does has the limit of upgraded connections from
// here on: an upstream that takes its time over a handshake is no other than
// one that is quiet after it.
func (x *exchange) watchStillness() {
	s := &x.still
	if s.limit = x.policy.Idle; x.asked != "" {
		s.limit = x.policy.UpgradeIdle
	}
	if s.limit <= 0 {
		return
	}
	s.moved.Store(x.begun.UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(s.limit, x.checkStillness)
}

// checkStillness ends the exchange if its time is over, and else looks again
// when it may be.
func (x *exchange) checkStillness() {
	s := &x.still
	rest := s.limit - time.Duration(time.Now().UnixNano()-s.moved.Load())
	s.mu.Lock()
	over := s.over
	if !over && rest > 0 {
		s.timer.Reset(rest)
	}
	s.mu.Unlock()
	if !over && rest <= 0 {
		x.stop(errIdle)
	}
}

// touch says that something moved.
func (s *stillness) touch(now time.Time) {
	if s.limit > 0 {
		s.moved.Store(now.UnixNano())
	}
}

// end says that the exchange is over.
func (s *stillness) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
