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

// nodes is the NodeService.
type nodes struct {
	signalboxv1.UnimplementedNodeServiceServer
	*core
}

func nodeKey(name string) store.Key { return store.Key{Kind: store.KindNode, Name: name} }

// PutNode implements NodeService.
func (s *nodes) PutNode(ctx context.Context, req *signalboxv1.PutNodeRequest) (*signalboxv1.PutNodeResponse, error) {
	var bad problems
	if req.GetNode() == nil {
		bad.add("node", "is missing")
	} else {
		bad.under("node", rules.Node(req.GetNode()))
	}
	bad.expected(req.ExpectedRevision)
	wait := bad.wait(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	n := &signalboxv1.Node{Name: req.GetNode().GetName(), Wanted: &signalboxv1.NodeWanted{}, Meta: &signalboxv1.Meta{}}
	proto.Merge(n.Wanted, req.GetNode().GetWanted())
	p := &put{field: "node", key: nodeKey(n.GetName()), message: n, meta: n.Meta, expected: req.ExpectedRevision}
	result, err := s.putOne(ctx, p, req.GetValidateOnly(), wait, nil)
	if err != nil {
		return nil, s.fail(err)
	}
	view, _ := s.Replica.Now()
	sight := newSight(view, s.Nodes)
	n.Observed, n.RevokeTime = sight.of(n.GetName(), n.GetWanted()), sight.revoked(n.GetName())
	return &signalboxv1.PutNodeResponse{Node: n, Result: result}, nil
}

// GetNode implements NodeService.
func (s *nodes) GetNode(ctx context.Context, req *signalboxv1.GetNodeRequest) (*signalboxv1.GetNodeResponse, error) {
	var bad problems
	bad.name("name", req.GetName())
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	n := newSight(view, s.Nodes).node(req.GetName())
	if n == nil {
		return nil, s.fail(notFound(nodeKey(req.GetName())))
	}
	return &signalboxv1.GetNodeResponse{Node: n}, nil
}

// ListNodes implements NodeService.
func (s *nodes) ListNodes(ctx context.Context, req *signalboxv1.ListNodesRequest) (*signalboxv1.ListNodesResponse, error) {
	var bad problems
	pg, labelled := bad.page(req), bad.labels(req.GetLabels())
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	res := &signalboxv1.ListNodesResponse{Version: version(view.Version)}
	sight := newSight(view, s.Nodes)
	for _, name := range sight.names(req.GetNamePrefix(), pg.from) {
		n := sight.node(name)
		if n == nil || !labelled(labelsOf(n)) {
			continue
		}
		if !pg.takes(name, proto.Size(n)) {
			break
		}
		res.Nodes = append(res.Nodes, n)
	}
	res.NextPageToken = pg.next()
	return res, nil
}

// DeleteNode implements NodeService.
func (s *nodes) DeleteNode(ctx context.Context, req *signalboxv1.DeleteNodeRequest) (*signalboxv1.DeleteNodeResponse, error) {
	var bad problems
	bad.name("name", req.GetName())
	bad.expected(req.ExpectedRevision)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	key := nodeKey(req.GetName())
	if err := s.mark(ctx, key, req.ExpectedRevision); err != nil {
		return nil, s.fail(err)
	}
	v, err := s.write(ctx, func(view *replica.View) (txn store.Txn, err error) {
		r := view.Get(key)
		if err := expect(key, r, req.ExpectedRevision); err != nil {
			return txn, err
		}
		if r == nil {
			return txn, errNothing
		}
		planDelete(r, &txn)
		return txn, nil
	})
	known := s.Nodes.Get(key.Name, nil) != nil
	switch {
	case err == nil:
		s.Nodes.Forget(key.Name)
		return &signalboxv1.DeleteNodeResponse{Result: s.result(ctx, v, nil)}, nil
	case !errors.Is(err, errNothing):
		return nil, s.fail(err)
	case known: // and not lost: there is nothing to forget
		return &signalboxv1.DeleteNodeResponse{Result: &signalboxv1.WriteResult{}}, nil
	}
	return nil, s.fail(notFound(key))
}

// mark writes an empty record of a lost node that has none: when that is
// removed, every control plane hears of it, and forgets the node.
func (s *nodes) mark(ctx context.Context, key store.Key, expected *int64) error {
	if o := s.Nodes.Get(key.Name, nil); expected != nil || o.GetState() != signalboxv1.NodeState_NODE_STATE_LOST {
		return nil
	}
	_, err := s.write(ctx, func(view *replica.View) (txn store.Txn, err error) {
		if view.Get(key) != nil {
			return txn, errNothing
		}
		n := &signalboxv1.Node{Name: key.Name, Wanted: &signalboxv1.NodeWanted{}}
		txn.If = append(txn.If, store.Condition{Key: key})
		txn.Put = append(txn.Put, store.Record{Key: key, Message: n})
		return txn, nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// labelsOf is what a node's labels are, as far as anybody knows.
func labelsOf(n *signalboxv1.Node) map[string]string {
	if n.GetObserved() != nil {
		return n.GetObserved().GetLabels()
	}
	return n.GetWanted().GetLabels()
}
