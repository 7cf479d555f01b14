package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// instances is the InstanceService.
type instances struct {
	signalboxv1.UnimplementedInstanceServiceServer
	*core
}

func instanceKey(name string) store.Key { return store.Key{Kind: store.KindInstance, Name: name} }

func assignmentKey(name string) store.Key { return store.Key{Kind: store.KindAssignment, Name: name} }

// PutInstance implements InstanceService.
func (s *instances) PutInstance(ctx context.Context, req *signalboxv1.PutInstanceRequest) (*signalboxv1.PutInstanceResponse, error) {
	var bad problems
	i := bad.instance(req)
	bad.expected(req.ExpectedRevision)
	wait := bad.wait(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	p := &put{field: "instance", key: instanceKey(i.GetName()), message: i, meta: i.Meta, expected: req.ExpectedRevision}
	unnamed := i.GetName() == ""
	plan := func(view *replica.View) (txn store.Txn, err error) {
		if unnamed {
			i.Name = newInstanceName(view)
			p.key.Name = i.Name
		}
		if err := p.plan(view, &txn); err != nil {
			return txn, err
		}
		resume(i, p.before)
		return txn, nil
	}
	result, err := s.putAs(ctx, p, req.GetValidateOnly(), wait, plan)
	if err != nil {
		return nil, s.fail(err)
	}
	if unnamed && req.GetValidateOnly() {
		i.Name = "" // another may have it by the time that it is written
	}
	return &signalboxv1.PutInstanceResponse{Instance: s.answered(ctx, i), Result: result}, nil
}

// instance checks the instance that is to be written and returns it in the form
// in which it is stored. Only a new one may be without a name.
func (p *problems) instance(req *signalboxv1.PutInstanceRequest) *signalboxv1.Instance {
	if req.GetInstance() == nil {
		p.add("instance", "is missing")
		return nil
	}
	i := proto.CloneOf(req.GetInstance())
	i.Starts, i.Resets, i.Observed, i.Meta = 0, 0, nil, &signalboxv1.Meta{}
	if i.Wanted == signalboxv1.InstanceWanted_INSTANCE_WANTED_UNSPECIFIED {
		i.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING
	}
	if i.GetName() != "" {
		p.under("instance", rules.Instance(i))
		return i
	}
	if req.GetExpectedRevision() != 0 {
		p.add("instance.name", "is missing; only a new instance is given one")
	}
	i.Name = "0" // stands for the name that it will be given
	p.under("instance", rules.Instance(i))
	i.Name = ""
	return i
}

// newInstanceName is a name that no instance in a view has. Should another be
// given it meanwhile, the write fails and is planned anew.
func newInstanceName(view *replica.View) string {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		if name := hex.EncodeToString(b[:]); view.Get(instanceKey(name)) == nil {
			return name
		}
	}
}

// resume carries over what an instance has counted so far from the record that
// it replaces, nil for none, and has it begin anew where it must.
func resume(i *signalboxv1.Instance, before *store.Record) {
	i.Starts, i.Resets = 0, 0
	if before == nil {
		return
	}
	was := before.Message.(*signalboxv1.Instance)
	i.Starts, i.Resets = was.GetStarts(), was.GetResets()
	if i.GetUrl() != was.GetUrl() || begins(was, i) {
		i.Starts++
	}
}

// begins reports whether an instance that was to stand is to run. That is a
// start of its own: a node may hear of both at once only.
func begins(was, is *signalboxv1.Instance) bool {
	const stopped = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	return was.GetWanted() == stopped && is.GetWanted() != stopped
}

// GetInstance implements InstanceService.
func (s *instances) GetInstance(ctx context.Context, req *signalboxv1.GetInstanceRequest) (*signalboxv1.GetInstanceResponse, error) {
	var bad problems
	bad.name("name", req.GetName())
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	r := view.Get(instanceKey(req.GetName()))
	if r == nil {
		return nil, s.fail(notFound(instanceKey(req.GetName())))
	}
	return &signalboxv1.GetInstanceResponse{Instance: s.outlook(view).shown(auth.Caller(ctx), r.Message.(*signalboxv1.Instance))}, nil
}

// ListInstances implements InstanceService.
func (s *instances) ListInstances(ctx context.Context, req *signalboxv1.ListInstancesRequest) (*signalboxv1.ListInstancesResponse, error) {
	var bad problems
	pg := bad.page(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	res := &signalboxv1.ListInstancesResponse{Version: version(view.Version)}
	outlook := s.outlook(view)
	view.Ascend(store.KindInstance, "", pg.from, func(r *store.Record) bool {
		i := outlook.shown(auth.Caller(ctx), r.Message.(*signalboxv1.Instance))
		if !pg.takes(r.Name, proto.Size(i)) {
			return false
		}
		res.Instances = append(res.Instances, i)
		return true
	})
	res.NextPageToken = pg.next()
	return res, nil
}

// DeleteInstance implements InstanceService. Its assignment goes with it.
func (s *instances) DeleteInstance(ctx context.Context, req *signalboxv1.DeleteInstanceRequest) (*signalboxv1.DeleteInstanceResponse, error) {
	result, err := s.deleteOne(ctx, deletion{
		key: instanceKey(req.GetName()), expected: req.ExpectedRevision, waits: req,
		also: func(view *replica.View, txn *store.Txn) {
			condition := store.Condition{Key: assignmentKey(req.GetName())}
			if a := view.Get(condition.Key); a != nil {
				condition.Modified = a.Modified
				txn.Delete = append(txn.Delete, a.Key)
			}
			txn.If = append(txn.If, condition)
		},
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.DeleteInstanceResponse{Result: result}, nil
}
