package api

import (
	"context"
	"errors"
	"slices"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// BatchPutRoutes implements RouteService.
func (s *routes) BatchPutRoutes(ctx context.Context, req *signalboxv1.BatchPutRoutesRequest) (*signalboxv1.BatchPutRoutesResponse, error) {
	var bad problems
	puts := bad.routes(req.GetRoutes())
	wait := bad.wait(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	planner := &putPlanner{puts: puts, split: req.GetSplit(), moved: map[string]int{}}
	b := batch{field: "routes", size: len(puts), split: req.GetSplit(), plan: planner.plan, write: s.write}
	if req.GetValidateOnly() {
		if err := b.check(ctx, s.core); err != nil {
			return nil, s.fail(err)
		}
		return &signalboxv1.BatchPutRoutesResponse{Result: &signalboxv1.WriteResult{}}, nil
	}
	done, err := b.commit(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	records := make([]written, 0, len(puts))
	for _, p := range done {
		for _, put := range puts[p.from:p.to] {
			records = append(records, written{put.key, p.version.Revision})
		}
	}
	return &signalboxv1.BatchPutRoutesResponse{Written: count(done), Result: s.batchResult(ctx, done, wait, records...)}, nil
}

// routes checks the routes of a batch, which must have names and matches of
// their own.
func (p *problems) routes(all []*signalboxv1.Route) []*put {
	puts := make([]*put, len(all))
	names, matches := map[string]int{}, map[string]int{}
	for i, r := range all {
		at := index("routes", i)
		if puts[i] = p.route(at, r, nil); puts[i] == nil {
			continue
		}
		p.once(names, at+".name", "routes", r.GetName(), i)
		p.once(matches, at+".match", "routes", claimOf(puts[i].message), i)
	}
	return puts
}

// once checks that no element before the one at i has the same value.
func (p *problems) once(seen map[string]int, field, list, value string, i int) {
	if first, twice := seen[value]; twice {
		p.add(field, "is also that of %s", index(list, first))
		return
	}
	seen[value] = i
}

// putPlanner plans the transactions of a batch of puts.
type putPlanner struct {
	puts  []*put
	split bool
	// moved is the position of the routes, as far as planned, that had another
	// match before: it is free for routes in the same transaction, or later.
	moved map[string]int
}

// plan is as batch wants it.
func (b *putPlanner) plan(view *replica.View, from int) (store.Txn, int, error) {
	to := len(b.puts)
	if b.split {
		to = from + fitting(view, b.puts[from:])
	}
	for {
		txn, err := b.all(view, from, to)
		if err != nil || !b.split || to == from+1 {
			return txn, to - from, err
		}
		var limit *store.LimitError
		if _, err := txn.Encode(); !errors.As(err, &limit) {
			return txn, to - from, nil
		}
		to = from + (to-from)/2 // too many bytes
	}
}

// fitting returns how many puts, at least one, a transaction has room for if
// they are small.
func fitting(view *replica.View, puts []*put) int {
	var txn store.Txn
	for i, p := range puts {
		err := p.plan(view, &txn)
		if err != nil || len(txn.Put)+len(txn.Claim)+len(txn.Release) >= store.MaxOps || len(txn.If)+len(txn.Claim) > store.MaxOps {
			return max(i, 1)
		}
	}
	return len(puts)
}

// all makes one transaction of the puts from one to before another.
func (b *putPlanner) all(view *replica.View, from, to int) (txn store.Txn, err error) {
	for i, p := range b.puts[from:to] {
		if err := p.plan(view, &txn); err != nil {
			return txn, err
		}
		if p.before != nil && claimOf(p.before.Message) != claimOf(p.message) {
			b.moved[p.key.Name] = from + i
		}
	}
	leaving := func(name string) bool {
		i, moved := b.moved[name]
		return moved && i < to
	}
	for i, p := range b.puts[from:to] {
		if err := vacant(view, p, leaving); err != nil {
			return txn, prefixed(index("routes", from+i)+".match: ", err)
		}
	}
	handOver(&txn)
	return txn, nil
}

// handOver leaves alone the claims that pass from one route of a transaction
// to another. The conditions on both make it safe, and who holds a claim
// follows from the records.
func handOver(txn *store.Txn) {
	released, kept := map[string]bool{}, map[string]bool{}
	for _, name := range txn.Release {
		released[name] = true
	}
	txn.Claim = slices.DeleteFunc(txn.Claim, func(c store.Claim) bool {
		kept[c.Name] = released[c.Name]
		return released[c.Name]
	})
	txn.Release = slices.DeleteFunc(txn.Release, func(name string) bool { return kept[name] })
}
