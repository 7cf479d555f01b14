package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// A put is one record that is to be written.
type put struct {
	// field is what it is called in the request.
	field   string
	key     store.Key
	message proto.Message
	// meta is the message's own: planning and finish fill it in.
	meta *signalboxv1.Meta
	// expected is the revision the record must be at, nil for any.
	expected *int64
	// before is the record that the last plan replaces, nil for none.
	before *store.Record
}

// plan adds the writing of the record to a transaction. Claims that the record
// holds and will not need are released.
func (p *put) plan(view *replica.View, txn *store.Txn) error {
	p.before = view.Get(p.key)
	if err := expect(p.key, p.before, p.expected); err != nil {
		return err
	}
	now := timestamppb.Now()
	p.meta.CreateTime, p.meta.UpdateTime = now, now
	condition := store.Condition{Key: p.key}
	held := ""
	if p.before != nil {
		p.meta.CreateTime = metaOf(p.before.Message).GetCreateTime()
		condition.Modified = p.before.Modified
		held = claimOf(p.before.Message)
	}
	record := store.Record{Key: p.key, Message: p.message}
	txn.If = append(txn.If, condition)
	txn.Put = append(txn.Put, record)
	if claim := claimOf(p.message); claim != held {
		if claim != "" {
			txn.Claim = append(txn.Claim, store.Claim{Name: claim, Holder: p.key})
		}
		if held != "" {
			txn.Release = append(txn.Release, held)
		}
	}
	return nil
}

// finish fills in the revisions of a record that was written.
func (p *put) finish(rev store.Revision) {
	p.meta.Revision, p.meta.CreatedRevision = int64(rev), int64(rev)
	if p.before != nil {
		p.meta.CreatedRevision = int64(p.before.Created)
	}
}

// putOne writes one record and says who serves it. also, when given, checks
// what planning the put does not.
func (c *core) putOne(ctx context.Context, p *put, validateOnly bool, wait waiting, also func(*replica.View) error) (*signalboxv1.WriteResult, error) {
	plan := func(view *replica.View) (store.Txn, error) {
		var txn store.Txn
		if err := p.plan(view, &txn); err != nil || also == nil {
			return txn, err
		}
		return txn, also(view)
	}
	return c.putAs(ctx, p, validateOnly, wait, plan)
}

// putAs is putOne with a plan of the caller's own, which plans p.
func (c *core) putAs(ctx context.Context, p *put, validateOnly bool, wait waiting, plan plan) (*signalboxv1.WriteResult, error) {
	if validateOnly {
		defer proto.Reset(p.meta) // it was not written
		return &signalboxv1.WriteResult{}, tooLarge(c.check(ctx, plan), p.field, "")
	}
	v, err := c.write(ctx, plan)
	if err != nil {
		return nil, tooLarge(err, p.field, "")
	}
	p.finish(v.Revision)
	return c.result(ctx, v, wait, written{p.key, v.Revision}), nil
}

// A deletion is one record that is to be removed.
type deletion struct {
	key          store.Key
	expected     *int64
	validateOnly bool
	waits        waits
	// also, when given, adds what goes with the record.
	also func(*replica.View, *store.Txn)
}

// deleteOne removes one record and says who serves the state without it.
func (c *core) deleteOne(ctx context.Context, d deletion) (*signalboxv1.WriteResult, error) {
	var bad problems
	bad.name("name", d.key.Name)
	bad.expected(d.expected)
	wait := bad.wait(d.waits)
	if err := bad.err(); err != nil {
		return nil, err
	}
	plan := func(view *replica.View) (txn store.Txn, err error) {
		r := view.Get(d.key)
		if r == nil {
			return txn, notFound(d.key)
		}
		planDelete(r, &txn)
		if d.also != nil {
			d.also(view, &txn)
		}
		return txn, expect(d.key, r, d.expected)
	}
	if d.validateOnly {
		return &signalboxv1.WriteResult{}, c.check(ctx, plan)
	}
	v, err := c.write(ctx, plan)
	if err != nil {
		return nil, err
	}
	return c.result(ctx, v, wait), nil
}

// planDelete adds the removal of a record to a transaction.
func planDelete(r *store.Record, txn *store.Txn) {
	txn.If = append(txn.If, store.Condition{Key: r.Key, Modified: r.Modified})
	txn.Delete = append(txn.Delete, r.Key)
	if claim := claimOf(r.Message); claim != "" {
		txn.Release = append(txn.Release, claim)
	}
}

// expect holds a record, nil for none, against an expected revision, nil for
// any.
func expect(key store.Key, r *store.Record, expected *int64) error {
	var have int64
	if r != nil {
		have = int64(r.Modified)
	}
	switch {
	case expected == nil || *expected == have:
		return nil
	case *expected == 0:
		return status.Errorf(codes.AlreadyExists, "%s %q exists, at revision %d", noun(key.Kind), key.Name, have)
	case have == 0:
		return status.Errorf(codes.Aborted, "%s %q does not exist; revision %d was expected", noun(key.Kind), key.Name, *expected)
	}
	return status.Errorf(codes.Aborted, "%s %q is at revision %d; %d was expected", noun(key.Kind), key.Name, have, *expected)
}

// metaOf returns a record's meta.
func metaOf(m proto.Message) *signalboxv1.Meta {
	switch m := m.(type) {
	case interface{ GetMeta() *signalboxv1.Meta }:
		return m.GetMeta()
	case *signalboxv1.ApiKeyRecord:
		return m.GetKey().GetMeta()
	}
	return nil
}

// claimOf is the name that a record claims, empty for none. What it holds
// follows from what is stored, so that nothing need be remembered beside it.
func claimOf(m proto.Message) string {
	switch m := m.(type) {
	case *signalboxv1.Route:
		return rules.MatchName(rules.NormalMatch(m.GetMatch()))
	case *signalboxv1.ApiKeyRecord:
		return auth.ClaimName(m.GetHash())
	}
	return ""
}
