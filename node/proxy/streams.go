package proxy

import (
	"context"
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

// close waits until all streams have ended, or ctx; then it stops the rest.
func (s *streams) close(ctx context.Context) error {
	empty := make(chan struct{})
	s.mu.Lock()
	if len(s.all) == 0 {
		s.closed = true
		s.mu.Unlock()
		return nil
	}
	s.empty = empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.closed = true
	rest := make([]*stream, 0, len(s.all))
	for one := range s.all {
		rest = append(rest, one)
	}
	s.mu.Unlock()
	for _, one := range rest {
		one.stop(errShutdown)
	}
	<-empty
	return context.Cause(ctx)
}
