package mem

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"signalbox/store"
)

// session is a lease. Its fields are guarded by the state's lock, except
// those that are set once.
type session struct {
	k   *Keeper
	ttl time.Duration

	lost chan struct{} // closed with the first end of the lease
	// closing asks the goroutine to stop, stopped says that it has.
	closing, stopped chan struct{}
	closeOnce        sync.Once
	closeErr         error // what Close returns; set before stopped is closed

	ended bool // others see the lease as ended
}

// Session implements store.Notes.
func (k *Keeper) Session(ctx context.Context, ttl time.Duration) (store.Session, error) {
	if ttl < time.Second {
		return nil, fmt.Errorf("session: a time to live of %v; the least is 1s", ttl)
	}
	defer k.state.lock()()
	if err := k.reachable(ctx); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s := &session{
		k:       k,
		ttl:     ttl,
		lost:    make(chan struct{}),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go s.keepUp(time.Now()) // Close waits for it
	return s, nil
}

// keepUp renews the lease until it is closed or runs out. It gives the lease
// up a little before others see it end.
func (s *session) keepUp(renewed time.Time) {
	defer close(s.stopped)
	tick := time.NewTicker(s.ttl / 8)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			if !s.isLost() {
				close(s.lost)
			}
			if s.reach() {
				s.end()
				return
			}
			s.closeErr = fmt.Errorf("close session: %w", store.ErrUnavailable)
			time.AfterFunc(time.Until(renewed.Add(s.ttl)), s.end)
			return
		case now := <-tick.C:
			switch unseen := now.Sub(renewed); {
			case !s.isLost() && unseen < s.ttl*7/8 && s.reach():
				renewed = now
			case unseen >= s.ttl:
				if !s.isLost() {
					close(s.lost)
				}
				s.end()
				return
			case unseen >= s.ttl*7/8 && !s.isLost():
				close(s.lost)
			}
		}
	}
}

// reach reports whether the store can be reached.
func (s *session) reach() bool {
	defer s.k.state.lock()()
	return s.k.up
}

// end removes what the session held.
func (s *session) end() {
	st := s.k.state
	defer st.lock()()
	s.ended = true
	var gone []string
	for name, n := range st.notes {
		if n.session == s {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	if len(gone) > 0 {
		st.writeNotes(nil, nil, gone)
	}
	for election := range st.queues {
		st.leave(election, s)
	}
	st.wake()
}

// Put implements store.Session.
func (s *session) Put(ctx context.Context, name string, value []byte) error {
	n := []store.Note{{Name: name, Value: value}}
	if err := store.CheckNotes(n, nil, nil); err != nil {
		return fmt.Errorf("put note: %w", err)
	}
	defer s.k.state.lock()()
	if err := s.usable(ctx); err != nil {
		return fmt.Errorf("put note %q: %w", name, err)
	}
	s.k.state.writeNotes(s, n, nil)
	return nil
}

// Remove implements store.Session.
func (s *session) Remove(ctx context.Context, name string) error {
	st := s.k.state
	defer st.lock()()
	if err := s.usable(ctx); err != nil {
		return fmt.Errorf("remove note %q: %w", name, err)
	}
	if st.notes[name].session == s {
		st.writeNotes(nil, nil, []string{name})
	}
	return nil
}

// Lead implements store.Session.
func (s *session) Lead(ctx context.Context, election string) error {
	for {
		leads, moved, err := s.stand(election)
		if leads || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			defer s.k.state.lock()()
			s.k.state.leave(election, s)
			return context.Cause(ctx)
		case <-s.lost:
			return fmt.Errorf("lead %q: %w", election, store.ErrSessionEnded)
		case <-moved:
		}
	}
}

// stand takes a place in an election's queue if the session has none, and
// reports whether it is the first, or else what to wait for.
func (s *session) stand(election string) (leads bool, moved <-chan struct{}, err error) {
	st := s.k.state
	defer st.lock()()
	if s.ended || s.isLost() {
		return false, nil, fmt.Errorf("lead %q: %w", election, store.ErrSessionEnded)
	}
	if !s.k.up {
		return false, st.moved, nil
	}
	if !slices.Contains(st.queues[election], s) {
		st.queues[election] = append(st.queues[election], s)
	}
	return st.queues[election][0] == s, st.moved, nil
}

// Lost implements store.Session.
func (s *session) Lost() <-chan struct{} { return s.lost }

// Close implements store.Session.
func (s *session) Close(context.Context) error {
	s.closeOnce.Do(func() { close(s.closing) })
	<-s.stopped
	return s.closeErr
}

// usable says why the session cannot be used, if it cannot. The caller holds
// the lock.
func (s *session) usable(ctx context.Context) error {
	if s.ended || s.isLost() {
		return store.ErrSessionEnded
	}
	return s.k.reachable(ctx)
}

func (s *session) isLost() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}
