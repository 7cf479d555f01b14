package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/store"
)

// Each session that stands in an election has a key under it, with the
// session's lease; the one whose key was created first leads. Who waits
// watches the key before its own, and no other.

// errGone says that the key before ours is gone.
var errGone = errors.New("the candidate before is gone")

// Lead implements store.Session.
func (s *session) Lead(ctx context.Context, election string) error {
	if s.ended() {
		return fmt.Errorf("lead %q: %w", election, store.ErrSessionEnded)
	}
	if s.leading(election) {
		return nil
	}
	waiting, cancel := s.whileKept(ctx)
	defer cancel()
	err := s.k.persist(waiting, "election", func(ctx context.Context, well func()) error {
		return s.stand(ctx, election, well)
	})
	switch {
	case err == nil:
		return nil
	case s.ended():
		return fmt.Errorf("lead %q: %w", election, store.ErrSessionEnded)
	}
	s.withdraw(ctx, election)
	return err
}

// stand waits until the session leads, or something fails.
func (s *session) stand(ctx context.Context, election string, well func()) error {
	for {
		before, at, err := s.before(ctx, election)
		if err != nil {
			return err
		}
		if before == "" {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.leads[election] = true
			return nil
		}
		err = s.k.watch(ctx, under(before), at, well, func(events []*mvccpb.Event, _ int64) error {
			for _, e := range events {
				if e.Type == mvccpb.DELETE {
					return errGone
				}
			}
			return nil
		})
		if !errors.Is(err, errGone) && !errors.Is(err, errLost) {
			return err
		}
	}
}

// before takes a place in the election, if the session has none, and returns
// the key before its own, empty when it is the first; and etcd's revision.
func (s *session) before(ctx context.Context, election string) (string, int64, error) {
	own := s.k.keys.candidate(election, s.lease)
	all := clientv3.OpGet(s.k.keys.election(election), clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	resp, err := s.do(ctx,
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(own), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(own, "", clientv3.WithLease(s.lease)), all},
		[]clientv3.Op{all})
	if err != nil {
		return "", 0, err
	}
	before := ""
	for _, kv := range resp.Responses[len(resp.Responses)-1].GetResponseRange().Kvs {
		if string(kv.Key) == own {
			break
		}
		before = string(kv.Key)
	}
	return before, resp.Header.Revision, nil
}

// withdraw gives up the place in an election. A session that cannot do so
// ends: it would be in the way of all who stand after it.
func (s *session) withdraw(ctx context.Context, election string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	own := s.k.keys.candidate(election, s.lease)
	if _, err := s.do(ctx, nil, []clientv3.Op{clientv3.OpDelete(own)}, nil); err != nil {
		s.k.log.Warn("a session ends because it cannot leave an election", "err", err)
		s.stop()
	}
}

// leading reports whether the session has won the election.
func (s *session) leading(election string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leads[election]
}

// whileKept returns a context that ends with the session too.
func (s *session) whileKept(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-s.lost:
			cancel(store.ErrSessionEnded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watching
	}
}
