package proxy

import (
	"maps"
	"slices"
	"sync"
)

// streams are all that a handler has. Its zero value is empty.
type streams struct {
	mu     sync.Mutex
	all    map[*stream]struct{}
	closed bool          // no more are let in
	empty  chan struct{} // closed when all is empty; nil while nobody waits
}

// add lets a stream in, or returns false when it is too late.
func (s *streams) add(one *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.all == nil {
		s.all = map[*stream]struct{}{}
	}
	s.all[one] = struct{}{}
	return true
}

func (s *streams) remove(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, one)
	if s.empty != nil && len(s.all) == 0 {
		close(s.empty)
		s.empty = nil
	}
}

// close lets no more streams in, stops those that there are, and waits until
// they have ended.
func (s *streams) close() {
	empty := make(chan struct{})
	s.mu.Lock()
	s.closed = true
	rest := slices.Collect(maps.Keys(s.all))
	if len(rest) > 0 {
		s.empty = empty
	}
	s.mu.Unlock()
	if len(rest) == 0 {
		return
	}
	for _, one := range rest {
		one.stop(errShutdown)
	}
	<-empty
}
