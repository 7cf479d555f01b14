package etcd

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/store"
)

// An epoch is named by a random value under a key, made by whoever comes
// first, and by etcd's cluster id: a cluster that took another's place is
// another epoch.
//
// A backup restored into a cluster with the old id brings the old epoch key
// with it. Whoever remembers more than the store then knows notices: its
// revision has fallen behind, or its head is not the one that was seen at that
// revision - each writing of the head leaves a random value there. It then
// replaces the epoch key, if nobody has before, and all followers begin anew.

// place is where the store was when it was read.
type place struct {
	version store.Version // the head's
	now     int64         // etcd's own revision
	stamp   string        // the value of the head
	// epochAt is the revision of the epoch key, for replacing it; zero when
	// there is none.
	epochAt int64
}

// look reads ops, and the place of the store with them, in one transaction. It
// sees all that was committed before the call. It begins an epoch when there
// is none, and a new one when the store has fallen behind.
func (k *Keeper) look(ctx context.Context, ops ...clientv3.Op) ([]*pb.ResponseOp, place, error) {
	ops = append([]clientv3.Op{clientv3.OpGet(k.keys.head()), clientv3.OpGet(k.keys.epoch())}, ops...)
	for {
		seen := k.seen.get()
		resp, err := k.read(ctx, ops)
		if err != nil {
			return nil, place{}, err
		}
		at, whole := placeOf(resp)
		if whole && !seen.ahead(at.version.Epoch, at.now) {
			k.seen.raise(at.version.Epoch, at.now)
			return resp.Responses[2:], at, nil
		}
		if whole {
			k.log.Warn("the store has fallen behind: a new epoch begins", "rev", at.now)
		}
		if err := k.renew(ctx, at); err != nil {
			return nil, place{}, err
		}
	}
}

// where returns the place of the store.
func (k *Keeper) where(ctx context.Context) (place, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, at, err := k.look(ctx)
	return at, err
}

// read reads ops in one transaction, from another member if one hangs.
func (k *Keeper) read(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	for patience := attemptTimeout; ; patience += patience / 2 {
		attempt, cancel := context.WithTimeout(ctx, patience)
		resp, err := led(attempt, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return k.client.Txn(ctx).Then(ops...).Commit()
		})
		hangs := attempt.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			return resp, nil
		}
		if !hangs {
			return nil, fault(ctx, err)
		}
	}
}

// placeOf reads the place from the first two answers of a transaction. It is
// not whole when the head or the epoch is missing.
func placeOf(resp *clientv3.TxnResponse) (at place, whole bool) {
	at.now = resp.Header.Revision
	head, epoch := resp.Responses[0].GetResponseRange().Kvs, resp.Responses[1].GetResponseRange().Kvs
	if len(epoch) > 0 {
		at.epochAt = epoch[0].ModRevision
		at.version.Epoch = epochName(string(epoch[0].Value), resp.Header.ClusterId)
	}
	if len(head) > 0 {
		at.stamp = string(head[0].Value)
		at.version.Revision = store.Revision(head[0].ModRevision)
	}
	return at, len(head) > 0 && len(epoch) > 0
}

// renew begins a new epoch, and the head if there is none, unless somebody has
// done so since at was read.
func (k *Keeper) renew(ctx context.Context, at place) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	as := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(k.keys.epoch()), "=", at.epochAt)}
	puts := []clientv3.Op{clientv3.OpPut(k.keys.epoch(), random())}
	if at.version.Revision == 0 {
		as = append(as, clientv3.Compare(clientv3.ModRevision(k.keys.head()), "=", 0))
		puts = append(puts, clientv3.OpPut(k.keys.head(), random()))
	}
	if _, err := k.client.Txn(ctx).If(as...).Then(puts...).Commit(); err != nil {
		return fmt.Errorf("begin an epoch: %w", fault(ctx, err))
	}
	return nil
}

// epochName makes one word of the two things that tell epochs apart.
func epochName(value string, cluster uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%016x %s", cluster, value))
	return hex.EncodeToString(sum[:8])
}

// random returns 64 random bits, as text.
func random() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// mark remembers the highest revision of etcd that was seen, and in which
// epoch.
type mark struct {
	mu  sync.Mutex
	top point // guarded by mu
}

// point is a revision of etcd in an epoch.
type point struct {
	epoch string
	rev   int64
}

func (m *mark) get() point {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.top
}

// raise notes that a revision was seen.
func (m *mark) raise(epoch string, rev int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if epoch != m.top.epoch || rev > m.top.rev {
		m.top = point{epoch, rev}
	}
}

// ahead reports whether p is later than a revision read after it was seen: in
// one history that cannot be.
func (p point) ahead(epoch string, rev int64) bool { return p.epoch == epoch && p.rev > rev }

// errLost says that what was followed cannot be followed further.
var errLost = errors.New("history is gone")
