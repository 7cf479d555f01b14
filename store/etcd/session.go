package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"signalbox/store"
)

// renewPause is the pause after a renewal that failed.
const renewPause = 100 * time.Millisecond

// session is a lease of etcd's.
type session struct {
	k     *Keeper
	lease clientv3.LeaseID
	// safe is how long after a renewal was sent the lease can be counted on:
	// etcd counts its time to live from a later moment.
	safe time.Duration

	lost     chan struct{}
	loseOnce sync.Once

	stop    context.CancelFunc // asks the goroutine to end
	stopped chan struct{}      // says that it has

	mu     sync.Mutex
	leads  map[string]bool // guarded by mu
	closed bool            // guarded by mu; the lease was given back
}

// Session implements store.Notes.
func (k *Keeper) Session(ctx context.Context, ttl time.Duration) (store.Session, error) {
	if ttl < time.Second {
		return nil, fmt.Errorf("session: a time to live of %v; the least is 1s", ttl)
	}
	granting, cancel := bounded(ctx)
	defer cancel()
	sent := time.Now()
	lease, err := k.client.Grant(granting, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return nil, fmt.Errorf("session: %w", fault(granting, err))
	}
	granted := time.Duration(lease.TTL) * time.Second
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &session{
		k:       k,
		lease:   lease.ID,
		safe:    granted - granted/8,
		lost:    make(chan struct{}),
		stop:    stop,
		stopped: make(chan struct{}),
		leads:   map[string]bool{},
	}
	go s.keepUp(lasting, sent) // Close waits for it
	return s, nil
}

// keepUp renews the lease three times in its time, until ctx ends or the lease
// cannot be counted on any more. sent is when the last renewal was sent that
// was answered.
func (s *session) keepUp(ctx context.Context, sent time.Time) {
	defer close(s.stopped)
	defer s.lose()
	var l line
	defer l.hangUp()
	for wait := s.safe / 3; ; {
		end := sent.Add(s.safe)
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(wait, time.Until(end))):
		}
		// The process may have been asleep for longer than it meant to wait.
		// The lease counts from here: etcd hears of the renewal later.
		now := time.Now()
		if !now.Before(end) {
			return
		}
		ttl, err := s.renew(ctx, &l, min(s.safe/3, end.Sub(now)))
		switch {
		case err != nil:
			wait = renewPause
		case ttl <= 0: // ran out, or was revoked
			return
		default:
			sent, wait = now, s.safe/3
		}
	}
}

// line is a stream for renewals; zero when there is none. Opening one may be
// dear: an etcd with passwords asks for it.
type line struct {
	stream pb.Lease_LeaseKeepAliveClient
	cut    context.CancelFunc
}

func (l *line) hangUp() {
	if l.cut != nil {
		l.cut()
	}
	*l = line{}
}

// renew renews the lease once, over a line that is there or a new one, and
// returns what it then has to live: zero when it has ended.
func (s *session) renew(ctx context.Context, l *line, patience time.Duration) (ttl int64, err error) {
	if l.cut == nil {
		ctx, l.cut = context.WithCancel(ctx)
	}
	late := time.AfterFunc(patience, l.cut)
	defer func() {
		if !late.Stop() || err != nil {
			l.hangUp()
		}
	}()
	if l.stream == nil {
		l.stream, err = s.k.streams.Lease.LeaseKeepAlive(clientv3.WithRequireLeader(ctx), grpc.WaitForReady(true))
		if err != nil {
			return 0, err
		}
	}
	if err := l.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(s.lease)}); err != nil {
		return 0, err
	}
	resp, err := l.stream.Recv()
	return resp.GetTTL(), err
}

// Put implements store.Session.
func (s *session) Put(ctx context.Context, name string, value []byte) error {
	if err := store.CheckNotes([]store.Note{{Name: name, Value: value}}, nil, nil); err != nil {
		return fmt.Errorf("put note: %w", err)
	}
	put := clientv3.OpPut(s.k.keys.note(name), string(value), clientv3.WithLease(s.lease))
	if _, err := s.do(ctx, nil, []clientv3.Op{put}, nil); err != nil {
		return fmt.Errorf("put note %q: %w", name, err)
	}
	return nil
}

// Remove implements store.Session.
func (s *session) Remove(ctx context.Context, name string) error {
	key := s.k.keys.note(name)
	held := []clientv3.Cmp{clientv3.Compare(clientv3.LeaseValue(key), "=", s.lease)}
	if _, err := s.do(ctx, held, []clientv3.Op{clientv3.OpDelete(key)}, nil); err != nil {
		return fmt.Errorf("remove note %q: %w", name, err)
	}
	return nil
}

// do makes a transaction, unless the session has ended.
func (s *session) do(ctx context.Context, conditions []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	if s.ended() {
		return nil, store.ErrSessionEnded
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	resp, err := s.k.client.Txn(ctx).If(conditions...).Then(then...).Else(otherwise...).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		s.lose()
		return nil, store.ErrSessionEnded
	}
	return resp, fault(ctx, err)
}

// Lost implements store.Session.
func (s *session) Lost() <-chan struct{} { return s.lost }

func (s *session) lose() { s.loseOnce.Do(func() { close(s.lost) }) }

func (s *session) ended() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

// Close implements store.Session.
func (s *session) Close(ctx context.Context) error {
	s.stop()
	<-s.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := s.k.client.Revoke(ctx, s.lease)
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("close session: %w", fault(ctx, err))
	}
	s.closed = true
	return nil
}
