package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/store"
)

// Commit implements store.Records, in one round trip.
func (k *Keeper) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	values, err := txn.Encode()
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	seen := k.seen.get()
	conditions, found := k.conditions(txn)
	stamp := random()
	changes := k.changes(txn, values, stamp)
	resp, err := led(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return k.client.Txn(ctx).If(conditions...).Then(changes...).Else(found...).Commit()
	})
	if errors.Is(rpctypes.Error(err), rpctypes.ErrNoSpace) {
		rev, err := k.afterAll(ctx, stamp, seen.rev)
		if err != nil {
			return 0, fmt.Errorf("commit: %w", err)
		}
		return rev, nil
	}
	if err != nil {
		size := 0
		for _, v := range values {
			size += len(v)
		}
		return 0, fmt.Errorf("commit: %w", limit(ctx, err, len(changes), size))
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("commit: %w", conflict(txn, resp.Responses))
	}
	if seen.rev >= resp.Header.Revision {
		// A write is later than all that was seen before, unless the store
		// is not the one that was seen: look begins a new epoch then. The
		// write stands all the same.
		_, _ = k.where(ctx)
	}
	return store.Revision(resp.Header.Revision), nil
}

// conditions returns what must hold, and what to read when it does not.
func (k *Keeper) conditions(txn store.Txn) ([]clientv3.Cmp, []clientv3.Op) {
	n := len(txn.If) + len(txn.Claim)
	cmps, reads := make([]clientv3.Cmp, 0, n), make([]clientv3.Op, 0, n)
	for _, c := range txn.If {
		key := k.keys.record(c.Key)
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", int64(c.Modified)))
		reads = append(reads, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	}
	for _, c := range txn.Claim {
		key := k.keys.claim(c.Name)
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", 0))
		reads = append(reads, clientv3.OpGet(key))
	}
	return cmps, reads
}

// maxLooks is how many transactions afterAll looks at.
const maxLooks = 1000

// afterAll returns the revision of the transaction that left a stamp on the
// head, although etcd said that it has no space: of those under way when its
// quota is used up etcd makes some, and answers all the same. If none did since
// a revision that was seen before, nothing was written, and the error is
// store.ErrFull.
func (k *Keeper) afterAll(ctx context.Context, stamp string, seen int64) (store.Revision, error) {
	at := int64(0) // the newest
	for range maxLooks {
		resp, err := k.read(ctx, []clientv3.Op{clientv3.OpGet(k.keys.head(), clientv3.WithRev(at))})
		if err != nil {
			return 0, fmt.Errorf("%w: it is full, and whether this was written could not be read: %w", store.ErrUnavailable, err)
		}
		if seen > resp.Header.Revision {
			seen = 0 // that was another store
		}
		switch heads := resp.Responses[0].GetResponseRange().Kvs; {
		case len(heads) == 0 || heads[0].ModRevision <= seen:
			return 0, fault(ctx, rpctypes.ErrNoSpace)
		case string(heads[0].Value) == stamp:
			return store.Revision(heads[0].ModRevision), nil
		default:
			at = heads[0].ModRevision - 1
		}
	}
	return 0, fmt.Errorf("%w: it is full, and whether this was written was not found among its last %d changes", store.ErrUnavailable, maxLooks)
}

// changes returns the writes of a transaction; values are those of its puts,
// and stamp is what it leaves on the head.
func (k *Keeper) changes(txn store.Txn, values [][]byte, stamp string) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(txn.Put)+len(txn.Delete)+len(txn.Claim)+len(txn.Release)+1)
	for i, r := range txn.Put {
		ops = append(ops, clientv3.OpPut(k.keys.record(r.Key), string(values[i])))
	}
	for _, key := range txn.Delete {
		ops = append(ops, clientv3.OpDelete(k.keys.record(key)))
	}
	for _, c := range txn.Claim {
		ops = append(ops, clientv3.OpPut(k.keys.claim(c.Name), c.Holder.String()))
	}
	for _, name := range txn.Release {
		ops = append(ops, clientv3.OpDelete(k.keys.claim(name)))
	}
	// Even when nothing else changes: then, too, the head has moved, and
	// followers see it.
	return append(ops, clientv3.OpPut(k.keys.head(), stamp))
}

// conflict says which condition did not hold; answers are to what conditions
// returned, in the same order.
func conflict(txn store.Txn, answers []*pb.ResponseOp) error {
	for i, c := range txn.If {
		var have int64
		if kvs := answers[i].GetResponseRange().Kvs; len(kvs) > 0 {
			have = kvs[0].ModRevision
		}
		if have != int64(c.Modified) {
			return &store.ConflictError{Key: c.Key, Modified: store.Revision(have)}
		}
	}
	for i, c := range txn.Claim {
		if kvs := answers[len(txn.If)+i].GetResponseRange().Kvs; len(kvs) > 0 {
			holder, _ := store.ParseKey(string(kvs[0].Value))
			return &store.ConflictError{Key: holder, Claim: c.Name}
		}
	}
	return errors.New("a condition did not hold")
}

// Head implements store.Records.
func (k *Keeper) Head(ctx context.Context) (store.Version, error) {
	at, err := k.where(ctx)
	if err != nil {
		return store.Version{}, fmt.Errorf("head: %w", err)
	}
	return at.version, nil
}

// Read implements store.Records.
func (k *Keeper) Read(ctx context.Context, keys ...store.Key) ([]*store.Record, store.Version, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	answers, at, err := k.readAll(ctx, keys)
	for errors.Is(err, rpctypes.ErrCompacted) { // between two parts
		answers, at, err = k.readAll(ctx, keys)
	}
	if err != nil {
		return nil, store.Version{}, fmt.Errorf("read: %w", err)
	}
	found := make([]*store.Record, len(keys))
	for i, key := range keys {
		for _, kv := range answers[i].GetResponseRange().Kvs {
			if r, err := decode(key, kv); err == nil {
				found[i] = &r
				// Written past us, with etcd's own tools, it may be later
				// than the head.
				at.version.Revision = max(at.version.Revision, r.Modified)
			}
		}
	}
	return found, at.version, nil
}

// readAll reads keys at one revision. More of them than a transaction holds
// are read in parts, all at the revision of the first.
func (k *Keeper) readAll(ctx context.Context, keys []store.Key) ([]*pb.ResponseOp, place, error) {
	const first = store.MaxOps - 2 // what look leaves
	var ops []clientv3.Op
	for _, key := range keys[:min(len(keys), first)] {
		ops = append(ops, clientv3.OpGet(k.keys.record(key)))
	}
	answers, at, err := k.look(ctx, ops...)
	for err == nil && len(answers) < len(keys) {
		ops = ops[:0]
		for _, key := range keys[len(answers):min(len(keys), len(answers)+store.MaxOps)] {
			ops = append(ops, clientv3.OpGet(k.keys.record(key), clientv3.WithRev(at.now)))
		}
		var resp *clientv3.TxnResponse
		if resp, err = k.read(ctx, ops); err == nil {
			answers = append(answers, resp.Responses...)
		}
	}
	return answers, at, err
}

// decode makes a record of what etcd holds.
func decode(key store.Key, kv *mvccpb.KeyValue) (store.Record, error) {
	return store.Decode(key, kv.Value, store.Revision(kv.CreateRevision), store.Revision(kv.ModRevision))
}
