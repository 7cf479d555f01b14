package api

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// UpdateInstance implements InstanceService. It changes the record as it is
// when it is written, so that of two calls at once none undoes the other.
func (s *instances) UpdateInstance(ctx context.Context, req *signalboxv1.UpdateInstanceRequest) (*signalboxv1.UpdateInstanceResponse, error) {
	var bad problems
	bad.update(req)
	wait := bad.wait(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	key := instanceKey(req.GetName())
	var (
		p  *put
		at store.Version // of the record that p changes
	)
	plan := func(view *replica.View) (txn store.Txn, err error) {
		before := view.Get(key)
		if before == nil {
			return txn, notFound(key)
		}
		at = store.Version{Epoch: view.Version.Epoch, Revision: before.Modified}
		was := before.Message.(*signalboxv1.Instance)
		is := updated(was, req)
		p = &put{field: "name", key: key, message: is, meta: is.Meta, expected: req.ExpectedRevision}
		if proto.Equal(was, is) {
			return txn, errors.Join(expect(key, before, req.ExpectedRevision), errNothing)
		}
		return txn, p.plan(view, &txn)
	}
	v, err := s.write(ctx, plan)
	switch {
	case err == nil:
		p.finish(v.Revision)
	case errors.Is(err, errNothing) && !isStatus(err):
		v = at
	default:
		return nil, s.fail(tooLarge(err, "tags", ""))
	}
	result := s.result(ctx, v, wait, written{key, v.Revision})
	return &signalboxv1.UpdateInstanceResponse{Instance: s.answered(ctx, p.message.(*signalboxv1.Instance)), Result: result}, nil
}

// update checks what an instance is to be changed to.
func (p *problems) update(req *signalboxv1.UpdateInstanceRequest) {
	p.name("name", req.GetName())
	p.under("", rules.InstanceText(req.GetAlias(), nil, req.GetPeer()))
	p.under("tags", rules.InstanceText("", req.GetTags().GetTags(), nil))
	if a := req.GetAction(); signalboxv1.InstanceAction_name[int32(a)] == "" {
		p.add("action", "%d is not a known value", a)
	}
	p.expected(req.ExpectedRevision)
}

// updated is an instance as a request changes it.
func updated(was *signalboxv1.Instance, req *signalboxv1.UpdateInstanceRequest) *signalboxv1.Instance {
	is := proto.CloneOf(was)
	if req.Alias != nil {
		is.Alias = req.GetAlias()
	}
	if req.Restart != nil {
		is.Restart = req.GetRestart()
	}
	if req.Tags != nil {
		is.Tags = req.GetTags().GetTags()
	}
	if req.Peer != nil {
		if is.Peer = req.GetPeer(); proto.Size(is.Peer) == 0 {
			is.Peer = nil
		}
	}
	act(was, is, req.GetAction())
	if req.GetReset_() || req.GetAction() == signalboxv1.InstanceAction_INSTANCE_ACTION_RESET {
		is.Resets++
	}
	return is
}

// act does to an instance what was asked of it, but for a reset.
func act(was, is *signalboxv1.Instance, action signalboxv1.InstanceAction) {
	switch action {
	case signalboxv1.InstanceAction_INSTANCE_ACTION_START, signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART:
		is.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING
		if action == signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART || begins(was, is) {
			is.Starts++
		}
	case signalboxv1.InstanceAction_INSTANCE_ACTION_STOP:
		is.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	case signalboxv1.InstanceAction_INSTANCE_ACTION_UNSPECIFIED, signalboxv1.InstanceAction_INSTANCE_ACTION_RESET:
	}
}
