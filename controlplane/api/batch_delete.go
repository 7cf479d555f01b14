package api

import (
	"context"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// BatchDeleteRoutes implements RouteService.
func (s *routes) BatchDeleteRoutes(ctx context.Context, req *signalboxv1.BatchDeleteRoutesRequest) (*signalboxv1.BatchDeleteRoutesResponse, error) {
	var bad problems
	names, seen := req.GetNames(), map[string]int{}
	for i, name := range names {
		bad.name(index("names", i), name)
		bad.once(seen, index("names", i), "names", name, i)
	}
	wait := bad.wait(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	// What an old view does not hold would be skipped without a conflict: so
	// each transaction is planned on a current view.
	b := batch{field: "names", size: len(names), split: req.GetSplit(), write: s.writeCurrent, plan: func(view *replica.View, from int) (store.Txn, int, error) {
		return planDeletes(view, names[from:], req.GetSplit())
	}}
	if req.GetValidateOnly() {
		if err := b.check(ctx, s.core); err != nil {
			return nil, s.fail(err)
		}
		return &signalboxv1.BatchDeleteRoutesResponse{Result: &signalboxv1.WriteResult{}}, nil
	}
	done, err := b.commit(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.BatchDeleteRoutesResponse{Removed: count(done), Result: s.batchResult(ctx, done, wait)}, nil
}

// planDeletes makes a transaction that removes the routes of these names,
// skipping those that do not exist; of as many as it has room for, when the
// batch may be split. It returns how many names that takes care of.
func planDeletes(view *replica.View, names []string, split bool) (txn store.Txn, n int, err error) {
	for i, name := range names {
		r := view.Get(routeKey(name))
		if r == nil {
			continue
		}
		if split && len(txn.Delete)+len(txn.Release)+2 >= store.MaxOps {
			return txn, i, nil
		}
		planDelete(r, &txn)
	}
	if len(txn.Delete) == 0 {
		err = errNothing
	}
	return txn, len(names), err
}
